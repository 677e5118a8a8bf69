//! Measures a search, if somebody wants to know; it costs a branch, if nobody does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::reader::{OpenSegment, ReadError};
use super::segment::Segment;
use crate::store::{ScanTrace, StepTrace, Trace, Visited};

/// Why what comes behind the last match of a page is passed over.
pub(super) const LIMIT: &str = "limit";

/// Why a segment that cannot be read is passed over.
pub(super) const DAMAGED: &str = "damaged";

/// What a search does, as far as it is wanted.
pub(super) struct Tracer(Option<Box<Measured>>);

#[derive(Default)]
struct Measured {
    trace: ScanTrace,
    bytes: Arc<AtomicU64>,
}

impl Tracer {
    pub(super) fn new(is_wanted: bool) -> Tracer {
        Tracer(is_wanted.then(Box::default))
    }

    /// What was measured.
    pub(super) fn finish(self) -> Option<Trace> {
        let Measured { mut trace, bytes } = *self.0?;
        trace.bytes_read = bytes.load(Ordering::Relaxed);
        Some(Trace::Scan(Box::new(trace)))
    }

    /// Notes something.
    pub(super) fn note(&mut self, note: impl FnOnce(&mut ScanTrace)) {
        if let Some(measured) = &mut self.0 {
            note(&mut measured.trace);
        }
    }

    /// Notes that something is passed over; `why` is found out only if it is wanted.
    pub(super) fn prune(&mut self, part: fn(&mut ScanTrace) -> &mut Visited, why: impl FnOnce() -> &'static str) {
        self.note(|trace| part(trace).prune(why(), 1));
    }

    /// Notes that so many records came to a step, that it read so many, and how many of all passed.
    pub(super) fn step(&mut self, step: &'static str, rows: usize, read: usize, passed: impl FnOnce() -> usize) {
        self.note(|trace| {
            let (rows, read, passed) = (rows as u64, read as u64, passed() as u64);
            match trace.steps.iter_mut().find(|other| other.step == step) {
                Some(found) => {
                    found.rows += rows;
                    found.read += read;
                    found.passed += passed;
                }
                None => trace.steps.push(StepTrace { step, rows, read, passed }),
            }
        });
    }

    /// Does something, and adds how long it took.
    pub(super) fn timed<T>(
        &mut self,
        clock: fn(&mut ScanTrace) -> &mut Duration,
        work: impl FnOnce(&mut Tracer) -> T,
    ) -> T {
        let started = self.0.is_some().then(Instant::now);
        let done = work(self);
        if let Some(started) = started {
            self.note(|trace| *clock(trace) += started.elapsed());
        }
        done
    }

    /// A segment of the cache, whose reads are counted.
    pub(super) fn open(&mut self, cache: &Cache, segment: &Segment) -> Result<Arc<OpenSegment>, ReadError> {
        let Some(measured) = &mut self.0 else { return cache.get(segment) };
        let cached = cache.has(segment);
        let open = cache.get(segment)?;
        if cached {
            measured.trace.cache_hits += 1;
        } else {
            measured.trace.opened += 1;
            measured.bytes.fetch_add(open.footer_bytes(), Ordering::Relaxed);
        }
        Ok(Arc::new(open.counting(&measured.bytes)))
    }
}
