//! Counting and grouping: what every store answers is what a list of records gives, row by row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sluice::query::{Filter, Order, Query, parse};
use sluice::stats::{
    Aggregate, Aggregation, Aggregator, Catalogue, Function, Gather, GroupField, QUANTILE_ERROR, Step, Table, Value,
    parse_aggregates, parse_fields,
};
use sluice::store::Store;
use sluice_model::Timestamp;

use super::ask::{Ask, ask};
use super::checks::{cases, filter, write_all};
use super::model::{BASE, Row, Sent, block, run, sent};
use super::{KEEP_ALL, Open, search};

/// How many questions are asked of each set of records.
const QUESTIONS: usize = 16;
const DAY_NS: i64 = 86_400_000_000_000;
const PLENTY: usize = 1 << 30;

/// A question: aggregates beside the count, fields, a step, and how many groups.
#[derive(Debug, Clone)]
struct Question {
    aggregates: Vec<String>,
    by: Vec<&'static str>,
    step: Option<&'static str>,
    top: Option<usize>,
}

fn question() -> impl Strategy<Value = Question> {
    let field =
        prop::sample::select(vec!["user.id", "http.status", "tags", "$n", "attributes.", "n", "n", "n", "none"]);
    let function = prop::sample::select(vec!["count_distinct", "sum", "avg", "min", "max", "p0", "p50", "p95", "p100"]);
    let numeric = (function, field.clone()).prop_map(|(function, field)| format!("{function}({field})"));
    let other = prop::sample::select(vec![
        "count_distinct(message)",
        "count_distinct(severity)",
        "count_distinct(timestamp)",
        "min(timestamp)",
        "max(timestamp)",
    ]);
    let aggregate = prop_oneof![4 => numeric, 1 => other.prop_map(str::to_owned)];
    let by = prop_oneof![
        3 => prop::sample::select(vec!["service", "severity"]),
        2 => field,
        1 => prop::sample::select(vec!["level_text", "message", "timestamp"]),
    ];
    let step = prop::option::of(prop::sample::select(vec!["1s", "1d", "1w"]));
    (
        prop::collection::vec(aggregate, 0..4),
        prop::collection::vec(by, 0..3),
        step,
        prop::option::weighted(0.3, 1_usize..4),
    )
        .prop_map(|(mut aggregates, mut by, step, top)| {
            let mut seen = BTreeSet::new();
            aggregates.retain(|aggregate| seen.insert(aggregate.clone()));
            by.dedup();
            by.truncate(if by.first() == by.get(1) { 1 } else { 2 });
            let top = top.filter(|_| !by.is_empty());
            Question { aggregates, by, step, top }
        })
}

/// Records as random as others, with a field of numbers in all their spellings.
fn numbered() -> impl Strategy<Value = Sent> {
    let number = prop::sample::select(vec![
        "1",
        "2",
        "2.0",
        "2e0",
        "\"2\"",
        "\"3.5\"",
        "-0.5",
        "1e3",
        "9007199254740993",
        "18446744073709551616",
        "1.50",
        "\"30s\"",
        "\"x\"",
        "null",
        "[1]",
        "true",
    ]);
    (sent(), prop::option::of(number)).prop_map(|(mut sent, number)| {
        sent.attributes.extend(number.map(|json| ("n".to_owned(), json.to_owned())));
        sent
    })
}

fn aggregation(question: &Question) -> Aggregation {
    let mut names = vec!["count".to_owned()];
    names.extend(question.aggregates.iter().cloned());
    Aggregation {
        aggregates: parse_aggregates(&names.join(",")).expect("aggregates"),
        by: if question.by.is_empty() { Vec::new() } else { parse_fields(&question.by.join(",")).expect("fields") },
        step: question.step.map(|step| Step::parse(step, None).expect("a step")),
        fill: None,
        top: question.top,
    }
}

fn gather<G: Gather>(store: &dyn Store, filter: &Filter, mut gather: G) -> G::Answer {
    store.tally(filter, &mut gather).expect("a tally");
    gather.finish().unwrap_or_else(|error| panic!("{error}"))
}

/// A value of a record by its JSON, in which equal numbers are spelled alike; `null`, if there is none.
fn value(row: &Row, field: &GroupField) -> String {
    let sent = &row.sent;
    let text = |text: &str| serde_json::to_string(text).expect("a text is JSON");
    match field {
        GroupField::Timestamp => text(&Timestamp::from_nanos(sent.ns).to_string()),
        GroupField::Severity => text(sent.severity().name()),
        GroupField::LevelText => text(sent.level),
        GroupField::Service => text(&sent.service),
        GroupField::Message => text(&sent.message),
        GroupField::Id => text(&row.id.to_string()),
        GroupField::Attribute(name) => {
            let found = sent.attributes.iter().find(|(other, _)| other == name);
            found.map_or("null".to_owned(), |(_, json)| match json.as_str() {
                "2.0" | "2e0" => "2".to_owned(),
                "1e3" => "1000".to_owned(),
                "1.50" => "1.5".to_owned(),
                json => serde_json::from_str::<String>(json).map_or(json.to_owned(), |plain| text(&plain)),
            })
        }
    }
}

/// A number, as an integer if it is one, and as a float.
#[derive(Debug, Clone, Copy)]
struct Number(Option<i128>, f64);

fn number(json: &str) -> Option<Number> {
    let plain = serde_json::from_str::<String>(json).unwrap_or(json.to_owned());
    let begins = plain.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let float: f64 = plain.parse().ok().filter(|_| begins)?;
    Some(Number(plain.parse().ok(), float))
}

fn less(a: &Number, b: &Number) -> std::cmp::Ordering {
    match (a.0, b.0) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.1.total_cmp(&b.1),
    }
}

/// Whether the JSON `found` is what the function makes of the values of these records.
fn is_right(function: Function, field: &GroupField, rows: &[&Row], found: &str) -> bool {
    let values: Vec<String> = rows.iter().map(|row| value(row, field)).filter(|json| json != "null").collect();
    if function == Function::CountDistinct {
        return found == values.iter().collect::<BTreeSet<_>>().len().to_string();
    }
    if *field == GroupField::Timestamp {
        let extreme = if function == Function::Min { values.iter().min() } else { values.iter().max() };
        return found == extreme.map_or("null", String::as_str);
    }
    let mut numbers: Vec<Number> = values.iter().filter_map(|json| number(json)).collect();
    numbers.sort_by(less);
    let (Some(least), Some(greatest)) = (numbers.first(), numbers.last()) else { return found == "null" };
    let floats = || numbers.iter().map(|number| number.1);
    let is = |number: &Number| number.0.map_or(float(found) == Some(number.1), |integer| found == integer.to_string());
    let near = |wanted: f64, scale: f64| {
        if wanted.is_finite() {
            float(found).is_some_and(|found| (found - wanted).abs() <= scale)
        } else {
            found == "null"
        }
    };
    let scale = 1e-12 * floats().map(f64::abs).sum::<f64>();
    match function {
        Function::Min => is(least),
        Function::Max => is(greatest),
        Function::Sum => match numbers.iter().map(|number| number.0).sum::<Option<i128>>() {
            Some(sum) => found == sum.to_string(),
            None => near(floats().sum(), scale),
        },
        Function::Average => near(floats().sum::<f64>() / numbers.len() as f64, scale),
        Function::Quantile(share) => {
            let rank = (share * (numbers.len() - 1) as f64) as usize;
            let wanted = numbers[rank].1.clamp(f64::MIN, f64::MAX);
            near(wanted, (QUANTILE_ERROR + 1e-9) * wanted.abs())
        }
        Function::CountDistinct => unreachable!("it was looked at before"),
    }
}

/// A number that an answer shows; one past the range of floats is infinite.
fn float(json: &str) -> Option<f64> {
    json.parse().ok()
}

/// The JSON of a value, whose numbers keep their spelling.
fn json(value: &Value) -> String {
    let mut out = Vec::new();
    value.write_json(&mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// The groups of some records by the JSON of their keys.
fn groups<'a>(rows: &[&'a Row], asked: &Aggregation, step: Option<&str>) -> BTreeMap<Vec<String>, Vec<&'a Row>> {
    let mut groups: BTreeMap<Vec<String>, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let start = step.map(|step| {
            let (length, origin) = match step {
                "1s" => (1_000_000_000, 0),
                "1d" => (DAY_NS, 0),
                // A Monday.
                _ => (7 * DAY_NS, 4 * DAY_NS),
            };
            let start = (row.sent.ns - origin).div_euclid(length) * length + origin;
            format!("\"{}\"", Timestamp::from_nanos(start))
        });
        let key = start.into_iter().chain(asked.by.iter().map(|by| value(row, &by.meaning))).collect();
        groups.entry(key).or_default().push(row);
    }
    groups
}

/// Complains about an answer that the records do not give.
fn check(table: &Table, asked: &Aggregation, rows: &[&Row], step: Option<&str>) -> Result<(), String> {
    let expected = groups(rows, asked, step);
    let keys = usize::from(step.is_some()) + asked.by.len();
    let mut found: BTreeMap<Vec<String>, &Vec<Value>> = BTreeMap::new();
    let mut last: Option<(String, i64)> = None;
    for row in &table.rows {
        let key: Vec<String> = row[..keys].iter().map(json).collect();
        let time = if step.is_some() { key[0].clone() } else { String::new() };
        let count = json(&row[keys]).parse::<i64>().map_err(|error| format!("{row:?}: {error}"))?;
        let place = (time, -count);
        if last.as_ref().is_some_and(|last| *last > place) {
            return Err(format!("not in order: {row:?}"));
        }
        last = Some(place);
        if found.insert(key.clone(), row).is_some() {
            return Err(format!("twice: {key:?}"));
        }
        let nobody = Vec::new();
        let members = expected.get(&key).unwrap_or(&nobody);
        for (aggregate, value) in asked.aggregates.iter().zip(&row[keys..]) {
            let right = match &aggregate.meaning {
                Aggregate::Count => json(value) == members.len().to_string(),
                Aggregate::Of(function, field) => is_right(*function, field, members, &json(value)),
            };
            if !right {
                return Err(format!("{} of {key:?} is {value:?}, of {} records", aggregate.name, members.len()));
            }
        }
    }
    check_top(table, asked, &expected, &found, usize::from(step.is_some()))
}

/// Which groups are there: all, or the largest.
fn check_top(
    table: &Table,
    asked: &Aggregation,
    expected: &BTreeMap<Vec<String>, Vec<&Row>>,
    found: &BTreeMap<Vec<String>, &Vec<Value>>,
    times: usize,
) -> Result<(), String> {
    let mut totals: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for (key, members) in expected {
        *totals.entry(key[times..].to_vec()).or_default() += members.len() as u64;
    }
    let kept: BTreeSet<Vec<String>> = found.keys().map(|key| key[times..].to_vec()).collect();
    let (left_out, wanted): (Vec<_>, Vec<_>) = totals.iter().partition(|(key, _)| !kept.contains(*key));
    let rows = expected.keys().filter(|key| kept.contains(&key[times..])).count();
    let is_empty = expected.is_empty() && asked.by.is_empty() && times == 0;
    if rows != found.len() && !is_empty {
        return Err(format!("{} rows, not {rows}", found.len()));
    }
    let groups = asked.top.unwrap_or(usize::MAX).min(totals.len());
    let least = wanted.iter().map(|(_, records)| **records).min().unwrap_or(0);
    let told = table.others.map(|others| (others.groups as usize, others.records));
    let gone = (!left_out.is_empty()).then(|| (left_out.len(), left_out.iter().map(|(_, records)| **records).sum()));
    if !is_empty && (wanted.len() != groups || left_out.iter().any(|(_, records)| **records > least)) || told != gone {
        return Err(format!("{} groups, not the {groups} largest; left out are {gone:?}, told {told:?}", wanted.len()));
    }
    Ok(())
}

/// What the catalogue should say: each attribute's types, with how many records have it so.
fn fields(rows: &[&Row]) -> BTreeMap<String, BTreeMap<&'static str, u64>> {
    let mut fields: BTreeMap<String, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for row in rows {
        let mut add = |name: &str, kind| *fields.entry(name.to_owned()).or_default().entry(kind).or_default() += 1;
        ["id", "timestamp", "level"].iter().for_each(|name| add(name, "string"));
        if !row.sent.service.is_empty() {
            add("service", "string");
        }
        if !row.sent.message.is_empty() {
            add("message", "string");
        }
        for (name, json) in &row.sent.attributes {
            add(
                name,
                match json.as_bytes()[0] {
                    b'"' => "string",
                    b't' | b'f' => "boolean",
                    b'n' => "null",
                    b'[' => "array",
                    b'{' => "object",
                    _ if json.contains(['.', 'e']) => "number",
                    _ => "integer",
                },
            );
        }
    }
    fields
}

pub fn every_count_and_group_is_that_of_the_records(open: Open) {
    let mut runner = TestRunner::new(Config { cases: cases(), failure_persistence: None, ..Config::default() });
    let blocks = prop::collection::vec(prop::collection::vec(numbered(), 1..16), 1..5);
    let questions = prop::collection::vec((filter(), ask(), question()), QUESTIONS);
    let result = runner.run(&(blocks, questions), |(blocks, questions)| {
        let Some(subject) = open("every_count_and_group_is_that_of_the_records", KEEP_ALL) else { return Ok(()) };
        let store = &*subject.store;
        let written = write_all(store, &blocks);
        for (filter, ask, question) in questions {
            let all = Query { filter: filter.clone(), order: Order::Ascending, after: None, limit: None };
            let rows: Vec<&Row> = written.iter().filter(|row| row.matches(&all, &ask)).collect();
            let filter = filter.and(&parse(&ask.text()).expect("a query"));
            let asked = aggregation(&question);
            let table = gather(store, &filter, Aggregator::new(asked.clone(), PLENTY));
            let checked = check(&table, &asked, &rows, question.step);
            prop_assert!(checked.is_ok(), "{:?} {:?} {:?}: {:?}", ask.text(), filter, question, checked);

            let count = gather(store, &filter, Aggregator::new(Aggregation::count(), PLENTY)).count();
            let found = search(store, &Query { filter: filter.clone(), ..all }).expect("a search");
            let found: usize = found.iter().map(sluice::batch::Records::len).sum();
            prop_assert_eq!((count as usize, found), (rows.len(), rows.len()), "{} {:?}", ask.text(), filter);

            let names = gather(store, &filter, Catalogue::new(PLENTY)).into_iter();
            let told: BTreeMap<String, BTreeMap<&str, u64>> = names
                .map(|entry| (entry.name, entry.types.into_iter().map(|(kind, n)| (kind.name(), n)).collect()))
                .collect();
            prop_assert_eq!(told, fields(&rows), "{} {:?}", ask.text(), filter);
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

pub fn counts_are_exact_while_records_arrive(open: Open) {
    const BLOCKS: u64 = 60;
    const ROWS: u64 = 50;
    let Some(subject) = open("counts_are_exact_while_records_arrive", KEEP_ALL) else { return };
    let (begun, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let store = &*subject.store;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..BLOCKS {
                let first = number * ROWS;
                let records: Vec<Sent> =
                    (0..ROWS).map(|index| Sent::at(BASE + (first + index) as i64, "message")).collect();
                begun.store(first + ROWS, Ordering::SeqCst);
                store.write(&block(run(1), first, &records)).expect("a write");
                done.store(first + ROWS, Ordering::SeqCst);
            }
        });
        let mut last = 0;
        while last < BLOCKS * ROWS {
            let before = done.load(Ordering::SeqCst);
            let ask = if last % 100 == 0 { Ask::All } else { Ask::Since(0) };
            let filter = Filter::default().and(&parse(&ask.text()).expect("a query"));
            let asked = aggregation(&Question {
                aggregates: vec!["count_distinct(id)".to_owned()],
                by: Vec::new(),
                step: None,
                top: None,
            });
            let table = gather(store, &filter, Aggregator::new(asked, PLENTY));
            let count = gather(store, &filter, Aggregator::new(Aggregation::count(), PLENTY)).count();
            let after = begun.load(Ordering::SeqCst);
            let [Value::Int(records), Value::Int(ids)] = table.rows[0][..] else { panic!("{table:?}") };
            assert_eq!(records, ids, "each record once");
            assert!(i128::from(before) <= records && records <= i128::from(after), "{before} {records} {after}");
            assert!(before <= count && count <= after, "{before} {count} {after}");
            last = before;
        }
    });
}
