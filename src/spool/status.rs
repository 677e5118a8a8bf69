//! What the spool tells of itself.

use std::time::Duration;

/// How the spool is, for `/ready` and the log.
#[derive(Debug, Clone, Default)]
pub struct SpoolStatus {
    /// Why nothing can be accepted now.
    pub refusing: Option<String>,
    /// How many bytes the segments hold.
    pub bytes: u64,
    /// How many they may hold.
    pub bytes_max: u64,
    /// How many segments there are.
    pub segments: usize,
    /// By lane: urgent, normal, bulk.
    pub lanes: [LaneStatus; 3],
    /// How many files are in quarantine.
    pub quarantined_files: u64,
    /// How many records were found lost since the start, as far as is known.
    pub lost_records: u64,
}

/// How a lane is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// Blocks that are not in the store yet.
    pub blocks: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Age of the oldest such block.
    pub lag: Duration,
}

/// What is not in the store yet although it was accepted before a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// How many records.
    pub records: u64,
    /// Age of the oldest of them.
    pub lag: Duration,
}
