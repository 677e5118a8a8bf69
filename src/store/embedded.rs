//! The embedded engine: recent blocks in memory, the rest in immutable Parquet segments.
//!
//! [`Store::write`] puts a block into the memory tier ([`memory`]), where it is searchable at once; the spool is its log.
//! A thread of the store ([`background`]) flushes it by rows, bytes, age or on request: [`flush`] lays the rows out by
//! day, [`writer`] writes a segment of each ([`segment`] is its specification), and the manifest ([`manifest`]) makes them
//! durable. The same thread merges small segments ([`compaction`]), deletes old ones ([`retention`]) and sets damaged
//! ones aside. A search ([`search`]) sees memory and disk as one, and so does a tally ([`tally`]).
//!
//! Each record is in one place at a time: the blocks in memory, being flushed and on disk are one set under one lock, by
//! which a write passes over what is there already.

mod background;
mod bits;
mod cache;
mod check;
mod compaction;
mod counts;
mod engine;
mod extent;
mod fetch;
mod flush;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hash;
mod known;
mod lookup;
mod manifest;
mod memory;
mod metrics;
mod order;
mod parallel;
mod parts;
mod plan;
mod reader;
mod recovery;
mod retention;
mod salvage;
mod seal;
mod search;
mod segment;
mod step;
mod tally;
mod templates;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timestamps;
mod tokens;
mod tracer;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use prometheus_client::registry::Registry;
use sluice_model::{RecordId, RunId, Timestamp};

use self::engine::Engine;
use self::recovery::{Folders, Mode};
use super::{DamageReport, Plan, Sink, Store, StoreError};
use crate::batch::{Block, BlockSet, Records};
use crate::config::{EmbeddedSettings, RetentionSettings};
use crate::files::Files;
use crate::finding::Checked;
use crate::query::{Filter, Query};
use crate::stats::Tally;

/// Why the store's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system could not do its part.
    #[error("cannot open the store: {0}")]
    Io(#[source] std::io::Error),
    /// A newer Sluice wrote to the folder.
    #[error("{path} has format {format}, which is newer than this version of Sluice can read")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
}

/// The store that needs nothing installed.
///
/// Dropped without [`Store::close`] it ends as a crash would: what is in memory only, the spool brings again.
pub struct EmbeddedStore {
    engine: Arc<Engine>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedStore {
    /// Opens the store in `folder` of `files`, or makes it there, and completes what a crash left. `spooled_runs` are the runs of
    /// which the spool still holds blocks; what is known of the blocks of others is forgotten.
    ///
    /// # Errors
    /// [`OpenError`]; never for damage, which is set aside and reported.
    pub fn open(
        files: &Arc<dyn Files>,
        folder: &Path,
        settings: &EmbeddedSettings,
        retention: RetentionSettings,
        spooled_runs: &[RunId],
        registry: &mut Registry,
    ) -> Result<Arc<EmbeddedStore>, OpenError> {
        let engine =
            Arc::new(Engine::open(Folders::below(folder, files), settings, retention, spooled_runs, registry)?);
        let thread = background::start(engine.clone()).map_err(OpenError::Io)?;
        Ok(Arc::new(EmbeddedStore { engine, thread: Mutex::new(Some(thread)) }))
    }

    /// How many records the store in `folder` has in its segments, without opening it; nothing, if there is no store.
    pub fn records_in(files: &dyn Files, folder: &Path) -> Option<u64> {
        let found = manifest::read(files, folder).ok()?.into_iter().find_map(|(_, found)| match found {
            manifest::Found::Sound(manifest) => Some(manifest),
            _ => None,
        })?;
        Some(found.segments.iter().map(|segment| segment.rows).sum())
    }

    /// Looks at every byte of the store in `folder`, without opening it, and mends what is wrong, if it is asked to. The
    /// server must not run.
    ///
    /// # Errors
    /// [`OpenError`], where a newer Sluice wrote to the folder or the operating system could not do its part.
    pub fn check(files: &Arc<dyn Files>, folder: &Path, mend: bool) -> Result<Checked, OpenError> {
        let mode = if mend { Mode::Mend } else { Mode::Check };
        check::check(&Folders::below(folder, files), mode)
    }

    fn end_thread(&self) {
        self.engine.stop();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It catches its own panics.
            let _ = thread.join();
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.end_thread();
    }
}

impl Store for EmbeddedStore {
    fn write(&self, block: &Block) -> Result<(), StoreError> {
        self.engine.write(block)
    }

    fn search(&self, query: &Query, sink: &mut dyn Sink) -> Result<(), StoreError> {
        let engine = &self.engine;
        search::search(&engine.snapshot(), &engine.cache, query, sink, &|segment, why| {
            engine.report_damage(segment, why)
        })
    }

    fn tally(&self, filter: &Filter, tally: &mut dyn Tally) -> Result<(), StoreError> {
        let engine = &self.engine;
        tally::tally(&engine.snapshot(), &engine.cache, filter, tally, &|segment, why| {
            engine.report_damage(segment, why)
        })
    }

    fn plan(&self, query: &Query) -> Plan {
        plan::plan(query)
    }

    fn get(&self, id: RecordId) -> Result<Option<Records>, StoreError> {
        let engine = &self.engine;
        lookup::get(&engine.snapshot(), &engine.cache, id, &|segment, why| engine.report_damage(segment, why))
    }

    fn unknown_attributes(&self, names: &[String]) -> Result<Vec<String>, StoreError> {
        Ok(known::unknown_attributes(&self.engine.snapshot(), &self.engine.cache, names))
    }

    fn delete_before(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        retention::delete_before(&self.engine, cutoff).map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    fn durable(&self) -> BlockSet {
        self.engine.durable()
    }

    fn request_flush(&self) {
        self.engine.request_flush();
    }

    fn health(&self) -> Result<(), StoreError> {
        let Folders { files, segments, .. } = &self.engine.folders;
        files.list(segments).map(drop).map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    fn damage(&self) -> DamageReport {
        self.engine.damage()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.end_thread();
        self.engine.flush().map_err(|error| StoreError::Unavailable(format!("the last flush failed: {error}")))
    }
}
