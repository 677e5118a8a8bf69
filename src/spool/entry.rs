//! What is handed to the spool, and what it answers.

use sluice_model::RecordId;

use super::budget::Reservation;
use crate::batch::LogBatch;

/// A batch to be made durable.
#[derive(Debug)]
pub struct Entry {
    /// The records; there may be none, if there is a key.
    pub batch: LogBatch,
    /// The room that was set aside for them.
    pub reservation: Reservation,
    /// The key that the sender gave the request.
    pub key: Option<IdempotencyKey>,
}

/// An `Idempotency-Key` and what it was sent with, as hashes (xxh3, 128 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Of the key.
    pub key: u128,
    /// Of the path and the decoded (decompressed) body.
    pub request: u128,
}

/// A place in the order of commits; grows. Each block has one of its own; 0 stands before all of them.
pub type Ordinal = u64;

/// What was made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The id of the first record; the others follow without gaps.
    pub first: RecordId,
    /// How many records there are.
    pub rows: u32,
    /// Whether an earlier request with the same key did it.
    pub replayed: bool,
    /// The place of their block; 0, if the block is settled since an earlier start.
    pub ordinal: Ordinal,
}

/// Why the spool does not take a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// The spool has its bytes.
    #[error("spool.bytes_max is reached: {present} of {allowed} bytes")]
    Full {
        /// How many bytes the spool has.
        present: u64,
        /// How many it may have.
        allowed: u64,
    },
    /// The disk has too little room.
    #[error(
        "spool.free_disk_floor is reached: {free} bytes of the disk are free, {kept} are kept for what was accepted"
    )]
    DiskFull {
        /// How many bytes are free.
        free: u64,
        /// The floor, and the reserve for draining.
        kept: u64,
    },
    /// A write or sync failed; nothing of the group is kept, and a new segment is being opened.
    #[error("the spool cannot write: {0}")]
    Failed(String),
    /// The key was used with another body.
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
    /// The spool is closed: the server stops.
    #[error("the server is stopping")]
    Closed,
    /// The spool cannot be opened; of `Spool::open` only.
    #[error("{0}")]
    Open(String),
}
