//! Reading segments: one block whole, or all that a segment holds, without ever holding more than a block's page.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_buffer::Buffer;
use bytes::Bytes;

use super::delivery::Place;
use super::key_file::KeyRecord;
use super::segment::{self, BLOCK_HEADER, BlockHeader, HeaderError, PAGE, SegmentHeader, ZEROS, to_page};
use crate::batch::{BatchError, LogBatch};
use crate::buffers::Recycled;
use crate::files::{Access, File, Files};

/// How much of a body is read at a time.
const CHUNK: u64 = 1 << 20;

/// What stands somewhere in a segment.
#[derive(Debug)]
pub(super) enum Found {
    Block(BlockHeader, Vec<KeyRecord>),
    /// No block that is whole; what it was, if its header can still be read.
    Bad(Range<u64>, Option<BlockHeader>),
}

/// Where the torn end begins in what was found in the last segment: behind the last whole block, and behind every block
/// of an earlier commit group than the last one, as a group is written only when the one before it is acknowledged.
pub(super) fn torn_from(found: &[Found]) -> usize {
    let group = |found: &Found| match found {
        Found::Block(header, _) | Found::Bad(_, Some(header)) => Some(header.group),
        Found::Bad(_, None) => None,
    };
    let last = found.iter().filter_map(group).max();
    let stays = |found: &Found| matches!(found, Found::Block(..)) || group(found).is_some_and(|it| Some(it) < last);
    found.iter().rposition(stays).map_or(0, |place| place + 1)
}

/// What stands at the front of a segment.
#[derive(Debug)]
pub(super) enum HeaderState {
    Whole(SegmentHeader),
    /// It is that of the segment with this number.
    Other(u64),
    Damaged,
    /// Its version, which this program does not know.
    Newer(u32),
}

/// Reads only the header of a segment.
pub(super) fn header_state(files: &dyn Files, path: &Path, number: u64) -> io::Result<HeaderState> {
    let file = files.open(path, Access::Read)?;
    let mut page = ZEROS;
    let filled = file.read_at(&mut page, 0).unwrap_or(0);
    Ok(match SegmentHeader::decode(page.get(..filled).unwrap_or_default()) {
        Ok(header) if header.number == number => HeaderState::Whole(header),
        Ok(header) => HeaderState::Other(header.number),
        Err(HeaderError::Damaged) => HeaderState::Damaged,
        Err(HeaderError::Version(version)) => HeaderState::Newer(version),
    })
}

/// Reads only the header of a segment; `None`, if it has none that is its own.
///
/// # Errors
/// Where the file cannot be read, or a newer version of the program wrote it.
pub(super) fn header(files: &dyn Files, path: &Path, number: u64) -> Result<Option<SegmentHeader>, String> {
    match header_state(files, path, number).map_err(|error| error.to_string())? {
        HeaderState::Whole(header) => Ok(Some(header)),
        HeaderState::Other(_) | HeaderState::Damaged => Ok(None),
        HeaderState::Newer(version) => Err(newer(version)),
    }
}

/// Says that a file is of a version that this program does not know.
pub(super) fn newer(version: u32) -> String {
    format!("it is of version {version} of the format, which this program does not know")
}

/// Reads a segment up to `limit`, its valid length as far as that is known: what stands in it, in order, but for
/// zeros at the end.
pub(super) fn scan(
    files: &dyn Files,
    path: &Path,
    number: u64,
    header: Option<&SegmentHeader>,
    limit: Option<u64>,
) -> io::Result<Vec<Found>> {
    let file = files.open(path, Access::Read)?;
    let length = file.size()?;
    let nonce = header.map(|header| header.nonce);
    let mut scanner = Scanner { file, number, nonce, end: limit.unwrap_or(length), page: Box::new(ZEROS) };
    let mut found = Vec::new();
    if header.is_none() {
        found.push(Found::Bad(0..PAGE.min(scanner.end), None));
    }
    let mut position = PAGE;
    while position < scanner.end {
        let next = match scanner.block_at(position) {
            Some(header) => {
                let end = position + header.length();
                match scanner.keys_of(&header) {
                    Some(keys) => found.push(Found::Block(header, keys)),
                    None => found.push(Found::Bad(position..end.min(scanner.end), Some(header))),
                }
                end
            }
            None => {
                let gap = scanner.gap(position);
                let clean_end = gap.zeros && gap.next >= scanner.end && limit.is_none();
                if !clean_end {
                    found.push(Found::Bad(position..gap.next, None));
                }
                gap.next
            }
        };
        position = next;
    }
    Ok(found)
}

struct Scanner {
    file: Arc<dyn File>,
    number: u64,
    /// Taken from the first block, if the header is damaged.
    nonce: Option<u64>,
    end: u64,
    page: Box<[u8; PAGE as usize]>,
}

struct Gap {
    /// Where a block's header stands again, or the end.
    next: u64,
    zeros: bool,
}

impl Scanner {
    /// The header of the block at `position`, if it is one of this segment.
    fn block_at(&mut self, position: u64) -> Option<BlockHeader> {
        let filled = self.read_page(position)?;
        let header = BlockHeader::decode(self.page.get(..filled)?)?;
        let ours = header.segment == self.number && header.offset == position;
        let header = Some(header).filter(|_| ours)?;
        let nonce = *self.nonce.get_or_insert(header.nonce);
        (header.nonce == nonce).then_some(header)
    }

    /// How many bytes of the page at `position` there are; nothing, if they cannot be read.
    fn read_page(&mut self, position: u64) -> Option<usize> {
        let within = PAGE.min(self.end.saturating_sub(position)) as usize;
        self.file.read_at(self.page.get_mut(..within)?, position).ok()
    }

    /// Looks for the next block behind `position`, where there is none.
    fn gap(&mut self, position: u64) -> Gap {
        let mut zeros = true;
        let mut next = position;
        while next < self.end {
            if next > position && self.block_at(next).is_some() {
                break;
            }
            let filled = self.read_page(next);
            let blank = filled.is_some_and(|filled| self.page.get(..filled) == ZEROS.get(..filled));
            zeros &= blank;
            next += PAGE;
        }
        Gap { next: next.min(self.end), zeros }
    }

    /// The keys of a block, if its body is whole.
    fn keys_of(&self, header: &BlockHeader) -> Option<Vec<KeyRecord>> {
        let end = header.offset + BLOCK_HEADER + header.body_bytes();
        if end > self.end {
            return None;
        }
        let mut keys = vec![0; header.key_bytes() as usize];
        let mut position = header.offset + BLOCK_HEADER;
        self.file.read_exact_at(&mut keys, position).ok()?;
        let mut checksum = crc32c::crc32c(&keys);
        position += keys.len() as u64;
        let mut chunk = vec![0; CHUNK.min(end - position) as usize];
        while position < end {
            let part = chunk.get_mut(..CHUNK.min(end - position) as usize)?;
            self.file.read_exact_at(part, position).ok()?;
            checksum = crc32c::crc32c_append(checksum, part);
            position += part.len() as u64;
        }
        (checksum == header.body_checksum).then(|| KeyRecord::decode_all(&keys).collect())
    }
}

/// Why a block cannot be read back.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("its checksum does not match")]
    Damaged,
    #[error("its payload cannot be decoded: {0}")]
    Payload(#[from] BatchError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a block's records back.
pub(super) fn read_block(files: &dyn Files, path: &Path, place: Place) -> Result<(LogBatch, BlockHeader), ReadError> {
    let mut block = Pages::new(place.length as usize);
    let filled = files.open_direct(path)?.read_at(block.room(), place.offset)?;
    let block = block.filled(filled);
    let header = BlockHeader::decode(block.get(..filled.min(PAGE as usize)).unwrap_or_default())
        .filter(|header| header.segment == place.segment && header.offset == place.offset)
        .filter(|header| to_page(header.length()) == place.length)
        .ok_or(ReadError::Damaged)?;
    let body = BLOCK_HEADER as usize..(BLOCK_HEADER + header.body_bytes()) as usize;
    if block.get(body.clone()).map(crc32c::crc32c) != Some(header.body_checksum) {
        return Err(ReadError::Damaged);
    }
    let keys = header.key_bytes() as usize;
    let payload = Buffer::from(block).slice_with_length(body.start + keys, body.len() - keys);
    Ok((segment::decode_payload(payload, header.id.rows)?, header))
}

/// Memory that begins where a page does.
struct Pages {
    memory: Recycled,
    start: usize,
    length: usize,
}

impl Pages {
    fn new(length: usize) -> Pages {
        let memory = Recycled::with_length(length + PAGE as usize);
        let start = memory.as_ptr().align_offset(PAGE as usize);
        Pages { memory, start, length }
    }

    /// Those pages.
    fn room(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }

    /// As far as they are filled.
    fn filled(self, bytes: usize) -> Bytes {
        Bytes::from_owner(self.memory).slice(self.start..self.start + bytes)
    }
}
