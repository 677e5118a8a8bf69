//! Fetches the rows that a search has chosen, with all their columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::UInt32Array;

use super::bits;
use super::cache::Cache;
use super::memory::Chunk;
use super::parallel;
use super::reader::{OpenSegment, ReadError};
use super::search::{Match, Source};
use super::segment::Segment;
use super::tracer::Tracer;
use crate::batch::{BatchError, Records};

/// About how many bytes of records are in hand at a time.
const BYTES_AT_ONCE: u64 = 8 << 20;

/// The same where the page is long. A segment's rows stand by service, and a page's by time: every fetch decodes some of
/// each service's data pages, so that few large ones decode each data page less often.
const LONG_BYTES_AT_ONCE: u64 = 16 << 20;

/// From how many rows on a page is long.
const LONG_PAGE_ROWS: usize = 16 << 10;

/// How many rows are fetched at a time, at least and at most.
const ROWS_AT_ONCE: (u64, u64) = (16, 64 << 10);

/// Why rows could not be fetched.
pub(super) enum FetchError {
    Read(Arc<Segment>, ReadError),
    Batch(BatchError),
}

impl From<BatchError> for FetchError {
    fn from(error: BatchError) -> Self {
        FetchError::Batch(error)
    }
}

/// How many of `matches`, which are of a page of `page` rows, to fetch at a time, so that large records do not fill the
/// memory.
pub(super) fn rows_at_once(sources: &[Source], matches: &[Match], page: usize) -> usize {
    let mean = |source: &Source| match source {
        Source::Chunk(chunk) => (chunk.bytes / chunk.records.len().max(1)) as u64,
        Source::Segment(segment) => segment.info.memory_bytes / segment.info.rows.max(1),
    };
    let used = matches.iter().filter_map(|found| sources.get(found.source as usize));
    let row_bytes = used.map(mean).max().unwrap_or(0).max(1);
    let (least, most) = ROWS_AT_ONCE;
    let bytes = if page < LONG_PAGE_ROWS { BYTES_AT_ONCE } else { LONG_BYTES_AT_ONCE };
    // Bounded above by 64k.
    ((bytes / row_bytes).clamp(least, most) as usize).min(matches.len())
}

/// The records of `matches`, in that order.
pub(super) fn fetch(
    sources: &[Source],
    cache: &Cache,
    matches: &[Match],
    tracer: &mut Tracer,
) -> Result<Records, FetchError> {
    let mut rows_by_source: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for found in matches {
        rows_by_source.entry(found.source).or_default().push(found.row);
    }
    let mut parts = Vec::new();
    // Where each match comes to stand among the parts.
    let mut places: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for (index, mut rows) in rows_by_source {
        rows.sort_unstable();
        for row in &rows {
            places.insert((index, *row), places.len() as u32);
        }
        match sources.get(index as usize) {
            Some(Source::Chunk(chunk)) => parts.push(from_chunk(chunk, rows)?),
            Some(Source::Segment(segment)) => {
                let read = tracer.open(cache, segment).and_then(|open| from_segment(&open, &rows));
                parts.extend(read.map_err(|error| FetchError::Read(segment.clone(), error))?);
            }
            None => {}
        }
    }
    let order = matches.iter().filter_map(|found| places.get(&(found.source, found.row)).copied());
    let order = UInt32Array::from_iter_values(order);
    let sorted = order.values().iter().zip(0..).all(|(place, index)| *place == index);
    let records = Records::concat(&parts)?;
    Ok(if sorted { records } else { records.take(&order)? })
}

fn from_chunk(chunk: &Chunk, rows: Vec<u32>) -> Result<Records, BatchError> {
    chunk.records.take(&UInt32Array::from(rows))
}

/// The rows, which are sorted, of a segment: one part for each row group.
fn from_segment(open: &OpenSegment, mut rows: &[u32]) -> Result<Vec<Records>, ReadError> {
    let mut wanted = Vec::new();
    let mut base = 0;
    for (index, group) in open.footer.row_groups.iter().enumerate() {
        let end = base + group.rows;
        let (here, rest) = rows.split_at(rows.partition_point(|row| *row < end));
        if !here.is_empty() {
            let here = here.iter().map(|row| (row - base) as usize);
            wanted.push((index, bits::of(group.rows as usize, here)));
        }
        rows = rest;
        base = end;
    }
    parallel::map(&wanted, |(index, bits)| open.records(*index, bits.clone())).into_iter().collect()
}
