//! The forms in which a tail is sent.

use actix_web::HttpRequest;
use actix_web::http::header::{Accept, Header, Quality};

use crate::batch::{Records, RowWriter};
use crate::error::Problem;
use crate::tail::Gap;

/// How records, gaps and signs of life look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object a line.
    Ndjson,
    /// Server-sent events, as the HTML standard defines them.
    Events,
}

/// What each form may be asked for as.
const TYPES: &[(&str, Form)] = &[
    ("application/x-ndjson", Form::Ndjson),
    ("application/ndjson", Form::Ndjson),
    ("application/jsonl", Form::Ndjson),
    ("application/*", Form::Ndjson),
    ("*/*", Form::Ndjson),
    ("text/event-stream", Form::Events),
    ("text/*", Form::Events),
];

impl Form {
    /// The form that the client likes best, by its `Accept`; NDJSON, if it says nothing.
    ///
    /// # Errors
    /// There is none that it accepts.
    pub fn negotiate(request: &HttpRequest) -> Result<Form, Problem> {
        let accept = match Accept::parse(request) {
            Ok(accept) if !accept.is_empty() => accept,
            // As everywhere: a header that cannot be read is no preference.
            _ => return Ok(Form::Ndjson),
        };
        let accepted = Accept(accept.0.into_iter().filter(|range| range.quality > Quality::ZERO).collect());
        let named = |range: &str| TYPES.iter().find(|(name, _)| *name == range).map(|(_, form)| *form);
        let best = accepted.ranked().iter().find_map(|range| named(range.essence_str()));
        best.ok_or_else(|| {
            Problem::not_acceptable("a tail is application/x-ndjson or text/event-stream, neither of which is accepted")
        })
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Ndjson => "application/x-ndjson",
            Form::Events => "text/event-stream",
        }
    }

    /// Appends the record in `row`.
    pub fn write(self, records: &Records, writer: &RowWriter<'_>, row: usize, out: &mut Vec<u8>) {
        match self {
            Form::Ndjson => {
                writer.write(row, out);
                out.push(b'\n');
            }
            Form::Events => {
                out.extend_from_slice(format!("id: {}\ndata: ", records.id(row)).as_bytes());
                // JSON has no line ends, so that it is one line of data.
                writer.write(row, out);
                out.extend_from_slice(b"\n\n");
            }
        }
    }

    /// Appends what is said of a gap.
    pub fn write_gap(self, gap: Gap, out: &mut Vec<u8>) {
        let Gap { missed, passed_over } = gap;
        let object = match (missed, passed_over) {
            (missed, 0) => format!("{{\"missed\":{missed}}}"),
            (0, passed_over) => format!("{{\"passed_over\":{passed_over}}}"),
            (missed, passed_over) => format!("{{\"missed\":{missed},\"passed_over\":{passed_over}}}"),
        };
        let text = match self {
            Form::Ndjson => format!("{object}\n"),
            Form::Events => format!("event: missed\ndata: {object}\n\n"),
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// A sign of life.
    pub fn heartbeat(self) -> &'static [u8] {
        match self {
            Form::Ndjson => b"\n",
            Form::Events => b": heartbeat\n\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_form_is_what_the_client_likes_best() {
        for (accept, expected) in [
            (None, Some(Form::Ndjson)),
            (Some("*/*"), Some(Form::Ndjson)),
            (Some("application/x-ndjson"), Some(Form::Ndjson)),
            (Some("text/event-stream"), Some(Form::Events)),
            (Some("text/event-stream, */*;q=0.1"), Some(Form::Events)),
            (Some("text/event-stream;q=0.2, application/ndjson"), Some(Form::Ndjson)),
            (Some("text/event-stream;q=0, */*"), Some(Form::Ndjson)),
            (Some("application/json"), None),
            (Some("text/event-stream;q=0"), None),
        ] {
            let mut request = TestRequest::get();
            if let Some(accept) = accept {
                request = request.insert_header(("accept", accept));
            }
            assert_eq!(Form::negotiate(&request.to_http_request()).ok(), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_gap_says_what_was_missed_and_what_was_passed_over() {
        for (form, missed, passed_over, expected) in [
            (Form::Ndjson, 12, 0, "{\"missed\":12}\n"),
            (Form::Ndjson, 0, 7, "{\"passed_over\":7}\n"),
            (Form::Ndjson, 12, 7, "{\"missed\":12,\"passed_over\":7}\n"),
            (Form::Events, 12, 0, "event: missed\ndata: {\"missed\":12}\n\n"),
        ] {
            let mut out = Vec::new();
            form.write_gap(Gap { missed, passed_over }, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
