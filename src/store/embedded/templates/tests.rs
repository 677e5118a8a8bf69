//! What templates say is what the messages say.

use proptest::prelude::*;
use sluice_model::{RecordId, Severity, Timestamp};

use super::*;
use crate::batch::{LogBatchBuilder, Records};
use crate::query::parse;
use crate::store::embedded::reader::ReadError;
use crate::store::embedded::tokens;

/// Nothing is known but the token filter.
struct ByFilter(Vec<u8>);

impl Summary for ByFilter {
    fn times(&self) -> TimeRange {
        TimeRange::ALL
    }

    fn severities(&self) -> SeveritySet {
        SeveritySet::ALL
    }

    fn may_have_service(&self, _: &str) -> bool {
        true
    }

    fn may_have_attribute(&self, _: &str) -> bool {
        true
    }

    fn may_have_tokens(&self, tokens: &[String]) -> bool {
        tokens.iter().all(|token| tokens::finds(&self.0, token))
    }
}

fn records(messages: &[String]) -> Records {
    let mut logs = LogBatchBuilder::new();
    for message in messages {
        logs.commit(Timestamp::default(), Severity::Info, "", "", message);
    }
    Records::numbered(RecordId::from_u128(7), logs.finish())
}

fn found(messages: &[String]) -> (Templates, ByFilter) {
    let Found { templates, of_rows, filter } = TemplateBuilder::default().find(messages.iter().map(String::as_str));
    (templates.with_runs(&of_rows), ByFilter(filter.unwrap()))
}

/// How many rows are sure, and how many are open.
fn judged(templates: &Templates, filter: &ByFilter, query: &str) -> (usize, usize) {
    let Judged { sure, open } = templates.judge(&parse(query).unwrap(), filter);
    (sure.count_set_bits(), open.count_set_bits())
}

#[test]
fn words_need_no_look_and_few_rows_are_left_for_the_rest() {
    let mut messages: Vec<String> = Vec::new();
    for n in 0..6_000 {
        messages.push(format!("PacketResponder {n} for block blk_{n}9 terminating"));
        messages.push(format!("Connection from 10.0.{n}.1: Error 0xfeed{n} at Terminator{n}x"));
    }
    messages[7] = "An error by webmaster".to_owned();
    let (templates, filter) = found(&messages);
    for (query, expected) in [
        ("error", (6_000, 0)),
        ("-error", (6_000, 0)),
        ("*eer*", (0, 0)),
        ("error OR block", (12_000, 0)),
        ("connection from", (5_999, 0)),
        ("\"connection from\"", (5_999, 0)),
        ("\"for block\"", (6_000, 0)),
        ("\"block for\" OR \"from error\" OR \"block terminating\"", (0, 0)),
        ("\"from 10\"", (0, 5_999)),
        ("/block.*terminating/", (0, 6_000)),
        ("/block.*ended/", (0, 0)),
        ("*minati*", (0, 6_000)),
        ("*minat*", (0, 11_999)),
        ("terminator", (0, 0)),
        ("*fee*", (0, 5_999)),
        ("webmaster", (1, 0)),
        ("nowhere", (0, 0)),
        ("severity=info error", (0, 6_000)),
    ] {
        assert_eq!(judged(&templates, &filter, query), expected, "{query}");
    }
}

#[test]
fn too_many_kinds_of_messages_have_fewer_words() {
    let letters = |n: usize| (0..8).map(|place| char::from(b'a' + (n >> (place * 2) & 3) as u8)).collect::<String>();
    let messages: Vec<String> = (0..9_000).map(|n| format!("unique {} and {}", letters(n), letters(n * 31))).collect();
    let (templates, filter) = found(&messages);
    assert_eq!(judged(&templates, &filter, "unique and"), (9_000, 0));
    assert_eq!(judged(&templates, &filter, "nowhere"), (0, 0));
    let (_, open) = judged(&templates, &filter, "aaaaaaaa");
    assert!(open > 0);
}

#[test]
fn what_is_written_is_read_and_what_is_none_is_damage() {
    let (templates, _) = found(&["a b".to_owned(), "a c".to_owned(), "a c".to_owned()]);
    let bytes = templates.encode().unwrap();
    assert_eq!(Templates::decode(&bytes, 3).unwrap(), templates);
    assert!(matches!(Templates::decode(&bytes, 4), Err(ReadError::Damaged(_))));
    assert!(matches!(Templates::decode(&bytes[1..], 3), Err(ReadError::Damaged(_))));
    let strange = templates.with_runs(&[9, 9, 9]).encode().unwrap();
    assert!(matches!(Templates::decode(&strange, 3), Err(ReadError::Damaged(_))));
}

#[test]
fn they_do_not_depend_on_the_order_of_messages() {
    let mut messages: Vec<String> = (0..50).map(|n| format!("{} w{n} x", ["a b", "c", "a"][n % 3])).collect();
    let runs = Vec::new();
    let first = Templates { runs: runs.clone(), ..found(&messages).0 };
    messages.reverse();
    assert_eq!(Templates { runs, ..found(&messages).0 }, first);
}

proptest! {
    #[test]
    fn what_they_say_is_so(
        messages in prop::collection::vec("([aAbk]{1,2}|7b|_|k\u{212a}|é|日| |-|\u{1b}\\[1m|\u{1b}){0,8}", 1..12),
        query in "-?([abk]{1,2}|\"[abk]{1,2}[ -][abk7]{1,2}\"|\\*[abk]{1,2}\\*?|[abk]{1,2}\\*|/[abk]{1,2}.?[abk]+/|7b|é|日)( (OR )?-?[abk]{1,2})?",
    ) {
        let Ok(expr) = parse(&query) else { return Ok(()) };
        let records = records(&messages);
        let passing = expr.select(&records, &BooleanBuffer::new_set(records.len()));
        let (templates, filter) = found(&messages);
        let Judged { sure, open } = templates.judge(&expr, &filter);
        for (row, message) in messages.iter().enumerate() {
            prop_assert!(!sure.value(row) || passing.value(row), "{message:?} does not match {query}");
            prop_assert!(sure.value(row) || open.value(row) || !passing.value(row), "{message:?} matches {query}");
        }
    }
}
