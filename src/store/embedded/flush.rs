//! Lays out a flush: which rows go to which segment.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use sluice_model::{RecordId, RunId, Timestamp};

use super::memory::Chunk;
use super::order;
use super::recovery::Folders;
use super::segment::{Age, SegmentInfo};
use super::writer::{self, Draft, WriteError};
use crate::batch::{BlockId, BlockSet, Place, Records};

/// How many days get a segment of their own in one flush; the other rows share one.
const DAYS_MAX: usize = 8;

/// The folder of that segment.
const LATE: &str = "late";

const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// The rows for one segment.
struct Share {
    rows: Vec<Place>,
    age: Option<Age>,
    blocks: BlockSet,
    /// The interval that the last rows form so far.
    open: Option<(RunId, u64, u64)>,
}

impl Share {
    fn new() -> Share {
        Share { rows: Vec::new(), age: None, blocks: BlockSet::new(), open: None }
    }

    /// Takes rows of one part, which stand one behind the other, as do their ids.
    fn push(&mut self, part: u32, rows: Range<u32>, first: RecordId, age: Age) {
        let end = first.sequence + rows.len() as u64;
        self.rows.extend(rows.map(|row| (part, row)));
        self.age = Some(self.age.map_or(age, |other| other.and(age)));
        match &mut self.open {
            Some((run, _, open_end)) if *run == first.run && *open_end == first.sequence => *open_end = end,
            open => {
                let closed = open.replace((first.run, first.sequence, end));
                insert(&mut self.blocks, closed);
            }
        }
    }
}

/// Writes the segments of some chunks; none of them is in the manifest yet. After an error none is left.
pub(super) fn write(folders: &Folders, chunks: &[Arc<Chunk>]) -> Result<Vec<SegmentInfo>, WriteError> {
    let parts: Vec<Records> = chunks.iter().map(|chunk| chunk.records.clone()).collect();
    let parts = Records::unify(&parts)?;
    let mut written: Vec<SegmentInfo> = Vec::new();
    for (day, mut share) in shares(chunks) {
        let open = share.open.take();
        insert(&mut share.blocks, open);
        let Some(age) = share.age else { continue };
        let draft = Draft {
            day: &day,
            parts: &parts,
            rows: order::sort(&parts, share.rows),
            age,
            blocks: share.blocks,
            replaces: Vec::new(),
            salvage: false,
        };
        match writer::write(folders, draft) {
            Ok(info) => written.push(info),
            Err(error) => {
                discard(folders, &written);
                return Err(error);
            }
        }
    }
    Ok(written)
}

/// Removes segments that will not be committed. What cannot be removed now is adopted by a later start, or set aside.
pub(super) fn discard(folders: &Folders, segments: &[SegmentInfo]) {
    for info in segments {
        if let Err(error) = folders.files.remove(&folders.segments.join(&info.name)) {
            log::warn!(file = info.name.as_str(), error:%; "cannot remove a segment that was not finished");
        }
    }
}

/// The rows by the folder that they go to.
fn shares(chunks: &[Arc<Chunk>]) -> BTreeMap<String, Share> {
    let own = days_of_their_own(chunks);
    let mut shares: BTreeMap<Option<i64>, Share> = BTreeMap::new();
    for (index, chunk) in (0..).zip(chunks) {
        let (mut timestamps, mut row) = (chunk.records.logs.timestamps(), 0);
        for part in &chunk.parts {
            let (of_part, rest) = timestamps.split_at(timestamps.len().min(part.block.rows as usize));
            timestamps = rest;
            let mut first = part.block.first_record();
            for alike in of_part.chunk_by(is_same_day) {
                let (Some(age), Some(timestamp)) = (Age::of(alike, part.arrival), alike.first()) else { continue };
                let day = Some(day_of(*timestamp)).filter(|day| own.contains(day));
                // The rows of a chunk are counted by u32.
                let rows = row..row + alike.len() as u32;
                row = rows.end;
                let next = first.sequence + alike.len() as u64;
                shares.entry(day).or_insert_with(Share::new).push(index, rows, first, age);
                first.sequence = next;
            }
        }
    }
    shares.into_iter().map(|(day, share)| (day.map_or_else(|| LATE.to_owned(), day_name), share)).collect()
}

/// The days with most rows.
fn days_of_their_own(chunks: &[Arc<Chunk>]) -> Vec<i64> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for alike in chunks.iter().flat_map(|chunk| chunk.records.logs.timestamps().chunk_by(is_same_day)) {
        *counts.entry(alike.first().copied().map_or(0, day_of)).or_default() += alike.len();
    }
    let mut days: Vec<(i64, usize)> = counts.into_iter().collect();
    days.sort_by_key(|(day, rows)| std::cmp::Reverse((*rows, *day)));
    days.into_iter().take(DAYS_MAX).map(|(day, _)| day).collect()
}

fn day_of(timestamp: i64) -> i64 {
    timestamp.div_euclid(DAY_NS)
}

fn is_same_day(timestamp: &i64, next: &i64) -> bool {
    day_of(*timestamp) == day_of(*next)
}

fn insert(blocks: &mut BlockSet, interval: Option<(RunId, u64, u64)>) {
    if let Some((run, first, end)) = interval {
        // A flush has fewer rows than u32 can count.
        blocks.insert(BlockId { run, first, rows: (end - first) as u32 });
    }
}

/// The name of the day so many days after 1970-01-01.
fn day_name(day: i64) -> String {
    let mut buffer = [0; Timestamp::TEXT_LENGTH];
    let text = Timestamp::from_nanos(day.saturating_mul(DAY_NS)).encode(&mut buffer);
    text.split('T').next().unwrap_or(LATE).to_owned()
}
