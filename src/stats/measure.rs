//! Measures: what is kept of each group, from which its aggregates are computed.

use std::collections::HashSet;

use sketches_ddsketch::{Config, DDSketch};
use sluice_model::Timestamp;

use super::accumulate::{Extreme, Local, Sum};
use super::aggregation::{Aggregate, Function, GroupField};
use super::cell::{Value, hash};
use super::codes::{self, Combined, Rows, combine};
use super::fast::Fast;
use super::numbers::{Accumulate, Targets, each_number};
use crate::batch::Records;
use crate::query::Decimal;

/// How far a percentile lies from the value at its rank, at most, as a share of it.
pub const QUANTILE_ERROR: f64 = 0.01;

/// About how many bytes of memory a value takes in a set.
const DISTINCT_BYTES: usize = 40;
/// About how many bytes a sketch takes, and each bin of it.
const SKETCH_BYTES: (usize, usize) = (256, 8);

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measure {
    kind: Kind,
    pub(super) field: GroupField,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Distinct,
    Sum,
    Min,
    Max,
    Sketch,
}

/// The state of a measure in a group.
pub(super) enum State {
    Distinct(HashSet<u128, Fast>),
    Sum(Sum),
    Min(Extreme<false>),
    Max(Extreme<true>),
    Sketch(Box<DDSketch>),
}

/// Rows with their groups, and the states of these.
pub(super) struct Grouped<'a, 'r> {
    pub(super) records: &'r Records,
    pub(super) rows: &'a Rows,
    pub(super) combined: &'a Combined,
    pub(super) seed: u64,
}

impl Measure {
    /// What an aggregate is computed of; nothing, for the count.
    pub(super) fn of(aggregate: &Aggregate) -> Option<Measure> {
        let Aggregate::Of(function, field) = aggregate else { return None };
        let kind = match function {
            Function::CountDistinct => Kind::Distinct,
            Function::Sum | Function::Average => Kind::Sum,
            Function::Min => Kind::Min,
            Function::Max => Kind::Max,
            Function::Quantile(_) => Kind::Sketch,
        };
        Some(Measure { kind, field: field.clone() })
    }

    /// Whether the first time and the last are all that it takes.
    pub(super) fn is_of_times(&self) -> bool {
        self.field == GroupField::Timestamp && matches!(self.kind, Kind::Min | Kind::Max)
    }

    /// The state of a group without records.
    pub(super) fn start(&self) -> State {
        match self.kind {
            Kind::Distinct => State::Distinct(HashSet::default()),
            Kind::Sum => State::Sum(Sum::default()),
            Kind::Min => State::Min(Extreme::default()),
            Kind::Max => State::Max(Extreme::default()),
            Kind::Sketch => State::Sketch(Box::new(new_sketch())),
        }
    }

    /// Adds the values of some rows to the states that `state` gives for their groups; returns how many bytes they grew.
    pub(super) fn add(&self, grouped: &Grouped<'_, '_>, states: &mut [Option<&mut State>]) -> usize {
        match self.kind {
            Kind::Distinct => self.add_distinct(grouped, states),
            Kind::Sum => self.add_numbers::<Sum>(grouped, states),
            Kind::Min => self.add_numbers::<Extreme<false>>(grouped, states),
            Kind::Max => self.add_numbers::<Extreme<true>>(grouped, states),
            Kind::Sketch => self.add_to_sketches(grouped, states),
        }
    }

    fn add_distinct(&self, grouped: &Grouped<'_, '_>, states: &mut [Option<&mut State>]) -> usize {
        let Grouped { records, rows, combined, seed } = grouped;
        let coded = codes::of_field(&self.field, records, rows);
        let mut encoded = Vec::new();
        let hashes: Vec<Option<u128>> = coded
            .cells
            .iter()
            .map(|cell| {
                encoded.clear();
                cell.encode(&mut encoded);
                (!cell.is_null()).then(|| hash(&encoded, *seed))
            })
            .collect();
        let mut pairs = combined.codes.clone();
        let pairs = combine(&mut pairs, combined.parts.len(), &coded.codes, coded.cells.len());
        let mut grown = 0;
        for (group, code) in pairs {
            let value = hashes.get(code as usize).copied().flatten();
            if let (Some(Some(State::Distinct(set))), Some(value)) = (states.get_mut(group as usize), value) {
                grown += if set.insert(value) { DISTINCT_BYTES } else { 0 };
            }
        }
        grown
    }

    fn add_numbers<A: Local>(&self, grouped: &Grouped<'_, '_>, states: &mut [Option<&mut State>]) -> usize {
        let mut local: Vec<A> = Vec::new();
        local.resize_with(states.len(), A::default);
        let mut targets = Locals { codes: &grouped.combined.codes, locals: &mut local };
        each_number(&self.field, grouped.records, grouped.rows, &mut targets);
        for (state, local) in states.iter_mut().zip(&local) {
            if let Some(state) = state.as_mut().and_then(|state| A::of(state)) {
                state.merge(local);
            }
        }
        0
    }

    fn add_to_sketches(&self, grouped: &Grouped<'_, '_>, states: &mut [Option<&mut State>]) -> usize {
        let bytes = |states: &[Option<&mut State>]| states.iter().flatten().map(|state| state.bytes()).sum::<usize>();
        let before = bytes(states);
        let mut targets = Sketches { codes: &grouped.combined.codes, states: &mut *states };
        each_number(&self.field, grouped.records, grouped.rows, &mut targets);
        bytes(states).saturating_sub(before)
    }
}

/// What is gathered of each group of a batch.
struct Locals<'a, A> {
    codes: &'a [u32],
    locals: &'a mut [A],
}

impl<A: Accumulate> Targets for Locals<'_, A> {
    type Target = A;

    #[inline]
    fn target(&mut self, place: usize) -> Option<&mut A> {
        self.codes.get(place).and_then(|group| self.locals.get_mut(*group as usize))
    }
}

/// The sketch of each group of a batch.
struct Sketches<'a, 's> {
    codes: &'a [u32],
    states: &'a mut [Option<&'s mut State>],
}

impl Targets for Sketches<'_, '_> {
    type Target = DDSketch;

    #[inline]
    fn target(&mut self, place: usize) -> Option<&mut DDSketch> {
        match self.codes.get(place).and_then(|group| self.states.get_mut(*group as usize)) {
            Some(Some(State::Sketch(sketch))) => Some(sketch),
            _ => None,
        }
    }
}

impl State {
    /// About how many bytes it takes beside its own.
    pub(super) fn bytes(&self) -> usize {
        match self {
            State::Distinct(set) => set.len() * DISTINCT_BYTES,
            State::Sketch(sketch) => SKETCH_BYTES.0 + SKETCH_BYTES.1 * sketch.length(),
            _ => 0,
        }
    }

    /// Adds a time.
    pub(super) fn add_time(&mut self, nanos: i64) {
        match self {
            State::Min(extreme) => extreme.add_int(nanos),
            State::Max(extreme) => extreme.add_int(nanos),
            _ => {}
        }
    }

    /// Adds the state of another group.
    pub(super) fn merge(&mut self, other: &State) {
        match (self, other) {
            (State::Distinct(set), State::Distinct(other)) => set.extend(other),
            (State::Sum(sum), State::Sum(other)) => sum.merge(other),
            (State::Min(extreme), State::Min(other)) => extreme.merge(other),
            (State::Max(extreme), State::Max(other)) => extreme.merge(other),
            // All have one configuration.
            (State::Sketch(sketch), State::Sketch(other)) => drop(sketch.merge(other)),
            _ => {}
        }
    }

    /// What the function makes of it.
    pub(super) fn value(&self, function: Function, field: &GroupField) -> Value {
        let value = match (self, function) {
            (State::Distinct(set), _) => Value::Int(set.len() as i128),
            (State::Sum(sum), Function::Average) => sum.average(),
            (State::Sum(sum), _) => sum.value(),
            (State::Min(extreme), _) => extreme.value(),
            (State::Max(extreme), _) => extreme.value(),
            (State::Sketch(sketch), Function::Quantile(share)) => quantile(sketch, share),
            (State::Sketch(_), _) => Value::Null,
        };
        match (field, value) {
            (GroupField::Timestamp, Value::Int(nanos)) if !matches!(self, State::Distinct(_)) => {
                i64::try_from(nanos).map_or(Value::Null, |nanos| Value::Time(Timestamp::from_nanos(nanos)))
            }
            (_, value) => value,
        }
    }
}

/// A sketch that keeps its error over the whole range of floats.
fn new_sketch() -> DDSketch {
    const BINS_MAX: u32 = 72_000;
    DDSketch::new(Config::new(QUANTILE_ERROR, BINS_MAX, f64::MIN_POSITIVE))
}

/// The number at a share; never past the least or the greatest, which the sketch knows better.
fn quantile(sketch: &DDSketch, share: f64) -> Value {
    let found = sketch.quantile(share).ok().flatten();
    match (found, sketch.min(), sketch.max()) {
        (Some(found), Some(min), Some(max)) => Value::of_float(found.max(min).min(max)),
        _ => Value::Null,
    }
}

impl Accumulate for DDSketch {
    fn add_int(&mut self, value: i64) {
        self.add(value as f64);
    }

    fn add_float(&mut self, value: f64) {
        self.add(value);
    }

    fn add_decimal(&mut self, value: &Decimal) {
        // What no float reaches counts as the last one.
        self.add(value.to_float().clamp(f64::MIN, f64::MAX));
    }
}
