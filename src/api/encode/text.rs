//! Lines of text, for people and for `grep`: `TIME LEVEL service message name=value …`.
//!
//! A record is a line, whatever its sender wrote: line ends and control characters are escaped, so that nothing of a
//! record looks like another one or moves a terminal's cursor. So are the characters that turn the direction of text.
//! Services, attributes' names and their values stand in quotes where they have a space, a quote, a `=` or such a
//! character. An empty service is `-`.

use std::io::Write;

use super::field::{Cells, Field};
use crate::batch::{AttributeRef, Records};

/// The fields of a line where none are named.
const STANDARD: [Field; 5] = [Field::Timestamp, Field::Severity, Field::Service, Field::Message, Field::Attributes];

/// Appends a line for each of `records`, with `fields`, if any are named; what a record lacks is left out.
pub(super) fn write(fields: Option<&[Field]>, records: &Records, out: &mut Vec<u8>) {
    let fields = fields.unwrap_or(&STANDARD);
    let cells = Cells::new(fields, records);
    let mut scratch = Vec::new();
    for row in 0..records.len() {
        let start = out.len();
        for (place, field) in fields.iter().enumerate() {
            let before = out.len();
            if before > start {
                out.push(b' ');
            }
            let empty = out.len();
            write_field(field, &cells, (place, row), &mut scratch, out);
            if out.len() == empty {
                out.truncate(before);
            }
        }
        out.push(b'\n');
    }
}

fn write_field(
    field: &Field,
    cells: &Cells<'_>,
    (place, row): (usize, usize),
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    if let Field::Attributes = field {
        return write_pairs(cells, row, scratch, out);
    }
    let Some(text) = cells.text(place, row, scratch) else { return };
    match field {
        Field::Message => write_escaped(text, out),
        Field::Service if text.is_empty() => out.push(b'-'),
        Field::Attribute { heading, .. } => write_pair(heading, text, out),
        _ => write_word(text, out),
    }
}

fn write_pairs(cells: &Cells<'_>, row: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    let empty = out.len();
    cells.writer().visit_attributes(row, |name, value: AttributeRef<'_>| {
        if out.len() > empty {
            out.push(b' ');
        }
        scratch.clear();
        value.write_text(scratch);
        // All of it was text before.
        write_pair(name, std::str::from_utf8(scratch).unwrap_or_default(), out);
    });
}

fn write_pair(name: &str, value: &str, out: &mut Vec<u8>) {
    write_word(name, out);
    out.push(b'=');
    write_word(value, out);
}

/// Appends a text that ends at the next space, in quotes where it must.
fn write_word(text: &str, out: &mut Vec<u8>) {
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=') && !must_escape(c);
    if !text.is_empty() && text != "-" && text.chars().all(is_plain) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for part in text.split_inclusive(['"', '\\']) {
        match part.strip_suffix(['"', '\\']) {
            None => write_escaped(part, out),
            Some(before) => {
                write_escaped(before, out);
                out.push(b'\\');
                out.extend(part.as_bytes().last());
            }
        }
    }
    out.push(b'"');
}

/// Appends a text whose control characters are escaped.
fn write_escaped(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| must_escape(*c)) {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before.as_bytes());
        match c {
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            // Writing to memory cannot fail.
            _ => drop(write!(out, "\\u{:04x}", u32::from(c))),
        }
        rest = after.get(c.len_utf8()..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Control characters, line and paragraph separators, and what turns the direction of text.
fn must_escape(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluice_model::{RecordId, Severity, Timestamp};

    use super::*;
    use crate::batch::LogBatchBuilder;

    fn line(service: &str, message: &str, attributes: &[(&str, AttributeRef<'_>)], fields: Option<&str>) -> String {
        let mut builder = LogBatchBuilder::new();
        for (name, value) in attributes {
            builder.attribute(name, *value).unwrap();
        }
        builder.commit(Timestamp::from_nanos(0), Severity::Warn, "Warning", service, message);
        let records = Records::numbered(RecordId::from_u128(1), builder.finish());
        let fields: Option<Vec<Field>> = fields.map(|names| names.split(',').map(Field::named).collect());
        let mut out = Vec::new();
        write(fields.as_deref(), &records, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_a_line() {
        let attributes = [
            ("n", AttributeRef::Int(7)),
            ("odd name", AttributeRef::Text("a \"b\" \\")),
            ("list", AttributeRef::Json("[1,\"x\"]")),
            ("none", AttributeRef::Json("null")),
            ("empty", AttributeRef::Text("")),
            ("a=b", AttributeRef::Bool(true)),
        ];
        assert_eq!(
            line("shop", "disk full", &attributes, None),
            "1970-01-01T00:00:00.000000000Z WARN shop disk full \"a=b\"=true empty=\"\" list=\"[1,\\\"x\\\"]\" n=7 \
             none=null \"odd name\"=\"a \\\"b\\\" \\\\\"\n"
        );
        assert_eq!(line("", "", &[], None), "1970-01-01T00:00:00.000000000Z WARN -\n");
        assert_eq!(line("-", "-5 C:\\x", &[], None), "1970-01-01T00:00:00.000000000Z WARN \"-\" -5 C:\\x\n");
    }

    #[test]
    fn named_fields_are_what_a_line_has() {
        let attributes = [("n", AttributeRef::Int(7)), ("t", AttributeRef::Text("a b"))];
        for (fields, expected) in [
            ("message,n,none,level", "m n=7 Warning\n"),
            ("t,id", "t=\"a b\" 00000000000000000000000001\n"),
            ("none", "\n"),
            ("attributes,severity", "n=7 t=\"a b\" WARN\n"),
        ] {
            assert_eq!(line("s", "m", &attributes, Some(fields)), expected, "{fields}");
        }
    }

    #[test]
    fn nothing_forges_a_line_or_moves_the_cursor() {
        let evil = "a\r\nb\u{1b}[2Jc\td\u{9b}e\u{202e}f\u{2028}\u{7f}\0";
        let escaped = "a\\r\\nb\\u001b[2Jc\\td\\u009be\\u202ef\\u2028\\u007f\\u0000";
        let written = line(evil, evil, &[("x", AttributeRef::Text(evil)), (evil, AttributeRef::Int(1))], None);
        assert_eq!(
            written,
            format!("1970-01-01T00:00:00.000000000Z WARN \"{escaped}\" {escaped} \"{escaped}\"=1 x=\"{escaped}\"\n")
        );
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_one_line_of_printable_text(text: String, name in "[\\PC\n]{1,9}", json in "\"[a-z\u{7f}\u{80}\u{2029}]{0,5}\"") {
            let attributes = [(name.as_str(), AttributeRef::Text(&text)), ("json!", AttributeRef::Json(&json))];
            let written = line(&text, &text, if name == "json!" { &[] } else { &attributes }, None);
            let (inside, end) = written.split_at(written.len() - 1);
            prop_assert_eq!(end, "\n");
            prop_assert!(!inside.chars().any(must_escape), "{}", written);
        }
    }
}
