//! What must hold for any query text, time and cursor, for the fuzzers.

use arrow_buffer::BooleanBuffer;
use sluice_model::{RecordId, Severity, Timestamp};

use super::{Cursor, Edge, Expr, parse, parse_time};
use crate::batch::{AttributeRef, LogBatchBuilder, Records};

/// A query text: what is read is written in a form that reads the same, and can be asked of records; a refusal points
/// into the text and is short, however long that is.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Ok(expr) => {
            let written = expr.to_string();
            let again = parse(&written);
            // What is folded can begin an escape sequence that the text did not have; then it reads as other tokens.
            let same = match &again {
                Ok(again) => *again == expr || text.contains('\u{1b}'),
                // Quotes, escapes and brackets can take it past a limit.
                Err(_) => written.len() > text.len(),
            };
            assert!(same, "{written}: {again:?}");
            let records = records_about(text);
            let all = BooleanBuffer::new_set(records.len());
            let found = expr.select(&records, &all);
            assert_eq!(Expr::Not(Box::new(expr)).select(&records, &all), !&found, "{written}");
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
            assert!(error.to_string().len() <= 2048, "a refusal does not echo its text at any length: {error}");
        }
    }
}

/// A record with the text in its message, and one with it in an attribute.
fn records_about(text: &str) -> Records {
    let mut logs = LogBatchBuilder::new();
    logs.commit(Timestamp::default(), Severity::Warn, "", "service", text);
    // A text that is too long for an attribute is in the message alone.
    let _ = logs.attribute("a", AttributeRef::Text(text));
    logs.commit(Timestamp::MAX, Severity::Info, "INFO", "", "");
    Records::numbered(RecordId::from_u128(7), logs.finish())
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
