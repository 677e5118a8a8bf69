//! Tallies: no look at what the footers say, and nothing of a segment that is damaged.

use std::fs;
use std::ops::ControlFlow;

use arrow_buffer::BooleanBuffer;
use sluice_model::Severity;

use super::*;
use crate::query::{Columns, Filter, parse};
use crate::stats::{
    Aggregation, Aggregator, Catalogue, Census, Gather, Step, Tally, Value, Wants, parse_aggregates, parse_fields,
};

/// Counts the looks that a tally takes.
struct Watched<G> {
    gather: G,
    looks: usize,
    resets: usize,
    /// Whether all records are in files, of which no more is read than is needed.
    on_disk: bool,
}

impl<G: Gather> Tally for Watched<G> {
    fn columns(&self) -> Columns {
        self.gather.columns()
    }

    fn wants(&self) -> Wants {
        self.gather.wants()
    }

    fn takes_codes(&self) -> bool {
        self.gather.takes_codes()
    }

    fn take(&mut self, census: &Census<'_>) -> bool {
        self.gather.take(census)
    }

    fn add(&mut self, records: &Records, rows: &BooleanBuffer) -> ControlFlow<()> {
        assert_eq!(records.len(), rows.len());
        let columns = self.columns();
        if self.on_disk && !columns.message {
            assert!(records.logs.messages().iter().flatten().all(str::is_empty), "messages were read for nothing");
        }
        self.looks += 1;
        self.gather.add(records, rows)
    }

    fn reset(&mut self) {
        self.resets += 1;
        self.gather.reset();
    }
}

fn watch<G: Gather>(store: &EmbeddedStore, query: &str, gather: G) -> (G::Answer, usize, usize) {
    let filter = Filter::default().and(&parse(query).unwrap());
    let on_disk = store.engine.snapshot().chunks.is_empty();
    let mut watched = Watched { gather, looks: 0, resets: 0, on_disk };
    store.tally(&filter, &mut watched).unwrap();
    (watched.gather.finish().unwrap(), watched.looks, watched.resets)
}

fn asked(agg: &str, by: &str) -> Aggregator {
    let by = if by.is_empty() { Vec::new() } else { parse_fields(by).unwrap() };
    Aggregator::new(Aggregation { aggregates: parse_aggregates(agg).unwrap(), by, ..Aggregation::count() }, 1 << 30)
}

/// Three hundred records of three services, half of them warnings, a third of them with an attribute.
fn mixed() -> Vec<Row> {
    let row = |n: i64| Row {
        time: n * HOUR_NS / 100,
        severity: if n % 2 == 0 { Severity::Warn } else { Severity::Info },
        service: format!("s{}", n % 3),
        message: format!("message {n}"),
        attribute: (n % 3 == 0).then_some(n),
    };
    (0..300).map(row).collect()
}

fn filled(folder: &std::path::Path) -> EmbeddedStore {
    let store = open(folder);
    store.write(&block(0, &mixed())).unwrap();
    store.engine.flush().unwrap();
    store
}

#[test]
fn what_the_footer_says_is_counted_without_a_look() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    for (query, agg, by, looks, rows) in [
        ("", "count", "", 0, 1),
        ("timestamp>=1970-01-01 level>=info", "count,min(timestamp),max(timestamp)", "", 0, 1),
        ("NOT nothere:*", "count", "service", 0, 3),
        ("", "count", "service", 0, 3),
        ("", "count", "severity,service", 0, 6),
        ("", "count,sum(user.id)", "severity", 1, 2),
        ("level=warn", "count", "service", 1, 3),
        ("message", "count", "", 1, 1),
        ("user.id>=150 service=s0", "count,count_distinct(user.id)", "level", 1, 2),
        ("nowhere", "count", "service", 0, 0),
        ("service=s9", "count", "", 0, 1),
    ] {
        let (table, taken, _) = watch(&store, query, asked(agg, by));
        assert_eq!((taken.min(1), table.rows.len()), (looks, rows), "{query} {agg} {by}: {table:?}");
    }
    let (table, ..) = watch(&store, "user.id>=150 service=s0", asked("count,min(user.id),count_distinct(message)", ""));
    assert_eq!(table.rows, [[Value::Int(50), Value::Int(150), Value::Int(50)]]);
    let (fields, looks, _) = watch(&store, "", Catalogue::new(1 << 20));
    let attribute = fields.iter().find(|field| field.name == "user.id").unwrap();
    assert_eq!((fields.len(), attribute.records, looks), (6, 100, 0));
    let (fields, looks, _) = watch(&store, "message", Catalogue::new(1 << 20));
    assert_eq!((fields.len(), looks), (6, 1));
}

#[test]
fn buckets_of_time_are_counted_without_a_look_where_the_cells_lie_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    // Three hours, in cells of five minutes.
    for (step, zone, by, looks) in [
        ("1h", None, "", 0),
        ("30m", None, "", 0),
        ("1d", None, "service", 0),
        ("1h", Some("Asia/Kolkata"), "", 0),
        ("7m", None, "", 1),
        ("1m", None, "", 1),
        ("1h", None, "service", 1),
    ] {
        let by = if by.is_empty() { Vec::new() } else { parse_fields(by).unwrap() };
        let step = Some(Step::parse(step, zone).unwrap());
        let aggregation = Aggregation { by, step, ..Aggregation::count() };
        let (table, taken, _) = watch(&store, "", Aggregator::new(aggregation.clone(), 1 << 30));
        // A filter that all pass, but of which nothing is known.
        let (seen, ..) = watch(&store, "message", Aggregator::new(aggregation, 1 << 30));
        assert_eq!((taken.min(1), &table.rows), (looks, &seen.rows), "{step:?}");
    }
}

#[test]
fn memory_and_disk_are_counted_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    store.write(&block(300, &mixed())).unwrap();
    let (table, looks, _) = watch(&store, "", asked("count", ""));
    assert_eq!((table.count(), looks), (600, 0));
    let (table, ..) = watch(&store, "level=warn", asked("count,count_distinct(id)", ""));
    assert_eq!(table.rows, [[Value::Int(300), Value::Int(300)]]);
}

#[test]
fn no_part_of_a_damaged_segment_counts() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    store.write(&block(300, &mixed()[..100])).unwrap();
    store.engine.flush().unwrap();
    drop(store);
    let days = disk().list(&folder.path().join("segments")).unwrap().into_iter();
    let mut files: Vec<_> = days.flat_map(|day| disk().list(&day.path).unwrap()).map(|entry| entry.path).collect();
    files.sort_by_key(|file| std::cmp::Reverse(fs::metadata(file).unwrap().len()));
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[50] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    let store = open(folder.path());
    let (table, _, resets) = watch(&store, "", asked("count,count_distinct(id)", ""));
    assert_eq!((&table.rows, resets), (&vec![vec![Value::Int(100), Value::Int(100)]], 1));
    // Now it is known.
    let (table, _, resets) = watch(&store, "", asked("count", ""));
    assert_eq!((table.count(), resets), (100, 0));
}

#[test]
fn a_tally_that_has_enough_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let mut small =
        Aggregator::new(Aggregation { by: parse_fields("message").unwrap(), ..Aggregation::count() }, 1 << 10);
    store.tally(&Filter::default(), &mut small).unwrap();
    assert!(small.is_over() && small.finish().is_err());
}
