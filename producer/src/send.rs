//! Sending: one thread a client, all from one source.

use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use sluice_client::{Client, Format, PostError};
use sluice_model::Timestamp;

use crate::latency::Latencies;
use crate::progress::{Counters, Progress};
use crate::source::{Batch, Source};
use crate::stop::Stop;

/// What came of it all.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Records handed to the server.
    pub sent: u64,
    /// Records that it has accepted.
    pub accepted: u64,
    /// Records that it has refused.
    pub refused: u64,
    /// Records that no attempt got an answer for.
    pub failed: u64,
    /// Attempts that were repeated.
    pub retries: u64,
    /// From the first batch to the last answer.
    pub elapsed: Duration,
    /// Of the requests that were accepted.
    pub latencies: Latencies,
    /// The batches that were accepted as a whole; kept only for a verified run.
    pub accepted_batches: Vec<Batch>,
    /// The earliest and the latest time of all records made.
    pub times: Option<(Timestamp, Timestamp)>,
    /// How many records were made.
    pub made: u64,
}

/// What one client adds to the outcome.
#[derive(Debug, Default)]
struct Share {
    latencies: Latencies,
    accepted_batches: Vec<Batch>,
    times: Option<(Timestamp, Timestamp)>,
}

/// All that the clients' threads share.
struct Sending<'a> {
    client: &'a Client,
    source: Mutex<Source>,
    stop: &'a Stop,
    counters: Counters,
    progress: &'a Progress,
    keep_batches: bool,
}

/// Refusals beyond this many batches are only counted, not told.
const TOLD_REFUSALS_RECORDS: u64 = 1_000;

/// Sends the source's records over `clients` connections until it ends or is stopped.
///
/// `keep_batches` remembers which were accepted, for verifying.
pub fn run(
    client: &Client,
    source: Source,
    clients: u64,
    stop: &Stop,
    progress: &Progress,
    keep_batches: bool,
) -> Outcome {
    let begun = Instant::now();
    let source = Mutex::new(source);
    let sending = Sending { client, source, stop, counters: Counters::default(), progress, keep_batches };
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        let (done, is_done) = mpsc::channel::<()>();
        let sending = &sending;
        scope.spawn(move || progress.follow(&sending.counters, &is_done));
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(|| sending.run_client())).collect();
        for thread in threads {
            match thread.join() {
                Ok(share) => outcome.add(share),
                // A thread that panicked has lost its share, and with it the right to say that all went well.
                Err(_) => outcome.failed += 1,
            }
        }
        outcome.elapsed = begun.elapsed();
        drop(done);
    });
    let Sending { counters, source, .. } = sending;
    outcome.sent = Counters::get(&counters.sent);
    outcome.accepted = Counters::get(&counters.accepted);
    outcome.refused = Counters::get(&counters.refused);
    outcome.failed += Counters::get(&counters.failed);
    outcome.retries = Counters::get(&counters.retries);
    outcome.made = source.into_inner().unwrap_or_else(PoisonError::into_inner).made();
    outcome
}

impl Sending<'_> {
    fn run_client(&self) -> Share {
        let mut share = Share::default();
        let mut body = Vec::new();
        loop {
            body.clear();
            // Who waits for a batch to be due waits with the source in hand: nobody else's is due before.
            let batch = self.source.lock().unwrap_or_else(PoisonError::into_inner).next_batch(&mut body, self.stop);
            let Some(batch) = batch else { return share };
            share.times = widest(share.times, Some((batch.earliest, batch.latest)));
            self.send(batch, &body, &mut share);
        }
    }

    fn send(&self, batch: Batch, body: &[u8], share: &mut Share) {
        let counters = &self.counters;
        let mut wait = |pause| self.stop.wait_uninterrupted(pause);
        let outcome = self.client.post_batch_with(Format::Ndjson, body, &mut wait);
        Counters::add(&counters.sent, batch.records);
        match outcome {
            Ok(receipt) => {
                Counters::add(&counters.accepted, receipt.accepted);
                Counters::add(&counters.refused, batch.records.saturating_sub(receipt.accepted));
                Counters::add(&counters.retries, u64::from(receipt.retries));
                share.latencies.record(receipt.latency);
                if self.keep_batches && receipt.accepted == batch.records {
                    share.accepted_batches.push(batch);
                }
            }
            Err(error) => self.fail(batch, &error),
        }
    }

    fn fail(&self, batch: Batch, error: &PostError) {
        let (first, last) = (batch.first, batch.first + batch.records - 1);
        let text = format!("records {first} to {last}: {error}");
        Counters::add(&self.counters.retries, u64::from(error.retries()));
        if let PostError::Refused(_) = error {
            Counters::add(&self.counters.refused, batch.records);
            if Counters::get(&self.counters.refused) <= TOLD_REFUSALS_RECORDS.max(batch.records) {
                self.progress.say(&text);
            }
            return;
        }
        Counters::add(&self.counters.failed, batch.records);
        // A server that is out of reach for so long will not take the next batch either.
        self.stop.end();
        self.progress.say(&text);
    }
}

impl Outcome {
    fn add(&mut self, share: Share) {
        self.latencies.merge(&share.latencies);
        self.accepted_batches.extend(share.accepted_batches);
        self.times = widest(self.times, share.times);
    }

    /// True if the server has accepted all that was sent.
    pub fn is_good(&self) -> bool {
        self.refused == 0 && self.failed == 0
    }
}

fn widest(a: Option<(Timestamp, Timestamp)>, b: Option<(Timestamp, Timestamp)>) -> Option<(Timestamp, Timestamp)> {
    match (a, b) {
        (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
        (one, other) => one.or(other),
    }
}
