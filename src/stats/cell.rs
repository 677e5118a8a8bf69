//! Values: of groups, and those that are told apart.

use std::borrow::Cow;
use std::cmp::Ordering;

use sluice_model::{RecordId, Severity, Timestamp};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::batch::{write_json_float, write_json_text};
use crate::query::Decimal;

/// Up to here every whole float is the integer that it is written as.
pub(super) const EXACT_FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

/// A value of an answer. Equal numbers have one form.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, or JSON's `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number that no integer is, and that reads as it is written.
    Float(f64),
    /// Any other number, by its JSON.
    Number(Box<str>),
    /// A text.
    Text(Box<str>),
    /// A severity.
    Severity(Severity),
    /// A moment.
    Time(Timestamp),
    /// An array or an object, by its JSON.
    Json(Box<str>),
}

/// A value in a batch, where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A number, by its JSON.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    Severity(u8),
    Time(i64),
    Id(RecordId),
    /// An array or an object, by its JSON.
    Json(Cow<'a, str>),
}

impl<'a> Cell<'a> {
    /// The value whose JSON is `json`.
    pub(super) fn of_json(json: &'a str) -> Cell<'a> {
        match json.as_bytes().first() {
            Some(b'"') => Cell::Text(unescape(json)),
            Some(b't') => Cell::Bool(true),
            Some(b'f') => Cell::Bool(false),
            Some(b'n') | None => Cell::Null,
            Some(b'[' | b'{') => Cell::Json(Cow::Borrowed(json)),
            Some(_) => Cell::Number(Cow::Borrowed(json)),
        }
    }

    /// The value, in its one form.
    pub(super) fn value(&self) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Bool(value) => Value::Bool(*value),
            Cell::Int(value) => Value::Int((*value).into()),
            Cell::Float(value) => Value::of_float(*value),
            Cell::Number(json) => Decimal::parse(json)
                .map_or_else(|| Value::Number(json.as_ref().into()), |number| Value::of_decimal(&number)),
            Cell::Text(text) => Value::Text(text.as_ref().into()),
            Cell::Severity(number) => Value::Severity(Severity::from_number(*number).unwrap_or(Severity::Info)),
            Cell::Time(nanos) => Value::Time(Timestamp::from_nanos(*nanos)),
            Cell::Id(id) => Value::Text(id.to_string().into()),
            Cell::Json(json) => Value::Json(json.as_ref().into()),
        }
    }

    /// Whether it is no value at all.
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Cell::Null)
    }

    /// Appends bytes that only equal values have.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Cell::Int(value) => encode_int((*value).into(), out),
            Cell::Text(text) => encode_text(b's', text, out),
            Cell::Time(nanos) => encode_time(*nanos, out),
            Cell::Severity(number) => out.extend([b'v', *number]),
            Cell::Json(json) => encode_text(b'j', json, out),
            cell => cell.value().encode(out),
        }
    }
}

impl Value {
    /// The number, in its one form.
    pub(super) fn of_float(value: f64) -> Value {
        if value.abs() <= EXACT_FLOAT_MAX && value.fract() == 0.0 {
            // It is whole, and of fewer bits.
            return Value::Int(value as i128);
        }
        if value.abs() < EXACT_FLOAT_MAX {
            return Value::Float(value);
        }
        Decimal::of_float(value).map_or(Value::Null, |number| Value::of_decimal(&number))
    }

    /// The number, in its one form.
    pub(super) fn of_decimal(number: &Decimal) -> Value {
        if let Some(value) = number.integer() {
            return Value::Int(value);
        }
        let float = number.to_float();
        if float.is_finite() && Decimal::of_float(float).as_ref() == Some(number) {
            return Value::Float(float);
        }
        Value::Number(number.to_json().into())
    }

    /// Appends bytes that only equal values have.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.push(b'z'),
            Value::Bool(value) => out.extend([b'b', u8::from(*value)]),
            Value::Int(value) => encode_int(*value, out),
            Value::Float(value) => {
                out.push(b'f');
                out.extend(value.to_bits().to_le_bytes());
            }
            Value::Number(json) => encode_text(b'n', json, out),
            Value::Text(text) => encode_text(b's', text, out),
            Value::Severity(severity) => out.extend([b'v', severity.number()]),
            Value::Time(time) => encode_time(time.as_nanos(), out),
            Value::Json(json) => encode_text(b'j', json, out),
        }
    }

    /// Appends the value as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Value::Float(value) => write_json_float(out, *value),
            Value::Text(text) => write_json_text(out, text),
            Value::Severity(severity) => write_json_text(out, severity.name()),
            Value::Time(time) => write_json_text(out, time.encode(&mut [0; Timestamp::TEXT_LENGTH])),
            Value::Number(json) | Value::Json(json) => out.extend_from_slice(json.as_bytes()),
        }
    }

    /// About how many bytes it takes beside its own.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Value::Number(text) | Value::Text(text) | Value::Json(text) => text.len(),
            _ => 0,
        }
    }

    /// How two values stand in an answer: by kind, then by what they are; nothing comes last.
    pub(super) fn order(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Text(a), Value::Text(b)) | (Value::Json(a), Value::Json(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
            (Value::Severity(a), Value::Severity(b)) => a.cmp(b),
            (Value::Time(a), Value::Time(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()).then_with(|| match (a.decimal(), b.decimal()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => Ordering::Equal,
            }),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Time(_) => 0,
            Value::Severity(_) => 1,
            Value::Int(_) | Value::Float(_) | Value::Number(_) => 2,
            Value::Text(_) => 3,
            Value::Bool(_) => 4,
            Value::Json(_) => 5,
            Value::Null => 6,
        }
    }

    fn decimal(&self) -> Option<Decimal> {
        match self {
            Value::Int(value) => Decimal::parse(&value.to_string()),
            Value::Float(value) => Decimal::of_float(*value),
            Value::Number(json) => Decimal::parse(json),
            _ => None,
        }
    }
}

/// The hash of what was encoded; no two that are different are ever taken for the same, but by a chance of 2^-64 among
/// billions.
pub(super) fn hash(encoded: &[u8], seed: u64) -> u128 {
    xxh3_128_with_seed(encoded, seed)
}

fn encode_int(value: i128, out: &mut Vec<u8>) {
    out.push(b'i');
    out.extend(value.to_le_bytes());
}

fn encode_text(tag: u8, text: &str, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend((text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn encode_time(nanos: i64, out: &mut Vec<u8>) {
    out.push(b't');
    out.extend(nanos.to_le_bytes());
}

fn unescape(json: &str) -> Cow<'_, str> {
    match json.get(1..json.len().saturating_sub(1)) {
        Some(plain) if memchr::memchr(b'\\', plain.as_bytes()).is_none() => Cow::Borrowed(plain),
        _ => Cow::Owned(serde_json::from_str(json).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(cell: &Cell<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        cell.encode(&mut out);
        out
    }

    fn shown(cell: &Cell<'_>) -> String {
        let mut out = Vec::new();
        cell.value().write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn equal_numbers_have_one_form_however_they_are_written() {
        let number = |json: &'static str| Cell::Number(Cow::Borrowed(json));
        for (same, form) in [
            (vec![Cell::Int(5), Cell::Float(5.0), number("5.0"), number("50e-1")], "5"),
            (vec![Cell::Float(1.5), number("1.50"), number("15e-1")], "1.5"),
            (vec![Cell::Int(0), Cell::Float(-0.0), number("-0"), number("0e9")], "0"),
            (vec![Cell::Float(4.611_686_018_427_388e18), number("4611686018427388000")], "4611686018427388000"),
            (vec![Cell::Float(1e300), number("10e299")], "1e+300"),
            (vec![number("1e400"), number("10.0e399")], "1e400"),
            (vec![number("18446744073709551616")], "18446744073709551616"),
            (
                vec![number("-0.12345678901234567890123"), number("-1.2345678901234567890123e-1")],
                "-1.2345678901234567890123e-1",
            ),
        ] {
            for cell in &same {
                assert_eq!(encoded(cell), encoded(&same[0]), "{cell:?}");
                assert_eq!(shown(cell), form, "{cell:?}");
            }
        }
        let different = [
            Cell::Int(1),
            Cell::of_json("\"1\""),
            Cell::of_json("true"),
            Cell::of_json("null"),
            Cell::of_json("[1]"),
            Cell::of_json("1.0000000000000000000001"),
            Cell::Time(1),
            Cell::Severity(1),
        ];
        for (left, a) in different.iter().enumerate() {
            for (right, b) in different.iter().enumerate() {
                assert_eq!(encoded(a) == encoded(b), left == right, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn values_are_ordered_by_kind_and_then_by_themselves() {
        let ascending = [
            "-1e400", "-3", "0.5", "1", "1.5", "2", "1e400", "\"\"", "\"10\"", "\"9\"", "false", "true", "[1]", "{}",
            "null",
        ];
        let values: Vec<Value> = ascending.iter().map(|json| Cell::of_json(json).value()).collect();
        for (left, a) in values.iter().enumerate() {
            for (right, b) in values.iter().enumerate() {
                assert_eq!(a.order(b), left.cmp(&right), "{a:?} {b:?}");
            }
        }
    }
}
