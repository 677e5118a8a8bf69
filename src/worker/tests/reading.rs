//! Through the door for reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sluice_model::Severity;

use super::{FaultStore, Rig, settings, until, wait_for, with_settings, with_workers};
use crate::query::{Filter, Order, Query};
use crate::stats::{Aggregation, LimitError, parse_fields};
use crate::store::StoreError;
use crate::worker::breaker::BreakerState;
use crate::worker::{Page, ReadError};

const PLENTY: usize = 1 << 20;

fn query(limit: usize) -> Query {
    Query { filter: Filter::default(), order: Order::Descending, after: None, limit: Some(limit) }
}

fn rows(page: &Page) -> usize {
    page.records.iter().map(|records| records.len()).sum()
}

fn run(test: impl FnOnce(&Rig) + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    with_workers(folder.path(), &Arc::default(), test);
}

#[test]
fn a_read_sees_what_was_accepted_before_it() {
    run(|rig| {
        for number in 1..=30 {
            let receipt = rig.accept(Severity::Info, &["m"]);
            let reader = Arc::clone(rig.workers.reader());
            let page = wait_for(async move {
                assert_eq!(reader.barrier().await, None);
                reader.retrieve(query(1000), PLENTY).await.unwrap()
            });
            assert_eq!((rows(&page), page.finished), (number, true));
            let found = wait_for(rig.workers.reader().get(receipt.first)).unwrap().unwrap();
            assert_eq!(found.id(0), receipt.first);
        }
    });
}

#[test]
fn an_open_breaker_answers_at_once() {
    run(|rig| {
        rig.faults.set_down(true);
        rig.accept(Severity::Info, &["m"]);
        until("both breakers open", || {
            let status = rig.workers.status();
            status.store.breaker != BreakerState::Closed && status.query.breaker != BreakerState::Closed
        });
        let start = Instant::now();
        let behind = wait_for(rig.workers.reader().barrier()).unwrap();
        assert_eq!(behind.records, 1);
        let error = wait_for(rig.workers.reader().retrieve(query(1), PLENTY)).unwrap_err();
        assert!(matches!(error, ReadError::BreakerOpen { retry_after } if retry_after >= Duration::from_millis(500)));
        assert!(rig.workers.reader().readable().is_err());
        assert!(start.elapsed() < Duration::from_millis(300), "{:?}", start.elapsed());
        rig.faults.set_down(false);
        rig.drained();
        until("a closed breaker", || rig.workers.reader().readable().is_ok());
        assert_eq!(rows(&wait_for(rig.workers.reader().retrieve(query(9), PLENTY)).unwrap()), 1);
    });
}

#[test]
fn a_read_that_nobody_waits_for_frees_its_worker() {
    run(|rig| {
        rig.accept(Severity::Info, &["m"]);
        rig.drained();
        rig.faults.endless.store(true, Ordering::SeqCst);
        let reader = Arc::clone(rig.workers.reader());
        let unbounded = Query { limit: None, ..query(0) };
        let dropped = wait_for(async move {
            let read = reader.retrieve(unbounded, usize::MAX);
            tokio::time::timeout(Duration::from_millis(100), read).await
        });
        assert!(dropped.is_err());
        until("the search's end", || rig.faults.searching.load(Ordering::SeqCst) == 0);
        rig.faults.endless.store(false, Ordering::SeqCst);
        assert!(wait_for(rig.workers.reader().retrieve(query(9), PLENTY)).is_ok());
    });
}

#[test]
fn too_many_and_too_long_reads_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.workers.query = 1;
    settings.query.queue_max = 1;
    settings.query.timeout = Duration::from_millis(300);
    let faults = Arc::new(FaultStore::default());
    with_settings(folder.path(), &faults, settings, |rig| {
        rig.accept(Severity::Info, &["m"]);
        rig.drained();
        rig.faults.endless.store(true, Ordering::SeqCst);
        let reader = Arc::clone(rig.workers.reader());
        let unbounded = || reader.retrieve(Query { limit: None, ..query(0) }, usize::MAX);
        let (first, second, third) =
            wait_for(async { futures_util::future::join3(unbounded(), unbounded(), unbounded()).await });
        let timed_out = ReadError::TimedOut { limit: Duration::from_millis(300) };
        assert_eq!((first.unwrap_err(), second.unwrap_err()), (timed_out.clone(), timed_out));
        assert_eq!(third.unwrap_err(), ReadError::Busy { waiting: 1 });
        until("free workers", || reader.waiting() == 0 && rig.workers.status().query.busy == 0);
        assert_eq!(rig.workers.status().query.breaker, BreakerState::Closed, "a query's limit is no failure");
    });
}

#[test]
fn a_panic_in_a_search_is_an_error_and_the_worker_lives_on() {
    run(|rig| {
        rig.accept(Severity::Info, &["m"]);
        rig.drained();
        let mut bad = query(10);
        bad.filter.services.push("panic".to_owned());
        for _ in 0..6 {
            let error = wait_for(rig.workers.reader().retrieve(bad.clone(), PLENTY)).unwrap_err();
            assert!(matches!(error, ReadError::Store(StoreError::Bug(_))), "{error:?}");
        }
        assert_eq!(rows(&wait_for(rig.workers.reader().retrieve(query(10), PLENTY)).unwrap()), 1);
        let status = rig.workers.status();
        assert_eq!((status.query.panics, status.query.breaker), (6, BreakerState::Closed));
    });
}

#[test]
fn a_count_that_nobody_waits_for_or_that_takes_too_long_frees_its_worker() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.query.timeout = Duration::from_millis(300);
    with_settings(folder.path(), &Arc::default(), settings, |rig| {
        rig.accept(Severity::Info, &["m", "n"]);
        rig.drained();
        let count = |reader: Arc<crate::worker::Reader>| async move {
            reader.stats(Filter::default(), Aggregation::count()).await.map(|table| table.count())
        };
        let reader = || Arc::clone(rig.workers.reader());
        assert_eq!(wait_for(count(reader())), Ok(2));
        rig.faults.endless.store(true, Ordering::SeqCst);
        let dropped = wait_for(async { tokio::time::timeout(Duration::from_millis(50), count(reader())).await });
        assert!(dropped.is_err());
        until("the count's end", || rig.faults.searching.load(Ordering::SeqCst) == 0);
        let timed_out = ReadError::TimedOut { limit: Duration::from_millis(300) };
        assert_eq!(wait_for(count(reader())), Err(timed_out));
        until("the count's end", || rig.faults.searching.load(Ordering::SeqCst) == 0);
        rig.faults.endless.store(false, Ordering::SeqCst);
        assert_eq!(wait_for(count(reader())), Ok(2));
        assert_eq!(rig.workers.status().query.breaker, BreakerState::Closed);
    });
}

#[test]
fn a_query_past_its_memory_is_its_own_fault() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.query.memory_bytes = 1 << 10;
    with_settings(folder.path(), &Arc::default(), settings, |rig| {
        let messages: Vec<String> = (0..50).map(|n| format!("message {n}")).collect();
        rig.accept(Severity::Info, &messages.iter().map(String::as_str).collect::<Vec<_>>());
        rig.drained();
        for _ in 0..6 {
            let by = parse_fields("message").unwrap();
            let asked = Aggregation { by, ..Aggregation::count() };
            let error = wait_for(rig.workers.reader().stats(Filter::default(), asked)).unwrap_err();
            assert_eq!(error, ReadError::Limit(LimitError::Memory { limit: 1 << 10 }));
        }
        assert_eq!(rig.workers.status().query.breaker, BreakerState::Closed, "a query's limit is no failure");
        let fields = wait_for(rig.workers.reader().fields(Filter::default())).unwrap();
        assert_eq!(fields.first().map(|field| field.records), Some(50));
    });
}
