//! Rows of a batch as JSON: the shape of every answer, written from the columns without a record in between.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Formatter};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sluice_model::{AttributeValue, LogRecord, RecordId, Timestamp};

use super::{LogBatch, Records};

/// Writes the rows of one batch; the attributes' order, by name, is found out once.
pub struct RowWriter<'a> {
    records: &'a Records,
    /// The attributes that have a column, by name.
    columns: Vec<(&'a str, Column<'a>)>,
}

enum Column<'a> {
    Text(&'a arrow_array::StringArray),
    Int(&'a arrow_array::Int64Array),
    Float(&'a arrow_array::Float64Array),
    Bool(&'a arrow_array::BooleanArray),
}

impl<'a> RowWriter<'a> {
    /// Prepares to write rows of `records`.
    pub fn new(records: &'a Records) -> RowWriter<'a> {
        let mut columns: Vec<_> =
            records.logs.attributes().filter_map(|(name, column)| Some((name, typed(column)?))).collect();
        columns.sort_unstable_by_key(|(name, _)| *name);
        RowWriter { records, columns }
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
        let overflow = self.records.logs.overflow();
        let rest = if overflow.is_null(row) { BTreeMap::new() } else { overflow_members(overflow.value(row)) };
        let mut rest = rest.iter().peekable();
        out.push(b'{');
        let empty = out.len();
        let separate = |out: &mut Vec<u8>| {
            if out.len() > empty {
                out.push(b',');
            }
        };
        for (name, column) in &self.columns {
            if column.is_null(row) {
                continue;
            }
            while let Some((before, value)) = rest.next_if(|(other, _)| other.as_str() < *name) {
                separate(out);
                write_member(out, before, value.get());
            }
            separate(out);
            write_json_text(out, name);
            out.push(b':');
            column.write(row, out);
        }
        for (name, value) in rest {
            separate(out);
            write_member(out, name, value.get());
        }
        out.push(b'}');
    }

    /// The record in `row` as a row of its own, for those that need one.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn record(&self, row: usize) -> LogRecord {
        let logs = &self.records.logs;
        let (timestamp, id) = self.records.position(row);
        let mut attributes = BTreeMap::new();
        for (name, column) in self.columns.iter().filter(|(_, column)| !column.is_null(row)) {
            let mut json = Vec::new();
            column.write(row, &mut json);
            let value = String::from_utf8(json).ok().and_then(|json| AttributeValue::from_json(json).ok());
            attributes.extend(value.map(|value| ((*name).to_owned(), value)));
        }
        if !logs.overflow().is_null(row) {
            for (name, value) in overflow_members(logs.overflow().value(row)) {
                let value = AttributeValue::from_json(value.get().to_owned()).ok();
                attributes.extend(value.map(|value| (name, value)));
            }
        }
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

impl Column<'_> {
    fn is_null(&self, row: usize) -> bool {
        match self {
            Column::Text(column) => column.is_null(row),
            Column::Int(column) => column.is_null(row),
            Column::Float(column) => column.is_null(row),
            Column::Bool(column) => column.is_null(row),
        }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Column::Text(column) => write_json_text(out, column.value(row)),
            Column::Int(column) => out.extend_from_slice(itoa::Buffer::new().format(column.value(row)).as_bytes()),
            Column::Float(column) => write_json_float(out, column.value(row)),
            Column::Bool(column) => out.extend_from_slice(if column.value(row) { b"true" } else { b"false" }),
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

fn write_member(out: &mut Vec<u8>, name: &str, json: &str) {
    write_json_text(out, name);
    out.push(b':');
    out.extend_from_slice(json.as_bytes());
}

/// Appends `text` as a JSON string.
pub(crate) fn write_json_text(out: &mut Vec<u8>, text: &str) {
    // Writing a text to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Appends `value` as JSON; only a number that was sent in just this spelling stands in a column of floats.
pub(crate) fn write_json_float(out: &mut Vec<u8>, value: f64) {
    let _ = serde_json::to_writer(out, &value);
}
