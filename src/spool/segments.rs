//! The table of segments: how much each holds, and which may be deleted.

use std::collections::{BTreeMap, BTreeSet};

use sluice_model::RunId;

/// What is known of one segment.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// How many bytes count against the budget.
    pub bytes: u64,
    /// How many blocks are not settled.
    pub live: u64,
    /// The runs of its blocks.
    pub runs: BTreeSet<RunId>,
    /// The abandoned segment of which only this one's header says how much is valid: this one must outlive it.
    pub outlives: Option<u64>,
    /// Whether bytes of it could not be copied to quarantine: it is kept, so that nothing is lost unseen.
    pub held: bool,
}

/// All segments that are there.
#[derive(Debug, Default)]
pub(super) struct Segments {
    by_number: BTreeMap<u64, Segment>,
    /// The one that is written; never deleted.
    active: Option<u64>,
}

impl Segments {
    /// Adds a segment that was found.
    pub fn add(&mut self, number: u64, segment: Segment) {
        self.by_number.insert(number, segment);
    }

    /// Adds a segment that is written from now on.
    pub fn activate(&mut self, number: u64, segment: Segment) {
        self.active = Some(number);
        self.by_number.insert(number, segment);
    }

    /// Notes that the active segment is written no more.
    pub fn close_active(&mut self) {
        self.active = None;
    }

    /// Notes that bytes were written to a segment.
    pub fn grow(&mut self, number: u64, bytes: u64, run: RunId) {
        if let Some(segment) = self.by_number.get_mut(&number) {
            segment.bytes += bytes;
            segment.runs.insert(run);
        }
    }

    /// Sets how many bytes of a segment that was found are valid.
    pub fn resize(&mut self, number: u64, bytes: u64) {
        if let Some(segment) = self.by_number.get_mut(&number) {
            segment.bytes = bytes;
        }
    }

    /// Notes a block that is not settled.
    pub fn add_block(&mut self, number: u64, run: RunId) {
        if let Some(segment) = self.by_number.get_mut(&number) {
            segment.live += 1;
            segment.runs.insert(run);
        }
    }

    /// Notes that a block is settled.
    pub fn settle_block(&mut self, number: u64) {
        if let Some(segment) = self.by_number.get_mut(&number) {
            segment.live = segment.live.saturating_sub(1);
        }
    }

    /// Keeps a segment for good.
    pub fn hold(&mut self, number: u64) {
        if let Some(segment) = self.by_number.get_mut(&number) {
            segment.held = true;
        }
    }

    /// Whether the segment that is written holds nothing that is needed.
    pub fn active_is_settled(&self) -> bool {
        self.active.and_then(|number| self.by_number.get(&number)).is_some_and(|segment| segment.live == 0)
    }

    /// The segments that may be deleted now, with their bytes.
    pub fn deletable(&self) -> Vec<(u64, u64)> {
        let all = self.by_number.iter().filter(|(number, segment)| {
            let pinned = segment.outlives.is_some_and(|other| self.by_number.contains_key(&other));
            segment.live == 0 && !segment.held && !pinned && self.active != Some(**number)
        });
        all.map(|(number, segment)| (*number, segment.bytes)).collect()
    }

    /// Forgets a segment that is deleted.
    pub fn remove(&mut self, number: u64) {
        self.by_number.remove(&number);
    }

    /// The oldest segment with unsettled blocks, if it is written no more.
    pub fn oldest_closed(&self) -> Option<u64> {
        let (number, _) = self.by_number.iter().find(|(_, segment)| segment.live > 0)?;
        (self.active != Some(*number)).then_some(*number)
    }

    pub fn runs(&self) -> BTreeSet<RunId> {
        self.by_number.values().flat_map(|segment| &segment.runs).copied().collect()
    }

    pub fn len(&self) -> usize {
        self.by_number.len()
    }
}
