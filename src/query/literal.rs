//! Literals and values: what a query compares, and what it is compared with.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use serde_json::value::RawValue;
use sluice_model::Timestamp;

use super::number::Number;
use super::quantity::{Quantity, Unit};

/// A value as a query has it. Without quotes it may be a number, a quantity, a time or a JSON word; in them it is a text.
#[derive(Debug, Clone)]
pub struct Literal {
    text: String,
    quoted: bool,
    pub(super) meaning: Meaning,
}

/// What a literal stands for, besides its text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    Text,
    Bool(bool),
    Null,
    Number(Number),
    Quantity(Quantity),
    /// For `<` and its kin only.
    Time(Timestamp),
}

impl Literal {
    /// The literal with this text, which stands in quotes or not.
    pub fn new(text: &str, quoted: bool) -> Literal {
        let time = || Timestamp::from_rfc3339(text).map_or(Meaning::Text, Meaning::Time);
        let meaning = match text {
            _ if quoted => time(),
            "true" => Meaning::Bool(true),
            "false" => Meaning::Bool(false),
            "null" => Meaning::Null,
            _ => {
                let number = Number::parse(text).map(Meaning::Number);
                number.or_else(|| Quantity::parse(text).map(Meaning::Quantity)).unwrap_or_else(time)
            }
        };
        Literal { text: text.to_owned(), quoted, meaning }
    }

    /// The text, without quotes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it stands in quotes.
    pub fn is_quoted(&self) -> bool {
        self.quoted
    }

    /// Whether only one text equals it, and nothing that is written otherwise.
    pub fn is_one_text(&self) -> bool {
        !matches!(self.meaning, Meaning::Quantity(_))
    }

    /// Whether it is JSON's `null`, too.
    pub fn is_null(&self) -> bool {
        self.meaning == Meaning::Null
    }

    /// The boolean that it is, too.
    pub fn as_bool(&self) -> Option<bool> {
        match self.meaning {
            Meaning::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The number that it is, too: as an integer, if it is one, and as the nearest float.
    pub fn as_number(&self) -> Option<(Option<i64>, f64)> {
        match &self.meaning {
            Meaning::Number(number) => Some((number.as_int(), number.as_float())),
            _ => None,
        }
    }

    /// Whether `value`, whose bare numbers are in `unit`, equals the literal.
    pub(super) fn equals(&self, value: &Value<'_>, unit: Option<Unit>) -> bool {
        match (&self.meaning, value) {
            (_, Value::Text(text)) if *text == self.text => true,
            (Meaning::Number(_), Value::Text(_)) => false,
            (Meaning::Number(_) | Meaning::Quantity(_), value) => self.order(value, unit) == Some(Ordering::Equal),
            (Meaning::Bool(wanted), Value::Bool(value)) => wanted == value,
            (Meaning::Null, Value::Null) => true,
            _ => false,
        }
    }

    /// How `value`, whose bare numbers are in `unit`, compares with the literal, if it does.
    pub(super) fn order(&self, value: &Value<'_>, unit: Option<Unit>) -> Option<Ordering> {
        match (&self.meaning, value) {
            (Meaning::Number(number), Value::Int(value)) => Some(number.order_int(*value)),
            (Meaning::Number(number), Value::Float(value)) => Some(number.order_float(*value)),
            (Meaning::Number(number), Value::Number(text) | Value::Text(text)) => number.order_text(text),
            (Meaning::Quantity(wanted), value) => order_quantity(*wanted, value, unit),
            (Meaning::Time(wanted), Value::Text(text)) => {
                let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
                let time = if begins { Timestamp::from_rfc3339(text).ok() } else { None };
                time.map(|time| time.cmp(wanted))
            }
            (Meaning::Text | Meaning::Bool(_) | Meaning::Null, Value::Text(text)) => Some((*text).cmp(&self.text)),
            _ => None,
        }
    }
}

fn order_quantity(wanted: Quantity, value: &Value<'_>, unit: Option<Unit>) -> Option<Ordering> {
    let unit = unit.filter(|(measure, _)| *measure == wanted.measure);
    let quantity = match value {
        Value::Text(text) => {
            let begins = text.bytes().next().is_some_and(|byte| byte == b'-' || byte.is_ascii_digit());
            let with_unit = if begins { Quantity::parse(text) } else { None };
            with_unit.or_else(|| Quantity::in_unit(text, unit?))
        }
        Value::Number(text) => Quantity::in_unit(text, unit?),
        Value::Int(number) => {
            let (measure, factor) = unit?;
            let billionths = i128::from(*number).saturating_mul(i128::from(factor) * 1_000_000_000);
            Some(Quantity { measure, billionths })
        }
        Value::Float(number) => Quantity::in_unit(&format!("{number:e}"), unit?),
        _ => None,
    }?;
    (quantity.measure == wanted.measure).then(|| quantity.billionths.cmp(&wanted.billionths))
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.quoted) == (&other.text, other.quoted)
    }
}

impl Eq for Literal {}

impl Hash for Literal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.text, self.quoted).hash(state);
    }
}

/// A value of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Any other number, by its JSON text.
    Number(&'a str),
    Text(&'a str),
    /// An object, by its JSON text.
    Object(&'a str),
}

impl Value<'_> {
    /// The value as text: a text itself, and the JSON of all else.
    pub fn with_text<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        match self {
            Value::Null => read("null"),
            Value::Bool(true) => read("true"),
            Value::Bool(false) => read("false"),
            Value::Int(value) => read(itoa::Buffer::new().format(*value)),
            Value::Float(value) => read(&serde_json::to_string(value).unwrap_or_default()),
            Value::Number(text) | Value::Text(text) | Value::Object(text) => read(text),
        }
    }
}

/// Whether `holds` is true of the value whose JSON text is `json`, or of any element of an array.
pub(super) fn any_value(json: &str, holds: &mut dyn FnMut(&Value<'_>) -> bool) -> bool {
    match json.as_bytes().first() {
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
            elements.iter().any(|element| any_value(element.get(), holds))
        }
        Some(b'"') => holds(&Value::Text(&unescape(json))),
        Some(b'{') => holds(&Value::Object(json)),
        Some(b't') => holds(&Value::Bool(true)),
        Some(b'f') => holds(&Value::Bool(false)),
        Some(b'n') => holds(&Value::Null),
        Some(_) => holds(&Value::Number(json)),
        None => false,
    }
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
    use crate::query::quantity::unit_in_name;

    fn bare(text: &str) -> Literal {
        Literal::new(text, false)
    }

    #[test]
    fn a_value_equals_what_is_written_for_it() {
        let quoted = |text| Literal::new(text, true);
        let equals =
            |literal: &Literal, json: &str| any_value(json, &mut |value| literal.equals(value, unit_in_name("t_ms")));
        for (literal, equal, other) in [
            (bare("500"), vec!["500", "500.0", "5e2", "\"500\"", "[1,500]"], vec!["\"500.0\"", "501", "null", "[]"]),
            (quoted("500"), vec!["\"500\"", "[[\"500\"]]"], vec!["500"]),
            (bare("Ab"), vec!["\"Ab\"", "\"\\u0041b\""], vec!["\"ab\"", "\"Ab \"", "{}"]),
            (bare("true"), vec!["true", "\"true\"", "[true]"], vec!["false", "1"]),
            (bare("null"), vec!["null", "\"null\""], vec!["\"\""]),
            (bare("18446744073709551616"), vec!["18446744073709551616"], vec!["18446744073709551617", "1e400"]),
            (bare("1.50"), vec!["1.5", "1.50", "\"1.50\""], vec!["\"1.5\""]),
            (bare("1.5s"), vec!["\"1.5s\"", "\"1500ms\"", "1500", "1500.0", "\"1500\""], vec!["\"1.5\"", "1.5"]),
            (bare("1KiB"), vec!["\"1024B\"", "\"1 KiB\""], vec!["1024", "\"1024ms\""]),
            (bare("2024-10-08"), vec!["\"2024-10-08\""], vec!["\"2024-10-08T00:00:00Z\""]),
        ] {
            equal.iter().for_each(|json| assert!(equals(&literal, json), "{literal:?} = {json}"));
            other.iter().for_each(|json| assert!(!equals(&literal, json), "{literal:?} != {json}"));
        }
    }

    #[test]
    fn values_are_ordered_by_their_kind() {
        let order = |literal: &str, json: &str| {
            let literal = bare(literal);
            let mut found = None;
            any_value(json, &mut |value| {
                found = literal.order(value, unit_in_name("body_bytes"));
                true
            });
            found
        };
        for (literal, json, expected) in [
            ("10", "9", Some(Ordering::Less)),
            ("10", "\"9\"", Some(Ordering::Less)),
            ("10", "\"abc\"", None),
            ("10", "true", None),
            ("b", "\"abc\"", Some(Ordering::Less)),
            ("b", "5", None),
            ("2024-10-08", "\"2024-10-08T01:00:00+02:00\"", Some(Ordering::Less)),
            ("2024-10-08", "\"later\"", None),
            ("1KiB", "1025", Some(Ordering::Greater)),
            ("1s", "1025", None),
            ("1m", "\"59s\"", Some(Ordering::Less)),
        ] {
            assert_eq!(order(literal, json), expected, "{json} against {literal}");
        }
    }
}
