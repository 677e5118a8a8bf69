//! The file of a segment, of which every byte is verified as it is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::ReadError;
use crate::files::File;
use crate::store::embedded::seal::Seal;

/// A file that many readers share: every read says where, and verifies what it reads.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) file: Arc<dyn File>,
    pub(super) length: u64,
    /// Segments of format 1 have none.
    pub(super) seal: Option<Arc<Seal>>,
    /// The end of the file from a place on, as it was read and verified, while the footer is decoded.
    pub(super) tail: (u64, Bytes),
    /// Where it is counted how many bytes are read, if it is.
    pub(super) read_bytes: Option<Arc<AtomicU64>>,
}

impl Source {
    /// Reads bytes, all of which must be there.
    pub(super) fn read(&self, start: u64, length: usize) -> Result<Bytes, ReadError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ReadError::Damaged(format!("{length} bytes from {start} on are not all there")));
        }
        let (tail_start, tail) = &self.tail;
        if let Some(place) = start.checked_sub(*tail_start) {
            return Ok(tail.slice(place as usize..place as usize + length));
        }
        if let Some(count) = &self.read_bytes {
            let touched = self.seal.as_ref().map(|seal| seal.touched(start, length));
            count.fetch_add(touched.map_or(length as u64, |range| range.end - range.start), Ordering::Relaxed);
        }
        if let Some(seal) = &self.seal {
            return seal.read_verified(&*self.file, start, length);
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Source {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        // Page headers are read this way: short, and only where a file has no index of its pages.
        const AHEAD_BYTES: u64 = 16 << 10;
        let length = AHEAD_BYTES.min(self.length.saturating_sub(start));
        Ok(self.get_bytes(start, length as usize)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.read(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}
