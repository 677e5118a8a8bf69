//! Attributes as nested documents, so that people query `attributes.http.status`, and back to what was sent.
//!
//! The attribute `http.status` stands in the document `attributes` under `http` and there under `status`: a text as a
//! string, a whole number as an `int64`, another number as a `double`, `null`, booleans, arrays and `{}` as themselves.
//! What would not read back exactly so stands, by its exact JSON text, in the text `attributes_json` too: one object,
//! keyed by the dotted names. On reading it goes before what is nested. There are two kinds of it:
//! - A name that cannot be a path: with an empty segment, a `$` at the start of one, a NUL, or more than
//!   [`DEPTH_MAX`] of them; and `a` beside `a.b`. Such an attribute stands there only.
//! - A value that BSON rounds or respells (`1.10`, an integer past 64 bits, spaces in an array). It is nested as near
//!   as can be, to be queried, unless it is too large or deep, or has arrays in arrays or keys that are no path.

use std::collections::BTreeMap;
use std::ops::Bound;

use mongodb::bson::raw::CStr;
use mongodb::bson::{RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf};
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_model::AttributeValue;

use crate::batch::{AttributeRef, LogBatchBuilder};

/// How deep anything is nested; servers allow about a hundred levels.
const DEPTH_MAX: usize = 32;
/// How many bytes of JSON of arrays and objects are nested for one record, as BSON can take eight times as many.
const NESTED_JSON_BYTES_MAX: usize = 256 << 10;

/// The attributes of one record, as they stand in its document.
pub(super) struct Stored {
    /// The document `attributes`.
    pub(super) nested: RawDocumentBuf,
    /// The text `attributes_json`; empty, if all is nested exactly.
    pub(super) exact: Vec<u8>,
}

/// An attribute that can be nested.
struct Leaf<'a> {
    name: &'a str,
    value: RawBson,
}

/// Nests the attributes of a record.
pub(super) fn store(attributes: &BTreeMap<String, AttributeValue>) -> Stored {
    let mut exact = Vec::new();
    let mut leaves = Vec::with_capacity(attributes.len());
    let mut budget = NESTED_JSON_BYTES_MAX;
    for (name, value) in attributes {
        let json = value.as_json();
        let nested = if is_path(name) && !is_parent(name, attributes) { nest(json, &mut budget) } else { None };
        if !nested.as_ref().is_some_and(|nested| nested.exact) {
            push_member(&mut exact, name, json);
        }
        leaves.extend(nested.map(|nested| Leaf { name, value: nested.value }));
    }
    if !exact.is_empty() {
        exact.push(b'}');
    }
    Stored { nested: nest_level(&leaves, 0), exact }
}

/// Reads the attributes of a document into the record in hand of `builder`.
pub(super) fn load(nested: Option<&RawDocument>, exact: Option<&str>, builder: &mut LogBatchBuilder) {
    let exact: BTreeMap<String, Box<RawValue>> =
        exact.and_then(|exact| serde_json::from_str(exact).ok()).unwrap_or_default();
    if let Some(nested) = nested {
        load_level(nested, &mut String::new(), &exact, builder);
    }
    for (name, value) in &exact {
        append_json(name, value.get(), builder);
    }
}

/// Whether the dotted `name` can be a path of fields on every server.
pub(super) fn is_path(name: &str) -> bool {
    let mut depth = 0;
    name.split('.').all(|segment| {
        depth += 1;
        depth <= DEPTH_MAX && is_key(segment)
    })
}

fn is_key(segment: &str) -> bool {
    !segment.is_empty() && !segment.starts_with('$') && !segment.contains(['.', '\0'])
}

/// Whether another attribute's path goes through `name`.
fn is_parent(name: &str, attributes: &BTreeMap<String, AttributeValue>) -> bool {
    let prefix = format!("{name}.");
    let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
    attributes.range::<str, _>(from).next().is_some_and(|(other, _)| other.starts_with(&prefix))
}

/// A value in BSON, and whether it reads back with the very text it had.
struct Nested {
    value: RawBson,
    exact: bool,
}

fn nest(json: &str, budget: &mut usize) -> Option<Nested> {
    if json.starts_with(['[', '{']) {
        *budget = budget.checked_sub(json.len())?;
    }
    // A number past the range of a double is an error here.
    let value: Value = serde_json::from_str(json).ok()?;
    // A document with members would read back as a path.
    if value.as_object().is_some_and(|members| !members.is_empty()) {
        return None;
    }
    let mut exact = shows_as(&value, json);
    let value = nest_value(&value, DEPTH_MAX, &mut exact)?;
    Some(Nested { value, exact })
}

/// Whether `json` is how `value` is written.
fn shows_as(value: &Value, json: &str) -> bool {
    let shown: String = value.to_string();
    shown.as_str() == json
}

fn nest_value(value: &Value, depth_left: usize, exact: &mut bool) -> Option<RawBson> {
    let depth_left = depth_left.checked_sub(1)?;
    Some(match value {
        Value::Null => RawBson::Null,
        Value::Bool(value) => RawBson::Boolean(*value),
        Value::String(text) => RawBson::String(text.clone()),
        Value::Number(number) => match number.as_i64() {
            Some(value) => RawBson::Int64(value),
            None => {
                let value = number.as_f64()?;
                // Not every server tells the two zeros apart, and an integer past 64 bits becomes a double.
                *exact &= number.is_f64() && !(value == 0.0 && value.is_sign_negative());
                RawBson::Double(value)
            }
        },
        Value::Array(values) => {
            let mut array = RawArrayBuf::new();
            for value in values {
                if value.is_array() {
                    return None;
                }
                array.push(nest_value(value, depth_left, exact)?);
            }
            RawBson::Array(array)
        }
        Value::Object(members) => {
            let mut document = RawDocumentBuf::new();
            for (name, value) in members {
                let key = Some(name.as_str()).filter(|name| is_key(name))?;
                document.append(<&CStr>::try_from(key).ok()?, nest_value(value, depth_left, exact)?);
            }
            RawBson::Document(document)
        }
    })
}

/// The document of `leaves`, sorted by name, that have the first `prefix` bytes of their names in common.
fn nest_level(leaves: &[Leaf<'_>], prefix: usize) -> RawDocumentBuf {
    let mut document = RawDocumentBuf::new();
    let mut rest = leaves;
    while let Some((leaf, others)) = rest.split_first() {
        let name = leaf.name.get(prefix..).unwrap_or_default();
        let segment = name.split('.').next().unwrap_or_default();
        // A path has no NUL.
        let Ok(key) = <&CStr>::try_from(segment) else { return document };
        if segment.len() == name.len() {
            document.append(key, leaf.value.as_raw_bson_ref());
            rest = others;
            continue;
        }
        // What begins alike stands together in the order of names.
        let end = prefix + segment.len() + 1;
        let shared = leaf.name.get(..end).unwrap_or_default();
        let (group, after) = rest.split_at(rest.partition_point(|other| other.name.starts_with(shared)));
        document.append(key, nest_level(group, end));
        rest = after;
    }
    document
}

fn push_member(object: &mut Vec<u8>, name: &str, json: &str) {
    object.push(if object.is_empty() { b'{' } else { b',' });
    // Writing a text to memory cannot fail.
    let _ = serde_json::to_writer(&mut *object, name);
    object.push(b':');
    object.extend_from_slice(json.as_bytes());
}

fn load_level(
    document: &RawDocument,
    path: &mut String,
    exact: &BTreeMap<String, Box<RawValue>>,
    builder: &mut LogBatchBuilder,
) {
    for (key, value) in document.iter().flatten() {
        let parent = path.len();
        if parent > 0 {
            path.push('.');
        }
        path.push_str(key.as_str());
        match value {
            RawBsonRef::Document(inner) if inner.iter().next().is_some() => load_level(inner, path, exact, builder),
            _ if exact.contains_key(path.as_str()) => {}
            value => append_bson(path, value, builder),
        }
        path.truncate(parent);
    }
}

fn append_bson(name: &str, value: RawBsonRef<'_>, builder: &mut LogBatchBuilder) {
    let json;
    let value = match value {
        RawBsonRef::String(text) => AttributeRef::Text(text),
        RawBsonRef::Int64(value) => AttributeRef::Int(value),
        RawBsonRef::Int32(value) => AttributeRef::Int(value.into()),
        RawBsonRef::Double(value) if value.is_finite() => AttributeRef::Float(value),
        RawBsonRef::Boolean(value) => AttributeRef::Bool(value),
        other => {
            json = unnest(other).to_string();
            AttributeRef::Json(&json)
        }
    };
    // A name stands twice only in a document that is not of ours; the first one counts.
    let _ = builder.attribute(name, value);
}

fn unnest(value: RawBsonRef<'_>) -> Value {
    match value {
        RawBsonRef::Null => Value::Null,
        RawBsonRef::Boolean(value) => Value::Bool(value),
        RawBsonRef::String(text) => Value::String(text.to_owned()),
        RawBsonRef::Int32(value) => value.into(),
        RawBsonRef::Int64(value) => value.into(),
        RawBsonRef::Double(value) => value.into(),
        RawBsonRef::Array(values) => values.into_iter().flatten().map(unnest).collect(),
        RawBsonRef::Document(members) => Value::Object(
            members.iter().flatten().map(|(key, value)| (key.as_str().to_owned(), unnest(value))).collect(),
        ),
        // Only someone else can have written another type here (a date, an object id): show it as text.
        other => Value::String(format!("{other:?}")),
    }
}

/// Appends a value by its JSON text, as the type that a decoder would take it for.
fn append_json(name: &str, json: &str, builder: &mut LogBatchBuilder) {
    let text;
    let value = match json.as_bytes().first() {
        Some(b'"') => {
            text = serde_json::from_str::<String>(json).unwrap_or_default();
            AttributeRef::Text(&text)
        }
        Some(b't' | b'f') => AttributeRef::Bool(json == "true"),
        Some(b'-' | b'0'..=b'9') => number(json),
        _ => AttributeRef::Json(json),
    };
    let _ = builder.attribute(name, value);
}

fn number(json: &str) -> AttributeRef<'_> {
    if let Some(value) = json.parse().ok().filter(|value: &i64| value.to_string() == json) {
        return AttributeRef::Int(value);
    }
    match json.parse::<f64>() {
        Ok(value) if value.is_finite() && shows_as(&value.into(), json) => AttributeRef::Float(value),
        _ => AttributeRef::Json(json),
    }
}
