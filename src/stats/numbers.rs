//! The numbers of a field, as the query language takes values for numbers.

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_schema::DataType;

use super::aggregation::GroupField;
use super::cell::Cell;
use super::codes::{Rows, each_in_overflow};
use crate::batch::Records;
use crate::query::Decimal;

/// What takes numbers.
pub(super) trait Accumulate {
    fn add_int(&mut self, value: i64);
    fn add_float(&mut self, value: f64);
    /// A number that is neither, or was sent as a text.
    fn add_decimal(&mut self, value: &Decimal);
}

/// Where the numbers of rows go.
pub(super) trait Targets {
    type Target: Accumulate;

    /// What takes the numbers of the row at `place`.
    fn target(&mut self, place: usize) -> Option<&mut Self::Target>;
}

/// Gives each number of `field` to its row's target.
pub(super) fn each_number(field: &GroupField, records: &Records, rows: &Rows, targets: &mut impl Targets) {
    let logs = &records.logs;
    let name = match field {
        GroupField::Attribute(name) => name,
        GroupField::Timestamp => {
            let times = logs.timestamps();
            return rows.each(|place, row| give(targets, place, times.get(row), |target, time| target.add_int(*time)));
        }
        _ => return,
    };
    if let Some((_, column)) = logs.attributes().find(|(other, _)| other == name) {
        of_column(column, rows, targets);
    }
    each_in_overflow(name, logs, rows, |place, json| {
        let number = match Cell::of_json(json) {
            Cell::Number(json) => Decimal::parse(&json),
            Cell::Text(text) => of_text(&text),
            _ => None,
        };
        give(targets, place, number.as_ref(), Accumulate::add_decimal);
    });
}

fn of_column(column: &ArrayRef, rows: &Rows, targets: &mut impl Targets) {
    match column.data_type() {
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>().values();
            rows.each_valid(column, |place, row| {
                give(targets, place, values.get(row), |target, value| target.add_int(*value))
            });
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().values();
            rows.each_valid(column, |place, row| {
                give(targets, place, values.get(row), |target, value| target.add_float(*value))
            });
        }
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            rows.each_valid(column, |place, row| {
                give(targets, place, of_text(texts.value(row)).as_ref(), Accumulate::add_decimal);
            });
        }
        _ => {}
    }
}

#[inline]
fn give<T: Targets, N>(targets: &mut T, place: usize, number: Option<N>, add: impl FnOnce(&mut T::Target, N)) {
    if let Some(number) = number
        && let Some(target) = targets.target(place)
    {
        add(target, number);
    }
}

/// The number that a text is, if it is one.
fn of_text(text: &str) -> Option<Decimal> {
    let begins = text.bytes().next().is_some_and(|byte| byte == b'-' || byte.is_ascii_digit());
    if begins { Decimal::parse(text) } else { None }
}
