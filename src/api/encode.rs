//! The forms of an answer, and their writers: straight from the columns.

mod csv;
mod field;
mod table;
mod text;

use actix_web::HttpRequest;
use actix_web::http::header::{Accept, Header};

use crate::batch::{Records, RowWriter};
use crate::error::Problem;

pub(super) use csv::write_cell as write_csv_cell;
pub(super) use field::{Cells, Field};
pub(super) use table::{Table, TableError, TableWriter};

/// In which form records are answered, and with which fields.
#[derive(Debug, Clone)]
pub(super) struct Format {
    form: Form,
    /// Those that were named, if any were.
    fields: Option<Vec<Field>>,
}

/// A form of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON array.
    Json,
    /// A JSON object a line.
    Ndjson,
    /// A header line and a line for each record.
    Csv,
    /// A line for each record, for people.
    Text,
}

/// What each form may be asked for as; the first of a form is what it is answered as.
const TYPES: &[(&str, Form)] = &[
    ("application/json", Form::Json),
    ("application/x-ndjson", Form::Ndjson),
    ("application/ndjson", Form::Ndjson),
    ("application/jsonl", Form::Ndjson),
    ("text/csv", Form::Csv),
    ("text/plain", Form::Text),
];

impl Form {
    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::Ndjson => "application/x-ndjson",
            Form::Csv => "text/csv; charset=utf-8; header=present",
            Form::Text => "text/plain; charset=utf-8",
        }
    }
}

impl Format {
    /// A form with the fields that were named, if any were.
    pub fn new(form: Form, fields: Option<Vec<Field>>) -> Format {
        Format { form, fields }
    }

    /// The form that the client likes best, by its `Accept`; JSON, if it says nothing.
    ///
    /// # Errors
    /// There is none that it accepts.
    pub fn negotiate(request: &HttpRequest, fields: Option<Vec<Field>>) -> Result<Format, Problem> {
        Ok(Format { form: preferred(request)?, fields })
    }

    /// Which form it is.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The value of `Content-Type`.
    pub fn content_type(&self) -> &'static str {
        self.form.content_type()
    }

    /// Appends what stands before all records.
    pub fn begin(&self, out: &mut Vec<u8>) {
        match self.form {
            Form::Json => out.push(b'['),
            Form::Ndjson | Form::Text => {}
            Form::Csv => csv::write_header(self.csv_fields(), out),
        }
    }

    /// Appends `records`; `first` says whether none came before them.
    pub fn write(&self, records: &Records, first: bool, out: &mut Vec<u8>) {
        match self.form {
            Form::Json => self.write_objects(records, out, |row, out| {
                if row > 0 || !first {
                    out.push(b',');
                }
            }),
            Form::Ndjson => {
                self.write_objects(records, out, |row, out| {
                    if row > 0 {
                        out.push(b'\n');
                    }
                });
                if !records.is_empty() {
                    out.push(b'\n');
                }
            }
            Form::Csv => csv::write(self.csv_fields(), records, out),
            Form::Text => text::write(self.fields.as_deref(), records, out),
        }
    }

    /// Appends what stands behind all records.
    pub fn end(&self, out: &mut Vec<u8>) {
        if self.form == Form::Json {
            out.push(b']');
        }
    }

    fn csv_fields(&self) -> &[Field] {
        self.fields.as_deref().unwrap_or(&csv::STANDARD)
    }

    fn write_objects(&self, records: &Records, out: &mut Vec<u8>, separate: impl Fn(usize, &mut Vec<u8>)) {
        match &self.fields {
            None => {
                let writer = RowWriter::new(records);
                for row in 0..records.len() {
                    separate(row, out);
                    writer.write(row, out);
                }
            }
            Some(fields) => {
                let cells = Cells::new(fields, records);
                for row in 0..records.len() {
                    separate(row, out);
                    cells.write_object(row, out);
                }
            }
        }
    }
}

fn preferred(request: &HttpRequest) -> Result<Form, Problem> {
    negotiate(request, TYPES).ok_or_else(|| {
        Problem::not_acceptable(
            "answers are application/json, application/x-ndjson, text/csv or text/plain, none of which is accepted",
        )
    })
}

/// The form with the highest quality; of equals the one that is named most exactly, then the one named first, then the first.
pub(super) fn negotiate<T: Copy>(request: &HttpRequest, types: &[(&str, T)]) -> Option<T> {
    let accept = match Accept::parse(request) {
        Ok(accept) if !accept.is_empty() => accept,
        // RFC 9110 lets a server take a header that it cannot read, as well as none, as no preference.
        _ => return types.first().map(|(_, form)| *form),
    };
    let mut best = None;
    for (rank, (name, form)) in types.iter().enumerate() {
        let matching = accept.iter().enumerate().filter_map(|(place, range)| {
            let exactness = exactness(range.item.essence_str(), name)?;
            Some((exactness, range.quality, place))
        });
        // The most exact range is the one that counts for a type.
        let Some((exactness, quality, place)) = matching.max_by_key(|(exactness, quality, _)| (*exactness, *quality))
        else {
            continue;
        };
        let score = (quality, exactness, std::cmp::Reverse(place), std::cmp::Reverse(rank));
        if quality > actix_web::http::header::Quality::ZERO && best.is_none_or(|(other, _)| score > other) {
            best = Some((score, *form));
        }
    }
    best.map(|(_, form)| form)
}

/// How exactly `range` means the type `name`; `None`, if it does not.
fn exactness(range: &str, name: &str) -> Option<u8> {
    let main = range.strip_suffix("/*");
    match main {
        None => (range == name).then_some(2),
        Some("*") => Some(0),
        Some(main) => name.strip_prefix(main).is_some_and(|rest| rest.starts_with('/')).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use sluice_model::{RecordId, Severity, Timestamp};

    use super::*;
    use crate::batch::{AttributeRef, LogBatchBuilder};

    #[test]
    fn the_form_is_what_the_client_likes_best() {
        for (accept, expected) in [
            (None, Some(Form::Json)),
            (Some(""), Some(Form::Json)),
            (Some("*/*"), Some(Form::Json)),
            (Some("application/*"), Some(Form::Json)),
            (Some("text/*"), Some(Form::Csv)),
            (Some("application/json; charset=utf-8"), Some(Form::Json)),
            (Some("application/x-ndjson"), Some(Form::Ndjson)),
            (Some("APPLICATION/X-NDJSON"), Some(Form::Ndjson)),
            (Some("text/csv, application/json;q=0.5"), Some(Form::Csv)),
            (Some("text/csv;q=0.5, application/json"), Some(Form::Json)),
            (Some("text/csv, application/json"), Some(Form::Csv)),
            (Some("text/csv, */*"), Some(Form::Csv)),
            (Some("*/*, application/json;q=0"), Some(Form::Ndjson)),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Some(Form::Json)),
            (Some("text/plain, text/html"), Some(Form::Text)),
            (Some("text/plain;q=0.9, text/csv;q=0.8"), Some(Form::Text)),
            (Some("text/html"), None),
            (Some("application/json;q=0"), None),
        ] {
            let mut request = TestRequest::get();
            if let Some(accept) = accept {
                request = request.insert_header(("accept", accept));
            }
            assert_eq!(preferred(&request.to_http_request()).ok(), expected, "{accept:?}");
        }
    }

    #[test]
    fn named_fields_are_the_members() {
        let mut builder = LogBatchBuilder::new();
        builder.attribute("n", AttributeRef::Int(7)).unwrap();
        builder.attribute("level", AttributeRef::Json("[1.0]")).unwrap();
        builder.commit(Timestamp::from_nanos(0), Severity::Warn, "Warning", "a", "\"m\"");
        builder.attribute("n", AttributeRef::Text("x")).unwrap();
        builder.commit(Timestamp::from_nanos(1), Severity::Info, "I", "b", "");
        let records = Records::numbered(RecordId::from_u128(1), builder.finish());
        let names = ["n", "message", "attributes.level", "severity", "attributes", "timestamp", "level"];
        let format = Format::new(Form::Ndjson, Some(names.into_iter().map(Field::named).collect()));
        let mut out = Vec::new();
        format.write(&records, true, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"n\":7,\"message\":\"\\\"m\\\"\",\"attributes.level\":[1.0],\"severity\":\"WARN\",\"attributes\":{\"level\":[1.0],\"n\":7},\
             \"timestamp\":\"1970-01-01T00:00:00.000000000Z\",\"level\":\"Warning\"}\n\
             {\"n\":\"x\",\"message\":\"\",\"severity\":\"INFO\",\"attributes\":{\"n\":\"x\"},\
             \"timestamp\":\"1970-01-01T00:00:00.000000001Z\",\"level\":\"I\"}\n"
        );
    }

    #[test]
    fn records_of_several_batches_make_one_document() {
        let batch = |from: u64, count: i64| {
            let mut builder = LogBatchBuilder::new();
            for nanos in 0..count {
                builder.commit(Timestamp::from_nanos(nanos), Severity::Info, "I", "s", "a \"b\"");
            }
            Records::numbered(RecordId::from_u128(u128::from(from)), builder.finish())
        };
        let written = |form: Form| {
            let format = Format::new(form, None);
            let mut out = Vec::new();
            format.begin(&mut out);
            for (index, records) in [batch(1, 2), batch(3, 0), batch(3, 1)].iter().enumerate() {
                format.write(records, index == 0, &mut out);
            }
            format.end(&mut out);
            String::from_utf8(out).unwrap()
        };
        let array: Vec<serde_json::Value> = serde_json::from_str(&written(Form::Json)).unwrap();
        let lines = written(Form::Ndjson);
        assert!(lines.ends_with("}\n"));
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(array, lines);
        assert_eq!(array.len(), 3);
        assert_eq!(written(Form::Csv).split("\r\n").count(), 5);
    }
}
