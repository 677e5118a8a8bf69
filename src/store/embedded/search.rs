//! Searches: the best matches of memory and disk, found from key columns alone, then fetched.
//!
//! A search takes a snapshot and goes through it in pages. For each page the sources (chunks and segments) are visited in
//! the order of their best time, and a heap keeps the best positions so far. Once it is full, its worst position narrows
//! the range of times for all that follows, and the page is done when the next source lies beyond it. What is read of a
//! row group before that is its key columns, after its bounds, its columns and its token filter let it through, then the
//! attributes that the filter needs, and last the messages, each of those rows only that pass everything before. Only the
//! rows of the page are then fetched whole, a few at a time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_buffer::BooleanBuffer;
use sluice_model::Timestamp;

use super::bits::{self, spread};
use super::cache::Cache;
use super::extent::Extent;
use super::fetch::{self, FetchError};
use super::known::Known;
use super::memory::Chunk;
use super::parts::{Candidates, Parts};
use super::plan::{MEMORY_STEP, STEPS};
use super::reader::{OpenSegment, ReadError};
use super::segment::{RowGroup, Segment};
use super::step;
use super::tracer::{DAMAGED, LIMIT, Tracer};
use crate::batch::Records;
use crate::query::{Cause, Columns, Expr, Filter, Order, Position, Query, Summary, TimeRange, Verdict};
use crate::store::{ScanTrace, Sink, StoreError, Visited};

/// How many positions a page has at most.
const PAGE_ROWS: usize = 64 << 10;

/// A page has no more positions than so many sources have rows: where segments are many and tiny, as those of old days
/// are, a long answer would have to open all of them before its first record.
const PAGE_SOURCES: usize = if cfg!(test) { 3 } else { 1024 };

/// What a search looks at: it does not change while it runs.
pub(super) struct Snapshot {
    pub(super) chunks: Vec<Arc<Chunk>>,
    pub(super) segments: Arc<Vec<Arc<Segment>>>,
}

/// Where records come from.
#[derive(Clone)]
pub(super) enum Source {
    Chunk(Arc<Chunk>),
    Segment(Arc<Segment>),
}

/// A match: where it stands in the order, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    key: (i64, u128),
    pub(super) source: u32,
    /// The row within the source.
    pub(super) row: u32,
}

impl Ord for Match {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for Match {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why a search could not go on with a source.
pub(super) enum Failure {
    /// The segment must be set aside; the search goes on without it.
    Damaged(Arc<Segment>, String),
    Store(StoreError),
}

impl Failure {
    pub(super) fn of(segment: &Arc<Segment>, error: ReadError) -> Failure {
        match error {
            ReadError::Io(error) => Failure::Store(StoreError::Unavailable(error.to_string())),
            // It is no damage, and its records must not seem to be lost.
            error @ ReadError::TooNew(_) => Failure::Store(StoreError::Bug(format!("{}: {error}", segment.info.name))),
            error => Failure::Damaged(segment.clone(), error.to_string()),
        }
    }
}

/// Yields every match to `sink` in the query's order; tells `damaged` of each segment that had to be passed over.
pub(super) fn search(
    snapshot: &Snapshot,
    cache: &Cache,
    query: &Query,
    sink: &mut dyn Sink,
    damaged: &dyn Fn(&Segment, &str),
) -> Result<(), StoreError> {
    let mut tracer = Tracer::new(sink.is_traced());
    let mut rest = query.clone();
    let outcome = loop {
        let page = rest.limit.unwrap_or(PAGE_ROWS).min(PAGE_ROWS);
        if page == 0 {
            break Ok(());
        }
        match search_page(snapshot, cache, &mut rest, page, sink, &mut tracer) {
            Ok(ControlFlow::Break(())) => break Ok(()),
            Ok(ControlFlow::Continue(())) => {}
            Err(Failure::Damaged(segment, reason)) => damaged(&segment, &reason),
            Err(Failure::Store(error)) => break Err(error),
        }
    };
    if let Some(trace) = tracer.finish() {
        sink.take_trace(trace);
    }
    outcome
}

/// Yields the next matches, `page` of them at most, and moves `rest` on behind them; `Break` at the end.
fn search_page(
    snapshot: &Snapshot,
    cache: &Cache,
    rest: &mut Query,
    page: usize,
    sink: &mut dyn Sink,
    tracer: &mut Tracer,
) -> Result<ControlFlow<()>, Failure> {
    let sources = tracer.timed(|trace| &mut trace.plan, |tracer| sources(snapshot, rest, tracer));
    // From here on both steps look at few sources, unless few records match.
    let first_rows: usize = sources.iter().take(PAGE_SOURCES).map(Source::rows).sum();
    let page = if sources.len() > PAGE_SOURCES { page.min(first_rows.max(1)) } else { page };
    let matches = tracer.timed(|trace| &mut trace.scan, |tracer| find(&sources, cache, rest, page, tracer))?;
    let mut start = 0;
    while let Some(few) = matches.get(start..).filter(|few| !few.is_empty()) {
        let few = few.get(..fetch::rows_at_once(&sources, few, page)).unwrap_or(few);
        let fetched = tracer.timed(|trace| &mut trace.fetch, |tracer| fetch::fetch(&sources, cache, few, tracer));
        let records = fetched.map_err(|error| match error {
            FetchError::Read(segment, error) => Failure::of(&segment, error),
            FetchError::Batch(error) => Failure::Store(StoreError::Bug(error.to_string())),
        })?;
        tracer.note(|trace| trace.rows_fetched += records.len() as u64);
        start += few.len();
        rest.limit = rest.limit.map(|limit| limit.saturating_sub(records.len()));
        rest.after = records.len().checked_sub(1).map(|last| records.position(last)).or(rest.after);
        if sink.push(records).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    let end = matches.len() < page;
    Ok(if end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
}

/// The sources that may have matches, the one with the best time first.
fn sources(snapshot: &Snapshot, query: &Query, tracer: &mut Tracer) -> Vec<Source> {
    let filter = Filter { range: query.open_range(), ..query.filter.clone() };
    let mut may_match = |extent: &Extent, part: fn(&mut ScanTrace) -> &mut Visited| {
        let known = Known::by_extent(extent);
        let may_match = filter.verdict(&known) != Verdict::Never;
        if !may_match {
            tracer.prune(part, || filter.cause(&known).name());
        }
        may_match
    };
    let mut sources = Vec::new();
    let chunks = snapshot.chunks.iter().filter(|chunk| may_match(&chunk.extent, |trace| &mut trace.chunks));
    sources.extend(chunks.cloned().map(Source::Chunk));
    let segments = snapshot.segments.iter().filter(|segment| !segment.is_damaged());
    let segments = segments.filter(|segment| may_match(&segment.info.extent, |trace| &mut trace.segments));
    sources.extend(segments.cloned().map(Source::Segment));
    tracer.note(|trace| {
        let damaged = snapshot.segments.iter().filter(|segment| segment.is_damaged()).count();
        trace.segments.prune(DAMAGED, damaged as u64);
    });
    sources.sort_by_key(|source| flip(source.best_time(query.order), query.order));
    sources
}

impl Source {
    fn rows(&self) -> usize {
        match self {
            Source::Chunk(chunk) => chunk.records.len(),
            Source::Segment(segment) => usize::try_from(segment.info.rows).unwrap_or(usize::MAX),
        }
    }

    /// Where a trace counts it.
    fn part(&self) -> fn(&mut ScanTrace) -> &mut Visited {
        match self {
            Source::Chunk(_) => |trace| &mut trace.chunks,
            Source::Segment(_) => |trace| &mut trace.segments,
        }
    }

    fn best_time(&self, order: Order) -> i64 {
        match self {
            Source::Chunk(chunk) => chunk.extent.best_time(order),
            Source::Segment(segment) => segment.info.extent.best_time(order),
        }
    }
}

/// The best `page` matches, in order.
fn find(
    sources: &[Source],
    cache: &Cache,
    query: &Query,
    page: usize,
    tracer: &mut Tracer,
) -> Result<Vec<Match>, Failure> {
    let mut best = Best::new(query, page);
    for (index, source) in (0..).zip(sources) {
        if best.beats(source.best_time(query.order)) {
            let rest = sources.get(index as usize..).unwrap_or_default();
            rest.iter().for_each(|source| tracer.prune(source.part(), || LIMIT));
            break;
        }
        tracer.note(|trace| source.part()(trace).scan());
        match source {
            Source::Chunk(chunk) => best.scan_chunk(index, &chunk.records, tracer),
            Source::Segment(segment) => {
                let open = tracer.open(cache, segment);
                let scanned = open.and_then(|open| best.scan_segment(index, &open, tracer));
                scanned.map_err(|error| Failure::of(segment, error))?;
            }
        }
    }
    Ok(best.heap.into_sorted_vec())
}

/// Maps a time so that what comes first in the order is least.
fn flip(time: i64, order: Order) -> i64 {
    match order {
        Order::Ascending => time,
        Order::Descending => !time,
    }
}

fn flip_id(id: u128, order: Order) -> u128 {
    match order {
        Order::Ascending => id,
        Order::Descending => !id,
    }
}

/// The best matches so far.
struct Best {
    order: Order,
    after: Option<(i64, u128)>,
    /// The whole filter, and its part for key columns; the range of both narrows as matches are found.
    filter: Filter,
    keys_only: Filter,
    /// The tokens that the filter may ask for.
    tokens: Vec<String>,
    /// The times that were asked for: the range without that.
    range: TimeRange,
    /// What has to be passed besides, step by step, each under its name.
    later: Vec<(&'static str, Expr)>,
    /// The worst of them on top.
    heap: BinaryHeap<Match>,
    page: usize,
}

impl Best {
    fn new(query: &Query, page: usize) -> Best {
        let order = query.order;
        let key = |(time, id): Position| (flip(time.as_nanos(), order), flip_id(id.as_u128(), order));
        let filter = Filter { range: query.open_range(), ..query.filter.clone() };
        let [keys, fields, messages] = filter.matching.steps();
        let [_, fields_step, message_step] = STEPS;
        let keys_only = Filter { matching: keys, ..filter.clone() };
        Best {
            order,
            after: query.after.map(key),
            keys_only,
            later: [(fields_step, fields), (message_step, messages)]
                .into_iter()
                .filter(|(_, step)| *step != Expr::All)
                .collect(),
            range: filter.range,
            tokens: filter.matching.tokens().into_iter().collect(),
            filter,
            heap: BinaryHeap::with_capacity(page.min(1024) + 1),
            page,
        }
    }

    /// Whether nothing whose best time is `time` can be among the best any more.
    fn beats(&self, time: i64) -> bool {
        let worst = if self.heap.len() < self.page { None } else { self.heap.peek() };
        worst.is_some_and(|worst| flip(time, self.order) > worst.key.0)
    }

    fn scan_chunk(&mut self, source: u32, records: &Records, tracer: &mut Tracer) {
        let selected = self.filter.select(records);
        tracer.step(MEMORY_STEP, records.len(), records.len(), || selected.count_set_bits());
        let times = records.logs.timestamps();
        for row in selected.set_indices() {
            let time = flip(times.get(row).copied().unwrap_or_default(), self.order);
            if !self.beats(flip(time, self.order)) {
                // A chunk's rows are counted by u32.
                let key = (time, flip_id(records.id(row).as_u128(), self.order));
                self.offer(Match { key, source, row: row as u32 });
            }
        }
        self.narrow();
    }

    fn scan_segment(&mut self, source: u32, open: &OpenSegment, tracer: &mut Tracer) -> Result<(), ReadError> {
        let mut base = 0;
        let mut groups: Vec<(usize, u32, &RowGroup)> = Vec::with_capacity(open.footer.row_groups.len());
        for (index, group) in open.footer.row_groups.iter().enumerate() {
            groups.push((index, base, group));
            base += group.rows;
        }
        groups.sort_by_key(|(_, _, group)| flip(group.extent.best_time(self.order), self.order));
        for (place, (index, base, group)) in groups.iter().copied().enumerate() {
            if self.beats(group.extent.best_time(self.order)) {
                tracer.note(|trace| trace.row_groups.prune(LIMIT, (groups.len() - place) as u64));
                break;
            }
            let known = Known::of_group(open, index, &group.extent, &self.filter, &self.tokens)?;
            if self.filter.verdict(&known) == Verdict::Never {
                tracer.prune(|trace| &mut trace.row_groups, || self.cause(&known));
            } else {
                tracer.note(|trace| trace.row_groups.scan());
                self.scan_group(source, open, (index, base), &known, tracer)?;
            }
        }
        Ok(())
    }

    /// Why nothing of what is known so can be among the best.
    fn cause(&self, known: &Known<'_>) -> &'static str {
        match self.filter.cause(known) {
            Cause::Time if self.range.overlaps(known.times()) => LIMIT,
            cause => cause.name(),
        }
    }

    fn scan_group(
        &mut self,
        source: u32,
        open: &OpenSegment,
        (group, base): (usize, u32),
        known: &Known<'_>,
        tracer: &mut Tracer,
    ) -> Result<(), ReadError> {
        let Some(row_group) = open.footer.row_groups.get(group) else { return Ok(()) };
        let mut parts = Parts::of(row_group);
        // What was found in the best of them narrows the filter for the others.
        while let Some(candidates) = parts.next(&self.keys_only, self.order, self.page) {
            self.scan_rows(source, open, (group, base), candidates, known, tracer)?;
        }
        Ok(())
    }

    fn scan_rows(
        &mut self,
        source: u32,
        open: &OpenSegment,
        (group, base): (usize, u32),
        Candidates { rows, filter }: Candidates,
        known: &Known<'_>,
        tracer: &mut Tracer,
    ) -> Result<(), ReadError> {
        let [keys_step, ..] = STEPS;
        let columns = Columns { timestamp: true, ..filter.columns() };
        let keys = open.columns(group, rows.clone(), &open.places(&columns))?;
        let mut passing = filter.select(&keys);
        tracer.step(keys_step, keys.len(), keys.len(), || passing.count_set_bits());
        let rows = rows.unwrap_or_else(|| BooleanBuffer::new_set(keys.len()));
        passing = spread(&rows, &passing);
        for (name, step) in self.later.iter().filter(|(_, step)| step.verdict(known) != Verdict::Always) {
            let rows = passing.count_set_bits();
            if rows == 0 {
                break;
            }
            let stepped = step::take(open, group, known, step, passing)?;
            tracer.step(name, rows, stepped.read, || stepped.passing.count_set_bits());
            passing = stepped.passing;
        }
        let times = rows.set_indices().zip(keys.logs.timestamps()).filter(|(row, _)| passing.value(*row));
        let competing = self.competing(times.map(|(row, time)| (flip(*time, self.order), row)).collect());
        if competing.is_empty() {
            return Ok(());
        }
        let bits = bits::of(rows.len(), competing.iter().map(|(_, row)| *row));
        for ((time, row), id) in competing.iter().zip(open.ids(group, bits)?) {
            // A row group's rows are counted by u32.
            self.offer(Match { key: (*time, flip_id(id.as_u128(), self.order)), source, row: base + *row as u32 });
        }
        self.narrow();
        Ok(())
    }

    /// Those of some matches, by their time and row, that can be among the best whatever their ids are.
    fn competing(&self, mut found: Vec<(i64, usize)>) -> Vec<(i64, usize)> {
        if let Some(worst) = self.heap.peek().filter(|_| self.heap.len() >= self.page) {
            found.retain(|(time, _)| *time <= worst.key.0);
        }
        // Those at the very time to go on from may have been yielded.
        let after = self.after.map_or(i64::MIN, |(time, _)| time);
        let mut times: Vec<i64> = found.iter().map(|(time, _)| *time).filter(|time| *time > after).collect();
        if times.len() > self.page {
            let (_, last, _) = times.select_nth_unstable(self.page - 1);
            found.retain(|(time, _)| time <= last);
        }
        found
    }

    /// Keeps a match, if it is among the best.
    fn offer(&mut self, found: Match) {
        if self.after.is_some_and(|after| found.key <= after) {
            return;
        }
        if self.heap.len() < self.page {
            self.heap.push(found);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && found < *worst
        {
            *worst = found;
        }
    }

    /// Cuts the range of times at the worst match, once there are enough.
    fn narrow(&mut self) {
        let worst = if self.heap.len() < self.page { None } else { self.heap.peek() };
        let Some(worst) = worst else { return };
        let time = Timestamp::from_nanos(flip(worst.key.0, self.order));
        let range = self.filter.range;
        let range = match self.order {
            Order::Ascending => TimeRange { end: range.end.min(time), ..range },
            Order::Descending => TimeRange { start: range.start.max(time), ..range },
        };
        self.filter.range = range;
        self.keys_only.range = range;
    }
}
