//! What must hold for any bytes in the spool's files, for the fuzzers.

use std::path::Path;

use arrow_buffer::Buffer;
use sluice_model::RecordId;

use super::delivery::Place;
use super::key_file::{self, KeyFileState, KeyRecord};
use super::scan::{self, Found, ReadError};
use super::segment::{self, BLOCK_HEADER, BlockHeader, PAGE, decode_payload, encode_payload, to_page};
use crate::batch::{Records, RowWriter};
use crate::files::Disk;

/// Which checksums are put right before the bytes are read, so that the fuzzer gets behind them.
const MEND_HEADERS: u8 = 1;
const MEND_BODIES: u8 = 2;
/// Whether the segment's valid length is said by its successor.
const LIMITED: u8 = 4;

/// The number of the segment that is read.
const NUMBER: u64 = 1;

/// A segment, written to `file`. Its first byte chooses which checksums are put right.
///
/// What is found stands in the file, in order and apart; a block's body has the checksum that its header says; and a
/// block is read back with its records, or is an error.
pub fn segment(data: &[u8], file: &Path) {
    let Some((choices, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    mend(&mut bytes, *choices);
    if std::fs::write(file, &bytes).is_err() {
        return;
    }
    let Ok(header) = scan::header(&Disk, file, NUMBER) else { return };
    let limit = (choices & LIMITED != 0).then_some(bytes.len() as u64 / 2);
    let Ok(found) = scan::scan(&Disk, file, NUMBER, header.as_ref(), limit) else { return };
    let end = limit.unwrap_or(bytes.len() as u64);
    let mut reached = 0;
    for found in &found {
        let range = match found {
            Found::Block(header, keys) => {
                check_block(header, keys, &bytes, file);
                header.offset..header.offset + header.length()
            }
            Found::Bad(range, _) => range.clone(),
        };
        // A file without a byte has no header, which is damage too.
        assert!(range.start >= reached && (range.start < range.end || end == 0), "{range:?} after {reached}");
        assert!(range.start <= end && range.end <= to_page(end), "{range:?} is past {end}");
        reached = range.end;
    }
}

fn check_block(header: &BlockHeader, keys: &[KeyRecord], bytes: &[u8], file: &Path) {
    let start = (header.offset + BLOCK_HEADER) as usize;
    let body = bytes.get(start..start + header.body_bytes() as usize);
    assert_eq!(body.map(crc32c::crc32c), Some(header.body_checksum), "a block is given whose checksum is wrong");
    assert_eq!(keys.len(), header.keys as usize);
    let place = Place { segment: NUMBER, offset: header.offset, length: header.length() };
    match scan::read_block(&Disk, file, place) {
        Ok((batch, again)) => {
            assert_eq!((batch.len(), &again), (header.id.rows as usize, header));
            assert!(header.id.end() <= RecordId::SEQUENCES, "an id that cannot be");
        }
        Err(ReadError::Payload(_)) => {}
        Err(error) => unreachable!("a block that was just found cannot be read: {error}"),
    }
}

/// Puts the checksums of headers, and of the bodies that they tell of, right.
fn mend(bytes: &mut [u8], choices: u8) {
    for offset in (0..bytes.len()).step_by(PAGE as usize) {
        let Some(page) = bytes.get_mut(offset..) else { return };
        if choices & MEND_BODIES != 0 {
            mend_body(page);
        }
        if choices & MEND_HEADERS != 0 {
            segment::mend(page);
        }
    }
}

fn mend_body(page: &mut [u8]) {
    let number = |at: usize, length: usize| {
        let bytes = page.get(at..at + length).unwrap_or_default();
        bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let length = number(80, 8).saturating_add(number(88, 4).saturating_mul(KeyRecord::BYTES as u64));
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(BLOCK_HEADER as usize));
    let checksum = end.and_then(|end| page.get(BLOCK_HEADER as usize..end)).map(crc32c::crc32c);
    if let (Some(checksum), Some(field)) = (checksum, page.get_mut(12..16))
        && field.len() == 4
    {
        field.copy_from_slice(&checksum.to_le_bytes());
    }
}

/// The payload of a block, behind two bytes with the number of its records: what is read is written and read again as the
/// same batch, and can be answered with.
pub fn payload(data: &[u8]) {
    let Some((rows, payload)) = data.split_first_chunk() else { return };
    let rows = u32::from(u16::from_le_bytes(*rows));
    let Ok(batch) = decode_payload(Buffer::from(payload), rows) else { return };
    assert_eq!(batch.len(), rows as usize);
    let records = Records::numbered(RecordId::from_u128(7), batch.clone());
    let writer = RowWriter::new(&records);
    let mut out = Vec::new();
    (0..records.len()).for_each(|row| writer.write(row, &mut out));
    let Ok(parts) = encode_payload(&batch) else { unreachable!("a batch that was read cannot be written") };
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
    match decode_payload(Buffer::from(bytes), rows) {
        Ok(again) => assert!(again == batch || batch.is_empty(), "a batch is another one after it was written"),
        Err(error) => assert!(batch.is_empty(), "a batch that was written cannot be read: {error}"),
    }
}

/// A key file; its first byte says whether its checksums are put right. What is read is written as the same bytes.
pub fn key_file(data: &[u8]) {
    let Some((choices, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if choices & MEND_HEADERS != 0 {
        key_file::mend(&mut bytes);
    }
    if let Some(KeyFileState::Whole(keys)) = key_file::decode(&bytes) {
        let (header, body) = key_file::encode(&keys);
        let again = [header, body].concat();
        assert_eq!(again.len(), bytes.len());
        assert!(matches!(key_file::decode(&again), Some(KeyFileState::Whole(same)) if same == keys));
    }
}
