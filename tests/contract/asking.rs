//! The README's page on asking: what it says that a query finds is what every store finds.

use sluice::batch::{Block, BlockId};
use sluice::decode::{self, DecodeLimits, FieldNames, Options};
use sluice::query::{Filter, Order, Query, parse};
use sluice_model::Timestamp;

use super::model::{BASE, run};
use super::{KEEP_ALL, Open, search};

const README: &str = include_str!("../../README.md");

/// The section of that name.
fn section(name: &str) -> &'static str {
    let from = README.split_once(&format!("\n## {name}\n")).expect("the section").1;
    from.split("\n## ").next().expect("a text")
}

/// The records of its example, and its queries with the records that each finds.
fn examples() -> (&'static str, Vec<(String, Vec<u64>)>) {
    let asking = section("Asking");
    let records = asking.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the records");
    let rows = asking.lines().filter(|line| line.starts_with("| `"));
    let queries = rows.map(|row| {
        let row = row.replace("\\|", "\u{0}");
        let cells: Vec<String> = row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect();
        let query = cells[1].strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).expect("a query").to_owned();
        let numbers = cells[3].split(", ").filter(|number| !number.is_empty());
        (query, numbers.map(|number| number.parse().expect("the number of a record")).collect())
    });
    (records, queries.collect())
}

pub fn the_readme_says_what_each_query_finds(open: Open) {
    let Some(subject) = open("the_readme_says_what_each_query_finds", KEEP_ALL) else { return };
    let (records, queries) = examples();
    assert!(queries.len() >= 40, "{} queries", queries.len());
    let limits = DecodeLimits {
        record_bytes: 1 << 20,
        batch_records: 100,
        record_attributes: 100,
        batch_attribute_names: 100,
        unknown_level: None,
    };
    let options = Options { limits, fields: FieldNames::default(), skip_invalid: false, arrival: Timestamp::default() };
    let batch = decode::json(records.as_bytes(), &options).expect("records").batch;
    let id = BlockId { run: run(1), first: 1, rows: batch.len() as u32 };
    subject.store.write(&Block { id, arrival: Timestamp::from_nanos(BASE), batch }).expect("a write");
    for (text, expected) in queries {
        let expr = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let filter = Filter::default().and(&expr);
        let query = Query { filter, order: Order::Ascending, after: None, limit: None };
        let found = search(&*subject.store, &query).expect("a search");
        let found: Vec<u64> = found.iter().flat_map(|part| (0..part.len()).map(|row| part.id(row).sequence)).collect();
        assert_eq!(found, expected, "{text}");
    }
}
