//! CSV as in RFC 4180: a header line, lines that end with CR LF, quotes only where they are needed.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use sluice_model::{RecordId, Timestamp};

use crate::batch::{ATTRIBUTE_PREFIX, Records, RowWriter};

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum Field {
    Id,
    Timestamp,
    /// As sent.
    Level,
    /// One of the six.
    Severity,
    Service,
    Message,
    /// All of them, as a JSON object.
    Attributes,
    /// One attribute: a text as it is, anything else as its JSON. It keeps the name that it was asked for by.
    Attribute {
        name: String,
        heading: String,
    },
}

impl Field {
    /// The field that `name` names: a fixed one, or else an attribute. `attributes.NAME` always means the attribute.
    pub fn named(name: &str) -> Field {
        match name {
            "id" => Field::Id,
            "timestamp" => Field::Timestamp,
            "level" => Field::Level,
            "severity" => Field::Severity,
            "service" => Field::Service,
            "message" => Field::Message,
            "attributes" => Field::Attributes,
            heading => Field::Attribute {
                name: heading.strip_prefix(ATTRIBUTE_PREFIX).unwrap_or(heading).to_owned(),
                heading: heading.to_owned(),
            },
        }
    }

    /// The columns where none are named.
    pub fn standard() -> Vec<Field> {
        vec![Field::Id, Field::Timestamp, Field::Level, Field::Service, Field::Message, Field::Attributes]
    }

    fn heading(&self) -> &str {
        match self {
            Field::Id => "id",
            Field::Timestamp => "timestamp",
            Field::Level => "level",
            Field::Severity => "severity",
            Field::Service => "service",
            Field::Message => "message",
            Field::Attributes => "attributes",
            Field::Attribute { heading, .. } => heading,
        }
    }
}

/// Appends the header line.
pub(super) fn write_header(fields: &[Field], out: &mut Vec<u8>) {
    for (place, field) in fields.iter().enumerate() {
        write_cell(field.heading().as_bytes(), place, fields.len(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a line for each of `records`.
pub(super) fn write(fields: &[Field], records: &Records, out: &mut Vec<u8>) {
    let writer = RowWriter::new(records);
    let columns: Vec<Option<&ArrayRef>> = fields
        .iter()
        .map(|field| match field {
            Field::Attribute { name, .. } => {
                records.logs.attributes().find(|(column, _)| column == name).map(|(_, column)| column)
            }
            _ => None,
        })
        .collect();
    let mut cell = Vec::new();
    for row in 0..records.len() {
        for (place, (field, column)) in fields.iter().zip(&columns).enumerate() {
            cell.clear();
            write_value(field, *column, &writer, records, row, &mut cell);
            write_cell(&cell, place, fields.len(), out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn write_value(
    field: &Field,
    column: Option<&ArrayRef>,
    writer: &RowWriter<'_>,
    records: &Records,
    row: usize,
    cell: &mut Vec<u8>,
) {
    let logs = &records.logs;
    match field {
        Field::Id => cell.extend_from_slice(records.id(row).encode(&mut [0; RecordId::TEXT_LENGTH]).as_bytes()),
        Field::Timestamp => {
            let (timestamp, _) = records.position(row);
            cell.extend_from_slice(timestamp.encode(&mut [0; Timestamp::TEXT_LENGTH]).as_bytes());
        }
        Field::Level => cell.extend_from_slice(logs.levels().value(row).as_bytes()),
        Field::Severity => cell.extend_from_slice(logs.severity(row).name().as_bytes()),
        Field::Service => cell.extend_from_slice(logs.services().value(row).as_bytes()),
        Field::Message => cell.extend_from_slice(logs.messages().value(row).as_bytes()),
        Field::Attributes => writer.write_attributes(row, cell),
        Field::Attribute { name, .. } => match column.filter(|column| column.is_valid(row)) {
            Some(column) => write_scalar(column, row, cell),
            None => write_overflow(records, row, name, cell),
        },
    }
}

fn write_scalar(column: &ArrayRef, row: usize, cell: &mut Vec<u8>) {
    match column.data_type() {
        DataType::Utf8 => cell.extend_from_slice(column.as_string::<i32>().value(row).as_bytes()),
        DataType::Int64 => {
            let value = column.as_primitive::<Int64Type>().value(row);
            cell.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
        // Writing a number to memory cannot fail.
        DataType::Float64 => drop(serde_json::to_writer(cell, &column.as_primitive::<Float64Type>().value(row))),
        DataType::Boolean => {
            cell.extend_from_slice(if column.as_boolean().value(row) { b"true" } else { b"false" });
        }
        _ => {}
    }
}

fn write_overflow(records: &Records, row: usize, name: &str, cell: &mut Vec<u8>) {
    let members = records.logs.overflow_members(row);
    let Some(json) = members.get(name).map(|value| value.get()) else { return };
    match serde_json::from_str::<String>(json) {
        Ok(text) => cell.extend_from_slice(text.as_bytes()),
        Err(_) => cell.extend_from_slice(json.as_bytes()),
    }
}

/// Appends the cell at `place` of `count`, and the comma before it.
/// Appends the cell at `place` of `count` in a line.
pub(in crate::api) fn write_cell(cell: &[u8], place: usize, count: usize, out: &mut Vec<u8>) {
    if place > 0 {
        out.push(b',');
    }
    // A line of one empty cell would be an empty line, which readers skip.
    let empty_line = cell.is_empty() && count == 1;
    if !empty_line && !cell.iter().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n')) {
        out.extend_from_slice(cell);
        return;
    }
    out.push(b'"');
    for part in cell.split_inclusive(|byte| *byte == b'"') {
        out.extend_from_slice(part);
        if part.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluice_model::Severity;

    use super::*;
    use crate::batch::{AttributeRef, LogBatchBuilder};

    /// A reader of RFC 4180.
    fn read(text: &str) -> Vec<Vec<String>> {
        let mut lines = Vec::new();
        let mut line = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let cell;
            if let Some(mut quoted) = rest.strip_prefix('"') {
                let mut value = String::new();
                loop {
                    let (part, after) = quoted.split_once('"').expect("a closing quote");
                    value.push_str(part);
                    match after.strip_prefix('"') {
                        Some(more) => {
                            value.push('"');
                            quoted = more;
                        }
                        None => {
                            rest = after;
                            break;
                        }
                    }
                }
                cell = value;
            } else {
                let end = rest.find([',', '\r']).expect("a line end");
                cell = rest[..end].to_owned();
                rest = &rest[end..];
            }
            line.push(cell);
            if let Some(after) = rest.strip_prefix("\r\n") {
                lines.push(std::mem::take(&mut line));
                rest = after;
            } else {
                rest = rest.strip_prefix(',').expect("a comma");
            }
        }
        lines
    }

    fn records(message: &str, attributes: &[(&str, AttributeRef<'_>)]) -> Records {
        let mut builder = LogBatchBuilder::new();
        for (name, value) in attributes {
            builder.attribute(name, *value).unwrap();
        }
        builder.commit(Timestamp::from_nanos(0), Severity::Warn, "Warning", "web", message);
        Records::numbered(RecordId::from_u128(1), builder.finish())
    }

    fn written(fields: &[Field], records: &Records) -> String {
        let mut out = Vec::new();
        write_header(fields, &mut out);
        write(fields, records, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fixed_columns_come_first_and_attributes_as_json() {
        let records = records("a, \"b\"\n", &[("n", AttributeRef::Int(7)), ("t", AttributeRef::Text("x"))]);
        assert_eq!(
            written(&Field::standard(), &records),
            "id,timestamp,level,service,message,attributes\r\n\
             00000000000000000000000001,1970-01-01T00:00:00.000000000Z,Warning,web,\"a, \"\"b\"\"\n\",\"{\"\"n\"\":7,\"\"t\"\":\"\"x\"\"}\"\r\n"
        );
    }

    #[test]
    fn named_fields_are_the_columns() {
        let attributes = [
            ("n", AttributeRef::Int(-7)),
            ("f", AttributeRef::Float(1.5)),
            ("b", AttributeRef::Bool(true)),
            ("t", AttributeRef::Text("x,y")),
            ("level", AttributeRef::Text("own")),
            ("a", AttributeRef::Json("[1,2]")),
            ("z", AttributeRef::Json("null")),
        ];
        let names = ["severity", "attributes.level", "n", "f", "b", "t", "a", "z", "none", "level"];
        let fields: Vec<Field> = names.into_iter().map(Field::named).collect();
        let lines = read(&written(&fields, &records("m", &attributes)));
        assert_eq!(lines[0], names);
        assert_eq!(lines[1], ["WARN", "own", "-7", "1.5", "true", "x,y", "[1,2]", "null", "", "Warning"]);
        assert_eq!(written(&[Field::named("none")], &records("m", &[])), "none\r\n\"\"\r\n");
    }

    proptest! {
        #[test]
        fn every_text_comes_back(message in "[a\",\r\n é]{0,12}", text: String) {
            let fields = [Field::Message, Field::named("t")];
            let lines = read(&written(&fields, &records(&message, &[("t", AttributeRef::Text(&text))])));
            prop_assert_eq!(&lines[1], &[message, text]);
        }
    }
}
