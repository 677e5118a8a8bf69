//! A store in memory that fails as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sluice_model::{RecordId, Timestamp};

use crate::batch::{Block, BlockSet, Records};
use crate::query::{Filter, Query};
use crate::stats::Tally;
use crate::store::{Plan, Sink, Store, StoreError};

/// Keeps records by id. A record whose message begins with `refused` is rejected by name, with `mystery` the whole
/// block fails, with `panic` the call panics.
#[derive(Default)]
pub(in crate::worker) struct FaultStore {
    down: AtomicBool,
    /// So many writes fail because the store is full.
    pub(super) full: AtomicUsize,
    /// The sequences of records under whose ids others stand.
    pub(super) taken: Mutex<BTreeSet<u64>>,
    pub(super) records: Mutex<BTreeMap<RecordId, Records>>,
    durable: Mutex<BlockSet>,
    /// What was written, in order: the first message of each block.
    pub(super) order: Mutex<Vec<String>>,
    /// While it is set searches push the first record again and again, until the sink has enough.
    pub(super) endless: AtomicBool,
    /// How many searches are running.
    pub(super) searching: AtomicUsize,
    pub(super) flushes: AtomicU64,
    pub(super) cutoffs: Mutex<Vec<Timestamp>>,
}

impl FaultStore {
    /// Makes the store unreachable, or not.
    pub(in crate::worker) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// The messages that are in the store, sorted.
    pub(super) fn messages(&self) -> Vec<String> {
        let records = self.records.lock().unwrap();
        let mut messages: Vec<_> = records.values().map(|record| record.logs.messages().value(0).to_owned()).collect();
        messages.sort();
        messages
    }

    fn check_up(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::SeqCst) { Err(StoreError::Unavailable("down".to_owned())) } else { Ok(()) }
    }

    fn check_rows(&self, block: &Block) -> Result<(), StoreError> {
        let begins = |word| {
            let messages = block.batch.messages();
            (0..block.id.rows).filter(move |row| messages.value(*row as usize).starts_with(word)).collect::<Vec<u32>>()
        };
        assert!(begins("panic").is_empty(), "a record makes the store panic");
        if !begins("mystery").is_empty() {
            return Err(StoreError::Bug("something is wrong".to_owned()));
        }
        let refused = begins("refused");
        if !refused.is_empty() {
            return Err(StoreError::Rejected { rows: refused, reason: "not wanted".to_owned() });
        }
        let taken = self.taken.lock().unwrap();
        let is_taken = |row: &u32| taken.contains(&(block.id.first + u64::from(*row)));
        let rows: Vec<u32> = (0..block.id.rows).filter(is_taken).collect();
        if rows.is_empty() { Ok(()) } else { Err(StoreError::Conflict { rows }) }
    }
}

impl Store for FaultStore {
    fn write(&self, block: &Block) -> Result<(), StoreError> {
        self.check_up()?;
        let less = |left: usize| left.checked_sub(1);
        if self.full.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Err(StoreError::Full("no room".to_owned()));
        }
        self.check_rows(block)?;
        let records = block.records();
        let mut kept = self.records.lock().unwrap();
        for row in 0..records.len() {
            kept.insert(records.id(row), records.slice(row, 1));
        }
        self.durable.lock().unwrap().insert(block.id);
        self.order.lock().unwrap().push(block.batch.messages().value(0).to_owned());
        Ok(())
    }

    fn search(&self, query: &Query, sink: &mut dyn Sink) -> Result<(), StoreError> {
        self.check_up()?;
        self.searching.fetch_add(1, Ordering::SeqCst);
        let limit = query.limit.unwrap_or(usize::MAX);
        let records: Vec<Records> = self.records.lock().unwrap().values().cloned().collect();
        let panics = query.filter.services.iter().any(|service| service == "panic");
        let _ = records.iter().take(limit).try_for_each(|record| sink.push(record.clone()));
        while self.endless.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
            // It looks on, and finds nothing more.
            if records.first().is_some_and(|record| sink.push(record.slice(0, 0)) == ControlFlow::Break(())) {
                break;
            }
        }
        self.searching.fetch_sub(1, Ordering::SeqCst);
        assert!(!panics, "a search makes the store panic");
        Ok(())
    }

    fn tally(&self, filter: &Filter, tally: &mut dyn Tally) -> Result<(), StoreError> {
        self.check_up()?;
        self.searching.fetch_add(1, Ordering::SeqCst);
        let records: Vec<Records> = self.records.lock().unwrap().values().cloned().collect();
        let _ = records.iter().try_for_each(|record| tally.add(record, &filter.select(record)));
        while self.endless.load(Ordering::SeqCst) && !tally.is_over() {
            thread::sleep(Duration::from_millis(1));
        }
        self.searching.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    fn plan(&self, query: &Query) -> Plan {
        let evaluated = Vec::new();
        Plan { store: "fault", pushed_down: query.filter.tree().to_string().into(), exact: true, evaluated }
    }

    fn get(&self, id: RecordId) -> Result<Option<Records>, StoreError> {
        self.check_up()?;
        Ok(self.records.lock().unwrap().get(&id).cloned())
    }

    fn delete_before(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        self.check_up()?;
        self.cutoffs.lock().unwrap().push(cutoff);
        Ok(0)
    }

    fn durable(&self) -> BlockSet {
        self.durable.lock().unwrap().clone()
    }

    fn request_flush(&self) {
        self.flushes.fetch_add(1, Ordering::SeqCst);
    }

    fn health(&self) -> Result<(), StoreError> {
        self.check_up()
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
