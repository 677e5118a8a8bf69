//! The memory tier: what was written and is not in a segment yet, searchable at once.

use std::sync::Arc;
use std::time::Instant;

use sluice_model::{RecordId, Timestamp};

use super::extent::Extent;
use crate::batch::{Block, BlockId, Records};

/// Chunks below so many rows and [`SMALL_BYTES`] are merged.
const SMALL_ROWS: usize = 4096;
const SMALL_BYTES: usize = 1 << 20;

/// How many small chunks there are at most.
const SMALL_CHUNKS: usize = 64;

/// How much a chunk holds at most, unless one record is larger; greater blocks are cut.
const CHUNK_ROWS: usize = 128 << 10;
const CHUNK_BYTES: usize = 64 << 20;

/// Records of one or many blocks, in the order of their arrival.
pub(super) struct Chunk {
    pub(super) records: Records,
    pub(super) extent: Extent,
    pub(super) bytes: usize,
    /// Where the rows come from, in order.
    pub(super) parts: Vec<Part>,
}

/// Rows of one block, or of a part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) block: BlockId,
    pub(super) arrival: Timestamp,
}

impl Chunk {
    /// `None`, if the block has no records.
    fn of(block: &Block) -> Option<Chunk> {
        let records = block.records();
        let extent = Extent::of(&records.logs)?;
        let bytes = records.size_bytes();
        Some(Chunk { records, extent, bytes, parts: vec![Part { block: block.id, arrival: block.arrival }] })
    }

    /// Whether the record `id` is here, and in which row.
    pub(super) fn find(&self, id: RecordId) -> Option<u32> {
        let mut start = 0;
        for Part { block, .. } in &self.parts {
            if block.run == id.run && (block.first..block.end()).contains(&id.sequence) {
                return u32::try_from(id.sequence - block.first).ok().map(|row| start + row);
            }
            start += block.rows;
        }
        None
    }

    fn is_small(&self) -> bool {
        self.records.len() < SMALL_ROWS && self.bytes < SMALL_BYTES
    }

    /// One chunk of several; `None`, if they cannot be joined, which is when their texts are past 2 GiB.
    fn join(chunks: &[Arc<Chunk>]) -> Option<Chunk> {
        let records: Vec<Records> = chunks.iter().map(|chunk| chunk.records.clone()).collect();
        let records = Records::concat(&records).ok()?;
        let mut extent = chunks.first()?.extent.clone();
        chunks.iter().for_each(|chunk| extent.cover(&chunk.extent));
        let parts = chunks.iter().flat_map(|chunk| chunk.parts.iter().copied()).collect();
        Some(Chunk { bytes: records.size_bytes(), records, extent, parts })
    }
}

/// The chunks that wait for a flush.
#[derive(Default)]
pub(super) struct Memory {
    /// In the order of their arrival; from `large` on they are small.
    chunks: Vec<Arc<Chunk>>,
    large: usize,
    rows: usize,
    bytes: usize,
    /// When the oldest of them was written.
    since: Option<Instant>,
}

impl Memory {
    /// The chunks of a block, or of a part of one.
    pub(super) fn chunks_of(block: &Block) -> Vec<Chunk> {
        let rows = block.batch.len();
        let pieces = rows.div_ceil(CHUNK_ROWS).max(block.batch.size_bytes().div_ceil(CHUNK_BYTES)).max(1);
        let step = rows.div_ceil(pieces).max(1);
        // A block's rows are counted by u32.
        let piece = |start: usize| block.slice(start as u32, step.min(rows - start) as u32);
        (0..rows).step_by(step).filter_map(|start| Chunk::of(&piece(start))).collect()
    }

    /// Takes a chunk.
    pub(super) fn push(&mut self, chunk: Chunk) {
        self.rows += chunk.records.len();
        self.bytes += chunk.bytes;
        self.since.get_or_insert_with(Instant::now);
        let small = chunk.is_small();
        self.chunks.push(Arc::new(chunk));
        if small {
            self.merge_small();
        } else {
            // The order among chunks is of no meaning, so a large one may go before the small ones.
            let last = self.chunks.len() - 1;
            self.chunks.swap(self.large, last);
            self.large += 1;
        }
    }

    /// Merges the small chunks once they are many, or enough for a chunk of full size.
    fn merge_small(&mut self) {
        let Some(small) = self.chunks.get(self.large..) else { return };
        let rows: usize = small.iter().map(|chunk| chunk.records.len()).sum();
        let bytes: usize = small.iter().map(|chunk| chunk.bytes).sum();
        if small.len() < 2 || (rows < SMALL_ROWS && bytes < SMALL_BYTES && small.len() < SMALL_CHUNKS) {
            return;
        }
        let Some(merged) = Chunk::join(small) else {
            self.large = self.chunks.len();
            return;
        };
        self.bytes = (self.bytes + merged.bytes).saturating_sub(bytes);
        self.chunks.truncate(self.large);
        self.large += usize::from(!merged.is_small());
        self.chunks.push(Arc::new(merged));
    }

    /// Takes chunks out for a flush: up to `rows_max` rows and `bytes_max` bytes, but one chunk at least.
    pub(super) fn take(&mut self, rows_max: usize, bytes_max: usize) -> Vec<Arc<Chunk>> {
        let (mut rows, mut bytes) = (0, 0);
        let fitting = self.chunks.iter().take_while(|chunk| {
            rows += chunk.records.len();
            bytes += chunk.bytes;
            rows <= rows_max && bytes <= bytes_max
        });
        let count = fitting.count().max(1).min(self.chunks.len());
        let taken: Vec<Arc<Chunk>> = self.chunks.drain(..count).collect();
        self.large = self.large.saturating_sub(count);
        self.rows -= taken.iter().map(|chunk| chunk.records.len()).sum::<usize>();
        self.bytes = self.bytes.saturating_sub(taken.iter().map(|chunk| chunk.bytes).sum());
        // What is left came while the last flush ran.
        self.since = self.since.filter(|_| !self.chunks.is_empty()).map(|_| Instant::now());
        taken
    }

    /// The chunks there are.
    pub(super) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest record was written; `None`, if there is none.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::testing::{block, row};

    fn push(memory: &mut Memory, block: &Block) {
        Memory::chunks_of(block).into_iter().for_each(|chunk| memory.push(chunk));
    }

    #[test]
    fn small_blocks_are_merged_and_every_record_stays_findable() {
        let mut memory = Memory::default();
        for first in 0..5000 {
            push(&mut memory, &block(first * 2, &[row(first as i64, "svc", "m")]));
        }
        assert_eq!(memory.rows(), 5000);
        assert!(memory.chunks().len() <= SMALL_CHUNKS + 1, "{} chunks", memory.chunks().len());
        assert!(memory.chunks().iter().any(|chunk| chunk.records.len() >= SMALL_ROWS));
        for first in [0, 1, 4095, 4999] {
            let id = block(first * 2, &[row(0, "", "")]).id.first_record();
            let found: Vec<_> = memory.chunks().iter().filter_map(|chunk| Some((chunk, chunk.find(id)?))).collect();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].0.records.id(found[0].1 as usize), id);
        }
        let taken: usize = memory.take(usize::MAX, usize::MAX).iter().map(|chunk| chunk.records.len()).sum();
        assert_eq!((taken, memory.rows(), memory.bytes()), (5000, 0, 0));
        assert!(memory.since().is_none());
    }

    #[test]
    fn a_great_block_is_cut() {
        let rows: Vec<_> = (0..CHUNK_ROWS as i64 + 5).map(|time| row(time, "svc", "")).collect();
        let mut memory = Memory::default();
        push(&mut memory, &block(7, &rows));
        assert_eq!(memory.chunks().len(), 2);
        let first = memory.take(CHUNK_ROWS, usize::MAX);
        assert!(first[0].records.len() <= CHUNK_ROWS);
        assert_eq!(first[0].records.len() + memory.rows(), rows.len());
    }
}
