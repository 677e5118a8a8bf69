//! The format of the spool's files, version 1.
//!
//! # Layout
//! The folder holds segments, `NNNNNNNNNNNNNNNNNNNN.log` (twenty digits, growing), and key files, `….keys` (their
//! format is told in [`super::key_file`]). A name that ends in `.new` is a file whose making was not finished: it
//! holds nothing that was ever acknowledged and is deleted at the next start. All numbers are little-endian unless
//! said otherwise.
//!
//! A segment is a row of 4 KiB pages. The first is its header, then come blocks, each beginning on a page:
//!
//! | offset | bytes | segment header |
//! |---|---|---|
//! | 0 | 8 | magic `SluiceSg` |
//! | 8 | 4 | CRC32C of bytes 12 to 96 |
//! | 12 | 4 | version of the format: 1 |
//! | 16 | 8 | number of the segment, as in its name |
//! | 24 | 8 | nonce: random, so that no text that a sender puts into a record can look like a block |
//! | 32 | 10 | run that made the segment (big-endian) |
//! | 42 | 1 | 1: its predecessor was abandoned after a failed write or sync; else 0 |
//! | 43 | 5 | zero |
//! | 48 | 8 | time of its making, ns since the Unix epoch |
//! | 56 | 8 | number of its predecessor; 0: none |
//! | 64 | 8 | how many bytes of the predecessor are valid |
//! | 72 | 24 | zero |
//!
//! | offset | bytes | block |
//! |---|---|---|
//! | 0 | 8 | magic `SluiceBk` |
//! | 8 | 4 | CRC32C of bytes 12 to 128 |
//! | 12 | 4 | CRC32C of the body: keys and payload |
//! | 16 | 8 | number of the segment |
//! | 24 | 8 | offset of the block in the segment |
//! | 32 | 8 | nonce of the segment |
//! | 40 | 8 | sequence of the first record |
//! | 48 | 10 | run of the records (big-endian) |
//! | 58 | 1 | lane: 0 urgent, 1 normal, 2 bulk |
//! | 59 | 1 | zero |
//! | 60 | 4 | number of records; 0, where the block holds keys only |
//! | 64 | 8 | arrival, ns since the Unix epoch |
//! | 72 | 8 | commit group, counted from 1 in each segment |
//! | 80 | 8 | length of the payload in bytes |
//! | 88 | 4 | number of keys |
//! | 92 | 36 | zero |
//! | 128 | 64 each | keys, see [`super::key_file`] |
//! | then | | payload: an Arrow IPC stream of one batch, uncompressed, without an end marker; none for 0 records |
//! | then | | zeros up to the next page |
//!
//! # Invariants
//! - A segment is made under a `.new` name, written, synced, renamed, and its folder synced, before it takes a block.
//! - One vectored write puts down all blocks of a commit group, one after the other; then one `fdatasync` (durability
//!   `fsync`) or none (`os`). Nothing of the group is delivered or answered before that.
//! - What lies past the last block is zeros: the file is preallocated, so that a sync has no change of size to journal.
//!   Small groups are written into pages that hold zeros already, so that there is no change of extents either.
//! - After a write or sync that failed, the segment is never written again, and the header of the next one says how
//!   much of it is valid. Nothing is accepted before that header is durable. That next segment outlives the abandoned
//!   one.
//! - Each start draws a new run and makes a new segment. Segments of earlier runs are read and deleted, never extended.
//! - A segment is deleted when all its blocks are settled, in this order: the keys in it that still count are written
//!   to a synced key file, the segment is unlinked, the folder is synced. (Where the disk has no room for the key file,
//!   it is written right after: a full disk must drain.)
//!
//! # Limits
//! A commit group is at most 8 MiB or one batch. A segment is closed before a group that would take it past
//! `spool.segment_bytes`, so it is larger only if a single group is. A block has at most 2^32 − 1 records and
//! [`MAX_KEYS`] keys.
//!
//! # Recovery
//! All segments are read in the order of their numbers; of each, no more than its successor's header says is valid.
//! A block counts if both its checksums match and it names this segment, this offset and this nonce. At anything else
//! the next block is looked for, page by page. If one follows (or the header of one of a later commit group, which was
//! not begun before this one was acknowledged), or a later segment exists, the bytes between are
//! *damage*: they are copied to `quarantine/`, reported, and skipped. Else they are the *torn* end of what was being
//! written when the power went: they are copied to `quarantine/`, synced, and cut off. Zeros to the end are a clean
//! end. A group that had failed may come back once, if the process died before the next header was durable: the one
//! unknown outcome. An `Idempotency-Key` makes the retry safe, as the key stands in the block.

use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::MetadataVersion;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow_schema::ArrowError;
use sluice_model::{RecordId, RunId, Timestamp};

use super::key_file::KeyRecord;
use super::lane::Lane;
use crate::batch::{BatchError, BlockId, LogBatch};

/// The size of a page: blocks begin on multiples of it, and a segment's header is one.
pub(super) const PAGE: u64 = 4096;
/// How long a block's header is.
pub(super) const BLOCK_HEADER: u64 = 128;
/// How many keys a block has at most.
pub(super) const MAX_KEYS: u32 = 1 << 20;
/// Zeros to pad with.
pub(super) const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

const VERSION: u32 = 1;
/// How buffers stand in a payload: as the widest of their values needs it. Arrow's own 64 would double a small block.
const ALIGNMENT: usize = 8;
const SEGMENT_MAGIC: [u8; 8] = *b"SluiceSg";
const SEGMENT_HEADER: usize = 96;
const BLOCK_MAGIC: [u8; 8] = *b"SluiceBk";

/// Rounds up to a whole number of pages.
pub(super) fn to_page(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE)
}

/// What a segment says of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Predecessor {
    pub number: u64,
    /// How many of its bytes are valid.
    pub valid: u64,
    /// Whether there may be other bytes behind them.
    pub abandoned: bool,
}

/// The first page of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub number: u64,
    pub nonce: u64,
    pub run: RunId,
    pub created: Timestamp,
    pub predecessor: Option<Predecessor>,
}

/// Why a page is no segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    Damaged,
    /// It is whole, but of a version that this program does not know.
    Version(u32),
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let predecessor = self.predecessor.unwrap_or(Predecessor { number: 0, valid: 0, abandoned: false });
        let mut checked = Vec::with_capacity(PAGE as usize);
        checked.extend(VERSION.to_le_bytes());
        checked.extend(self.number.to_le_bytes());
        checked.extend(self.nonce.to_le_bytes());
        checked.extend(self.run.to_bytes());
        checked.extend([u8::from(predecessor.abandoned), 0, 0, 0, 0, 0]);
        checked.extend(self.created.as_nanos().to_le_bytes());
        checked.extend(predecessor.number.to_le_bytes());
        checked.extend(predecessor.valid.to_le_bytes());
        let mut page = seal(SEGMENT_MAGIC, checked, SEGMENT_HEADER);
        page.resize(PAGE as usize, 0);
        page
    }

    pub fn decode(page: &[u8]) -> Result<SegmentHeader, HeaderError> {
        let mut fields = unseal(SEGMENT_MAGIC, page, SEGMENT_HEADER).ok_or(HeaderError::Damaged)?;
        match fields.u32() {
            Some(VERSION) => Self::fields(fields).ok_or(HeaderError::Damaged),
            Some(other) => Err(HeaderError::Version(other)),
            None => Err(HeaderError::Damaged),
        }
    }

    fn fields(mut fields: Fields<'_>) -> Option<SegmentHeader> {
        let (number, nonce) = (fields.u64()?, fields.u64()?);
        let run = RunId::from_bytes(fields.take()?);
        let [abandoned, ..] = fields.take::<6>()?;
        let created = Timestamp::from_nanos(i64::from_le_bytes(fields.take()?));
        let predecessor = Predecessor { number: fields.u64()?, valid: fields.u64()?, abandoned: abandoned == 1 };
        let predecessor = (predecessor.number > 0).then_some(predecessor);
        Some(SegmentHeader { number, nonce, run, created, predecessor })
    }
}

/// What stands before a block's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub body_checksum: u32,
    pub segment: u64,
    pub offset: u64,
    pub nonce: u64,
    pub id: BlockId,
    pub lane: Lane,
    pub arrival: Timestamp,
    pub group: u64,
    pub payload_bytes: u64,
    pub keys: u32,
}

impl BlockHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut checked = Vec::with_capacity(BLOCK_HEADER as usize);
        checked.extend(self.body_checksum.to_le_bytes());
        checked.extend(self.segment.to_le_bytes());
        checked.extend(self.offset.to_le_bytes());
        checked.extend(self.nonce.to_le_bytes());
        checked.extend(self.id.first.to_le_bytes());
        checked.extend(self.id.run.to_bytes());
        checked.extend([self.lane.number(), 0]);
        checked.extend(self.id.rows.to_le_bytes());
        checked.extend(self.arrival.as_nanos().to_le_bytes());
        checked.extend(self.group.to_le_bytes());
        checked.extend(self.payload_bytes.to_le_bytes());
        checked.extend(self.keys.to_le_bytes());
        seal(BLOCK_MAGIC, checked, BLOCK_HEADER as usize)
    }

    /// Reads the header at the beginning of `page`; `None`, if there is none that is whole.
    pub fn decode(page: &[u8]) -> Option<BlockHeader> {
        let mut fields = unseal(BLOCK_MAGIC, page, BLOCK_HEADER as usize)?;
        let body_checksum = fields.u32()?;
        let (segment, offset, nonce, first) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
        let run = RunId::from_bytes(fields.take()?);
        let [lane, _] = fields.take()?;
        let id = BlockId { run, first, rows: fields.u32()? };
        let arrival = Timestamp::from_nanos(i64::from_le_bytes(fields.take()?));
        let (group, payload_bytes, keys) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let lane = Lane::from_number(lane)?;
        let numbered = first.checked_add(u64::from(id.rows)).is_some_and(|end| end <= RecordId::SEQUENCES);
        let sane = numbered && keys <= MAX_KEYS && payload_bytes <= u64::from(u32::MAX) && offset % PAGE == 0;
        let header =
            BlockHeader { body_checksum, segment, offset, nonce, id, lane, arrival, group, payload_bytes, keys };
        sane.then_some(header)
    }

    /// How many bytes of keys and payload there are.
    pub fn body_bytes(&self) -> u64 {
        self.key_bytes() + self.payload_bytes
    }

    pub fn key_bytes(&self) -> u64 {
        u64::from(self.keys) * KeyRecord::BYTES as u64
    }

    /// How many bytes the block takes in its segment.
    pub fn length(&self) -> u64 {
        to_page(BLOCK_HEADER + self.body_bytes())
    }
}

/// A batch as the buffers of its payload, which share their memory with it.
pub(super) fn encode_payload(batch: &LogBatch) -> Result<Vec<Buffer>, ArrowError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let columns = batch.as_arrow();
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    StreamEncoder::try_new_with_options(columns.schema_ref(), options)?.encode(columns)
}

/// The batch of a payload of `rows` records, whose checksum has been verified; shares the payload's memory.
///
/// Arrow's decoder panics at bytes that no encoder writes. Where such a payload has come through its checksum all the
/// same, that is damage like any other, and no reason for a thread to end.
pub(super) fn decode_payload(payload: Buffer, rows: u32) -> Result<LogBatch, BatchError> {
    catch_unwind(AssertUnwindSafe(|| decode(payload, rows)))
        .unwrap_or_else(|_| Err(BatchError::Layout("the decoder could not go on".to_owned())))
}

fn decode(mut payload: Buffer, rows: u32) -> Result<LogBatch, BatchError> {
    let mut decoder = StreamDecoder::new();
    let decoded: Option<RecordBatch> = if payload.is_empty() { None } else { decoder.decode(&mut payload)? };
    let batch = LogBatch::try_new(decoded.ok_or_else(|| BatchError::Layout("no batch in the payload".to_owned()))?)?;
    let expected = batch.len() == rows as usize && payload.is_empty();
    if expected { Ok(batch) } else { Err(BatchError::Layout("the payload is not as its header says".to_owned())) }
}

/// The checksum of a body.
pub(super) fn body_checksum(keys: &[u8], payload: &[Buffer]) -> u32 {
    payload.iter().fold(crc32c::crc32c(keys), |checksum, part| crc32c::crc32c_append(checksum, part))
}

/// Appends the parts of a block, and its padding, to what is written.
pub(super) fn push_slices<'a>(head: &'a [u8], keys: &'a [u8], payload: &'a [Buffer], out: &mut Vec<IoSlice<'a>>) {
    let parts = [head, keys].into_iter().chain(payload.iter().map(Buffer::as_slice));
    let before = out.len();
    out.extend(parts.filter(|part| !part.is_empty()).map(IoSlice::new));
    let bytes: u64 = out.iter().skip(before).map(|part| part.len() as u64).sum();
    let padding = ZEROS.get(..(to_page(bytes) - bytes) as usize).unwrap_or_default();
    if !padding.is_empty() {
        out.push(IoSlice::new(padding));
    }
}

/// Puts magic and checksum before `checked`, and zeros after it up to `length`.
pub(super) fn seal(magic: [u8; 8], mut checked: Vec<u8>, length: usize) -> Vec<u8> {
    checked.resize(length - 12, 0);
    let mut page = Vec::with_capacity(length);
    page.extend(magic);
    page.extend(crc32c::crc32c(&checked).to_le_bytes());
    page.extend(checked);
    page
}

/// The fields behind magic and checksum, if both are right.
pub(super) fn unseal(magic: [u8; 8], page: &[u8], length: usize) -> Option<Fields<'_>> {
    let mut fields = Fields(page.get(..length)?);
    let right = fields.take::<8>()? == magic && fields.u32()? == crc32c::crc32c(fields.0);
    right.then_some(fields)
}

/// Puts the checksum right of whatever header `page` begins with.
#[cfg(any(test, fuzzing))]
pub(super) fn mend(page: &mut [u8]) {
    reseal(SEGMENT_MAGIC, page, SEGMENT_HEADER);
    reseal(BLOCK_MAGIC, page, BLOCK_HEADER as usize);
}

/// Puts the checksum of what [`seal`] made right, if it is of that kind.
#[cfg(any(test, fuzzing))]
pub(super) fn reseal(magic: [u8; 8], page: &mut [u8], length: usize) {
    let Some((sealed, checked)) = page.get_mut(..length).and_then(|page| page.split_at_mut_checked(12)) else { return };
    if let Some(field) = sealed.strip_prefix(&magic).is_some().then_some(sealed).and_then(|sealed| sealed.get_mut(8..))
    {
        field.copy_from_slice(&crc32c::crc32c(checked).to_le_bytes());
    }
}

/// Takes numbers from the front of bytes.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
