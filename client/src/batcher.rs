//! Batching in the background, in bounded memory.
//!
//! Callers append their records to the open batch; one thread seals it when it is full or old enough and posts it. All
//! that is not delivered yet (open, sealed, on its way) counts against one limit of bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sluice_model::LogRecord;

use crate::builder::Client;
use crate::post::{Format, PostError};

/// Sends records in the background; see the crate's documentation.
///
/// Dropping it delivers what is left, for as long as [`crate::ClientBuilder::retry_for`] and
/// [`crate::ClientBuilder::timeout`] together allow; [`Batcher::close`] does the same and says what came of it.
#[derive(Debug)]
pub struct Batcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// When a batch is sent, and how much may wait.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) batch_records: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) interval: Duration,
    pub(crate) buffer_bytes_max: usize,
    /// After closing has taken this long, what is still waiting is given up.
    pub(crate) closing_max: Duration,
}

/// What has been delivered since the batcher was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Records that the server has accepted.
    pub accepted: u64,
    /// Records that are not known to be accepted: refused, or given up.
    pub lost: u64,
    /// Attempts that failed and were repeated.
    pub retries: u64,
}

/// Why a record is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The buffer is full (only [`Batcher::try_send`] says so).
    #[error("the buffer is full")]
    Full,
    /// The record alone is larger than the buffer.
    #[error("a record of {bytes} bytes is larger than the whole buffer")]
    TooLarge {
        /// Its size as JSON.
        bytes: usize,
    },
    /// The record cannot be written as JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The sending thread is gone.
    #[error("the sending thread has stopped")]
    Stopped,
}

/// Some records were not delivered.
#[derive(Debug, thiserror::Error)]
#[error("{records} records were not delivered: {}", cause_text(cause.as_ref()))]
pub struct DeliveryError {
    /// How many, since the last time this was reported.
    pub records: u64,
    /// Why the first of these batches was not; `None` if the sending thread has stopped.
    pub cause: Option<PostError>,
}

fn cause_text(cause: Option<&PostError>) -> String {
    cause.map_or_else(|| "the sending thread has stopped".to_owned(), ToString::to_string)
}

impl Batcher {
    pub(crate) fn start(client: Client, limits: Limits) -> io::Result<Batcher> {
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { limits, state, work: Condvar::new(), settled: Condvar::new() });
        let thread = std::thread::Builder::new().name("sluice-client".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                let _stopped = StopGuard(&shared);
                while let Some(batch) = shared.next_batch() {
                    shared.deliver(&client, batch);
                }
            }
        })?;
        Ok(Batcher { shared, thread: Some(thread) })
    }

    /// Takes a record to be sent; waits while the buffer is full.
    ///
    /// # Errors
    /// [`SendError`], but never [`SendError::Full`].
    pub fn send(&self, record: &LogRecord) -> Result<(), SendError> {
        self.shared.push(&to_line(record)?, true)
    }

    /// Takes a record to be sent, if there is room.
    ///
    /// # Errors
    /// [`SendError::Full`], if there is none; else as [`Batcher::send`].
    pub fn try_send(&self, record: &LogRecord) -> Result<(), SendError> {
        self.shared.push(&to_line(record)?, false)
    }

    /// Sends what is there and waits until all that was sent before is delivered or lost.
    ///
    /// # Errors
    /// [`DeliveryError`], if something was lost since the last flush.
    pub fn flush(&self) -> Result<Totals, DeliveryError> {
        let mut state = self.shared.lock();
        state.seal();
        let upto = state.sealed_count;
        self.shared.work.notify_all();
        while state.settled_count < upto && !state.stopped {
            state = wait(&self.shared.settled, state);
        }
        state.report()
    }

    /// Sends what is there, ends the thread, and says what came of it.
    ///
    /// # Errors
    /// [`DeliveryError`], if something was lost since the last flush.
    pub fn close(mut self) -> Result<Totals, DeliveryError> {
        self.finish();
        self.shared.lock().report()
    }

    fn finish(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.lock().closing_since = Some(Instant::now());
            self.shared.work.notify_all();
            // A panic there has already been told through `stopped`.
            let _ = thread.join();
        }
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.finish();
            if let Err(error) = self.shared.lock().report() {
                log::error!("{error}");
            }
        }
    }
}

fn to_line(record: &LogRecord) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    state: Mutex<State>,
    /// There may be something to send, or the end has come.
    work: Condvar,
    /// A batch is settled: there is room, or a flush may be done.
    settled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: Batch,
    opened_at: Option<Instant>,
    sealed: VecDeque<Batch>,
    on_its_way: usize,
    /// Of the open batch, the sealed ones and the one on its way.
    bytes_held: usize,
    sealed_count: u64,
    settled_count: u64,
    totals: Totals,
    unreported: u64,
    unreported_cause: Option<PostError>,
    closing_since: Option<Instant>,
    stopped: bool,
}

#[derive(Debug, Default)]
struct Batch {
    body: Vec<u8>,
    records: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8], may_wait: bool) -> Result<(), SendError> {
        if line.len() > self.limits.buffer_bytes_max {
            return Err(SendError::TooLarge { bytes: line.len() });
        }
        let mut state = self.lock();
        while state.bytes_held + line.len() > self.limits.buffer_bytes_max && !state.stopped {
            if !may_wait {
                return Err(SendError::Full);
            }
            // Whoever waits for room must not wait for the interval too.
            state.seal();
            self.work.notify_all();
            state = wait(&self.settled, state);
        }
        if state.stopped {
            return Err(SendError::Stopped);
        }
        if state.open.body.len() + line.len() > self.limits.batch_bytes {
            state.seal();
            self.work.notify_all();
        }
        if state.open.records == 0 {
            state.opened_at = Some(Instant::now());
            self.work.notify_all();
        }
        state.open.body.extend_from_slice(line);
        state.open.records += 1;
        state.bytes_held += line.len();
        if state.open.records >= self.limits.batch_records {
            state.seal();
            self.work.notify_all();
        }
        Ok(())
    }

    /// Waits for the next batch to send; `None` when the batcher is closing and all is sent, or the time for it is up.
    fn next_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            if state.closing_since.is_some_and(|since| since.elapsed() >= self.limits.closing_max) {
                return None;
            }
            if let Some(batch) = state.sealed.pop_front() {
                state.on_its_way = batch.records;
                return Some(batch);
            }
            let left = state.opened_at.map(|at| self.limits.interval.saturating_sub(at.elapsed()));
            state = match (left, state.closing_since) {
                (None, Some(_)) => return None,
                (None, None) => wait(&self.work, state),
                (Some(left), None) if !left.is_zero() => wait_for(&self.work, state, left),
                (Some(_), _) => {
                    state.seal();
                    state
                }
            };
        }
    }

    fn deliver(&self, client: &Client, batch: Batch) {
        let retry_for = client.policy.retry_for;
        let outcome = client.post_batch_with(Format::Ndjson, &batch.body, &mut |pause| self.pause(pause, retry_for));
        let mut state = self.lock();
        match outcome {
            Ok(receipt) => {
                state.totals.accepted += receipt.accepted;
                state.totals.retries += u64::from(receipt.retries);
            }
            Err(error) => {
                log::warn!("{} records are not delivered: {error}", batch.records);
                let records = u64::try_from(batch.records).unwrap_or(u64::MAX);
                state.totals.lost += records;
                state.totals.retries += u64::from(error.retries());
                state.unreported += records;
                state.unreported_cause.get_or_insert(error);
            }
        }
        state.on_its_way = 0;
        state.bytes_held = state.bytes_held.saturating_sub(batch.body.len());
        state.settled_count += 1;
        self.settled.notify_all();
    }

    /// Lets a pause between attempts pass; false once the batcher has been closing for `retry_for`, which is the time
    /// that all the remaining batches have together.
    fn pause(&self, pause: Duration, retry_for: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        loop {
            if state.closing_since.is_some_and(|since| since.elapsed() >= retry_for) {
                return false;
            }
            let mut left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            if let Some(since) = state.closing_since {
                left = left.min(retry_for.saturating_sub(since.elapsed()));
            }
            state = wait_for(&self.work, state, left);
        }
    }
}

impl State {
    fn seal(&mut self) {
        if self.open.records > 0 {
            let batch = std::mem::take(&mut self.open);
            self.sealed.push_back(batch);
            self.sealed_count += 1;
            self.opened_at = None;
        }
    }

    fn report(&mut self) -> Result<Totals, DeliveryError> {
        let unsent = if self.stopped { self.take_unsent() } else { 0 };
        let records = std::mem::take(&mut self.unreported) + unsent;
        let cause = self.unreported_cause.take();
        if records > 0 { Err(DeliveryError { records, cause }) } else { Ok(self.totals) }
    }

    /// Counts as lost what a thread that has stopped will never send.
    fn take_unsent(&mut self) -> u64 {
        self.seal();
        let unsent =
            std::mem::take(&mut self.on_its_way) + self.sealed.drain(..).map(|batch| batch.records).sum::<usize>();
        let unsent = u64::try_from(unsent).unwrap_or(u64::MAX);
        self.totals.lost += unsent;
        unsent
    }
}

/// Tells everyone who waits that the thread is gone, also when it panics.
struct StopGuard<'a>(&'a Shared);

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.settled.notify_all();
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition.wait(state).unwrap_or_else(PoisonError::into_inner)
}

fn wait_for<'a>(condition: &Condvar, state: MutexGuard<'a, State>, left: Duration) -> MutexGuard<'a, State> {
    condition.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
}
