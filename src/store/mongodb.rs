//! MongoDB as the store, through the official driver.
//!
//! Everything stands in one collection, a document for each record; `mongodb/document.rs` says how. Ids are given by
//! the spool, so that writing again changes nothing. Every write has the acknowledgement of a majority's journals, and
//! every read and check goes to the primary. The server starts while MongoDB is down, and connects when it is up.

mod attributes;
mod client;
mod document;
mod plan;
mod pushdown;
mod search;
mod setup;
mod tally;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mongodb::bson::{DateTime, doc};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use sluice_model::{RecordId, Timestamp};

use self::client::Connection;
pub use self::client::MongoConfigError;
use super::retention_clock::RetentionClock;
use super::{Plan, Sink, Store, StoreError};
use crate::batch::{Block, BlockSet, Records};
use crate::config::{MongoSettings, RetentionSettings};
use crate::query::{Filter, Query};
use crate::stats::Tally;

/// How many documents are deleted in one step.
const DELETE_ROWS: usize = 5_000;

/// Records in the collection `logs` of a MongoDB database.
pub struct MongoStore {
    shared: Arc<Shared>,
    /// What was written; every write that returns `Ok` is durable.
    durable: Mutex<BlockSet>,
    setup: Mutex<Option<JoinHandle<()>>>,
}

/// What the parts of the store have in common.
struct Shared {
    connection: Connection,
    write_timeout: Duration,
    read_timeout: Duration,
    retention: Option<Duration>,
    retention_clock: RetentionClock,
    metrics: Metrics,
    /// Whether the documents' `expire_at` is known to follow the present retention.
    ready: AtomicBool,
}

impl Shared {
    fn finish_setup(&self) {
        self.ready.store(true, Ordering::Release);
    }
}

#[derive(Default)]
struct Metrics {
    duplicates: Counter,
    conflicts: Counter,
    rejected: Counter,
    foreign: Counter,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics::default();
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(format!("sluice_mongodb_{name}"), help, counter.clone());
        };
        counter("duplicate_records", "Records that were written again and were there already", &metrics.duplicates);
        counter("conflict_records", "Records whose id another record has", &metrics.conflicts);
        counter("rejected_records", "Records that the server refuses", &metrics.rejected);
        counter("foreign_documents", "Documents passed over by searches, as they are no records", &metrics.foreign);
        metrics
    }
}

impl MongoStore {
    /// Checks a URI without asking any server.
    ///
    /// # Errors
    /// [`MongoConfigError`], if the URI is malformed or asks for writes that could be lost.
    pub fn check(uri: &str) -> Result<(), MongoConfigError> {
        client::check(uri)
    }

    /// Prepares the store at `uri`, and begins to connect and to make the indexes in the background. The server need
    /// not be up.
    ///
    /// # Errors
    /// [`MongoConfigError`], if the URI is malformed or asks for writes that could be lost.
    pub fn new(
        uri: &str,
        settings: &MongoSettings,
        retention: RetentionSettings,
        registry: &mut Registry,
    ) -> Result<Arc<MongoStore>, MongoConfigError> {
        let shared = Arc::new(Shared {
            connection: Connection::new(uri)?,
            write_timeout: settings.write_timeout,
            read_timeout: settings.read_timeout,
            retention: retention.age,
            retention_clock: RetentionClock::start(None),
            metrics: Metrics::register(registry),
            ready: AtomicBool::new(false),
        });
        let setup = std::thread::Builder::new().name("mongodb-setup".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || setup::run(&shared)
        })?;
        Ok(Arc::new(MongoStore { shared, durable: Mutex::default(), setup: Mutex::new(Some(setup)) }))
    }
}

impl Store for MongoStore {
    fn write(&self, block: &Block) -> Result<(), StoreError> {
        write::write(&self.shared, block)?;
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(block.id);
        Ok(())
    }

    fn search(&self, query: &Query, sink: &mut dyn Sink) -> Result<(), StoreError> {
        search::search(&self.shared, query, sink)
    }

    fn tally(&self, filter: &Filter, tally: &mut dyn Tally) -> Result<(), StoreError> {
        tally::tally(&self.shared, filter, tally)
    }

    fn plan(&self, query: &Query) -> Plan {
        plan::plan(query)
    }

    fn get(&self, id: RecordId) -> Result<Option<Records>, StoreError> {
        search::get(&self.shared, id)
    }

    /// Deletes by `expire_at`; by the timestamp alone, where no retention is set. Nothing, while a changed retention is
    /// still being applied.
    fn delete_before(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        let cutoff = self.shared.retention_clock.correct(cutoff);
        let expired = match self.shared.retention {
            Some(_) if !self.shared.ready.load(Ordering::Acquire) => return Ok(0),
            Some(age) => {
                let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                let moment = DateTime::from_millis(document::millis(cutoff).saturating_add(age_ms));
                doc! { "expire_at": { "$lt": moment } }
            }
            None => doc! { "ns": { "$lt": cutoff.as_nanos() } },
        };
        let mut deleted = 0;
        loop {
            let (found, gone) = self.delete_some(&expired)?;
            deleted += gone;
            if found < DELETE_ROWS {
                return Ok(deleted);
            }
        }
    }

    fn durable(&self) -> BlockSet {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nothing to do: whatever is written is durable.
    fn request_flush(&self) {}

    fn health(&self) -> Result<(), StoreError> {
        self.shared.connection.health()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.shared.connection.close();
        let setup = self.setup.lock().unwrap_or_else(PoisonError::into_inner).take();
        match setup.map(JoinHandle::join) {
            Some(Err(_)) => Err(StoreError::Bug("the thread that sets MongoDB up panicked".to_owned())),
            _ => Ok(()),
        }
    }
}

impl MongoStore {
    /// Deletes some of the documents that match; returns how many were found, and how many are gone.
    fn delete_some(&self, expired: &mongodb::bson::Document) -> Result<(usize, u64), StoreError> {
        let shared = &self.shared;
        let collection = shared.connection.collection()?;
        let ids = shared.connection.call(shared.read_timeout, async {
            let find = collection.find(expired.clone()).projection(doc! { "_id": 1 });
            let mut cursor = find.limit(DELETE_ROWS as i64).await?;
            let mut ids = Vec::new();
            while cursor.advance().await? {
                ids.extend(cursor.current().get_str("_id").ok().map(str::to_owned));
            }
            Ok(ids)
        })?;
        if ids.is_empty() {
            return Ok((0, 0));
        }
        let found = ids.len();
        let result = shared
            .connection
            .call(shared.write_timeout, async { collection.delete_many(doc! { "_id": { "$in": ids } }).await })?;
        Ok((found, result.deleted_count))
    }
}

impl Drop for MongoStore {
    fn drop(&mut self) {
        // The thread that sets things up ends by itself then.
        self.shared.connection.close();
    }
}
