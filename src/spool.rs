//! The durable spool: the write-ahead log of everything accepted, and the buffer that rides out a store outage.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use sluice_model::RecordId;

use crate::batch::{Block, BlockId, BlockSet, LogBatch};
use crate::config::SpoolSettings;

/// SKELETON, replaced by the spool's own files. A handle; shared as `Arc<Spool>`.
pub struct Spool;

/// Room that is set aside before a body is decoded; given back on drop, unless an append used it.
pub struct Reservation;

/// A batch to be made durable.
pub struct Entry {
    pub batch: LogBatch,
    pub reservation: Reservation,
    pub key: Option<IdempotencyKey>,
}

/// An `Idempotency-Key` and what it was sent with, as hashes (xxh3, 128 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub key: u128,
    /// Of the path and the decoded (decompressed) body.
    pub request: u128,
}

/// A place in the order of commits; grows.
pub type Ordinal = u64;

/// What was made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    pub first: RecordId,
    pub rows: u32,
    /// Whether an earlier request with the same key did it.
    pub replayed: bool,
    pub ordinal: Ordinal,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// A limit is reached: which key or floor, its value and the present value, in bytes.
    #[error("{limit} is reached: {present} of {allowed} bytes")]
    Full { limit: &'static str, present: u64, allowed: u64 },
    /// A write or fsync failed; nothing of the group is kept, and a new segment is being opened.
    #[error("the spool cannot write: {0}")]
    Failed(String),
    /// The key was used with another body.
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
    /// The spool is closed: the server stops.
    #[error("the server is stopping")]
    Closed,
    /// At open only.
    #[error("{0}")]
    Open(String),
}

/// How the spool is, for `/ready` and the log. (Fields may grow.)
#[derive(Debug, Clone, Default)]
pub struct SpoolStatus {
    /// Why nothing can be accepted now.
    pub refusing: Option<String>,
    pub bytes: u64,
    pub bytes_max: u64,
    pub segments: usize,
    /// By lane: urgent, normal, bulk.
    pub lanes: [LaneStatus; 3],
    pub quarantined_files: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct LaneStatus {
    /// Blocks that are not in the store yet.
    pub blocks: u64,
    pub records: u64,
    pub bytes: u64,
    /// Age of the oldest such block.
    pub lag: Duration,
}

/// What is not in the store yet although it was accepted before a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    pub records: u64,
    pub lag: Duration,
}

impl Spool {
    /// Opens (and recovers) the spool in `folder`; registers its metrics. Logs one line for each recovery.
    pub fn open(folder: &Path, settings: &SpoolSettings, registry: &mut Registry) -> Result<Arc<Spool>, SpoolError> {
        todo!("{folder:?} {settings:?} {}", registry.clone_prefix())
    }
    /// The runs of the blocks that the spool still holds (the store may forget the intervals of all other runs).
    pub fn open_runs(&self) -> Vec<sluice_model::RunId> {
        todo!()
    }
    /// Sets room aside for a batch of about `bytes`, before it is decoded.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, SpoolError> {
        todo!("{bytes}")
    }
    /// Makes a batch durable; returns after its group's commit.
    pub async fn append(&self, entry: Entry) -> Result<Receipt, SpoolError> {
        todo!("{}", entry.batch.len())
    }
    /// Accepts records again under a fresh run, after a clash of ids. Blocks.
    pub fn accept_again(&self, batch: LogBatch) -> Result<Receipt, SpoolError> {
        todo!("{}", batch.len())
    }
    /// The next block for the store, by lane (8:2:1 by bytes), or nothing within `wait`. Blocks; marks it in flight.
    pub fn next(&self, wait: Duration) -> Option<Block> {
        todo!("{wait:?}")
    }
    /// The block is in the store and searchable (not yet: may be forgotten).
    pub fn written(&self, block: BlockId) {
        todo!("{block:?}")
    }
    /// The block was not written: it is delivered again, first of its lane.
    pub fn retry(&self, block: BlockId) {
        todo!("{block:?}")
    }
    /// The blocks are durable in the store, dead-lettered or quarantined: the spool may forget them.
    pub fn settle(&self, durable: &BlockSet) {
        todo!("{durable:?}")
    }
    /// The ordinal of the last commit.
    pub fn committed(&self) -> Ordinal {
        todo!()
    }
    /// Waits until every block up to `ordinal` is written or settled.
    pub async fn stored(&self, ordinal: Ordinal) {
        todo!("{ordinal}")
    }
    /// What of the blocks up to `ordinal` is not in the store yet; nothing, if all is.
    pub fn behind(&self, ordinal: Ordinal) -> Option<Behind> {
        todo!("{ordinal}")
    }
    /// Whether the store should flush: the spool is at half its budget, or its oldest segment waits for the store only.
    pub fn wants_flush(&self) -> bool {
        todo!()
    }
    pub fn status(&self) -> SpoolStatus {
        todo!()
    }
    /// Accepts nothing more, finishes the group in hand, wakes `next`, ends the writer thread.
    pub fn close(&self) {
        todo!()
    }
}
trait ClonePrefix {
    fn clone_prefix(&self) -> u8 {
        0
    }
}
impl ClonePrefix for Registry {}
