//! Accumulators: what is gathered of the numbers of a group.

use std::cmp::Ordering;

use super::cell::{EXACT_FLOAT_MAX, Value};
use super::measure::State;
use super::numbers::Accumulate;
use crate::query::Decimal;

/// What is gathered of a batch before it is added to a state.
pub(super) trait Local: Accumulate + Default {
    /// The accumulator of a state, if it is of this kind.
    fn of(state: &mut State) -> Option<&mut Self>;

    /// Adds what another one has gathered.
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

    pub(super) fn value(&self) -> Value {
        match self.count {
            0 => Value::Null,
            _ if !self.has_floats => Value::Int(self.integers),
            _ => finite(self.total()),
        }
    }

    pub(super) fn average(&self) -> Value {
        if self.count == 0 { Value::Null } else { finite(self.total() / self.count as f64) }
    }
}

/// The integer that a float is written as, if it is one of at most 37 digits.
#[inline]
fn whole(value: f64) -> Option<i128> {
    if value.fract() != 0.0 {
        return None;
    }
    // So far every whole float is the integer that is written for it.
    if value.abs() <= EXACT_FLOAT_MAX {
        return Some(value as i128);
    }
    Decimal::of_float(value).and_then(|number| number.integer())
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
        // A whole number is an integer, however it is written and in whatever column it stands.
        match whole(value) {
            Some(integer) => self.add_integer(integer),
            None => self.add_to_floats(value),
        }
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

    pub(super) fn value(&self) -> Value {
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
