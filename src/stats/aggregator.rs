//! The aggregator: puts rows into groups, batch by batch, and keeps the state of each.
//!
//! In a batch every value that rows are grouped by becomes a small integer ([`super::codes`]), and so does every
//! combination of them; only combinations are looked up among the groups there are, and only new ones cost a text.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use arrow_buffer::BooleanBuffer;
use sluice_model::Severity;

use super::aggregation::{Aggregation, BUCKETS_MAX, GroupField};
use super::cell::{Cell, Value, hash};
use super::codes::{self, Coded, Combined, Rows};
use super::fast::Fast;
use super::finish;
use super::measure::{Grouped, Measure, State};
use super::step::{Bucket, Step};
use super::table::Table;
use super::{Census, Dimensions, Gather, LimitError, Tally, Wants};
use crate::batch::Records;
use crate::query::Columns;

/// About how many bytes a group takes beside its values and states.
const GROUP_BYTES: usize = 128;

/// Computes an [`Aggregation`].
pub struct Aggregator {
    pub(super) aggregation: Aggregation,
    /// What the aggregates are computed of, each once.
    pub(super) measures: Vec<Measure>,
    pub(super) groups: Vec<Group>,
    /// The place of each group, by the hash of its key.
    places: HashMap<u128, u32, Fast>,
    /// Where the buckets begin that have records.
    buckets: HashSet<i64>,
    seed: u64,
    bytes: usize,
    bytes_max: usize,
    pub(super) failure: Option<LimitError>,
}

/// Records that have the same values.
pub(super) struct Group {
    /// The start of the bucket, if there is a step; then the values of the fields.
    pub(super) key: Box<[Value]>,
    pub(super) records: u64,
    pub(super) states: Box<[State]>,
}

impl Aggregator {
    /// Nothing yet. Its state may take `bytes_max` bytes, about.
    pub fn new(aggregation: Aggregation, bytes_max: usize) -> Aggregator {
        let mut measures: Vec<Measure> = Vec::new();
        for measure in aggregation.aggregates.iter().filter_map(|named| Measure::of(&named.meaning)) {
            if !measures.contains(&measure) {
                measures.push(measure);
            }
        }
        Aggregator {
            aggregation,
            measures,
            groups: Vec::new(),
            places: HashMap::default(),
            buckets: HashSet::new(),
            seed: rand::random(),
            bytes: 0,
            bytes_max,
            failure: None,
        }
    }

    /// By what counts must be told apart; `None`, if counts are not enough.
    fn dimensions(&self) -> Option<Dimensions> {
        let by = &self.aggregation.by;
        let has = |field: &GroupField| by.iter().any(|by| by.meaning == *field);
        let known = by.iter().all(|by| matches!(by.meaning, GroupField::Service | GroupField::Severity));
        (known && self.measures.iter().all(Measure::is_of_times)).then(|| Dimensions {
            service: has(&GroupField::Service),
            severity: has(&GroupField::Severity),
            step: self.aggregation.step,
        })
    }

    /// Puts `rows` records, of which so much is known, into their group; `times` are the first and the last of theirs.
    fn put(&mut self, bucket: Option<i64>, service: &str, severity: Severity, rows: u64, times: [i64; 2]) {
        let fields = self.aggregation.by.iter().map(|by| match by.meaning {
            GroupField::Service => Cell::Text(service.into()),
            _ => Cell::Severity(severity.number()),
        });
        let key: Vec<Cell<'_>> = bucket.map(Cell::Time).into_iter().chain(fields).collect();
        let place = self.place_of(&key.iter().collect::<Vec<_>>(), &mut Vec::new());
        if let Some(group) = self.groups.get_mut(place) {
            group.records += rows;
            group.states.iter_mut().for_each(|state| times.iter().for_each(|time| state.add_time(*time)));
        }
    }

    /// Takes records of one service and severity by how many there are in each stretch of time, if none of these lies in
    /// two buckets: whether it has.
    fn take_cells(&mut self, step: &Step, service: &str, severity: Severity, census: &Census<'_>) -> bool {
        if census.cells.is_empty() || !self.measures.is_empty() {
            return false;
        }
        let mut counts: Vec<(Bucket, u64)> = Vec::new();
        for cell in census.cells {
            match counts.last_mut() {
                Some((bucket, rows)) if bucket.contains(cell.first) && bucket.contains(cell.last) => *rows += cell.rows,
                _ => {
                    let bucket = step.bucket(cell.first);
                    if !bucket.contains(cell.last) {
                        return false;
                    }
                    counts.push((bucket, cell.rows));
                }
            }
        }
        for (bucket, rows) in counts {
            self.buckets.insert(bucket.start);
            self.put(Some(bucket.start), service, severity, rows, [bucket.start; 2]);
            if self.check().is_break() {
                break;
            }
        }
        true
    }

    /// The place of the group with these values, which is made if there is none.
    fn place_of(&mut self, key: &[&Cell<'_>], encoded: &mut Vec<u8>) -> usize {
        encoded.clear();
        key.iter().for_each(|cell| cell.encode(encoded));
        // Groups are bounded by their bytes, far below the range of u32.
        let next = self.groups.len() as u32;
        let place = *self.places.entry(hash(encoded, self.seed)).or_insert(next);
        if place == next {
            let key: Box<[Value]> = key.iter().map(|cell| cell.value()).collect();
            let states: Box<[State]> = self.measures.iter().map(Measure::start).collect();
            let values: usize = key.iter().map(|value| size_of::<Value>() + value.heap_bytes()).sum();
            let measured: usize = states.iter().map(|state| size_of::<State>() + state.bytes()).sum();
            self.bytes += GROUP_BYTES + values + measured;
            self.groups.push(Group { key, records: 0, states });
        }
        place as usize
    }

    /// Whether there is room for more; if not, why is kept.
    fn check(&mut self) -> ControlFlow<()> {
        if self.bytes > self.bytes_max {
            self.failure = Some(LimitError::Memory { limit: self.bytes_max });
        } else if self.buckets.len() > BUCKETS_MAX {
            self.failure = Some(LimitError::Buckets);
        }
        if self.failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Puts the rows of a batch into their groups.
    fn group(&mut self, dimensions: &[Coded<'_>], combined: &Combined) -> Option<Vec<usize>> {
        let mut counts = vec![0_u64; combined.parts.len()];
        for code in &combined.codes {
            if let Some(count) = counts.get_mut(*code as usize) {
                *count += 1;
            }
        }
        let mut encoded = Vec::new();
        let mut places = Vec::with_capacity(combined.parts.len());
        for (parts, count) in combined.parts.iter().zip(&counts) {
            if *count == 0 {
                // The code of nothing, where every row has something: no group is there.
                places.push(usize::MAX);
                continue;
            }
            let cells = dimensions.iter().zip(parts).filter_map(|(coded, code)| coded.cells.get(*code as usize));
            places.push(self.place_of(&cells.collect::<Vec<_>>(), &mut encoded));
            if self.check().is_break() {
                return None;
            }
        }
        for (place, count) in places.iter().zip(counts) {
            if let Some(group) = self.groups.get_mut(*place) {
                group.records += count;
            }
        }
        Some(places)
    }

    /// Adds the values of the rows to the measures of their groups, which are at `places`.
    fn measure(&mut self, records: &Records, rows: &Rows, mut combined: Combined, places: &[usize]) {
        // Two combinations may be one group, where equal numbers are written in two ways.
        let mut firsts: HashMap<usize, u32, Fast> = HashMap::default();
        let first_of: Vec<u32> = (0..).zip(places).map(|(code, place)| *firsts.entry(*place).or_insert(code)).collect();
        if firsts.len() < places.len() {
            combined.codes.iter_mut().for_each(|code| *code = first_of.get(*code as usize).copied().unwrap_or(*code));
        }
        let grouped = Grouped { records, rows, combined: &combined, seed: self.seed };
        let take = |place: &usize| self.groups.get_mut(*place).map(|group| std::mem::take(&mut group.states));
        // Of a group that comes twice the second part is empty, and no row has its code.
        let mut taken: Vec<Box<[State]>> = places.iter().map(take).map(Option::unwrap_or_default).collect();
        for (index, measure) in self.measures.iter().enumerate() {
            let mut states: Vec<Option<&mut State>> = taken.iter_mut().map(|states| states.get_mut(index)).collect();
            self.bytes += measure.add(&grouped, &mut states);
        }
        for (place, states) in places.iter().zip(taken).filter(|(_, states)| !states.is_empty()) {
            if let Some(group) = self.groups.get_mut(*place) {
                group.states = states;
            }
        }
    }
}

impl Tally for Aggregator {
    fn columns(&self) -> Columns {
        self.aggregation.columns()
    }

    fn wants(&self) -> Wants {
        self.dimensions().map_or(Wants::Records, Wants::Counts)
    }

    fn takes_codes(&self) -> bool {
        self.measures.iter().all(|measure| !matches!(measure.field, GroupField::Attribute(_)))
    }

    fn take(&mut self, census: &Census<'_>) -> bool {
        let Some(dimensions) = self.dimensions() else { return false };
        let times = [census.times.start.as_nanos(), census.times.end.as_nanos()];
        let service = if dimensions.service { census.service } else { Some("") };
        let severity = if dimensions.severity { census.severity } else { Some(Severity::Info) };
        let bucket = match &dimensions.step {
            None => None,
            Some(step) => {
                let [first, last] = times;
                let bucket = step.bucket(first);
                if !bucket.contains(last) {
                    let (Some(service), Some(severity)) = (service, severity) else { return false };
                    return self.take_cells(step, service, severity, census);
                }
                self.buckets.insert(bucket.start);
                Some(bucket.start)
            }
        };
        if let (Some(service), Some(severity)) = (service, severity) {
            self.put(bucket, service, severity, census.rows, times);
            let _ = self.check();
            return true;
        }
        if census.counts.is_empty() || !self.measures.is_empty() {
            return false;
        }
        for counted in census.counts {
            self.put(bucket, &counted.service, counted.severity, counted.rows, times);
        }
        let _ = self.check();
        true
    }

    fn add(&mut self, records: &Records, rows: &BooleanBuffer) -> ControlFlow<()> {
        let rows = Rows::of(rows);
        if rows.len() == 0 {
            return self.check();
        }
        let step = self.aggregation.step;
        let mut dimensions: Vec<Coded<'_>> = Vec::new();
        dimensions.extend(step.map(|step| codes::of_times(&step, records, &rows)));
        let starts = dimensions.first().filter(|_| step.is_some()).into_iter().flat_map(|coded| &coded.cells);
        self.buckets.extend(starts.filter_map(|cell| if let Cell::Time(start) = cell { Some(*start) } else { None }));
        dimensions.extend(self.aggregation.by.iter().map(|by| codes::of_field(&by.meaning, records, &rows)));
        let combined = Combined::of(&mut dimensions, rows.len());
        let Some(places) = self.group(&dimensions, &combined) else { return ControlFlow::Break(()) };
        if !self.measures.is_empty() {
            self.measure(records, &rows, combined, &places);
        }
        self.check()
    }

    fn is_over(&self) -> bool {
        self.failure.is_some()
    }

    fn reset(&mut self) {
        self.groups.clear();
        self.places.clear();
        self.buckets.clear();
        self.bytes = 0;
        self.failure = None;
    }
}

impl Gather for Aggregator {
    type Answer = Table;

    fn finish(self) -> Result<Table, LimitError> {
        finish::table(self)
    }
}
