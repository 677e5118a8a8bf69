//! The checks. Each opens an empty store, or does nothing where it cannot be had.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sluice::config::RetentionSettings;
use sluice::query::{Filter, Order, Position, Query, SeveritySet, TimeRange, parse};
use sluice::store::Store;
use sluice_model::{RecordId, Severity, Timestamp};

use super::ask::{Ask, ask};
pub use super::asking::the_readme_says_what_each_query_finds;
pub use super::counting::{counts_are_exact_while_records_arrive, every_count_and_group_is_that_of_the_records};
use super::model::{self, BASE, Row, SERVICES, Sent, answer, answer_to, block, rows, run, sent, shown};
use super::{Collect, KEEP_ALL, Open, search};
use crate::support::mongo::poll;

/// How many times random records are written and asked for; every time costs a store.
const CASES: u32 = 12;
/// How many queries each time.
const QUERIES: usize = 24;
/// How long a store may take to make something durable or to delete it.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How many times, as `SLUICE_CONTRACT_CASES` says.
pub fn cases() -> u32 {
    std::env::var("SLUICE_CONTRACT_CASES").map_or(CASES, |cases| cases.parse().expect("a number of cases"))
}

fn everything(order: Order) -> Query {
    Query { filter: Filter::default(), order, after: None, limit: None }
}

fn bound() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        2 => Just(Timestamp::MIN),
        2 => Just(Timestamp::MAX),
        5 => (-2_i64..8).prop_map(|step| Timestamp::from_nanos(BASE + step)),
    ]
}

pub fn filter() -> impl Strategy<Value = Filter> {
    let severities = prop_oneof![
        Just(SeveritySet::ALL),
        prop::sample::select(Severity::ALL.to_vec()).prop_map(SeveritySet::at_least),
        prop::collection::vec(prop::sample::select(Severity::ALL.to_vec()), 0..3)
            .prop_map(|some| some.into_iter().fold(SeveritySet::NONE, SeveritySet::with)),
    ];
    let service = prop_oneof![prop::sample::select(SERVICES.to_vec()), Just("nobody")].prop_map(str::to_owned);
    let services = prop_oneof![1 => Just(Vec::new()), 1 => prop::collection::vec(service, 1..3)];
    let narrow = (bound(), bound(), severities, services).prop_map(|(start, end, severities, services)| Filter {
        range: TimeRange { start, end },
        severities,
        services,
        ..Filter::default()
    });
    // What is asked in words would seldom find anything beside such a filter.
    prop_oneof![2 => Just(Filter::default()), 1 => narrow]
}

/// A query without a place to go on from; `usize` chooses a record for that, or none. What it asks for in words is
/// beside its filter.
fn query() -> impl Strategy<Value = (Query, Ask, Option<usize>)> {
    let order = prop::sample::select(vec![Order::Ascending, Order::Descending]);
    let limit = prop::option::of(0_usize..20);
    let after = prop::option::of(0_usize..60);
    (filter(), ask(), order, limit, after)
        .prop_map(|(filter, ask, order, limit, after)| (Query { filter, order, after: None, limit }, ask, after))
}

fn position(row: &Row) -> Position {
    (Timestamp::from_nanos(row.sent.ns), row.id)
}

/// Blocks of two runs, as random as their records.
fn blocks() -> impl Strategy<Value = Vec<Vec<Sent>>> {
    prop::collection::vec(prop::collection::vec(sent(), 1..16), 1..5)
}

pub fn write_all(store: &dyn Store, blocks: &[Vec<Sent>]) -> Vec<Row> {
    let mut written = Vec::new();
    let mut next = [0, 0];
    for (index, records) in blocks.iter().enumerate() {
        let block = block(run(index as u32 % 2), next[index % 2], records);
        store.write(&block).expect("a write");
        written.extend(rows(&block, records));
        // A gap between blocks is normal.
        next[index % 2] = block.id.end() + 3;
    }
    written
}

pub fn every_query_is_answered_like_the_model(open: Open) {
    let mut runner = TestRunner::new(Config { cases: cases(), failure_persistence: None, ..Config::default() });
    let cases = (blocks(), prop::collection::vec(query(), QUERIES));
    let result = runner.run(&cases, |(blocks, queries)| {
        let Some(subject) = open("every_query_is_answered_like_the_model", KEEP_ALL) else { return Ok(()) };
        let written = write_all(&*subject.store, &blocks);
        for (mut query, ask, after) in queries {
            query.after = after.and_then(|index| written.get(index)).map(position);
            let expected = answer_to(&written, &query, &ask);
            query.filter = query.filter.and(&parse(&ask.text()).expect("a query"));
            let found = search(&*subject.store, &query).expect("a search");
            prop_assert_eq!(shown(&found), expected, "{} {:?}", ask.text(), query);
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

pub fn what_is_written_twice_is_there_once(open: Open) {
    let Some(subject) = open("what_is_written_twice_is_there_once", KEEP_ALL) else { return };
    let records: Vec<Sent> = (0..50).map(|index| Sent::at(BASE + index / 7, &format!("message {index}"))).collect();
    let block = block(run(1), 100, &records);
    for _ in 0..3 {
        subject.store.write(&block).expect("a write");
    }
    let query = everything(Order::Ascending);
    let found = search(&*subject.store, &query).expect("a search");
    assert_eq!(shown(&found), answer(&rows(&block, &records), &query));
}

pub fn a_part_of_a_block_can_be_written_again(open: Open) {
    let Some(subject) = open("a_part_of_a_block_can_be_written_again", KEEP_ALL) else { return };
    let records: Vec<Sent> = (0..20).map(|index| Sent::at(BASE + index, "part")).collect();
    let whole = block(run(1), 0, &records);
    subject.store.write(&whole.slice(5, 5)).expect("a part");
    subject.store.write(&whole.slice(15, 5)).expect("another part");
    subject.store.write(&whole.slice(0, 5)).expect("a third part");
    subject.store.write(&whole.slice(10, 5)).expect("the last part");
    subject.store.write(&whole.slice(5, 5)).expect("a part again");
    let query = everything(Order::Descending);
    let found = search(&*subject.store, &query).expect("a search");
    assert_eq!(shown(&found), answer(&rows(&whole, &records), &query));
}

pub fn pages_by_position_walk_every_match_once(open: Open) {
    let Some(subject) = open("pages_by_position_walk_every_match_once", KEEP_ALL) else { return };
    // Most share one timestamp, and there are more of them than any store answers in one step.
    let records: Vec<Sent> =
        (0..3_000).map(|index| Sent::at(BASE + index / 2_500, &format!("n{index} disk"))).collect();
    let block = block(run(1), 0, &records);
    subject.store.write(&block).expect("a write");
    let written = rows(&block, &records);
    for (order, text) in [(Order::Ascending, ""), (Order::Descending, "disk")] {
        let filter = Filter::default().and(&parse(text).expect("a query"));
        let whole = Query { filter, order, after: None, limit: None };
        let mut page = Query { limit: Some(701), ..whole.clone() };
        let mut walked = Vec::new();
        loop {
            let found = search(&*subject.store, &page).expect("a page");
            let Some(last) = found.last() else { break };
            page.after = Some(last.position(last.len() - 1));
            walked.extend(shown(&found));
        }
        // Every message has the word.
        assert!(walked == answer_to(&written, &whole, &Ask::All), "{order:?}: {} of {}", walked.len(), written.len());
    }
}

pub fn a_sink_that_has_enough_ends_the_search(open: Open) {
    let Some(subject) = open("a_sink_that_has_enough_ends_the_search", KEEP_ALL) else { return };
    let records: Vec<Sent> = (0..2_500).map(|index| Sent::at(BASE + index, "x")).collect();
    let block = block(run(1), 0, &records);
    subject.store.write(&block).expect("a write");
    let mut sink = Collect { enough: 10, ..Collect::all() };
    subject.store.search(&everything(Order::Descending), &mut sink).expect("a search");
    let pushes = sink.found.len();
    assert!(sink.found[..pushes - 1].iter().map(sluice::batch::Records::len).sum::<usize>() < 10, "it goes no further");
    let expected = answer(&rows(&block, &records), &everything(Order::Descending));
    assert!(shown(&sink.found).iter().zip(&expected).all(|(found, expected)| found == expected));
}

pub fn a_record_is_found_by_its_id(open: Open) {
    let Some(subject) = open("a_record_is_found_by_its_id", KEEP_ALL) else { return };
    let records: Vec<Sent> = (0..3).map(|index| Sent::at(BASE + index, &format!("m{index}"))).collect();
    let block = block(run(9), 7, &records);
    subject.store.write(&block).expect("a write");
    for row in rows(&block, &records) {
        let found = subject.store.get(row.id).expect("a look-up").expect("the record");
        assert_eq!(shown(&[found]), [row.json()]);
    }
    for absent in [RecordId { run: run(9), sequence: 6 }, RecordId { run: run(8), sequence: 7 }] {
        assert!(subject.store.get(absent).expect("a look-up").is_none());
    }
}

pub fn every_odd_attribute_reads_back_as_sent(open: Open) {
    let Some(subject) = open("every_odd_attribute_reads_back_as_sent", KEEP_ALL) else { return };
    let mut records = Vec::new();
    for names in [
        vec!["a"],
        vec!["a", "a.b"],
        vec!["a.b", "a.b.c"],
        vec!["a-b", "a.b", "a/b"],
        vec![""],
        vec!["."],
        vec!["a."],
        vec![".a"],
        vec!["a..b"],
        vec!["$a"],
        vec!["a.$b"],
        vec!["a$b"],
        vec!["nul\0"],
        vec!["_id"],
        vec!["0", "1.0"],
        vec!["attributes", "level"],
        vec!["ü.ß"],
        vec!["\u{1F600}"],
        vec!["\"q\"\\"],
    ] {
        let attributes = names.iter().enumerate().map(|(index, name)| ((*name).to_owned(), index.to_string()));
        records.push(Sent { attributes: attributes.collect(), ..Sent::at(BASE, "names") });
    }
    for json in [
        "null",
        "{}",
        "[]",
        "true",
        "false",
        "0",
        "-0",
        "0.0",
        "-0.0",
        "1",
        "1.0",
        "1.10",
        "12",
        "1e5",
        "1E400",
        "-1e-400",
        "5e-324",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551616",
        "0.1",
        "123456789.123456789",
        "123456789012345678901234567890",
        r#""""#,
        r#""12""#,
        r#""nul\u0000 tab\t""#,
        "\"\u{1F600}\u{FFFF}\"",
        "[1,\"x\",null,{}]",
        "[1, 2]",
        "[[1],[2.0]]",
        r#"[{"b":1,"a":2}]"#,
        r#"[{"a":1,"b":[1.5]}]"#,
        r#"[{"$a":1}]"#,
        r#"[{"a.b":1}]"#,
        r#"[{"":{}}]"#,
        "[18446744073709551615]",
    ] {
        records.push(Sent { attributes: vec![("v".to_owned(), json.to_owned())], ..Sent::at(BASE + 1, json) });
        records.push(Sent { attributes: vec![("deep.v".to_owned(), json.to_owned())], ..Sent::at(BASE + 2, json) });
    }
    let many = (0..300).map(|index| (format!("many.a{index}"), index.to_string()));
    records.push(Sent { attributes: many.collect(), ..Sent::at(BASE + 3, "many") });
    let block = block(run(1), 0, &records);
    subject.store.write(&block).expect("a write");
    let query = everything(Order::Ascending);
    let found = shown(&search(&*subject.store, &query).expect("a search"));
    let expected = answer(&rows(&block, &records), &query);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
}

pub fn extreme_times_and_texts_read_back_as_sent(open: Open) {
    let Some(subject) = open("extreme_times_and_texts_read_back_as_sent", KEEP_ALL) else { return };
    let mut records: Vec<Sent> = [i64::MIN, i64::MIN + 1, -1, 0, 1, 999_999, 1_000_000, i64::MAX - 1, i64::MAX]
        .map(|ns| Sent::at(ns, "time"))
        .into();
    for text in ["", " ", "nul\0nul", "\u{1b}[31mred\u{1b}[0m", "\u{FEFF}bom", "line\r\nline", "\u{1F600}", "%$.*[{"] {
        records.push(Sent { service: text.to_owned(), ..Sent::at(BASE, text) });
    }
    records.push(Sent::at(BASE, &"long ".repeat(100_000)));
    let block = block(run(1), RecordId::SEQUENCES - 100, &records);
    subject.store.write(&block).expect("a write");
    for order in [Order::Ascending, Order::Descending] {
        let query = everything(order);
        let found = shown(&search(&*subject.store, &query).expect("a search"));
        assert!(found == answer(&rows(&block, &records), &query), "{order:?}");
    }
    let service = Filter { services: vec!["nul\0nul".to_owned()], ..Filter::default() };
    let query = Query { filter: service, ..everything(Order::Ascending) };
    assert_eq!(shown(&search(&*subject.store, &query).expect("a search")), answer(&rows(&block, &records), &query));
}

/// Retention goes by `max(timestamp, arrival − retention + 1 h)`; a timestamp far ahead counts as the arrival.
pub fn what_is_too_old_is_deleted(open: Open) {
    const HOUR: i64 = 3_600_000_000_000;
    const DAY: i64 = 24 * HOUR;
    let age = Duration::from_secs(7 * 86_400);
    let retention = RetentionSettings { age: Some(age), bytes: None };
    let Some(subject) = open("what_is_too_old_is_deleted", retention) else { return };
    let store: &Arc<dyn Store> = &subject.store;
    // Near now, because a server with a TTL index of its own would delete what is long past.
    let now = Timestamp::now().as_nanos() / HOUR * HOUR;
    let first = now - 5 * DAY - DAY / 2;
    let arrivals = [
        (
            first,
            vec![Sent::at(first, "goes"), Sent::at(now - 5 * DAY, "stays"), Sent::at(now + DAY, "was ahead: goes")],
        ),
        (now - DAY, vec![Sent::at(now - 6 * DAY, "is old: goes"), Sent::at(now - DAY / 2, "stays")]),
    ];
    let mut kept = Vec::new();
    for (index, (arrival, records)) in arrivals.iter().enumerate() {
        for (sequence, record) in records.iter().enumerate() {
            let record = std::slice::from_ref(record);
            let block = model::block_at(Timestamp::from_nanos(*arrival), run(index as u32), sequence as u64, record);
            store.write(&block).expect("a write");
            // A store may delete whole files only: each record gets one of its own.
            store.request_flush();
            assert!(poll(DURABLE_TIMEOUT, || store.durable().contains(block.id)), "{index}.{sequence} is not durable");
            kept.extend(rows(&block, record).into_iter().filter(|row| row.sent.message == "stays"));
        }
    }
    let query = everything(Order::Ascending);
    let cutoff = Timestamp::from_nanos(now - 5 * DAY);
    // A store may need a moment until it knows that nothing goes by an older retention.
    let gone = poll(DURABLE_TIMEOUT, || {
        store.delete_before(cutoff).expect("a deletion");
        shown(&search(&**store, &query).expect("a search")) == answer(&kept, &query)
    });
    assert!(gone, "{:#?}", shown(&search(&**store, &query).expect("a search")));
    assert_eq!(store.delete_before(cutoff), Ok(0), "nothing is left to delete");
}

pub fn a_healthy_store_says_so(open: Open) {
    let Some(subject) = open("a_healthy_store_says_so", KEEP_ALL) else { return };
    assert_eq!(subject.store.health(), Ok(()));
    subject.store.request_flush();
    let records = [Sent::at(BASE, "m")];
    subject.store.write(&block(run(1), 0, &records)).expect("a write");
    subject.store.close().expect("it closes");
    assert!(subject.store.durable().contains(block(run(1), 0, &records).id), "a closed store holds all for good");
}

pub fn fields_that_no_record_has_are_told(open: Open) {
    let Some(subject) = open("fields_that_no_record_has_are_told", KEEP_ALL) else { return };
    let attributes = |json: &[(&str, &str)]| json.iter().map(|(name, json)| ((*name).into(), (*json).into())).collect();
    let records: Vec<Sent> = [("n", "1"), ("n", "\"x\""), ("list", "[1]")]
        .into_iter()
        .map(|attribute| Sent { attributes: attributes(&[attribute]), ..Sent::at(BASE, "m") })
        .collect();
    subject.store.write(&block(run(1), 0, &records)).expect("a write");
    let names = ["n", "list", "nobody", "lis"].map(str::to_owned);
    let unknown = subject.store.unknown_attributes(&names).expect("an answer");
    // A store that cannot tell soon tells nothing.
    assert!(unknown.is_empty() || unknown == ["nobody", "lis"], "{unknown:?}");
}
