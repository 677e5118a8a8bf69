//! Tallies: counts by the server where it can say exactly what is asked for, else documents with the fields that it
//! takes, finished by the one evaluator.
//!
//! The server counts by service, severity and bucket of UTC. It computes nothing else: its sums, means and percentiles
//! round in their own ways, it takes no text for a number, and it does not see what is not nested exactly.

use std::future::Future;
use std::time::{Duration, Instant};

use arrow_buffer::BooleanBuffer;
use mongodb::Cursor;
use mongodb::bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use sluice_model::{RecordId, Severity, Timestamp};

use super::Shared;
use super::client::CallError;
use super::document;
use super::pushdown::{self, Pushed};
use super::search;
use crate::batch::{LogBatchBuilder, Records};
use crate::query::{Columns, Filter, Order, Query, TimeRange};
use crate::stats::{Census, Dimensions, Tally, Wants};
use crate::store::StoreError;

/// How much is asked of the server and decoded at a time.
const STEP_ROWS: usize = 5_000;
const STEP_BYTES: usize = 8 << 20;
/// How often it is asked, while the server works, whether anyone waits for its answer.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// Longer steps are not pushed down, as the sums of it would leave the range of integers.
const PUSHED_STEP_NS_MAX: i64 = 1 << 60;

/// The types of fields that every document of ours has.
const TYPES: [(&str, &str); 5] =
    [("_id", "string"), ("severity", "int"), ("level", "string"), ("service", "string"), ("message", "string")];

/// Why a way to the answer came to its end.
enum Stop {
    /// The tally needs no more.
    Over,
    Call(CallError),
    Store(StoreError),
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        Stop::Call(error)
    }
}

/// Gives every match to `tally`.
pub(super) fn tally(shared: &Shared, filter: &Filter, tally: &mut dyn Tally) -> Result<(), StoreError> {
    if filter.range.start > filter.range.end {
        return Ok(());
    }
    let query = Query { filter: filter.clone(), order: Order::Ascending, after: None, limit: None };
    let mut pushed = pushdown::push(&filter.matching);
    if pushed.exact
        && let Wants::Counts(dimensions) = tally.wants()
        && let Some(group) = group_by(&dimensions)
    {
        match by_counts(shared, &query, &pushed, group, tally) {
            Ok(true) | Err(Stop::Over) => return Ok(()),
            // It cannot count so, or takes too long: then look at the documents.
            Ok(false) => tally.reset(),
            Err(Stop::Call(error)) if is_refusal(&error) || shared.connection.health().is_ok() => tally.reset(),
            Err(Stop::Call(error)) => return Err(error.unavailable()),
            Err(Stop::Store(error)) => return Err(error),
        }
    }
    loop {
        match by_documents(shared, &query, &pushed, tally) {
            Ok(()) | Err(Stop::Over) => return Ok(()),
            // What is rare keeps the server looking for long: then go through the records here.
            Err(Stop::Call(CallError::TimedOut(_)))
                if pushed.filter.is_some() && shared.connection.health().is_ok() =>
            {
                pushed = Pushed { filter: None, exact: false };
                tally.reset();
            }
            Err(Stop::Call(error)) => return Err(error.unavailable()),
            Err(Stop::Store(error)) => return Err(error),
        }
    }
}

fn is_refusal(error: &CallError) -> bool {
    error.command_code().is_some()
}

/// Waits for `operation` as long as a step of a read may take, and while the tally needs it.
fn wait<T>(
    shared: &Shared,
    tally: &dyn Tally,
    operation: impl Future<Output = mongodb::error::Result<T>>,
) -> Result<T, Stop> {
    let mut operation = Box::pin(operation);
    let end = Instant::now() + shared.read_timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match shared.connection.call(left.min(LOOK_PERIOD), operation.as_mut()) {
            Err(CallError::TimedOut(_)) if Instant::now() < end => {
                if tally.is_over() {
                    return Err(Stop::Over);
                }
            }
            Err(CallError::TimedOut(_)) => return Err(CallError::TimedOut(shared.read_timeout).into()),
            answer => return Ok(answer?),
        }
    }
}

/// What the server groups by; `None`, where it cannot.
fn group_by(dimensions: &Dimensions) -> Option<Bson> {
    let mut key = Document::new();
    if dimensions.service {
        key.insert("service", "$service");
    }
    if dimensions.severity {
        key.insert("severity", "$severity");
    }
    if let Some(step) = &dimensions.step {
        let (length, origin) = step.in_utc().filter(|(length, _)| *length <= PUSHED_STEP_NS_MAX)?;
        let shift = 2 * length - origin.rem_euclid(length);
        // How far into its bucket a time lies; a remainder has the sign of the time.
        let rest = doc! { "$mod": [{ "$add": [{ "$mod": ["$ns", length] }, shift] }, length] };
        key.insert("start", doc! { "$subtract": ["$ns", rest] });
    }
    Some(if key.is_empty() { Bson::Null } else { key.into() })
}

/// A filter that passes over documents of others, of which these fields are not what they should be; where nothing decodes
/// them, nothing else would notice.
fn with_types(mut filter: Document, types: &[(&str, &str)]) -> Document {
    let mut parts: Vec<Bson> = types.iter().map(|(name, kind)| doc! { *name: { "$type": *kind } }.into()).collect();
    if let Some(Bson::Array(others)) = filter.remove("$and") {
        parts.extend(others);
    }
    if !parts.is_empty() {
        filter.insert("$and", parts);
    }
    filter
}

/// Lets the server count; `false`, if the tally cannot take what it says.
fn by_counts(
    shared: &Shared,
    query: &Query,
    pushed: &Pushed,
    group: Bson,
    tally: &mut dyn Tally,
) -> Result<bool, Stop> {
    let collection = shared.connection.collection()?;
    let matching = with_types(search::filter(query, pushed), &TYPES);
    let group = doc! { "_id": group, "rows": { "$sum": 1_i64 }, "first": { "$min": "$ns" }, "last": { "$max": "$ns" } };
    let pipeline = [doc! { "$match": matching }, doc! { "$group": group }];
    let mut cursor = wait(shared, tally, async {
        collection.aggregate(pipeline).allow_disk_use(true).max_time(shared.read_timeout).await
    })?;
    while wait(shared, tally, cursor.advance())? {
        if tally.is_over() {
            return Err(Stop::Over);
        }
        if !take(cursor.current(), tally) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives a count to the tally: whether it was taken.
fn take(counted: &RawDocument, tally: &mut dyn Tally) -> bool {
    let number = |name: &str| counted.get(name).ok().flatten().and_then(integer);
    let (Some(rows), Some(first), Some(last)) = (number("rows"), number("first"), number("last")) else { return false };
    let key = counted.get_document("_id").ok();
    let severity = key.and_then(|key| key.get("severity").ok().flatten()).and_then(integer);
    let severity = severity.and_then(|number| u8::try_from(number).ok()).and_then(Severity::from_number);
    tally.take(&Census {
        rows: u64::try_from(rows).unwrap_or(0),
        times: TimeRange { start: Timestamp::from_nanos(first), end: Timestamp::from_nanos(last) },
        service: key.and_then(|key| key.get_str("service").ok()),
        severity,
        counts: &[],
        cells: &[],
        fields: None,
    })
}

fn integer(value: RawBsonRef<'_>) -> Option<i64> {
    match value {
        RawBsonRef::Int32(value) => Some(value.into()),
        RawBsonRef::Int64(value) => Some(value),
        _ => None,
    }
}

/// Goes through the documents of the filter.
fn by_documents(shared: &Shared, query: &Query, pushed: &Pushed, tally: &mut dyn Tally) -> Result<(), Stop> {
    let collection = shared.connection.collection()?;
    let mut columns = tally.columns();
    if !pushed.exact {
        columns = columns.and(&query.filter.columns());
    }
    let types: &[(&str, &str)] = if columns.message { &[] } else { &[("message", "string")] };
    let filter = with_types(search::filter(query, pushed), types);
    let mut cursor = wait(shared, tally, async {
        collection.find(filter).projection(projection(&columns)).batch_size(STEP_ROWS as u32).await
    })?;
    loop {
        if tally.is_over() {
            return Err(Stop::Over);
        }
        let Step { builder, ids, skipped, ended } = wait(shared, tally, fill(&mut cursor, &columns))?;
        shared.metrics.foreign.inc_by(skipped);
        let records = Records::with_ids(&ids, builder.finish());
        let records = records.map_err(|error| Stop::Store(StoreError::Bug(error.to_string())))?;
        let rows = if pushed.exact { BooleanBuffer::new_set(records.len()) } else { query.filter.select(&records) };
        if rows.count_set_bits() > 0 && tally.add(&records, &rows).is_break() {
            return Err(Stop::Over);
        }
        if ended {
            return Ok(());
        }
    }
}

/// What of a document nobody looks at.
fn projection(columns: &Columns) -> Document {
    let mut left_out = doc! { "timestamp": 0, "arrival": 0, "expire_at": 0, "hash": 0 };
    if !columns.message {
        left_out.insert("message", 0);
    }
    if !columns.has_attributes() {
        left_out.insert("attributes", 0);
        left_out.insert("attributes_json", 0);
    }
    left_out
}

/// What a step took from the cursor.
struct Step {
    builder: LogBatchBuilder,
    ids: Vec<RecordId>,
    /// How many documents were not of ours.
    skipped: u64,
    ended: bool,
}

async fn fill(cursor: &mut Cursor<RawDocumentBuf>, columns: &Columns) -> mongodb::error::Result<Step> {
    let mut step = Step { builder: LogBatchBuilder::new(), ids: Vec::new(), skipped: 0, ended: false };
    let message = (!columns.message).then_some("");
    let mut bytes = 0;
    while step.ids.len() < STEP_ROWS && bytes < STEP_BYTES {
        if !cursor.advance().await? {
            step.ended = true;
            break;
        }
        let document = cursor.current();
        bytes += document.as_bytes().len();
        match document::decode_with(document, message, &mut step.builder) {
            Some(id) => step.ids.push(id),
            None => step.skipped += 1,
        }
    }
    Ok(step)
}
