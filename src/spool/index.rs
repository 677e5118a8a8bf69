//! The index of what is not settled, shared by the writer and whoever delivers, settles and reads: the state of
//! [`super::delivery`] under one lock, and those who wait for a change of it. No file is touched here.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use sluice_model::RunId;
use tokio::sync::watch;

use super::delivery::{Delivery, NewBlock, State};
use super::lane::Lane;
use super::segments::Segments;
use super::{Behind, LaneStatus, Ordinal, locked};
use crate::batch::{BlockId, BlockSet};

/// The index.
#[derive(Debug)]
pub(super) struct Index {
    state: Mutex<State>,
    wake: Condvar,
    /// Up to where everything is in the store.
    stored: watch::Sender<Ordinal>,
    memory_max: u64,
}

impl Index {
    pub fn new(memory_max: u64) -> Index {
        Index { state: Mutex::default(), wake: Condvar::new(), stored: watch::Sender::new(0), memory_max }
    }

    /// Reads or changes the table of segments.
    pub fn segments<T>(&self, act: impl FnOnce(&mut Segments) -> T) -> T {
        act(&mut locked(&self.state).segments)
    }

    /// Adds blocks that are durable; returns their ordinals.
    pub fn publish(&self, blocks: Vec<NewBlock>) -> Vec<Ordinal> {
        let mut state = locked(&self.state);
        let ordinals = blocks.into_iter().map(|block| state.publish(block, self.memory_max)).collect();
        drop(state);
        self.wake.notify_all();
        ordinals
    }

    /// Takes the next block for the store; waits for one until `deadline`.
    pub fn take(&self, deadline: Instant) -> Option<Delivery> {
        let mut state = locked(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(delivery) = state.take() {
                return Some(delivery);
            }
            let now = Instant::now();
            if deadline <= now {
                return None;
            }
            let until = state.rested_at().map_or(deadline, |rested| rested.min(deadline));
            let wait = until.saturating_duration_since(now);
            (state, _) = self.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that a block is in the store.
    pub fn written(&self, id: BlockId) {
        let mut state = locked(&self.state);
        state.written(id);
        self.announce(&state);
    }

    /// Puts a block back in front of its lane.
    pub fn retry(&self, id: BlockId) {
        locked(&self.state).retry(id);
        self.wake.notify_all();
    }

    /// Counts a failure to read a block back and returns how many there were; the block is delivered again after a rest,
    /// last of its lane.
    pub fn read_failed(&self, id: BlockId) -> u32 {
        locked(&self.state).read_failed(id)
    }

    /// Forgets the blocks that are in `durable`.
    pub fn settle(&self, durable: &BlockSet) {
        let mut state = locked(&self.state);
        state.settle(durable);
        self.announce(&state);
    }

    /// The ordinal of the last commit.
    pub fn committed(&self) -> Ordinal {
        locked(&self.state).last
    }

    /// Waits until every block up to `ordinal` is written or settled.
    pub async fn stored(&self, ordinal: Ordinal) {
        // It fails only if the sender is gone, which lives as long as `self`.
        let _ = self.stored.subscribe().wait_for(|stored| *stored >= ordinal).await;
    }

    /// What of the blocks up to `ordinal` is not in the store.
    pub fn behind(&self, ordinal: Ordinal) -> Option<Behind> {
        if *self.stored.borrow() >= ordinal {
            return None;
        }
        locked(&self.state).behind(ordinal)
    }

    /// Whether blocks that are written, and nothing else, keep the spool from shrinking; `crowded` says that it should.
    pub fn waits_for_flush(&self, crowded: bool) -> bool {
        locked(&self.state).waits_for_flush(crowded)
    }

    /// The runs of all blocks in segments that are still there, settled or not: a restart would deliver them again.
    pub fn runs(&self) -> BTreeSet<RunId> {
        locked(&self.state).segments.runs()
    }

    /// How each lane is.
    pub fn lanes(&self) -> [LaneStatus; 3] {
        let state = locked(&self.state);
        Lane::ALL.map(|lane| state.status(lane))
    }

    /// Ends delivery.
    pub fn close(&self) {
        locked(&self.state).closed = true;
        self.wake.notify_all();
    }

    fn announce(&self, state: &State) {
        let stored = state.stored();
        self.stored.send_if_modified(|before| {
            let grown = stored > *before;
            *before = stored.max(*before);
            grown
        });
    }
}
