//! What must hold for any query text, time and cursor, for the fuzzers.

use sluice_model::{RecordId, Severity, Timestamp};

use super::{Cursor, Edge, Term, parse, parse_time};

/// A query text: each term that is read from it is one in quotes too, and is found in its own text; a refusal points into
/// the text and is short.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Ok(terms) => {
            for term in terms {
                let quoted = format!("\"{}\"", term.text().replace('\\', "\\\\").replace('"', "\\\""));
                // What is folded can begin an escape sequence that the text did not have, so it is a term of its own.
                let folded = Term::new(term.text());
                assert!(folded.matches(term.text()), "{folded:?} does not occur in itself");
                // Quotes and escapes count too.
                if quoted.len() <= super::parser::TERM_BYTES_MAX {
                    assert_eq!(parse(&quoted), Ok(vec![folded]), "{quoted}");
                }
            }
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
            assert!(error.to_string().len() <= 1024 + 4 * text.len(), "a refusal is about its text: {error}");
        }
    }
}

/// A time, a severity and an id: what is read is written in a form that reads the same.
pub fn time(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let now = Timestamp::from_nanos(1_728_345_600_123_456_789);
    let [start, end] = [Edge::Start, Edge::End].map(|edge| parse_time(text, now, edge));
    match (start, end) {
        (Ok(start), Ok(end)) => {
            assert!(start <= end, "{text}: begins after it ends");
            for time in [start, end] {
                assert_eq!(parse_time(&time.to_string(), now, Edge::Start), Ok(time), "{text}");
                assert_eq!(time.to_string().parse(), Ok(time), "{text}");
            }
        }
        (start, end) => assert_eq!(start, end, "{text}: one edge of a time is none"),
    }
    if let Ok(id) = text.parse::<RecordId>() {
        assert!(id.to_string().eq_ignore_ascii_case(text) || text.contains(['o', 'O', 'i', 'I', 'l', 'L']), "{text}");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(RecordId::from_u128(id.as_u128()), id);
    }
    if let Ok(severity) = text.parse::<Severity>() {
        assert_eq!(severity.name().parse(), Ok(severity));
    }
    if let Ok(time) = Timestamp::from_decimal(text) {
        assert_eq!(Timestamp::from_rfc3339(&time.to_string()), Ok(time), "{text}");
    }
}

/// A cursor: one that is read is written as the same text; and so is one whose checksum is put right first.
pub fn cursor(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(cursor) = Cursor::decode(text)
    {
        assert_eq!(cursor.encode(), text);
    }
    let sealed = super::cursor::sealed(data);
    if let Ok(cursor) = Cursor::decode(&sealed) {
        assert_eq!(cursor.encode(), sealed);
    }
}
