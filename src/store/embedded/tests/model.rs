//! Searches against a naive model, over memory and disk, whatever was flushed, compacted or reopened in between.

use arrow_buffer::BooleanBuffer;
use proptest::prelude::*;
use sluice_model::Severity;

use super::*;
use crate::batch::Block;
use crate::query::{Expr, Filter, SeveritySet, TimeRange, parse};

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Row>),
    /// Writes a part of an earlier block again.
    Again(usize),
    Flush,
    Compact,
    Reopen,
}

const SERVICES: [&str; 4] = ["", "auth", "payment", "web"];
const WORDS: [&str; 5] = ["timeout", "Login ok", "10.0.0.1", "user=7 failed", ""];

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let time = prop_oneof![3 => 0_i64..30, 1 => (0_i64..12).prop_map(|day| day * DAY_NS)];
    let severity = prop::sample::select(Severity::ALL.to_vec());
    let service = prop::sample::select(SERVICES.to_vec());
    let message = prop::sample::select(WORDS.to_vec());
    let row = (time, severity, service, message, prop::option::of(0_i64..9));
    let row = row.prop_map(|(time, severity, service, message, attribute)| Row {
        time,
        severity,
        service: service.to_owned(),
        message: message.to_owned(),
        attribute,
    });
    prop::collection::vec(row, 1..40)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => rows().prop_map(Step::Write),
        1 => any::<prop::sample::Index>().prop_map(|index| Step::Again(index.index(1000))),
        6 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    let severities = prop::sample::select(vec![
        SeveritySet::ALL,
        SeveritySet::at_least(Severity::Error),
        SeveritySet::NONE.with(Severity::Debug),
        SeveritySet::NONE,
    ]);
    let services = prop::collection::vec(prop::sample::select(SERVICES.to_vec()).prop_map(str::to_owned), 0..3);
    let condition = prop::sample::select(vec![
        "timeout",
        "login",
        "10.0.0.1",
        "failed",
        "absent",
        "user",
        "fail*",
        "*ail*",
        "/^log/",
        "-timeout",
        "timeuot~",
        "user.id>4",
        "user.id:*",
        "user.id!=3",
        "user.id in (1, 2)",
        "nobody=1",
        "nobody!=1",
        "service:pay*",
        "service=auth OR level=debug",
        "message=\"Login ok\"",
        "level>=warn OR user.id<2",
    ]);
    let matching = prop::collection::vec(condition, 0..3)
        .prop_map(|parts| Expr::all_of(parts.into_iter().map(|part| parse(part).unwrap())));
    let range = prop_oneof![
        Just(TimeRange::ALL),
        (0_i64..30, 0_i64..30).prop_map(|(start, end)| TimeRange {
            start: Timestamp::from_nanos(start),
            end: Timestamp::from_nanos(end),
        })
    ];
    let order = prop::sample::select(vec![Order::Ascending, Order::Descending]);
    let limit = prop_oneof![Just(None), (0_usize..60).prop_map(Some)];
    (range, severities, services, matching, order, limit).prop_map(
        |(range, severities, services, matching, order, limit)| Query {
            filter: Filter { range, severities, services, matching },
            order,
            after: None,
            limit,
        },
    )
}

/// What a search must yield, found the simple way.
fn expected(blocks: &[Block], query: &Query) -> Vec<String> {
    let mut matches = Vec::new();
    for block in blocks {
        let records = block.records();
        let passing = query.filter.matching.select(&records, &BooleanBuffer::new_set(records.len()));
        for (row, json) in json_rows(&records).into_iter().enumerate() {
            let logs = &records.logs;
            let service = logs.services().value(row);
            let filter = &query.filter;
            let matching = filter.range.contains(records.position(row).0)
                && filter.severities.contains(logs.severity(row))
                && (filter.services.is_empty() || filter.services.iter().any(|wanted| wanted == service))
                && passing.value(row)
                && query.is_after(records.position(row));
            if matching {
                matches.push((records.position(row), json));
            }
        }
    }
    matches.sort();
    if query.order == Order::Descending {
        matches.reverse();
    }
    matches.into_iter().map(|(_, json)| json).take(query.limit.unwrap_or(usize::MAX)).collect()
}

/// Walks all matches by pages of the query's limit.
fn walk(store: &EmbeddedStore, query: &Query) -> Vec<String> {
    let mut rest = query.clone();
    let mut walked = Vec::new();
    loop {
        let page = search(store, &rest);
        walked.extend(page.json());
        let Some(last) = page.records.last().filter(|last| !last.is_empty()) else { return walked };
        rest.after = Some(last.position(last.len() - 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn every_search_answers_as_the_model_does(
        steps in prop::collection::vec(step(), 1..40),
        queries in prop::collection::vec(query(), 1..12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let mut blocks: Vec<Block> = Vec::new();
        for step in steps {
            match step {
                Step::Write(rows) => {
                    // Blocks come with gaps, and the later ones first within each pair.
                    let index = blocks.len() as u64 ^ 1;
                    let block = block(index * 50, &rows);
                    store.write(&block).unwrap();
                    blocks.push(block);
                }
                Step::Again(index) if !blocks.is_empty() => {
                    let block = &blocks[index % blocks.len()];
                    store.write(&block.slice(block.id.rows / 3, block.id.rows - block.id.rows / 3)).unwrap();
                }
                Step::Again(_) => {}
                Step::Flush => store.engine.flush().unwrap(),
                Step::Compact => compaction::compact(&store.engine).unwrap(),
                Step::Reopen => {
                    drop(store);
                    store = open(folder.path());
                    blocks.iter().for_each(|block| store.write(block).unwrap());
                }
            }
        }
        for query in queries {
            prop_assert_eq!(search(&store, &query).json(), expected(&blocks, &query));
            if query.limit.is_some_and(|limit| limit > 0) {
                let all = Query { limit: None, ..query.clone() };
                prop_assert_eq!(walk(&store, &query), expected(&blocks, &all));
            }
        }
        for block in &blocks {
            let found = store.get(block.id.first_record()).unwrap().unwrap();
            prop_assert_eq!(json_rows(&found), json_rows(&block.slice(0, 1).records()));
        }
    }
}

#[test]
fn many_row_groups_and_pages_answer_as_the_model_does() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut blocks = Vec::new();
    for n in 0..3_u64 {
        let rows: Vec<Row> = (0..60_000_i64)
            .map(|m| Row {
                severity: Severity::ALL[(m % 6) as usize],
                attribute: (m % 5 == 0).then_some(m),
                ..row(
                    m * 7919 % 65_536 + n as i64,
                    SERVICES[(m % 4) as usize],
                    &format!("w{m} {}", WORDS[m as usize % 5]),
                )
            })
            .collect();
        let block = block(n * 100_000, &rows);
        store.write(&block).unwrap();
        blocks.push(block);
    }
    store.engine.flush().unwrap();
    assert!(store.engine.segments()[0].info.rows > 128 << 10);
    let filters = [
        Filter::default(),
        Filter::default().and(&parse("w4711").unwrap()),
        Filter {
            services: vec!["web".to_owned()],
            severities: SeveritySet::at_least(Severity::Fatal),
            ..Filter::default()
        },
        Filter::default().and(&parse("10.0.0.1 w59997").unwrap()),
        Filter::default().and(&parse("user.id>59000 -level=debug w599*").unwrap()),
    ];
    for filter in filters {
        for (order, limit) in [(Order::Descending, Some(1000)), (Order::Ascending, Some(7)), (Order::Descending, None)]
        {
            let query = Query { filter: filter.clone(), order, after: None, limit };
            assert!(search(&store, &query).json() == expected(&blocks, &query), "{query:?}");
        }
    }
}
