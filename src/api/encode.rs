//! The forms of an answer, and their writers: straight from the columns.

mod csv;

use actix_web::HttpRequest;
use actix_web::http::header::{Accept, Header};

use crate::batch::{Records, RowWriter};
use crate::error::Problem;

pub(super) use csv::{Field, write_cell as write_csv_cell};

/// In which form records are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// A JSON array.
    Json,
    /// A JSON object a line.
    Ndjson,
    /// A header line and a line for each record, with these columns.
    Csv(Vec<Field>),
}

/// What each form may be asked for as; the first of a form is what it is answered as.
const TYPES: &[(&str, Kind)] = &[
    ("application/json", Kind::Json),
    ("application/x-ndjson", Kind::Ndjson),
    ("application/ndjson", Kind::Ndjson),
    ("application/jsonl", Kind::Ndjson),
    ("text/csv", Kind::Csv),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Ndjson,
    Csv,
}

impl Format {
    /// The form that the client likes best, by its `Accept`; JSON, if it says nothing. `fields` are the columns that it
    /// named.
    ///
    /// # Errors
    /// There is none that it accepts, or the form has no columns to name.
    pub fn negotiate(request: &HttpRequest, fields: Option<Vec<Field>>) -> Result<Format, Problem> {
        match (preferred(request)?, fields) {
            (Kind::Csv, fields) => Ok(Format::Csv(fields.unwrap_or_else(Field::standard))),
            (_, Some(_)) => Err(Problem::invalid_parameter("fields: only text/csv has columns to name")),
            (Kind::Json, None) => Ok(Format::Json),
            (Kind::Ndjson, None) => Ok(Format::Ndjson),
        }
    }

    /// The value of `Content-Type`.
    pub fn content_type(&self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv(_) => "text/csv; charset=utf-8; header=present",
        }
    }

    /// Appends what stands before all records.
    pub fn begin(&self, out: &mut Vec<u8>) {
        match self {
            Format::Json => out.push(b'['),
            Format::Ndjson => {}
            Format::Csv(fields) => csv::write_header(fields, out),
        }
    }

    /// Appends `records`; `first` says whether none came before them.
    pub fn write(&self, records: &Records, first: bool, out: &mut Vec<u8>) {
        match self {
            Format::Json => write_objects(records, out, |row, out| {
                if row > 0 || !first {
                    out.push(b',');
                }
            }),
            Format::Ndjson => {
                write_objects(records, out, |row, out| {
                    if row > 0 {
                        out.push(b'\n');
                    }
                });
                if !records.is_empty() {
                    out.push(b'\n');
                }
            }
            Format::Csv(fields) => csv::write(fields, records, out),
        }
    }

    /// Appends what stands behind all records.
    pub fn end(&self, out: &mut Vec<u8>) {
        if *self == Format::Json {
            out.push(b']');
        }
    }
}

fn write_objects(records: &Records, out: &mut Vec<u8>, separate: impl Fn(usize, &mut Vec<u8>)) {
    let writer = RowWriter::new(records);
    for row in 0..records.len() {
        separate(row, out);
        writer.write(row, out);
    }
}

fn preferred(request: &HttpRequest) -> Result<Kind, Problem> {
    negotiate(request, TYPES).ok_or_else(|| {
        Problem::not_acceptable(
            "answers are application/json, application/x-ndjson or text/csv, none of which is accepted",
        )
    })
}

/// The form with the highest quality; of equals the one that is named most exactly, then the one named first, then the first.
pub(super) fn negotiate<T: Copy>(request: &HttpRequest, types: &[(&str, T)]) -> Option<T> {
    let accept = match Accept::parse(request) {
        Ok(accept) if !accept.is_empty() => accept,
        // RFC 9110 lets a server take a header that it cannot read, as well as none, as no preference.
        _ => return types.first().map(|(_, kind)| *kind),
    };
    let mut best = None;
    for (rank, (name, kind)) in types.iter().enumerate() {
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
            best = Some((score, *kind));
        }
    }
    best.map(|(_, kind)| kind)
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
    use crate::batch::LogBatchBuilder;

    #[test]
    fn the_form_is_what_the_client_likes_best() {
        for (accept, expected) in [
            (None, Some(Kind::Json)),
            (Some(""), Some(Kind::Json)),
            (Some("*/*"), Some(Kind::Json)),
            (Some("application/*"), Some(Kind::Json)),
            (Some("text/*"), Some(Kind::Csv)),
            (Some("application/json; charset=utf-8"), Some(Kind::Json)),
            (Some("application/x-ndjson"), Some(Kind::Ndjson)),
            (Some("APPLICATION/X-NDJSON"), Some(Kind::Ndjson)),
            (Some("text/csv, application/json;q=0.5"), Some(Kind::Csv)),
            (Some("text/csv;q=0.5, application/json"), Some(Kind::Json)),
            (Some("text/csv, application/json"), Some(Kind::Csv)),
            (Some("text/csv, */*"), Some(Kind::Csv)),
            (Some("*/*, application/json;q=0"), Some(Kind::Ndjson)),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Some(Kind::Json)),
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
    fn records_of_several_batches_make_one_document() {
        let batch = |from: u64, count: i64| {
            let mut builder = LogBatchBuilder::new();
            for nanos in 0..count {
                builder.commit(Timestamp::from_nanos(nanos), Severity::Info, "I", "s", "a \"b\"");
            }
            Records::numbered(RecordId::from_u128(u128::from(from)), builder.finish())
        };
        let written = |format: Format| {
            let mut out = Vec::new();
            format.begin(&mut out);
            for (index, records) in [batch(1, 2), batch(3, 0), batch(3, 1)].iter().enumerate() {
                format.write(records, index == 0, &mut out);
            }
            format.end(&mut out);
            String::from_utf8(out).unwrap()
        };
        let array: Vec<serde_json::Value> = serde_json::from_str(&written(Format::Json)).unwrap();
        let lines = written(Format::Ndjson);
        assert!(lines.ends_with("}\n"));
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(array, lines);
        assert_eq!(array.len(), 3);
        assert_eq!(written(Format::Csv(Field::standard())).split("\r\n").count(), 5);
    }
}
