//! The seal of a segment: checksums of every byte of the file, so that damage is never taken for records.
//!
//! # Specification
//!
//! | from | to | what |
//! |---|---|---|
//! | 0 | C | Parquet's magic, row groups and page indexes, and our regions |
//! | C | S | for each [`BLOCK`] bytes from 0 to C, the last ones being fewer: their CRC32C, little-endian |
//! | S | F | the seal, [`SEAL_BYTES`] long |
//! | F | end | Parquet's footer, its length, Parquet's magic |
//!
//! Parquet finds its footer from the end and everything else from there, so other readers pass by what stands between.
//! The seal, all numbers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `SluiceSl` |
//! | 8 | 4 | CRC32C of bytes 12 to 40 |
//! | 12 | 4 | CRC32C of everything from F to the end |
//! | 16 | 8 | C |
//! | 24 | 4 | CRC32C of the bytes from C to S |
//! | 28 | 4 | [`BLOCK`] |
//! | 32 | 8 | the length of the file |
//!
//! Footer, seal and checksums are verified when a segment is opened; a block is each time that a byte of it is read.
//! Segments of format 1 have no seal; those of every later format must have one.

use std::io::{self, Write};
use std::ops::Range;

use bytes::Bytes;

use super::reader::ReadError;
use crate::files::File;

/// How many bytes have a checksum of their own: what a disk reads at least.
const BLOCK: usize = 4096;

/// The length of the seal.
const SEAL_BYTES: usize = 40;

const MAGIC: [u8; 8] = *b"SluiceSl";

/// Parquet's end: the footer's length, and the magic.
const PARQUET_END: usize = 8;

/// Writes a Parquet file, and its seal.
pub(super) struct Sealing<W> {
    inner: W,
    /// How many bytes the checksums so far, and `open`, cover.
    written: u64,
    checksums: Vec<u8>,
    /// The checksum of the block that is not full yet, and how much of it there is.
    open: (u32, usize),
    /// What was written since [`Sealing::hold`].
    held: Option<Vec<u8>>,
}

impl<W: Write> Sealing<W> {
    pub(super) fn new(inner: W) -> Sealing<W> {
        Sealing { inner, written: 0, checksums: Vec::new(), open: (0, 0), held: None }
    }

    /// Keeps back what is written from now on. To be called before Parquet's footer is written, which the seal precedes.
    pub(super) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Writes the seal, and what was kept back. Gives the length of the file.
    pub(super) fn seal(&mut self) -> io::Result<u64> {
        let held = self.held.take().unwrap_or_default();
        let footer = footer_bytes(&held).filter(|footer| *footer <= held.len());
        let footer = footer.ok_or_else(|| io::Error::other("the file does not end as Parquet does"))?;
        let (before, footer) = held.split_at(held.len() - footer);
        self.pass(before)?;
        if self.open.1 > 0 {
            self.close_block();
        }
        let length = self.written + (self.checksums.len() + SEAL_BYTES + footer.len()) as u64;
        let mut checked = Vec::with_capacity(SEAL_BYTES - 12);
        checked.extend(crc32c::crc32c(footer).to_le_bytes());
        checked.extend(self.written.to_le_bytes());
        checked.extend(crc32c::crc32c(&self.checksums).to_le_bytes());
        checked.extend((BLOCK as u32).to_le_bytes());
        checked.extend(length.to_le_bytes());
        self.inner.write_all(&self.checksums)?;
        self.inner.write_all(&MAGIC)?;
        self.inner.write_all(&crc32c::crc32c(&checked).to_le_bytes())?;
        self.inner.write_all(&checked)?;
        self.inner.write_all(footer)?;
        self.inner.flush()?;
        Ok(length)
    }

    /// The file.
    pub(super) fn inner(&self) -> &W {
        &self.inner
    }

    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        self.written += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (checksum, filled) = self.open;
            let (part, after) = rest.split_at(rest.len().min(BLOCK - filled));
            self.open = (crc32c::crc32c_append(checksum, part), filled + part.len());
            if self.open.1 == BLOCK {
                self.close_block();
            }
            rest = after;
        }
        Ok(())
    }

    fn close_block(&mut self) {
        let (checksum, _) = std::mem::take(&mut self.open);
        self.checksums.extend(checksum.to_le_bytes());
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.held {
            Some(held) => held.extend_from_slice(bytes),
            None => self.pass(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes the checksums of a segment anew, whatever its bytes are now; `None`, where it has no seal. This is how tests and
/// fuzzers get past it.
#[cfg(any(test, fuzzing))]
pub(super) fn put_right(bytes: &[u8]) -> Option<Vec<u8>> {
    let footer = footer_bytes(bytes)?;
    let place = bytes.len().checked_sub(footer + SEAL_BYTES)?;
    let (before, seal_and_footer) = bytes.split_at(place);
    seal_and_footer.strip_prefix(&MAGIC)?;
    let content = place - place.div_ceil(BLOCK + 4) * 4;
    let mut sealing = Sealing::new(Vec::with_capacity(bytes.len() + 8));
    sealing.pass(before.get(..content)?).ok()?;
    sealing.hold();
    sealing.write_all(seal_and_footer.get(SEAL_BYTES..)?).ok()?;
    sealing.seal().ok()?;
    Some(sealing.inner)
}

/// The end of a file as it was read: the footer, and the seal before it, if there is one.
pub(super) struct Tail {
    /// Where `footer` begins.
    pub(super) start: u64,
    /// Parquet's footer, its length and magic.
    pub(super) footer: Bytes,
    pub(super) seal: Option<Seal>,
}

/// The verified checksums of a segment.
#[derive(Debug)]
pub(super) struct Seal {
    /// Up to where the blocks go.
    end: u64,
    checksums: Vec<u8>,
}

impl Tail {
    /// Reads and verifies the end of a file of `length` bytes.
    pub(super) fn read(file: &dyn File, length: u64) -> Result<Tail, ReadError> {
        let end = read(file, length.saturating_sub(PARQUET_END as u64), length.min(PARQUET_END as u64) as usize)?;
        let footer = footer_bytes(&end).filter(|bytes| *bytes as u64 <= length);
        let footer = footer.ok_or_else(|| ReadError::Damaged("the file does not end as a segment does".to_owned()))?;
        let start = length - footer as u64;
        let place = start.saturating_sub(SEAL_BYTES as u64);
        let bytes = Bytes::from(read(file, place, (length - place) as usize)?);
        let (seal, footer) = (bytes.slice(..(start - place) as usize), bytes.slice((start - place) as usize..));
        let seal = match seal.strip_prefix(&MAGIC) {
            Some(fields) => Some(Seal::read(file, fields, place, &footer, length)?),
            None => None,
        };
        Ok(Tail { start, footer, seal })
    }
}

impl Seal {
    fn read(file: &dyn File, fields: &[u8], place: u64, footer: &[u8], length: u64) -> Result<Seal, ReadError> {
        let damaged = |what: &str| ReadError::Damaged(format!("the checksum of {what} is wrong"));
        let [checksum, footer_checksum, low, high, checksums_checksum, block, length_low, length_high] =
            words(fields).ok_or_else(|| damaged("the seal"))?;
        if crc32c::crc32c(fields.get(4..).unwrap_or_default()) != checksum {
            return Err(damaged("the seal"));
        }
        if u64::from(length_low) | u64::from(length_high) << 32 != length {
            return Err(ReadError::Damaged("the file is not as long as its seal says".to_owned()));
        }
        if crc32c::crc32c(footer) != footer_checksum {
            return Err(damaged("the footer"));
        }
        let end = u64::from(low) | u64::from(high) << 32;
        let bytes = end.div_ceil(BLOCK as u64).saturating_mul(4);
        if block != BLOCK as u32 || end.checked_add(bytes) != Some(place) {
            return Err(ReadError::Damaged("the seal does not fit the file".to_owned()));
        }
        let checksums = read(file, end, bytes as usize)?;
        if crc32c::crc32c(&checksums) != checksums_checksum {
            return Err(damaged("the checksums"));
        }
        Ok(Seal { end, checksums })
    }

    /// Reads bytes, which are within the file, with the whole of every block that they touch, and verifies these.
    pub(super) fn read_verified(&self, file: &dyn File, start: u64, length: usize) -> Result<Bytes, ReadError> {
        let block = BLOCK as u64;
        let Range { start: from, end: to } = self.touched(start, length);
        let bytes = read(file, from, (to - from) as usize)?;
        let verified = self.end.saturating_sub(from).min(bytes.len() as u64) as usize;
        for (number, part) in (from / block..).zip(bytes.get(..verified).unwrap_or_default().chunks(BLOCK)) {
            let place = number as usize * 4;
            let expected = self.checksums.get(place..place + 4);
            if expected != Some(&crc32c::crc32c(part).to_le_bytes()) {
                let (first, last) = (number * block, number * block + part.len() as u64);
                return Err(ReadError::Damaged(format!("the checksum of bytes {first} to {last} is wrong")));
            }
        }
        let skipped = (start - from) as usize;
        Ok(Bytes::from(bytes).slice(skipped..skipped + length))
    }

    /// What is read where so many bytes are wanted.
    pub(super) fn touched(&self, start: u64, length: usize) -> Range<u64> {
        let block = BLOCK as u64;
        let from = if start < self.end { start / block * block } else { start };
        let end = start + length as u64;
        from..end.max(end.next_multiple_of(block).min(self.end))
    }

    /// Reads all blocks and tells which do not fit their checksums; neighbours are one range.
    pub(super) fn damaged_ranges(&self, file: &dyn File) -> Result<Vec<Range<u64>>, ReadError> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut position = 0;
        while position < self.end {
            let end = (position + BLOCK as u64).min(self.end);
            match self.read_verified(file, position, (end - position) as usize) {
                Ok(_) => {}
                Err(ReadError::Damaged(_)) => match ranges.last_mut() {
                    Some(range) if range.end == position => range.end = end,
                    _ => ranges.push(position..end),
                },
                Err(error) => return Err(error),
            }
            position = end;
        }
        Ok(ranges)
    }
}

/// How long Parquet's footer is with its own end, going by the last bytes of the file.
fn footer_bytes(bytes: &[u8]) -> Option<usize> {
    let end = bytes.last_chunk::<PARQUET_END>()?;
    let (length, magic) = end.split_at(4);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    if magic == b"PAR1" { length.checked_add(PARQUET_END) } else { None }
}

/// The numbers in a seal, behind its magic.
fn words<const N: usize>(fields: &[u8]) -> Option<[u32; N]> {
    let words = fields.chunks_exact(4).filter_map(|word| word.try_into().ok().map(u32::from_le_bytes));
    words.collect::<Vec<_>>().try_into().ok()
}

fn read(file: &dyn File, start: u64, length: usize) -> Result<Vec<u8>, ReadError> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}
