//! Searching: a query in MongoDB's terms, finished by the one evaluator, in passes that take up where the last one ended.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use arrow_array::UInt32Array;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::{Collection, Cursor};
use sluice_model::RecordId;

use super::Shared;
use super::client::CallError;
use super::document;
use super::pushdown::{self, Pushed, one_of, severities};
use crate::batch::{BatchError, LogBatchBuilder, Records};
use crate::query::{Order, Query};
use crate::store::{CursorTrace, Sink, StoreError, Trace};

/// How much is asked of the server, decoded and handed on at a time.
const STEP_ROWS: usize = 1_000;
const STEP_BYTES: usize = 4 << 20;

/// What the reader has no use for.
fn projection() -> Document {
    doc! { "timestamp": 0, "arrival": 0, "expire_at": 0, "hash": 0 }
}

/// How a pass ended.
enum Pass {
    /// All that there is has been yielded, or the sink has enough.
    Done,
    /// There may be more after the place that the query now goes on from.
    Short,
}

/// Answers a query.
pub(super) fn search(shared: &Shared, query: &Query, sink: &mut dyn Sink) -> Result<(), StoreError> {
    let mut tracer = Tracer { is_wanted: sink.is_traced(), trace: CursorTrace::default() };
    let outcome = search_in_passes(shared, query, sink, &mut tracer);
    if tracer.is_wanted {
        sink.take_trace(Trace::Cursor(tracer.trace));
    }
    outcome
}

/// What a search does. The clock is looked at only if somebody wants to know.
struct Tracer {
    is_wanted: bool,
    trace: CursorTrace,
}

impl Tracer {
    fn clock(&self) -> Option<Instant> {
        self.is_wanted.then(Instant::now)
    }
}

fn since(clock: Option<Instant>) -> Duration {
    clock.map_or(Duration::ZERO, |clock| clock.elapsed())
}

fn search_in_passes(
    shared: &Shared,
    query: &Query,
    sink: &mut dyn Sink,
    tracer: &mut Tracer,
) -> Result<(), StoreError> {
    let mut query = query.clone();
    let mut pushed = pushdown::push(&query.filter.matching);
    let mut bounded = pushed.exact;
    while query.limit != Some(0) && query.open_range().start <= query.open_range().end {
        match pass(shared, &mut query, &pushed, bounded, sink, tracer) {
            Ok(Pass::Done) => return Ok(()),
            // Documents that are not ours took up some of the limit: this time count only our own.
            Ok(Pass::Short) => bounded = false,
            // What is rare keeps the server looking for long: then go through the records here, step by step.
            Err(SearchError::Call(CallError::TimedOut(_)))
                if pushed.filter.is_some() && shared.connection.health().is_ok() =>
            {
                pushed = Pushed { filter: None, exact: false };
                bounded = false;
                tracer.trace.filter_dropped = true;
            }
            Err(SearchError::Call(error)) => return Err(error.unavailable()),
            Err(SearchError::Batch(error)) => return Err(StoreError::Bug(error.to_string())),
        }
    }
    Ok(())
}

/// Finds one record.
pub(super) fn get(shared: &Shared, id: RecordId) -> Result<Option<Records>, StoreError> {
    let collection = shared.connection.collection()?;
    let found = shared.connection.call(shared.read_timeout, async {
        collection.find_one(doc! { "_id": id.to_string() }).projection(projection()).await
    })?;
    let mut builder = LogBatchBuilder::new();
    let Some(id) = found.and_then(|document| document::decode(&document, &mut builder)) else { return Ok(None) };
    Records::with_ids(&[id], builder.finish()).map(Some).map_err(|error| StoreError::Bug(error.to_string()))
}

enum SearchError {
    Call(CallError),
    Batch(BatchError),
}

impl From<CallError> for SearchError {
    fn from(error: CallError) -> Self {
        SearchError::Call(error)
    }
}

impl From<BatchError> for SearchError {
    fn from(error: BatchError) -> Self {
        SearchError::Batch(error)
    }
}

/// Yields what one cursor gives. `query.after` and `query.limit` go along with what has been yielded.
///
/// `pushed` is what the server looks for of the filter's tree, and `bounded` says whether it is told the limit.
fn pass(
    shared: &Shared,
    query: &mut Query,
    pushed: &Pushed,
    bounded: bool,
    sink: &mut dyn Sink,
    tracer: &mut Tracer,
) -> Result<Pass, SearchError> {
    let collection = shared.connection.collection()?;
    let clock = tracer.clock();
    let opened = open(shared, &collection, query, pushed, bounded);
    tracer.trace.cursors += 1;
    tracer.trace.wait += since(clock);
    let mut cursor = opened?;
    let mut skipped = false;
    loop {
        let step = shared.connection.call(shared.read_timeout, fill(&mut cursor, tracer))?;
        skipped |= step.skipped > 0;
        shared.metrics.foreign.inc_by(step.skipped);
        let last = step.ids.len().checked_sub(1);
        let records = Records::with_ids(&step.ids, step.builder.finish())?;
        if let Some(last) = last {
            query.after = Some(records.position(last));
            if let ControlFlow::Break(()) = hand_on(records, query, pushed.exact, sink, tracer)? {
                return Ok(Pass::Done);
            }
        }
        if step.ended {
            return Ok(if skipped && bounded && query.limit.is_some() { Pass::Short } else { Pass::Done });
        }
    }
}

fn open(
    shared: &Shared,
    collection: &Collection<RawDocumentBuf>,
    query: &Query,
    pushed: &Pushed,
    bounded: bool,
) -> Result<Cursor<RawDocumentBuf>, CallError> {
    let pushed_limit = pushed_limit(query, bounded);
    let step = query.limit.filter(|_| bounded).map_or(STEP_ROWS, |limit| limit.min(STEP_ROWS));
    shared.connection.call(shared.read_timeout, async {
        let mut find = collection
            .find(filter(query, pushed))
            .projection(projection())
            .sort(sort(query.order))
            .batch_size(step as u32);
        if let Some(limit) = pushed_limit {
            find = find.limit(limit);
        }
        find.await
    })
}

/// The limit that the server is told.
pub(super) fn pushed_limit(query: &Query, bounded: bool) -> Option<i64> {
    query.limit.filter(|_| bounded).and_then(|limit| i64::try_from(limit).ok())
}

/// The answer's order, which an index has.
pub(super) fn sort(order: Order) -> Document {
    let direction = match order {
        Order::Ascending => 1,
        Order::Descending => -1,
    };
    doc! { "ns": direction, "_id": direction }
}

/// What a step took from the cursor.
struct Step {
    builder: LogBatchBuilder,
    ids: Vec<RecordId>,
    /// How many documents were not of ours.
    skipped: u64,
    ended: bool,
}

async fn fill(cursor: &mut Cursor<RawDocumentBuf>, tracer: &mut Tracer) -> mongodb::error::Result<Step> {
    let mut step = Step { builder: LogBatchBuilder::new(), ids: Vec::new(), skipped: 0, ended: false };
    let mut bytes = 0;
    while step.ids.len() < STEP_ROWS && bytes < STEP_BYTES {
        let clock = tracer.clock();
        let advanced = cursor.advance().await;
        tracer.trace.wait += since(clock);
        if !advanced? {
            step.ended = true;
            break;
        }
        let clock = tracer.clock();
        let document = cursor.current();
        bytes += document.as_bytes().len();
        tracer.trace.bytes_read += document.as_bytes().len() as u64;
        match document::decode(document, &mut step.builder) {
            Some(id) => step.ids.push(id),
            None => step.skipped += 1,
        }
        tracer.trace.decode += since(clock);
    }
    let decoded = step.ids.len() as u64;
    tracer.trace.documents += decoded + step.skipped;
    tracer.trace.foreign += step.skipped;
    tracer.trace.decoded += decoded;
    Ok(step)
}

/// Gives the matches among `records` to the sink; `Break`, if the search is over.
fn hand_on(
    records: Records,
    query: &mut Query,
    exact: bool,
    sink: &mut dyn Sink,
    tracer: &mut Tracer,
) -> Result<ControlFlow<()>, BatchError> {
    let mut matches = records;
    if !exact {
        let clock = tracer.clock();
        let rows = query.filter.select(&matches);
        let rows: Vec<u32> = rows.set_indices().map(|row| row as u32).collect();
        if rows.len() < matches.len() {
            matches = matches.take(&UInt32Array::from(rows))?;
        }
        tracer.trace.evaluate += since(clock);
    }
    tracer.trace.passed += matches.len() as u64;
    if let Some(limit) = query.limit {
        if matches.len() > limit {
            matches = matches.slice(0, limit);
        }
        query.limit = Some(limit - matches.len());
    }
    if !matches.is_empty() && sink.push(matches).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    Ok(if query.limit == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
}

/// The query as a filter: exact but for what of the tree is pushed as a superset.
pub(super) fn filter(query: &Query, pushed: &Pushed) -> Document {
    let range = query.open_range();
    // Always there: documents that are not of ours have no `ns`.
    let mut filter = doc! { "ns": { "$gte": range.start.as_nanos(), "$lte": range.end.as_nanos() } };
    if !query.filter.severities.is_all() {
        filter.insert("severity", severities(query.filter.severities));
    }
    if !query.filter.services.is_empty() {
        filter.insert("service", one_of(query.filter.services.iter().map(Bson::from).collect()));
    }
    if let Some((time, id)) = query.after {
        let beyond = match query.order {
            Order::Ascending => "$gt",
            Order::Descending => "$lt",
        };
        let later = doc! { "ns": { beyond: time.as_nanos() } };
        // Of those within the range, so of that very moment.
        let same = doc! { "_id": { beyond: id.to_string() } };
        filter.insert("$or", vec![later, same]);
    }
    if let Some(pushed) = &pushed.filter {
        filter.insert("$and", [pushed.clone()]);
    }
    filter
}
