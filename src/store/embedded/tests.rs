//! What the engine as a whole must do.

mod crash;
mod damage;
mod model;
mod power_cut;
mod tally;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use sluice_model::{RunId, Timestamp};

use super::testing::*;
use super::{EmbeddedStore, compaction};
use crate::batch::{Block, BlockId, Records, json_rows};
use crate::config::{EmbeddedSettings, RetentionSettings};
use crate::files::faulty::{ENOSPC, Fault, Faults};
use crate::files::{Disk, Files, Operation};
use crate::query::{Order, Query};
use crate::store::{Sink, Store, StoreError};

const HOUR_NS: i64 = 3600 * 1_000_000_000;
const DAY_NS: i64 = 24 * HOUR_NS;

fn rows(first: i64, count: i64) -> Vec<Row> {
    (first..first + count).map(|time| row(time, "svc", &format!("message {time}"))).collect()
}

fn disk() -> Arc<dyn Files> {
    Arc::new(Disk)
}

fn now() -> i64 {
    Timestamp::now().as_nanos()
}

/// A store of 20 records in two segments.
fn with_two_segments(folder: &Path) -> EmbeddedStore {
    let store = open(folder);
    for first in [0, 10] {
        store.write(&block(first, &rows(first as i64, 10))).unwrap();
        store.engine.flush().unwrap();
    }
    store
}

#[test]
fn segments_are_open_soon_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    drop(with_two_segments(folder.path()));
    let store =
        EmbeddedStore::open(&disk(), folder.path(), &settings(), KEEP, &[run()], &mut Registry::default()).unwrap();
    let (segments, deadline) = (store.engine.segments(), Instant::now() + Duration::from_secs(30));
    assert_eq!(segments.len(), 2);
    while !segments.iter().all(|segment| store.engine.cache.has(segment)) {
        assert!(Instant::now() < deadline, "they are not opened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_block_and_its_parts_are_there_once_however_often_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let whole = block(100, &rows(0, 50));
    store.write(&whole.slice(10, 5)).unwrap();
    store.write(&whole.slice(12, 10)).unwrap();
    store.write(&whole.slice(40, 10)).unwrap();
    assert_eq!(stored(&store), (110..122).chain(140..150).collect::<Vec<_>>());
    store.engine.flush().unwrap();
    store.write(&whole).unwrap();
    store.write(&whole).unwrap();
    assert_eq!(stored(&store), (100..150).collect::<Vec<_>>());
    store.engine.flush().unwrap();
    store.write(&whole.slice(3, 30)).unwrap();
    assert_eq!(stored(&store), (100..150).collect::<Vec<_>>());
    drop(store);
    let store = open(folder.path());
    store.write(&whole).unwrap();
    assert_eq!(stored(&store), (100..150).collect::<Vec<_>>());
    assert_eq!(json_rows(&store.get(id(149)).unwrap().unwrap()), json_rows(&whole.slice(49, 1).records()));
    assert!(store.get(id(150)).unwrap().is_none());
}

#[test]
fn only_what_was_flushed_is_durable_until_the_spool_has_forgotten_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (first, second) = (block(0, &rows(0, 5)), block(5, &rows(5, 5)));
    store.write(&first).unwrap();
    assert!(store.durable().is_empty());
    store.engine.flush().unwrap();
    store.write(&second).unwrap();
    assert!(store.durable().contains(first.id) && !store.durable().touches(second.id));
    drop(store);
    assert!(open(folder.path()).durable().contains(first.id));
    let later = EmbeddedStore::open(
        &disk(),
        folder.path(),
        &settings(),
        KEEP,
        &[RunId::from_bytes([9; RunId::BYTES])],
        &mut Registry::default(),
    );
    assert!(later.unwrap().durable().is_empty());
    assert_eq!(stored(&open(folder.path())), (0..5).collect::<Vec<_>>());
}

#[test]
fn closing_flushes_and_refuses_what_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.write(&block(0, &rows(0, 5))).unwrap();
    store.close().unwrap();
    assert!(store.durable().contains(BlockId { run: run(), first: 0, rows: 5 }));
    assert!(matches!(store.write(&block(5, &rows(0, 5))), Err(StoreError::Unavailable(_))));
}

#[test]
fn the_thread_flushes_on_request_and_by_rows() {
    let folder = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings { flush_rows: 20, ..settings() };
    let store = EmbeddedStore::open(&disk(), folder.path(), &settings, KEEP, &[], &mut Registry::default()).unwrap();
    let wait_for = |block: BlockId| {
        for _ in 0..2000 {
            if store.durable().contains(block) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{block:?} was not flushed");
    };
    let small = block(0, &rows(0, 5));
    store.write(&small).unwrap();
    store.request_flush();
    wait_for(small.id);
    let large = block(5, &rows(0, 20));
    store.write(&large).unwrap();
    wait_for(large.id);
}

#[test]
fn a_full_memory_refuses_and_nothing_is_lost_while_the_disk_fails() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), &EmbeddedSettings { memory_bytes: 4096, ..settings() }, KEEP);
    let first = block(0, &rows(0, 50));
    // The first block goes in however large it is: it has to go somewhere.
    store.write(&first).unwrap();
    let segments = store.engine.folders.segments.clone();
    std::fs::remove_dir_all(&segments).unwrap();
    std::fs::write(&segments, b"in the way").unwrap();
    assert!(store.engine.flush().is_err());
    assert!(matches!(store.write(&block(50, &rows(0, 50))), Err(StoreError::Full(_))));
    assert!(store.health().is_err());
    assert_eq!(stored(&store), (0..50).collect::<Vec<_>>());
    std::fs::remove_file(&segments).unwrap();
    store.engine.flush().unwrap();
    store.write(&block(50, &rows(0, 50))).unwrap();
    assert!(store.health().is_ok() && store.durable().contains(first.id));
    assert_eq!(stored(&store), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_flush_makes_segments_for_eight_days_and_one_for_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let rows: Vec<Row> = (0..300).map(|n| row((n % 20) * DAY_NS + n, "svc", "")).collect();
    store.write(&block(0, &rows)).unwrap();
    store.engine.flush().unwrap();
    let segments = store.engine.segments();
    assert_eq!(segments.len(), 9);
    assert_eq!(segments.iter().filter(|segment| segment.info.day() == "late").count(), 1);
    assert_eq!(segments.iter().filter(|segment| segment.info.day() == "1970-01-20").count(), 1);
    assert_eq!(stored(&store), (0..300).collect::<Vec<_>>());
    for sequence in [0, 19, 150, 299] {
        assert_eq!(store.get(id(sequence)).unwrap().unwrap().id(0), id(sequence));
    }
}

#[test]
fn eight_small_segments_of_a_day_become_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..8 {
        store.write(&block(n * 10, &rows(n as i64 * 10, 10))).unwrap();
        store.engine.flush().unwrap();
    }
    store.write(&block(80, &[row(9 * DAY_NS, "svc", "another day")])).unwrap();
    store.engine.flush().unwrap();
    let before = search(&store, &everything()).json();
    compaction::compact(&store.engine).unwrap();
    assert_eq!(store.engine.segments().len(), 2);
    assert_eq!(search(&store, &everything()).json(), before);
    let folder = store.engine.folders.segments.join("1970-01-01");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1, "the inputs are gone");
}

#[test]
fn what_comes_after_a_pause_is_flushed_by_its_age() {
    let folder = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings { flush_age: Duration::from_millis(50), ..settings() };
    let store = EmbeddedStore::open(&disk(), folder.path(), &settings, KEEP, &[], &mut Registry::default()).unwrap();
    // By then the store's thread waits for its next round of housekeeping, which is half a minute away.
    std::thread::sleep(Duration::from_millis(200));
    let written = block(0, &rows(0, 3));
    store.write(&written).unwrap();
    let durable = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        store.durable().contains(written.id)
    });
    assert!(durable, "it waits for more than its age");
}

#[test]
fn age_counts_from_the_timestamp_but_spares_what_has_just_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let retention = RetentionSettings { age: Some(Duration::from_secs(7 * 86_400)), bytes: None };
    let store = open_with(folder.path(), &settings(), retention);
    let write = |first, time, arrival| {
        let block = block_at(first, &[row(time, "svc", "")], Timestamp::from_nanos(arrival));
        store.write(&block).unwrap();
        store.engine.flush().unwrap();
    };
    let (old, long_ago) = (now() - 10 * DAY_NS, now() - 10 * DAY_NS);
    write(0, old, long_ago);
    write(1, old, now());
    write(2, now(), now());
    write(3, now() + 300 * DAY_NS, long_ago);
    write(4, long_ago + DAY_NS / 2, long_ago);
    let cutoff = Timestamp::from_nanos(now() - 7 * DAY_NS);
    assert_eq!(store.delete_before(cutoff).unwrap(), 3);
    assert_eq!(stored(&store), [1, 2]);
    let hour_later = Timestamp::from_nanos(cutoff.as_nanos() + HOUR_NS + HOUR_NS / 60);
    assert_eq!(store.delete_before(hour_later).unwrap(), 1);
    assert_eq!(stored(&store), [2]);
    store.write(&block(0, &[row(0, "svc", "")])).unwrap();
    assert_eq!(stored(&store), [2], "deleted blocks stay known");
}

#[test]
fn bytes_are_kept_below_the_limit_by_deleting_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let retention = RetentionSettings { age: None, bytes: Some(8_000) };
    let store = open_with(folder.path(), &settings(), retention);
    for n in 0..5 {
        let first = n * 100;
        store.write(&block(first as u64, &rows(n * DAY_NS, 100))).unwrap();
        store.engine.flush().unwrap();
    }
    super::retention::apply(&store.engine).unwrap();
    let segments = store.engine.segments();
    let bytes: u64 = segments.iter().map(|segment| segment.info.bytes).sum();
    assert!(bytes <= 8_000 && !segments.is_empty() && segments.len() < 5, "{bytes} bytes");
    let kept = stored(&store);
    assert_eq!((kept[0] as usize, *kept.last().unwrap()), (500 - kept.len(), 499));
}

#[test]
fn a_search_goes_on_while_its_segments_are_deleted() {
    struct Deleting<'a> {
        store: &'a EmbeddedStore,
        rows: usize,
    }
    impl Sink for Deleting<'_> {
        fn push(&mut self, records: Records) -> std::ops::ControlFlow<()> {
            if self.rows == 0 {
                assert_eq!(self.store.delete_before(Timestamp::MAX).unwrap(), 40_000);
            }
            self.rows += records.len();
            std::ops::ControlFlow::Continue(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.write(&block(0, &rows(0, 40_000))).unwrap();
    store.engine.flush().unwrap();
    let path = store.engine.segments()[0].path.clone();
    let mut sink = Deleting { store: &store, rows: 0 };
    store.search(&everything(), &mut sink).unwrap();
    assert_eq!(sink.rows, 40_000);
    assert!(!path.exists());
    assert!(stored(&store).is_empty());
}

#[test]
fn a_sink_that_has_enough_ends_the_search() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.write(&block(0, &rows(0, 20_000))).unwrap();
    let mut sink = Collect { enough: Some(1), ..Collect::default() };
    store.search(&Query { order: Order::Descending, ..everything() }, &mut sink).unwrap();
    assert_eq!(sink.records.len(), 1);
    assert_eq!(sink.sequences()[0], 19_999);
}
