//! Measures: what is kept of each group, from which its aggregates are computed.

use std::cmp::Ordering;
use std::collections::HashSet;

use sketches_ddsketch::{Config, DDSketch};
use sluice_model::Timestamp;

use super::aggregation::{Aggregate, Function, GroupField};
use super::cell::{Value, hash};
use super::codes::{self, Combined, Fast, Rows, combine};
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
            (State::Sketch(sketch), Function::Quantile(share)) => {
                sketch.quantile(share).ok().flatten().map_or(Value::Null, Value::of_float)
            }
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

/// What is gathered of a batch before it is added to a state.
trait Local: Accumulate + Default {
    fn of(state: &mut State) -> Option<&mut Self>;
    fn merge(&mut self, other: &Self);
}

/// The sum of some numbers: of integers exactly, of others compensated.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sum {
    count: u64,
    integers: i128,
    has_floats: bool,
    floats: f64,
    /// What rounding has taken from them.
    rest: f64,
}

impl Sum {
    fn add_to_floats(&mut self, value: f64) {
        let sum = self.floats + value;
        self.rest +=
            if self.floats.abs() >= value.abs() { (self.floats - sum) + value } else { (value - sum) + self.floats };
        self.floats = sum;
        self.has_floats = true;
    }

    fn add_integer(&mut self, value: i128) {
        match self.integers.checked_add(value) {
            Some(sum) => self.integers = sum,
            None => self.add_to_floats(value as f64),
        }
    }

    /// The sum as the nearest float, or nearly so.
    fn total(&self) -> f64 {
        let mut sum = *self;
        let near = self.integers as f64;
        sum.add_to_floats(near);
        // The conversion saturates, as does the way back.
        sum.add_to_floats(self.integers.saturating_sub(near as i128) as f64);
        sum.floats + sum.rest
    }

    fn value(&self) -> Value {
        match self.count {
            0 => Value::Null,
            _ if !self.has_floats => Value::Int(self.integers),
            _ => finite(self.total()),
        }
    }

    fn average(&self) -> Value {
        if self.count == 0 { Value::Null } else { finite(self.total() / self.count as f64) }
    }
}

fn finite(value: f64) -> Value {
    if value.is_finite() { Value::of_float(value) } else { Value::Null }
}

impl Accumulate for Sum {
    #[inline]
    fn add_int(&mut self, value: i64) {
        self.count += 1;
        self.add_integer(value.into());
    }

    #[inline]
    fn add_float(&mut self, value: f64) {
        self.count += 1;
        self.add_to_floats(value);
    }

    fn add_decimal(&mut self, value: &Decimal) {
        self.count += 1;
        match value.integer() {
            Some(integer) => self.add_integer(integer),
            None => self.add_to_floats(value.to_float()),
        }
    }
}

impl Local for Sum {
    fn of(state: &mut State) -> Option<&mut Sum> {
        if let State::Sum(sum) = state { Some(sum) } else { None }
    }

    fn merge(&mut self, other: &Sum) {
        self.count += other.count;
        self.add_integer(other.integers);
        if other.has_floats {
            self.add_to_floats(other.floats);
            self.add_to_floats(other.rest);
        }
    }
}

/// The least or the greatest of some numbers, exactly.
#[derive(Debug, Default, Clone)]
pub(super) struct Extreme<const GREATEST: bool> {
    integer: Option<i64>,
    float: Option<f64>,
    decimal: Option<Decimal>,
}

impl<const GREATEST: bool> Extreme<GREATEST> {
    fn is_better(order: Ordering) -> bool {
        if GREATEST { order.is_gt() } else { order.is_lt() }
    }

    fn value(&self) -> Value {
        let integer = self.integer.map(|value| Value::Int(value.into()));
        let float = self.float.map(Value::of_float);
        let decimal = self.decimal.as_ref().map(Value::of_decimal);
        let values = integer.into_iter().chain(float).chain(decimal);
        values
            .reduce(|best, value| if Self::is_better(value.order(&best)) { value } else { best })
            .unwrap_or(Value::Null)
    }
}

impl<const GREATEST: bool> Accumulate for Extreme<GREATEST> {
    #[inline]
    fn add_int(&mut self, value: i64) {
        if self.integer.is_none_or(|best| Self::is_better(value.cmp(&best))) {
            self.integer = Some(value);
        }
    }

    #[inline]
    fn add_float(&mut self, value: f64) {
        if self.float.is_none_or(|best| Self::is_better(value.total_cmp(&best))) {
            self.float = Some(value);
        }
    }

    fn add_decimal(&mut self, value: &Decimal) {
        if self.decimal.as_ref().is_none_or(|best| Self::is_better(value.cmp(best))) {
            self.decimal = Some(value.clone());
        }
    }
}

impl<const GREATEST: bool> Local for Extreme<GREATEST> {
    fn of(state: &mut State) -> Option<&mut Self> {
        // The type says which of the two it is; the compiler cannot take one for the other.
        let any: &mut dyn std::any::Any = match state {
            State::Min(extreme) => extreme,
            State::Max(extreme) => extreme,
            _ => return None,
        };
        any.downcast_mut()
    }

    fn merge(&mut self, other: &Self) {
        other.integer.into_iter().for_each(|value| self.add_int(value));
        other.float.into_iter().for_each(|value| self.add_float(value));
        other.decimal.iter().for_each(|value| self.add_decimal(value));
    }
}
