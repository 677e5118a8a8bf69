//! Rows of a batch as JSON: the shape of every answer, written from the columns without a record in between.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Formatter};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_schema::DataType;
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sluice_model::{AttributeValue, LogRecord, RecordId, Timestamp};

use super::{AttributeRef, LogBatch, Records};

/// Writes the rows of one batch; the attributes' order, by name, is found out once.
pub struct RowWriter<'a> {
    records: &'a Records,
    /// The attributes that have a column, by name.
    columns: Vec<(&'a str, Column<'a>)>,
    /// The same names as members of an object begin: in JSON, with a colon.
    members: Vec<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Column<'a> {
    Text(&'a StringArray),
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Bool(&'a BooleanArray),
}

impl<'a> RowWriter<'a> {
    /// Prepares to write rows of `records`.
    pub fn new(records: &'a Records) -> RowWriter<'a> {
        let mut columns: Vec<_> =
            records.logs.attributes().filter_map(|(name, column)| Some((name, typed(column)?))).collect();
        columns.sort_unstable_by_key(|(name, _)| *name);
        let members = columns.iter().map(|(name, _)| member(name)).collect();
        RowWriter { records, columns, members }
    }

    /// Appends the record in `row` to `out`, as one JSON object without a line end.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        let logs = &self.records.logs;
        let (timestamp, id) = self.records.position(row);
        out.extend_from_slice(b"{\"id\":\"");
        out.extend_from_slice(id.encode(&mut [0; RecordId::TEXT_LENGTH]).as_bytes());
        out.extend_from_slice(b"\",\"timestamp\":\"");
        out.extend_from_slice(timestamp.encode(&mut [0; Timestamp::TEXT_LENGTH]).as_bytes());
        out.extend_from_slice(b"\",\"level\":");
        write_json_text(out, logs.levels().value(row));
        out.extend_from_slice(b",\"service\":");
        write_json_text(out, logs.services().value(row));
        out.extend_from_slice(b",\"message\":");
        write_json_text(out, logs.messages().value(row));
        out.extend_from_slice(b",\"attributes\":");
        self.write_attributes(row, out);
        out.push(b'}');
    }

    /// Appends the attributes of the record in `row`, as one JSON object sorted by name.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn write_attributes(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        let empty = out.len();
        let mut write = |member: &[u8], value: AttributeRef<'_>| {
            if out.len() > empty {
                out.push(b',');
            }
            out.extend_from_slice(member);
            value.write_json(out);
        };
        if self.records.logs.overflow().is_null(row) {
            for (member, (_, column)) in self.members.iter().zip(&self.columns) {
                column.value(row).into_iter().for_each(|value| write(member, value));
            }
        } else {
            self.visit_attributes(row, |name, value| write(&member(name), value));
        }
        out.push(b'}');
    }

    /// Shows `visit` each attribute of the record in `row`, sorted by name.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn visit_attributes(&self, row: usize, mut visit: impl FnMut(&str, AttributeRef<'_>)) {
        let rest = self.records.logs.overflow_members(row);
        let mut rest = rest.iter().peekable();
        for (name, column) in &self.columns {
            let Some(value) = column.value(row) else { continue };
            while let Some((before, value)) = rest.next_if(|(other, _)| other.as_str() < *name) {
                visit(before, AttributeRef::Json(value.get()));
            }
            visit(name, value);
        }
        for (name, value) in rest {
            visit(name, AttributeRef::Json(value.get()));
        }
    }

    /// Prepares to read the attribute `name` of the rows.
    pub fn attribute(&self, name: &str) -> AttributeReader<'a> {
        let column = self.columns.binary_search_by_key(&name, |(other, _)| *other);
        let column = column.ok().and_then(|place| self.columns.get(place)).map(|(_, column)| *column);
        AttributeReader { name: name.to_owned(), column, overflow: self.records.logs.overflow() }
    }

    /// The record in `row` as a row of its own, for those that need one.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn record(&self, row: usize) -> LogRecord {
        let logs = &self.records.logs;
        let (timestamp, id) = self.records.position(row);
        let mut attributes = BTreeMap::new();
        self.visit_attributes(row, |name, value| {
            let mut json = Vec::new();
            value.write_json(&mut json);
            let value = String::from_utf8(json).ok().and_then(|json| AttributeValue::from_json(json).ok());
            attributes.extend(value.map(|value| (name.to_owned(), value)));
        });
        LogRecord {
            id: Some(id),
            timestamp,
            level: logs.levels().value(row).to_owned(),
            service: logs.services().value(row).to_owned(),
            message: logs.messages().value(row).to_owned(),
            attributes,
        }
    }
}

/// Reads one attribute of the rows of a batch.
pub struct AttributeReader<'a> {
    name: String,
    column: Option<Column<'a>>,
    overflow: &'a StringArray,
}

impl<'a> AttributeReader<'a> {
    /// The attribute's value in `row`, if it has one there.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn value(&self, row: usize) -> Option<AttributeRef<'a>> {
        if let Some(value) = self.column.and_then(|column| column.value(row)) {
            return Some(value);
        }
        if self.overflow.is_null(row) {
            return None;
        }
        overflow_member(self.overflow.value(row), &self.name).map(AttributeRef::Json)
    }
}

impl AttributeRef<'_> {
    /// Appends the value as JSON.
    pub fn write_json(self, out: &mut Vec<u8>) {
        match self {
            AttributeRef::Text(text) => write_json_text(out, text),
            AttributeRef::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            AttributeRef::Float(value) => write_json_float(out, value),
            AttributeRef::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
            AttributeRef::Json(json) => out.extend_from_slice(json.as_bytes()),
        }
    }

    /// Appends a text as it is, and any other value as JSON.
    pub fn write_text(self, out: &mut Vec<u8>) {
        match self {
            AttributeRef::Text(text) => out.extend_from_slice(text.as_bytes()),
            AttributeRef::Json(json) if json.starts_with('"') => match serde_json::from_str::<Cow<'_, str>>(json) {
                Ok(text) => out.extend_from_slice(text.as_bytes()),
                Err(_) => out.extend_from_slice(json.as_bytes()),
            },
            other => other.write_json(out),
        }
    }
}

impl LogBatch {
    /// The attributes of the overflow of `row`, by name; the values by their JSON text.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn overflow_members(&self, row: usize) -> BTreeMap<String, Box<RawValue>> {
        if self.overflow().is_null(row) { BTreeMap::new() } else { overflow_members(self.overflow().value(row)) }
    }
}

/// The JSON text of the member `name` of an object of the overflow column.
pub(crate) fn overflow_member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    struct Member<'n>(&'n str);

    impl<'de> Visitor<'de> for Member<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(name) = members.next_key::<Name<'de>>()? {
                if found.is_none() && name.0 == self.0 {
                    found = Some(members.next_value()?);
                } else {
                    members.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    // Only the builder writes this column, and it writes objects.
    let found = serde_json::Deserializer::from_str(object).deserialize_map(Member(name)).ok()?;
    found.map(RawValue::get)
}

/// A member's name, copied only where it has escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn overflow_members(object: &str) -> BTreeMap<String, Box<RawValue>> {
    // Only the builder writes this column, and it writes objects.
    serde_json::from_str(object).unwrap_or_default()
}

fn typed(column: &ArrayRef) -> Option<Column<'_>> {
    match column.data_type() {
        DataType::Utf8 => Some(Column::Text(column.as_string())),
        DataType::Int64 => Some(Column::Int(column.as_primitive::<Int64Type>())),
        DataType::Float64 => Some(Column::Float(column.as_primitive::<Float64Type>())),
        DataType::Boolean => Some(Column::Bool(column.as_boolean())),
        _ => None,
    }
}

impl<'a> Column<'a> {
    fn value(self, row: usize) -> Option<AttributeRef<'a>> {
        match self {
            Column::Text(column) => column.is_valid(row).then(|| AttributeRef::Text(column.value(row))),
            Column::Int(column) => column.is_valid(row).then(|| AttributeRef::Int(column.value(row))),
            Column::Float(column) => column.is_valid(row).then(|| AttributeRef::Float(column.value(row))),
            Column::Bool(column) => column.is_valid(row).then(|| AttributeRef::Bool(column.value(row))),
        }
    }
}

/// Each record as its JSON, for tests.
#[cfg(test)]
pub(crate) fn json_rows(records: &Records) -> Vec<String> {
    let writer = RowWriter::new(records);
    let row = |row| {
        let mut out = Vec::new();
        writer.write(row, &mut out);
        String::from_utf8(out).unwrap()
    };
    (0..records.len()).map(row).collect()
}

/// A name as the member of an object begins: in JSON, with a colon.
fn member(name: &str) -> Vec<u8> {
    let mut member = Vec::with_capacity(name.len() + 3);
    write_json_text(&mut member, name);
    member.push(b':');
    member
}

/// Appends `text` as a JSON string.
pub(crate) fn write_json_text(out: &mut Vec<u8>, text: &str) {
    // Without an early end, so that it becomes instructions for many bytes at once. Few texts have anything to escape.
    let escapes = text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\'));
    if escapes {
        // Writing a text to memory cannot fail.
        let _ = serde_json::to_writer(out, text);
        return;
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends `value` as JSON; only a number that was sent in just this spelling stands in a column of floats.
pub(crate) fn write_json_float(out: &mut Vec<u8>, value: f64) {
    let _ = serde_json::to_writer(out, &value);
}
