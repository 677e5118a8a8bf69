//! The workers, from the spool to the store: with the real spool and the real pools, over a store whose faults can be
//! switched.

mod faults;
mod reading;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use sluice_model::{Severity, Timestamp};

pub(super) use self::faults::FaultStore;
use super::{Sections, Workers};
use crate::batch::{LogBatch, LogBatchBuilder};
use crate::config::Settings;
use crate::files::{Disk, Files};
use crate::spool::{Entry, Receipt, Spool};
use crate::store::Store;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A spool, workers and a store in a temporary folder.
struct Rig {
    folder: PathBuf,
    spool: Arc<Spool>,
    faults: Arc<FaultStore>,
    workers: Workers,
}

/// Runs `test`, off the system's thread, with workers over `faults` in `folder`; then stops them.
fn with_workers(folder: &Path, faults: &Arc<FaultStore>, test: impl FnOnce(&Rig) + Send + 'static) {
    with_settings(folder, faults, settings(), test);
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.breaker.backoff_min = Duration::from_millis(500);
    settings.breaker.backoff_max = Duration::from_millis(1000);
    settings.workers.store = 2;
    settings.workers.query = 2;
    settings.spool.bytes_max = 64 << 20;
    settings.spool.segment_bytes = 1 << 20;
    settings.spool.free_disk_floor = Some(0);
    settings
}

fn with_settings(
    folder: &Path,
    faults: &Arc<FaultStore>,
    settings: Settings,
    test: impl FnOnce(&Rig) + Send + 'static,
) {
    let (folder, faults) = (folder.to_owned(), Arc::clone(faults));
    actix::System::new().block_on(async move {
        let mut registry = Registry::default();
        let files: Arc<dyn Files> = Arc::new(Disk);
        let spool = Spool::open(&files, &folder.join("spool"), &settings.spool, &mut registry).unwrap();
        let store: Arc<dyn Store> = Arc::clone(&faults) as Arc<dyn Store>;
        let sections = Sections {
            workers: &settings.workers,
            breaker: &settings.breaker,
            query: &settings.query,
            retention: &settings.retention,
        };
        let workers =
            Workers::start(&spool, &store, sections, &files, &folder.join("dead-letter"), &mut registry).unwrap();
        let rig = Rig { folder, spool, faults, workers };
        let end = tokio::task::spawn_blocking(move || {
            test(&rig);
            let Rig { spool, workers, .. } = rig;
            assert!(workers.stop(Instant::now() + PATIENCE).in_time, "all threads end in time");
            spool.close();
        });
        end.await.unwrap();
    });
}

impl Rig {
    /// Accepts a batch of a record for each message.
    fn accept(&self, severity: Severity, messages: &[&str]) -> Receipt {
        let batch = batch(severity, messages);
        let reservation = self.spool.reserve(batch.size_bytes()).unwrap();
        wait_for(self.spool.append(Entry { batch, reservation, key: None })).unwrap()
    }

    /// Waits until everything accepted so far is in the store, or else dealt with.
    fn drained(&self) {
        let ordinal = self.spool.committed();
        let stored = wait_for(async { tokio::time::timeout(PATIENCE, self.spool.stored(ordinal)).await });
        assert!(stored.is_ok(), "not stored: {:?}", self.spool.behind(ordinal));
    }

    fn dead_letters(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.folder.join("dead-letter/records.ndjson")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn a_panic_unwinds_in_every_profile() {
    assert!(std::panic::catch_unwind(|| panic!("on purpose")).is_err(), "workers catch panics");
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let profiles = manifest["profile"].as_table().unwrap();
    assert_eq!(profiles["release"]["panic"].as_str(), Some("unwind"));
    assert!(profiles.values().all(|profile| profile.get("panic").is_none_or(|panic| panic.as_str() == Some("unwind"))));
}

fn batch(severity: Severity, messages: &[&str]) -> LogBatch {
    let mut builder = LogBatchBuilder::new();
    for message in messages {
        builder.commit(Timestamp::now(), severity, severity.name(), "test", message);
    }
    builder.finish()
}

/// Waits for a future on this thread.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Waits until `condition` holds.
fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}
