//! CSV as in RFC 4180: a header line, lines that end with CR LF, quotes only where they are needed.

use super::field::{Cells, Field};
use crate::batch::Records;

/// The columns where none are named.
pub(super) const STANDARD: [Field; 6] =
    [Field::Id, Field::Timestamp, Field::Level, Field::Service, Field::Message, Field::Attributes];

/// Appends the header line.
pub(super) fn write_header(fields: &[Field], out: &mut Vec<u8>) {
    for (place, field) in fields.iter().enumerate() {
        write_cell(field.heading().as_bytes(), place, fields.len(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a line for each of `records`.
pub(super) fn write(fields: &[Field], records: &Records, out: &mut Vec<u8>) {
    let cells = Cells::new(fields, records);
    let mut scratch = Vec::new();
    for row in 0..records.len() {
        for place in 0..cells.width() {
            let text = cells.text(place, row, &mut scratch).unwrap_or_default();
            write_cell(text.as_bytes(), place, fields.len(), out);
        }
        out.extend_from_slice(b"\r\n");
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
    use sluice_model::{RecordId, Severity, Timestamp};

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
            written(&STANDARD, &records),
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
