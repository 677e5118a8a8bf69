//! From groups to a table: the largest of them, the buckets without records, the order of the rows.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use sluice_model::Timestamp;

use super::LimitError;
use super::aggregation::{Aggregate, BUCKETS_MAX, Fill, Function, GroupField, ROWS_MAX};
use super::aggregator::{Aggregator, Group};
use super::cell::Value;
use super::measure::{Measure, State};
use super::step::Step;
use super::table::{Column, ColumnType, Others, Table};

/// Makes the table.
pub(super) fn table(mut aggregator: Aggregator) -> Result<Table, LimitError> {
    if let Some(failure) = aggregator.failure.take() {
        return Err(failure);
    }
    let has_step = aggregator.aggregation.step.is_some();
    if aggregator.aggregation.by.is_empty() && !has_step && aggregator.groups.is_empty() {
        let empty = aggregator.empty_group(Box::new([]));
        aggregator.groups.push(empty);
    }
    let others = keep_top(&mut aggregator);
    if aggregator.groups.len() > ROWS_MAX {
        return Err(LimitError::Rows);
    }
    let mut rows: Vec<Vec<Value>> = aggregator.groups.iter().map(|group| aggregator.row(group)).collect();
    if let (Some(step), Some(fill)) = (aggregator.aggregation.step, aggregator.aggregation.fill) {
        rows.extend(empty_rows(&aggregator, &step, fill)?);
    }
    let (times, keys) = (usize::from(has_step), usize::from(has_step) + aggregator.aggregation.by.len());
    rows.sort_by(|a, b| order(a, b, times, keys));
    Ok(Table { columns: columns(&aggregator, &rows), rows, others })
}

impl Aggregator {
    fn empty_group(&self, key: Box<[Value]>) -> Group {
        Group { key, records: 0, states: self.measures.iter().map(Measure::start).collect() }
    }

    /// The values of a group: its key, then what is computed of it.
    fn row(&self, group: &Group) -> Vec<Value> {
        let fills = self.aggregation.fill.is_some();
        let computed = self.aggregation.aggregates.iter().map(|aggregate| {
            let state = self.place_of_measure(&aggregate.meaning).and_then(|place| group.states.get(place));
            match value(&aggregate.meaning, group.records, state) {
                Value::Null if fills && matches!(aggregate.meaning, Aggregate::Of(Function::Sum, _)) => Value::Int(0),
                value => value,
            }
        });
        group.key.iter().cloned().chain(computed).collect()
    }

    /// Where the state stands that an aggregate is computed of.
    fn place_of_measure(&self, aggregate: &Aggregate) -> Option<usize> {
        let measure = Measure::of(aggregate)?;
        self.measures.iter().position(|other| *other == measure)
    }
}

fn value(aggregate: &Aggregate, records: u64, state: Option<&State>) -> Value {
    match (aggregate, state) {
        (Aggregate::Count, _) => Value::Int(records.into()),
        (Aggregate::Of(function, field), Some(state)) => state.value(*function, field),
        (Aggregate::Of(..), None) => Value::Null,
    }
}

/// All buckets of the same values, for the rank of their first aggregate.
struct Total {
    key: Vec<Value>,
    records: u64,
    state: Option<State>,
}

/// Leaves only the largest groups, each with all its buckets; says what is gone.
fn keep_top(aggregator: &mut Aggregator) -> Option<Others> {
    let top = aggregator.aggregation.top?;
    let first = &aggregator.aggregation.aggregates.first()?.meaning;
    let (totals, total_of) = totals(aggregator, first);
    if totals.len() <= top {
        return None;
    }
    let computed: Vec<Value> = totals.iter().map(|total| value(first, total.records, total.state.as_ref())).collect();
    let mut ranked: Vec<(&Value, &Total, usize)> =
        computed.iter().zip(&totals).enumerate().map(|(place, (value, total))| (value, total, place)).collect();
    ranked.sort_by(|(a, left, _), (b, right, _)| {
        largest_first(a, b).then_with(|| by_values(left.key.iter(), right.key.iter()))
    });
    let left_out: HashSet<usize> = ranked.iter().skip(top).map(|(_, _, place)| *place).collect();
    let records = ranked.iter().skip(top).map(|(_, total, _)| total.records).sum();
    let mut total_of = total_of.into_iter();
    aggregator.groups.retain(|_| total_of.next().is_none_or(|place| !left_out.contains(&place)));
    Some(Others { groups: left_out.len() as u64, records })
}

/// The totals over all buckets, and which of them each group belongs to.
fn totals(aggregator: &Aggregator, first: &Aggregate) -> (Vec<Total>, Vec<usize>) {
    let skipped = usize::from(aggregator.aggregation.step.is_some());
    let place = aggregator.place_of_measure(first);
    let measure = place.and_then(|place| aggregator.measures.get(place));
    let mut totals: Vec<Total> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut total_of = Vec::with_capacity(aggregator.groups.len());
    for group in &aggregator.groups {
        let key = group.key.get(skipped..).unwrap_or_default();
        let mut encoded = Vec::new();
        key.iter().for_each(|value| value.encode(&mut encoded));
        let next = totals.len();
        let at = *places.entry(encoded).or_insert(next);
        if at == next {
            totals.push(Total { key: key.to_vec(), records: 0, state: measure.map(Measure::start) });
        }
        if let Some(total) = totals.get_mut(at) {
            total.records += group.records;
            if let (Some(state), Some(other)) = (&mut total.state, place.and_then(|place| group.states.get(place))) {
                state.merge(other);
            }
        }
        total_of.push(at);
    }
    (totals, total_of)
}

/// Rows for the buckets of each group that have no records.
fn empty_rows(aggregator: &Aggregator, step: &Step, fill: Fill) -> Result<Vec<Vec<Value>>, LimitError> {
    let mut keys: HashMap<Vec<u8>, (Vec<Value>, HashSet<i64>)> = HashMap::new();
    if aggregator.aggregation.by.is_empty() {
        keys.insert(Vec::new(), Default::default());
    }
    for group in &aggregator.groups {
        let Some((Value::Time(start), key)) = group.key.split_first() else { continue };
        let mut encoded = Vec::new();
        key.iter().for_each(|value| value.encode(&mut encoded));
        keys.entry(encoded).or_insert_with(|| (key.to_vec(), HashSet::new())).1.insert(start.as_nanos());
    }
    let starts = all_starts(step, fill, keys.values().flat_map(|(_, starts)| starts.iter().copied()))?;
    if keys.len().saturating_mul(starts.len()) > ROWS_MAX {
        return Err(LimitError::Rows);
    }
    let mut rows = Vec::new();
    for (key, taken) in keys.values() {
        for start in starts.iter().filter(|start| !taken.contains(start)) {
            let time = Value::Time(Timestamp::from_nanos(*start));
            let key = std::iter::once(time).chain(key.iter().cloned()).collect();
            rows.push(aggregator.row(&aggregator.empty_group(key)));
        }
    }
    Ok(rows)
}

/// Where all buckets start, from the first to the last.
fn all_starts(step: &Step, fill: Fill, found: impl Iterator<Item = i64> + Clone) -> Result<Vec<i64>, LimitError> {
    let first = fill.start.or_else(|| found.clone().min());
    let last = fill.end.or_else(|| found.max());
    let (Some(first), Some(last)) = (first, last) else { return Ok(Vec::new()) };
    let mut starts = Vec::new();
    let mut bucket = step.bucket(first);
    while bucket.start <= last {
        starts.push(bucket.start);
        if starts.len() > BUCKETS_MAX {
            return Err(LimitError::Buckets);
        }
        if bucket.end == i64::MAX {
            break;
        }
        bucket = step.bucket(bucket.end);
    }
    Ok(starts)
}

/// By time, then by the first aggregate, the largest first, then by the groups' values.
fn order(a: &[Value], b: &[Value], times: usize, keys: usize) -> Ordering {
    by_values(a.iter().take(times), b.iter().take(times))
        .then_with(|| match (a.get(keys), b.get(keys)) {
            (Some(a), Some(b)) => largest_first(a, b),
            _ => Ordering::Equal,
        })
        .then_with(|| by_values(a.iter().take(keys), b.iter().take(keys)))
}

fn by_values<'a>(a: impl Iterator<Item = &'a Value>, b: impl Iterator<Item = &'a Value>) -> Ordering {
    a.zip(b).map(|(a, b)| a.order(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The largest first; nothing comes last.
fn largest_first(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => a.order(b),
        _ => b.order(a),
    }
}

fn columns(aggregator: &Aggregator, rows: &[Vec<Value>]) -> Vec<Column> {
    let aggregation = &aggregator.aggregation;
    let time = aggregation.step.map(|_| Column { name: "time".to_owned(), kind: ColumnType::Timestamp });
    let mut columns: Vec<Column> = time.into_iter().collect();
    for by in &aggregation.by {
        let place = columns.len();
        let kind = match by.meaning {
            GroupField::Timestamp => ColumnType::Timestamp,
            GroupField::Attribute(_) => ColumnType::of(rows.iter().filter_map(|row| row.get(place))),
            _ => ColumnType::String,
        };
        columns.push(Column { name: by.name.clone(), kind });
    }
    columns.extend(aggregation.aggregates.iter().map(|aggregate| {
        let kind = match &aggregate.meaning {
            Aggregate::Of(Function::Min | Function::Max, GroupField::Timestamp) => ColumnType::Timestamp,
            _ => ColumnType::Number,
        };
        Column { name: aggregate.name.clone(), kind }
    }));
    columns
}
