//! The memory of the servers under attack: what `/proc` says of each, and the most of it.

use std::fs;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// How often a server is looked at.
const PERIOD: Duration = Duration::from_millis(100);

/// The highest resident memory of the processes of a scenario, in bytes.
#[derive(Default)]
pub struct Rss {
    process: AtomicU32,
    peak: AtomicU64,
}

impl Rss {
    /// Starts to watch; it ends when the last handle is dropped.
    pub fn start() -> Arc<Rss> {
        let rss = Arc::new(Rss::default());
        let watched: Weak<Rss> = Arc::downgrade(&rss);
        thread::spawn(move || {
            while let Some(rss) = watched.upgrade() {
                rss.sample();
                drop(rss);
                thread::sleep(PERIOD);
            }
        });
        rss
    }

    /// Watches this process from now on.
    pub fn watch(&self, process: u32) {
        self.process.store(process, Ordering::Relaxed);
    }

    /// Looks now: a server that is about to be killed keeps no record of its highest.
    pub fn sample(&self) {
        let process = self.process.load(Ordering::Relaxed);
        if process != 0 {
            self.peak.fetch_max(highest(process).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// The most so far.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

/// A process's resident memory now: anonymous plus file pages, in bytes.
pub fn now(process: u32) -> Option<u64> {
    let status = status(process)?;
    Some(field(&status, "RssAnon:")? + field(&status, "RssFile:")?)
}

/// The highest resident memory of a process since its start.
pub fn highest(process: u32) -> Option<u64> {
    field(&status(process)?, "VmHWM:")
}

fn status(process: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{process}/status")).ok()
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}
