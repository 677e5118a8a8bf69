//! Blocks: batches that have their ids, as the spool keeps and delivers them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice_model::{RecordId, RunId, Timestamp};

use super::{LogBatch, Records};

/// Which records a block holds: `rows` of them, numbered from `first` on, of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// The run that accepted the records.
    pub run: RunId,
    /// The sequence of the first record.
    pub first: u64,
    /// How many records there are.
    pub rows: u32,
}

impl BlockId {
    /// The sequence after the last record's.
    pub fn end(self) -> u64 {
        self.first + u64::from(self.rows)
    }

    /// The id of the first record.
    pub fn first_record(self) -> RecordId {
        RecordId { run: self.run, sequence: self.first }
    }
}

/// Records that are durable in the spool, on their way to the store.
#[derive(Debug, Clone)]
pub struct Block {
    /// Which records these are.
    pub id: BlockId,
    /// When they were accepted; retention goes by it.
    pub arrival: Timestamp,
    /// The records, `id.rows` of them.
    pub batch: LogBatch,
}

impl Block {
    /// The records with their ids.
    pub fn records(&self) -> Records {
        Records::numbered(self.id.first_record(), self.batch.clone())
    }

    /// The part of `rows` records from row `offset` on, as a block of its own.
    ///
    /// # Panics
    /// If the rows are not all there.
    pub fn slice(&self, offset: u32, rows: u32) -> Block {
        let id = BlockId { run: self.id.run, first: self.id.first + u64::from(offset), rows };
        Block { id, arrival: self.arrival, batch: self.batch.slice(offset as usize, rows as usize) }
    }
}

/// A set of blocks, kept as the intervals of sequences that they cover: neighbours merge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSet {
    /// For each run: the start of each interval, and its end (exclusive).
    runs: BTreeMap<RunId, BTreeMap<u64, u64>>,
}

impl BlockSet {
    /// An empty set.
    pub fn new() -> BlockSet {
        BlockSet::default()
    }

    /// Adds a block.
    pub fn insert(&mut self, block: BlockId) {
        self.insert_interval(block.run, block.first, block.end());
    }

    /// Adds all blocks of `other`.
    pub fn extend(&mut self, other: &BlockSet) {
        for (run, start, end) in other.intervals() {
            self.insert_interval(run, start, end);
        }
    }

    /// Whether every record of `block` is covered.
    pub fn contains(&self, block: BlockId) -> bool {
        let before = self.runs.get(&block.run).and_then(|intervals| intervals.range(..=block.first).next_back());
        block.rows == 0 || before.is_some_and(|(_, end)| *end >= block.end())
    }

    /// Whether any record of `block` is covered.
    pub fn touches(&self, block: BlockId) -> bool {
        let before = self.runs.get(&block.run).and_then(|intervals| intervals.range(..block.end()).next_back());
        before.is_some_and(|(_, end)| *end > block.first)
    }

    /// The intervals (run, start, end), in order; the end is exclusive.
    pub fn intervals(&self) -> impl Iterator<Item = (RunId, u64, u64)> {
        self.runs.iter().flat_map(|(run, intervals)| intervals.iter().map(|(start, end)| (*run, *start, *end)))
    }

    /// Forgets the runs for which `keep` is false.
    pub fn retain_runs(&mut self, keep: impl Fn(RunId) -> bool) {
        self.runs.retain(|run, _| keep(*run));
    }

    /// How many records are covered.
    pub fn records(&self) -> u64 {
        self.intervals().map(|(_, start, end)| end - start).sum()
    }

    /// What of this set is not in `other`.
    #[must_use]
    pub fn without(&self, other: &BlockSet) -> BlockSet {
        let mut rest = BlockSet::new();
        for (run, start, end) in self.intervals() {
            let mut next = start;
            let taken = other.runs.get(&run).into_iter().flatten();
            for (from, to) in taken.filter(|(from, to)| **from < end && **to > start) {
                rest.insert_interval(run, next, *from);
                next = next.max(*to);
            }
            rest.insert_interval(run, next, end);
        }
        rest
    }

    /// Adds the records of one run from `first` to before `end`.
    pub fn insert_span(&mut self, run: RunId, first: u64, end: u64) {
        self.insert_interval(run, first, end);
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    fn insert_interval(&mut self, run: RunId, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        let intervals = self.runs.entry(run).or_default();
        // Whatever overlaps or adjoins is swallowed, from the last such interval to the first.
        while let Some((other_start, other_end)) = intervals.range(..=end).next_back().map(|(s, e)| (*s, *e)) {
            if other_end < start {
                break;
            }
            intervals.remove(&other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        intervals.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(first: u64, rows: u32) -> BlockId {
        BlockId { run: RunId::from_bytes([7; RunId::BYTES]), first, rows }
    }

    proptest! {
        #[test]
        fn a_set_covers_just_what_was_inserted(blocks in prop::collection::vec((0_u64..200, 1_u32..12), 0..40)) {
            let mut set = BlockSet::new();
            let mut covered = [false; 256];
            for (first, rows) in &blocks {
                set.insert(block(*first, *rows));
                covered[*first as usize..][..*rows as usize].fill(true);
            }
            for sequence in 0..250 {
                prop_assert_eq!(set.contains(block(sequence, 1)), covered[sequence as usize]);
                prop_assert_eq!(set.touches(block(sequence, 3)), covered[sequence as usize..][..3].contains(&true));
                prop_assert_eq!(set.contains(block(sequence, 3)), !covered[sequence as usize..][..3].contains(&false));
            }
            let (mut other, mut left) = (BlockSet::new(), covered.iter().filter(|covered| **covered).count() as u64);
            prop_assert_eq!(set.records(), left);
            for (first, rows) in blocks.iter().step_by(2) {
                other.insert(block(first + 2, *rows));
            }
            let rest = set.without(&other);
            for sequence in 0..250 {
                let taken = covered[sequence as usize] && other.contains(block(sequence, 1));
                left -= u64::from(taken);
                prop_assert_eq!(rest.contains(block(sequence, 1)), covered[sequence as usize] && !taken);
            }
            prop_assert_eq!(rest.records(), left);
            let intervals: Vec<_> = set.intervals().collect();
            prop_assert!(intervals.windows(2).all(|pair| pair[0].2 < pair[1].1), "neighbours merge: {:?}", intervals);
        }
    }
}
