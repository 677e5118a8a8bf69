//! Builders for the engine's tests.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::registry::Registry;
use sluice_model::{RecordId, RunId, Severity, Timestamp};

use super::EmbeddedStore;
use super::engine::Engine;
use super::recovery::Folders;
use super::seal;
use super::segment::FORMAT;
use crate::batch::{AttributeRef, Block, BlockId, LogBatchBuilder, Records, json_rows};
use crate::config::{EmbeddedSettings, RetentionSettings};
use crate::files::{Disk, Files};
use crate::query::{Filter, Order, Query};
use crate::store::{Sink, Store};

/// A record to be.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) time: i64,
    pub(super) severity: Severity,
    pub(super) service: String,
    pub(super) message: String,
    pub(super) attribute: Option<i64>,
}

pub(super) fn row(time: i64, service: &str, message: &str) -> Row {
    Row { time, severity: Severity::Info, service: service.into(), message: message.into(), attribute: None }
}

pub(super) fn run() -> RunId {
    RunId::from_bytes([1; RunId::BYTES])
}

pub(super) fn id(sequence: u64) -> RecordId {
    RecordId { run: run(), sequence }
}

/// A block that arrives now.
pub(super) fn block(first: u64, rows: &[Row]) -> Block {
    block_at(first, rows, Timestamp::now())
}

pub(super) fn block_at(first: u64, rows: &[Row], arrival: Timestamp) -> Block {
    let mut batch = LogBatchBuilder::new();
    for row in rows {
        if let Some(value) = row.attribute {
            batch.attribute("user.id", AttributeRef::Int(value)).unwrap();
        }
        let time = Timestamp::from_nanos(row.time);
        batch.commit(time, row.severity, row.severity.name(), &row.service, &row.message);
    }
    Block { id: BlockId { run: run(), first, rows: rows.len() as u32 }, arrival, batch: batch.finish() }
}

/// Settings under which nothing is flushed but by a call.
pub(super) fn settings() -> EmbeddedSettings {
    EmbeddedSettings {
        flush_rows: 500_000,
        flush_bytes: 1 << 30,
        flush_age: Duration::from_secs(3600),
        memory_bytes: 1 << 30,
    }
}

pub(super) const KEEP: RetentionSettings = RetentionSettings { age: None, bytes: None };

pub(super) fn open(folder: &Path) -> EmbeddedStore {
    open_with(folder, &settings(), KEEP)
}

/// A store without its thread: nothing happens but by a call.
pub(super) fn open_with(folder: &Path, settings: &EmbeddedSettings, retention: RetentionSettings) -> EmbeddedStore {
    open_in(&(Arc::new(Disk) as Arc<dyn Files>), folder, settings, retention)
}

/// The same on any file system.
pub(super) fn open_in(
    files: &Arc<dyn Files>,
    folder: &Path,
    settings: &EmbeddedSettings,
    retention: RetentionSettings,
) -> EmbeddedStore {
    let folders = Folders::below(folder, files);
    let engine = Engine::open(folders, settings, retention, &[run()], &mut Registry::default()).unwrap();
    EmbeddedStore { engine: Arc::new(engine), thread: Mutex::new(None) }
}

/// Takes all records, or as many as it wants.
#[derive(Default)]
pub(super) struct Collect {
    pub(super) records: Vec<Records>,
    pub(super) enough: Option<usize>,
}

impl Sink for Collect {
    fn push(&mut self, records: Records) -> ControlFlow<()> {
        self.records.push(records);
        let rows: usize = self.records.iter().map(Records::len).sum();
        if self.enough.is_some_and(|enough| rows >= enough) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl Collect {
    /// Each record as its JSON.
    pub(super) fn json(&self) -> Vec<String> {
        self.records.iter().flat_map(json_rows).collect()
    }

    pub(super) fn sequences(&self) -> Vec<u64> {
        self.records.iter().flat_map(|part| (0..part.len()).map(|row| part.id(row).sequence)).collect()
    }
}

pub(super) fn search(store: &EmbeddedStore, query: &Query) -> Collect {
    let mut sink = Collect::default();
    store.search(query, &mut sink).unwrap();
    sink
}

/// Makes a segment one of the next format, with a seal that is right.
pub(super) fn make_newer(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let mark = format!("{{\"format\":{FORMAT},").into_bytes();
    let place = bytes.windows(mark.len()).rposition(|window| window == mark).unwrap();
    bytes[place + mark.len() - 2] += 1;
    let bytes = seal::put_right(&bytes).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Every record, oldest first.
pub(super) fn everything() -> Query {
    Query { filter: Filter::default(), order: Order::Ascending, after: None, limit: None }
}

/// The sequences of all records, in order.
pub(super) fn stored(store: &EmbeddedStore) -> Vec<u64> {
    let mut sequences = search(store, &everything()).sequences();
    sequences.sort_unstable();
    sequences
}
