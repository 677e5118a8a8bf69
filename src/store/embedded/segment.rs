//! Segments: immutable Parquet files of at most [`ROWS_MAX`] records.
//!
//! # Specification, format 5
//!
//! **Place.** `segments/DAY/NAME.parquet`; DAY is the UTC day of its records, or `late` for the rest of a flush that
//! touched more than eight days. Folders are for people: only the bounds in the footer decide. NAME is 20 hexadecimal
//! digits that no two segments share and that grow with the time at which they were written.
//!
//! **Layout.** A Parquet file, readable by every Parquet reader: the columns `run` (10 bytes) and `sequence`, which make
//! the record's id, then those of [`crate::batch`], `timestamp` in the coarsest of ms, µs and ns in which all of the
//! segment's are whole. Rows are sorted by service, timestamp, id, and each run's then by severity, by the template and by
//! the length of the message ([`super::order`]). A row group has at most 64k rows; pages of texts
//! and attributes are compressed with zstd, those of ids, times and severities are small as they are encoded. Between
//! the last row group and Parquet's own footer stand *regions* of bytes that other readers pass by: the token filter of
//! each row group ([`super::tokens`]) and its templates ([`super::templates`]), then the block set: the JSON of a
//! [`BlockSet`] of exactly the records within. Each region has a CRC32C, and every byte of the file one more: the *seal*
//! ([`super::seal`]).
//!
//! Older formats are read, and written no more: 4 does not sort a run's rows by severity; 3 has no templates either, and
//! sorts them by the length of the message alone; 2 has its timestamps in ns, and its rows only sorted; 1 lacks the seal
//! besides.
//!
//! **Footer.** Under the key `sluice.segment` of Parquet's key-value metadata stands the JSON of [`Footer`]: the format's
//! number, the writer's version, [`SegmentInfo`] with the bounds of times, arrivals and ids and the names of the segments
//! that it replaces, the bounds and the counts of each row group ([`GroupCounts`], of which older files say less), and where the regions are. A reader refuses a format above its own.
//!
//! **Invariants.** A file under its final name is complete and never changes. No record stands in two segments that the
//! manifest lists.
//!
//! **Durability.** A segment is written under its name and `.tmp`, synced, renamed, its folder synced, and only then named
//! in the manifest ([`super::manifest`]), which is the one commit point. What a crash leaves is told in
//! [`super::recovery`].
//!
//! **Damage.** Bytes with a wrong checksum, a footer or page that cannot be decoded, a missing or shortened file: searches
//! go on without the segment at once. It goes to `quarantine/`, and its row groups that are whole to a segment of their
//! own ([`super::salvage`]). What is lost is reported.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_model::{RecordId, RunId, Timestamp};

use super::extent::Extent;
use super::recovery::Folders;
use crate::batch::BlockSet;
use crate::files::Files;

/// The number of the format that is written, and the highest that can be read.
pub(super) const FORMAT: u32 = 5;

/// The format without a seal.
pub(super) const UNSEALED_FORMAT: u32 = 1;

/// The first format whose rows are arranged within their pages.
pub(super) const ARRANGED_SINCE: u32 = 3;

/// The first format that has templates.
pub(super) const TEMPLATES_SINCE: u32 = 4;

/// The first format whose rows are arranged by severity too.
pub(super) const SEVERITIES_SINCE: u32 = 5;

/// How many records a segment has at most.
pub(super) const ROWS_MAX: usize = 512 << 10;

/// About how many bytes of memory the records of a segment take at most, unless one block is larger.
pub(super) const MEMORY_BYTES_MAX: usize = 256 << 20;

/// The key of the footer in Parquet's metadata.
pub(super) const FOOTER_KEY: &str = "sluice.segment";

const EXTENSION: &str = "parquet";

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Footer {
    pub(super) format: u32,
    /// The program that wrote it.
    pub(super) writer: String,
    pub(super) segment: SegmentInfo,
    pub(super) row_groups: Vec<RowGroup>,
    /// Where the block set stands.
    pub(super) blocks: Region,
}

/// What the manifest and the footer hold of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentInfo {
    /// The path below `segments/`.
    pub(super) name: String,
    /// The size of the file; only the manifest knows it.
    #[serde(default)]
    pub(super) bytes: u64,
    pub(super) rows: u64,
    /// About how many bytes of memory the records take.
    pub(super) memory_bytes: u64,
    #[serde(flatten)]
    pub(super) extent: Extent,
    #[serde(flatten)]
    pub(super) age: Age,
    /// Bounds of the ids, for each run.
    pub(super) ids: Vec<IdRange>,
    /// The names of the segments whose records it took over.
    #[serde(default)]
    pub(super) replaces: Vec<String>,
    /// Whether that one was damaged, and this holds what could be saved of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) salvage: bool,
}

/// What retention goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Age {
    /// When the first of the records arrived, in ns.
    pub(super) arrival_min: i64,
    /// When the last of them arrived, in ns.
    pub(super) arrival_max: i64,
    /// The greatest timestamp, in ns, where one more than a day ahead of its arrival counts as that.
    pub(super) counted_max: i64,
}

/// Ids of one run: from `first` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdRange {
    pub(super) run: RunId,
    pub(super) first: u64,
    pub(super) end: u64,
}

/// What is known of a row group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RowGroup {
    pub(super) rows: u32,
    #[serde(flatten)]
    pub(super) extent: Extent,
    /// The least sequence and the greatest.
    pub(super) sequences: (u64, u64),
    /// Where the token filter stands, if there is one.
    pub(super) tokens: Option<Region>,
    /// Where the templates stand; older files have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) templates: Option<Region>,
    /// How many rows have what, so that they can be counted without a look. Older files do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) counts: Option<GroupCounts>,
}

/// How many rows of a row group have what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupCounts {
    /// By service and severity number; empty, if there are too many.
    pub(super) levels: Vec<(String, u8, u32)>,
    /// Those with a service that is not empty.
    pub(super) services: u32,
    /// Those with a message that is not empty.
    pub(super) messages: u32,
    /// Those with a value in each attribute's column, in the order of the columns.
    pub(super) attributes: Vec<u32>,
    /// By time. Older files do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) times: Option<TimeCounts>,
    /// By piece, in the order of the rows; empty in older files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pieces: Vec<Piece>,
}

/// How many rows of a row group lie in each cell of time, all of which are equally long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TimeCounts {
    /// How long a cell is, in seconds of UTC; each begins at a multiple of that.
    pub(super) step_s: u32,
    /// Where the first one begins, in seconds since the epoch.
    pub(super) start_s: i64,
    /// How many rows lie in each, from the first to the last that has one.
    pub(super) rows: Vec<u32>,
}

/// Rows of one run of a row group that stand side by side, of one service and severity, unless there are very many of
/// them: how many they are, the first and the last of their times in ns, and a bit for each severity number that occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece(pub(super) u32, pub(super) i64, pub(super) i64, pub(super) u32);

/// Bytes within the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Region {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) crc32c: u32,
}

impl SegmentInfo {
    /// Whether the record `id` may be within.
    pub(super) fn may_have(&self, id: RecordId) -> bool {
        self.ids.iter().any(|range| range.run == id.run && (range.first..range.end).contains(&id.sequence))
    }

    /// The ids that may be within.
    pub(super) fn spans(&self) -> BlockSet {
        let mut spans = BlockSet::new();
        self.ids.iter().for_each(|range| spans.insert_span(range.run, range.first, range.end));
        spans
    }

    /// Whether `other` is of the same records.
    pub(super) fn is_same(&self, other: &SegmentInfo) -> bool {
        self.rows == other.rows && self.ids == other.ids && self.extent == other.extent
    }

    /// The folder that it stands in: a day, or `late`.
    pub(super) fn day(&self) -> &str {
        self.name.split_once('/').map_or("", |(day, _)| day)
    }
}

impl Age {
    /// The age of records that arrived together; `None`, if there are none.
    pub(super) fn of(timestamps: &[i64], arrival: Timestamp) -> Option<Age> {
        const DAY_NS: i64 = 86_400 * 1_000_000_000;
        let arrival = arrival.as_nanos();
        let ahead = arrival.saturating_add(DAY_NS);
        let counted = timestamps.iter().map(|timestamp| if *timestamp > ahead { arrival } else { *timestamp });
        Some(Age { arrival_min: arrival, arrival_max: arrival, counted_max: counted.max()? })
    }

    /// The age of records of two ages together.
    pub(super) fn and(self, other: Age) -> Age {
        Age {
            arrival_min: self.arrival_min.min(other.arrival_min),
            arrival_max: self.arrival_max.max(other.arrival_max),
            counted_max: self.counted_max.max(other.counted_max),
        }
    }

    /// The moment from which the last of the records counts as old: its timestamp, but never so early that what has just
    /// arrived would not live for an hour.
    pub(super) fn effective(self, retention: Option<Duration>) -> Timestamp {
        const HOUR_NS: i64 = 3600 * 1_000_000_000;
        let period = retention.map(|period| i64::try_from(period.as_nanos()).unwrap_or(i64::MAX));
        let spared = period.map(|period| self.arrival_max.saturating_sub(period).saturating_add(HOUR_NS));
        Timestamp::from_nanos(spared.map_or(self.counted_max, |spared| spared.max(self.counted_max)))
    }
}

/// Bounds of the ids of `blocks`, for each run.
pub(super) fn id_ranges(blocks: &BlockSet) -> Vec<IdRange> {
    let mut ranges: Vec<IdRange> = Vec::new();
    for (run, first, end) in blocks.intervals() {
        match ranges.last_mut() {
            Some(range) if range.run == run => range.end = end,
            _ => ranges.push(IdRange { run, first, end }),
        }
    }
    ranges
}

/// A segment that the manifest lists, or did when a reader took hold of it.
pub(super) struct Segment {
    pub(super) info: SegmentInfo,
    pub(super) path: PathBuf,
    pub(super) files: Arc<dyn Files>,
    /// Nothing durable names it any more: the last one to let go removes the file.
    doomed: AtomicBool,
    /// It could not be read: searches pass it over, and the store's thread finds out whether it is damaged.
    damaged: AtomicBool,
}

impl Segment {
    pub(super) fn new(folders: &Folders, info: SegmentInfo) -> Segment {
        let (path, files) = (folders.segments.join(&info.name), folders.files.clone());
        Segment { info, path, files, doomed: AtomicBool::new(false), damaged: AtomicBool::new(false) }
    }

    /// Lets the file go with its last reader.
    pub(super) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    /// Remembers damage; `true` the first time.
    pub(super) fn mark_damaged(&self) -> bool {
        !self.damaged.swap(true, Ordering::AcqRel)
    }

    /// Takes that back.
    pub(super) fn mark_sound(&self) {
        self.damaged.store(false, Ordering::Release);
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire)
            && let Err(error) = self.files.remove(&self.path)
        {
            // The manifest keeps the name until the file is gone, so the next start removes it.
            log::warn!(file:% = self.path.display(), error:%; "cannot remove a segment that is no longer used");
        }
    }
}

/// A name for a new segment in the folder of `day`.
pub(super) fn new_name(day: &str) -> String {
    static LAST_MS: AtomicI64 = AtomicI64::new(0);
    let now_ms = Timestamp::now().as_nanos() / 1_000_000;
    let grow = |last: i64| Some(now_ms.max(last.saturating_add(1)));
    let last = LAST_MS.fetch_update(Ordering::AcqRel, Ordering::Acquire, grow).unwrap_or_default();
    let time = Timestamp::from_nanos(now_ms.max(last.saturating_add(1)).saturating_mul(1_000_000));
    format!("{day}/{}.{EXTENSION}", RunId::new(time, rand::random()))
}

/// Whether a file in a day's folder is a segment, going by its name.
pub(super) fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}
