//! Stores: where records are kept and found.
//!
//! Two implementations stand behind [`Store`]: the [`embedded`] engine, which needs nothing installed, and
//! [`mongodb`]. Both give the same answers in the same order; one contract suite runs over both.

pub mod embedded;
pub mod mongodb;
mod retention_clock;
mod trace;

use std::ops::ControlFlow;

use sluice_model::{RecordId, Timestamp};

use crate::batch::{Block, BlockSet, Records};
use crate::query::{Filter, Query};
use crate::stats::Tally;

pub use trace::{CursorTrace, Evaluation, Plan, ScanTrace, StepTrace, Trace, Visited};

/// Keeps records and finds them again. All calls block; workers make them.
pub trait Store: Send + Sync {
    /// Takes the records of a block, so that every search from now on sees them.
    ///
    /// Writing a block, or a part of one, again changes nothing. `Ok` does not mean that the spool may forget the
    /// block: [`Store::durable`] says that.
    ///
    /// # Errors
    /// [`StoreError`]; what it means for the block stands at each variant.
    fn write(&self, block: &Block) -> Result<(), StoreError>;

    /// Yields every match to `sink`, strictly in the query's order and at most `query.limit`, until the sink has enough.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Bug`] only.
    fn search(&self, query: &Query, sink: &mut dyn Sink) -> Result<(), StoreError>;

    /// Gives every match to `tally`, once and in no order, until it has enough: as records of which only the columns are
    /// filled that it names, or as counts, where it takes them and they are known without a look.
    ///
    /// # Errors
    /// As for [`Store::search`].
    fn tally(&self, filter: &Filter, tally: &mut dyn Tally) -> Result<(), StoreError>;

    /// How it would go about a query; asks nobody.
    fn plan(&self, query: &Query) -> Plan;

    /// Finds one record.
    ///
    /// # Errors
    /// As for [`Store::search`].
    fn get(&self, id: RecordId) -> Result<Option<Records>, StoreError>;

    /// Which of these attributes no record has, as far as that can be told soon: an empty list tells nothing.
    ///
    /// # Errors
    /// As for [`Store::search`].
    fn unknown_attributes(&self, _names: &[String]) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Deletes records that retention no longer keeps, given that everything before `cutoff` may go; returns how many.
    /// A record's age counts from `max(timestamp, arrival − retention + 1 h)`, and a timestamp more than a day ahead of
    /// the arrival counts as the arrival.
    ///
    /// # Errors
    /// As for [`Store::search`].
    fn delete_before(&self, cutoff: Timestamp) -> Result<u64, StoreError>;

    /// The blocks that the store holds for good: what the spool may forget.
    fn durable(&self) -> BlockSet;

    /// Asks the store to make what it holds durable soon, without waiting: the spool needs room.
    fn request_flush(&self);

    /// Says whether the store can be reached and used now; also the breaker's probe.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], if it cannot.
    fn health(&self) -> Result<(), StoreError>;

    /// What the store has lost or set aside; nothing, for one that looks after its own files.
    fn damage(&self) -> DamageReport {
        DamageReport::default()
    }

    /// Makes everything written durable and ends the store's own threads; nothing is written after it.
    ///
    /// # Errors
    /// [`StoreError`]; what is not durable then stays in the spool.
    fn close(&self) -> Result<(), StoreError>;
}

/// What damage has done to a store's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DamageReport {
    /// How many files are in its quarantine.
    pub quarantined_files: u64,
    /// How many records were found lost since the start, as far as is known.
    pub lost_records: u64,
}

/// Takes the matches of a search as they are found.
pub trait Sink {
    /// Takes some records, in the query's order; `Break` ends the search.
    fn push(&mut self, records: Records) -> ControlFlow<()>;

    /// Whether the search is to measure itself, and to give its trace to [`Sink::take_trace`] at its end.
    fn is_traced(&self) -> bool {
        false
    }

    /// Takes what the search has done.
    fn take_trace(&mut self, _trace: Trace) {}
}

/// Why a store could not do its part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or does not answer in time: keep the block and try again later. The only error that
    /// counts for the breaker.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The store has no room now: keep the block and try again.
    #[error("store full: {0}")]
    Full(String),
    /// The store refuses these rows of the block, and would every time.
    #[error("store refuses {} records: {reason}", rows.len())]
    Rejected {
        /// The rows at fault, by their place in the block; all of them may be at fault, if the store cannot tell.
        rows: Vec<u32>,
        /// Why.
        reason: String,
    },
    /// Other records stand in the store under the ids of these rows: they need new ids.
    #[error("{} records clash with others of the same id", rows.len())]
    Conflict {
        /// The rows that clash, by their place in the block.
        rows: Vec<u32>,
    },
    /// The store failed in a way that it should not.
    #[error("store failed: {0}")]
    Bug(String),
}
