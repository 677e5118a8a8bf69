mod feed;
mod keys;
mod model;
mod recovery;
mod service;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use sluice_model::{RecordId, Severity, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::batch::{AttributeRef, LogBatchBuilder};
use crate::config::Settings;
use crate::files::Disk;
use crate::files::faulty::Faults;

/// A spool in a folder of its own.
struct Fixture {
    data: TempDir,
    settings: SpoolSettings,
    faults: Faults,
}

impl Fixture {
    /// In memory, where the machine has such a file system: what is tested here does not need the disk.
    fn new() -> Fixture {
        let memory = tempfile::tempdir_in("/dev/shm");
        Fixture::within(memory.or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn within(data: TempDir) -> Fixture {
        let settings = SpoolSettings { free_disk_floor: Some(0), segment_bytes: 1 << 20, ..Settings::default().spool };
        Fixture { data, settings, faults: Faults::default() }
    }

    fn folder(&self) -> PathBuf {
        self.data.path().join("spool")
    }

    fn open(&self) -> Arc<Spool> {
        self.open_with(&mut Registry::default())
    }

    fn open_with(&self, registry: &mut Registry) -> Arc<Spool> {
        let files = self.faults.over(Arc::new(Disk));
        Spool::open(&files, &self.folder(), &self.settings, registry).unwrap()
    }

    /// What a process that is killed now would leave behind.
    fn killed(&self) -> Fixture {
        let copy = Fixture { settings: self.settings.clone(), ..Fixture::new() };
        std::fs::create_dir(copy.folder()).unwrap();
        for file in self.files("") {
            // A file that is deleted meanwhile was not needed.
            let _ = std::fs::copy(&file, copy.folder().join(file.file_name().unwrap()));
        }
        copy
    }

    /// The files of the spool with this ending, in order.
    fn files(&self, ending: &str) -> Vec<PathBuf> {
        files(&self.folder(), ending)
    }

    fn quarantine(&self) -> Vec<PathBuf> {
        files(&self.data.path().join("quarantine"), "")
    }
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_str().unwrap().ends_with(ending));
    files.sort();
    files
}

fn batch_of(severity: Severity, messages: &[String]) -> LogBatch {
    let mut builder = LogBatchBuilder::new();
    for (index, message) in messages.iter().enumerate() {
        builder.attribute("index", AttributeRef::Int(index as i64)).unwrap();
        builder.commit(Timestamp::from_nanos(index as i64), severity, "", "test", message);
    }
    builder.finish()
}

fn batch(rows: usize) -> LogBatch {
    batch_of(Severity::Info, &(0..rows).map(|row| format!("message {row}")).collect::<Vec<_>>())
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn append(spool: &Spool, batch: LogBatch, key: Option<IdempotencyKey>) -> Result<Receipt, SpoolError> {
    let reservation = spool.reserve(batch.size_bytes())?;
    wait_for(spool.append(Entry { batch, reservation, key }))
}

fn next(spool: &Spool) -> Option<Block> {
    spool.next(Duration::ZERO)
}

fn settle(spool: &Spool, blocks: &[BlockId]) {
    let mut durable = BlockSet::new();
    blocks.iter().for_each(|block| durable.insert(*block));
    spool.settle(&durable);
}

/// All that is delivered, as pairs of id and message.
fn drain(spool: &Spool) -> Vec<(RecordId, String)> {
    std::iter::from_fn(|| next(spool)).flat_map(|block| records(&block)).collect()
}

fn records(block: &Block) -> Vec<(RecordId, String)> {
    assert_eq!(block.batch.len(), block.id.rows as usize);
    let records = block.records();
    (0..records.len()).map(|row| (records.id(row), records.logs.messages().value(row).to_owned())).collect()
}

/// Waits for what another thread does.
fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::yield_now();
    }
}
