//! Conditions on attributes, each of which stands in its own column or, by its exact JSON, in the overflow.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use memchr::memmem::Finder;

use super::{keep, keep_valid, text};
use crate::batch::{LogBatch, overflow_member, write_json_text};
use crate::query::expr::{Needle, Test};
use crate::query::fuzzy::Scratch;
use crate::query::literal::{Value, any_value};
use crate::query::quantity::{Unit, unit_in_name};

/// Those of the rows `among` whose attribute `name` passes.
pub(super) fn select(name: &str, test: &Test, logs: &LogBatch, among: &BooleanBuffer) -> BooleanBuffer {
    let unit = unit_in_name(name);
    let column = logs.attributes().find(|(other, _)| *other == name).map(|(_, column)| column);
    let in_column = column.map(|column| {
        let filled = keep_valid(among, column);
        if *test == Test::Exists { filled } else { select_in_column(test, column, unit, &filled) }
    });
    let in_overflow = select_in_overflow(name, test, logs, unit, among);
    match (in_column, in_overflow) {
        (Some(in_column), Some(in_overflow)) => &in_column | &in_overflow,
        (Some(rows), None) | (None, Some(rows)) => rows,
        (None, None) => BooleanBuffer::new_unset(among.len()),
    }
}

fn select_in_column(test: &Test, column: &ArrayRef, unit: Option<Unit>, filled: &BooleanBuffer) -> BooleanBuffer {
    let mut scratch = Scratch::default();
    match column.data_type() {
        DataType::Utf8 => text::select(test, column.as_string(), unit, filled),
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>().values();
            keep(filled, |row| {
                values.get(row).is_some_and(|value| holds(test, &Value::Int(*value), unit, &mut scratch))
            })
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().values();
            keep(filled, |row| {
                values.get(row).is_some_and(|value| holds(test, &Value::Float(*value), unit, &mut scratch))
            })
        }
        DataType::Boolean => {
            let values = column.as_boolean();
            keep(filled, |row| holds(test, &Value::Bool(values.value(row)), unit, &mut scratch))
        }
        _ => BooleanBuffer::new_unset(filled.len()),
    }
}

/// Those of the rows `among` whose attribute stands in the overflow and passes; `None`, if there is no overflow.
fn select_in_overflow(
    name: &str,
    test: &Test,
    logs: &LogBatch,
    unit: Option<Unit>,
    among: &BooleanBuffer,
) -> Option<BooleanBuffer> {
    let overflow = logs.overflow();
    if overflow.null_count() == overflow.len() {
        return None;
    }
    let mut key = Vec::new();
    write_json_text(&mut key, name);
    key.push(b':');
    let finder = Finder::new(&key);
    let mut scratch = Scratch::default();
    Some(keep(&keep_valid(among, overflow), |row| {
        let object = overflow.value(row);
        // Names are always written in the same way, so that most objects need not be parsed.
        let member = if finder.find(object.as_bytes()).is_some() { overflow_member(object, name) } else { None };
        member.is_some_and(|json| {
            *test == Test::Exists || any_value(json, &mut |value| holds(test, value, unit, &mut scratch))
        })
    }))
}

/// Whether a value passes.
fn holds(test: &Test, value: &Value<'_>, unit: Option<Unit>, scratch: &mut Scratch) -> bool {
    match test {
        Test::Exists => true,
        Test::OneOf(wanted) => wanted.iter().any(|wanted| wanted.equals(value, unit)),
        Test::Order(comparison, literal) => literal.order(value, unit).is_some_and(|order| comparison.holds(order)),
        Test::Contains(needle) => value.with_text(|text| match needle {
            Needle::Term(term) => term.matches(text),
            Needle::Pattern(pattern) => pattern.matches(text),
            Needle::Fuzzy(fuzzy) => fuzzy.matches(text, scratch),
        }),
    }
}
