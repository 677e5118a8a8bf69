//! What was sent, what became of it, and the reading back of everything that compares the two.

use std::io::{BufRead, BufReader};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::context::Stop;
use crate::record::{Record, Run};
use crate::support::http::Http;

pub use crate::record::Ages;

/// How long the spool may take to hand everything to the store.
const DRAIN_PATIENCE: Duration = Duration::from_secs(180);

/// How often reading back is tried again.
const READS_MAX: usize = 5;

/// How many complaints are kept.
const COMPLAINTS_MAX: usize = 20;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Acknowledged: each record is there exactly once.
    Acknowledged,
    /// Nobody knows: all of it is there once, or none of it.
    InDoubt,
    /// Refused, or never sent: none of it is there.
    Refused,
}

/// The clients' accounts.
pub struct Ledger {
    /// Makes the records.
    pub run: Run,
    accounts: Mutex<Vec<Vec<Batch>>>,
    complaints: Mutex<Vec<String>>,
}

#[derive(Clone, Copy)]
struct Batch {
    first: u64,
    count: u64,
    state: State,
}

/// What reading back has shown.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records of which nobody knows.
    pub in_doubt: u64,
    /// Records found.
    pub found: u64,
    /// Acknowledged records that were not found, though none of them may be gone.
    pub missing: u64,
    /// Acknowledged records that were not found and may be gone, by retention.
    pub expired: u64,
    /// Records found more than once: each further time.
    pub double: u64,
    /// Records that came back otherwise than they were sent, or were never sent, or were refused.
    pub altered: u64,
    /// What else is wrong, and examples of the above.
    pub complaints: Vec<String>,
}

impl Ledger {
    /// Accounts without entries.
    pub fn new(seed: u64, ages: Ages) -> Ledger {
        Ledger { run: Run::new(seed, ages), accounts: Mutex::default(), complaints: Mutex::default() }
    }

    /// Enters a batch that a client is about to send; returns its place in the account and the number of its first
    /// record.
    pub fn send(&self, client: usize, count: u64) -> (usize, u64) {
        let mut accounts = self.accounts.lock().unwrap();
        if accounts.len() <= client {
            accounts.resize(client + 1, Vec::new());
        }
        let account = &mut accounts[client];
        let first = account.last().map_or(0, |last| last.first + last.count);
        account.push(Batch { first, count, state: State::InDoubt });
        (account.len() - 1, first)
    }

    /// Says what became of the batch at a place of a client's account.
    pub fn became(&self, client: usize, place: usize, state: State) {
        self.accounts.lock().unwrap()[client][place].state = state;
    }

    /// How many records of a client have been entered so far.
    pub fn sent(&self, client: usize) -> u64 {
        let accounts = self.accounts.lock().unwrap();
        accounts.get(client).and_then(|account| account.last()).map_or(0, |last| last.first + last.count)
    }

    /// How many records have been acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        let accounts = self.accounts.lock().unwrap();
        let batches = accounts.iter().flatten().filter(|batch| batch.state == State::Acknowledged);
        batches.map(|batch| batch.count).sum()
    }

    /// Notes that the server did what it must not.
    pub fn complain(&self, what: impl Into<String>) {
        let mut complaints = self.complaints.lock().unwrap();
        if complaints.len() < COMPLAINTS_MAX {
            complaints.push(what.into());
        }
    }

    /// Waits until everything is in the store, reads it all back, and compares.
    ///
    /// # Errors
    /// If the spool is not emptied in time.
    pub fn verify(&self, http: &Http) -> Result<Verdict, Stop> {
        self.verify_with(http, |_, _| false)
    }

    /// The same, where some acknowledged records may be gone: `may_be_gone` is asked by client and number.
    ///
    /// # Errors
    /// If the spool is not emptied in time.
    pub fn verify_with(&self, http: &Http, may_be_gone: impl Fn(usize, u64) -> bool) -> Result<Verdict, Stop> {
        drained(http)?;
        let accounts = self.accounts.lock().unwrap().clone();
        let Reading { counts, mut verdict, .. } = self.read(http, &accounts)?;
        for (client, account) in accounts.iter().enumerate() {
            for batch in account {
                let from = usize::try_from(batch.first).unwrap();
                let found = &counts[client][from..from + usize::try_from(batch.count).unwrap()];
                verdict.judge(client, batch, found, &may_be_gone);
            }
        }
        verdict.complaints.extend(self.complaints.lock().unwrap().drain(..));
        Ok(verdict)
    }

    /// Reads everything; tries again, as a reader does, where the store cannot answer now.
    fn read(&self, http: &Http, accounts: &[Vec<Batch>]) -> Result<Reading<'_>, Stop> {
        let mut attempts = 0..READS_MAX;
        loop {
            let mut reading = Reading::new(self, accounts);
            match reading.read(http) {
                Ok(()) => return Ok(reading),
                Err(error) if attempts.next().is_none() => return Err(Stop::failed(format!("reading back: {error}"))),
                Err(_) => thread::sleep(Duration::from_secs(1)),
            }
        }
    }
}

/// Waits until all that was accepted is in the store.
///
/// # Errors
/// If it takes too long.
pub fn drained(http: &Http) -> Result<(), Stop> {
    let deadline = Instant::now() + DRAIN_PATIENCE;
    loop {
        let ready = http.get("/ready").json();
        if ready["queue_records"] == 0 && ready["readable"] == true {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Stop::failed(format!("the spool is not drained after {DRAIN_PATIENCE:?}: {ready}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

impl Verdict {
    /// Nothing is missing, double, altered or otherwise wrong.
    pub fn is_clean(&self) -> bool {
        self.missing == 0 && self.double == 0 && self.altered == 0 && self.complaints.is_empty()
    }

    /// Notes that something is not as it must be.
    pub fn complain(&mut self, what: impl Into<String>) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(what.into());
        }
    }

    /// Adds another verdict to this one.
    pub fn add(&mut self, other: Verdict) {
        self.acknowledged += other.acknowledged;
        self.in_doubt += other.in_doubt;
        self.found += other.found;
        self.missing += other.missing;
        self.expired += other.expired;
        self.double += other.double;
        self.altered += other.altered;
        other.complaints.into_iter().for_each(|complaint| self.complain(complaint));
    }

    fn judge(&mut self, client: usize, batch: &Batch, found: &[u8], may_be_gone: &impl Fn(usize, u64) -> bool) {
        let present = found.iter().filter(|count| **count > 0).count() as u64;
        self.double += found.iter().map(|count| u64::from(count.saturating_sub(1))).sum::<u64>();
        if let Some(at) = found.iter().position(|count| *count > 1) {
            self.complain(format!("double: client {client} number {}", batch.first + at as u64));
        }
        match batch.state {
            State::Acknowledged => {
                self.acknowledged += batch.count;
                for (number, _) in (batch.first..).zip(found).filter(|(_, count)| **count == 0) {
                    if may_be_gone(client, number) {
                        self.expired += 1;
                    } else {
                        self.missing += 1;
                        self.complain(format!("missing: client {client} number {number}"));
                    }
                }
            }
            State::InDoubt => {
                self.in_doubt += batch.count;
                let whole = present == 0 || present == batch.count;
                if !whole && !(batch.first..batch.first + batch.count).any(|number| may_be_gone(client, number)) {
                    self.complain(format!(
                        "torn: {present} of the {} records from client {client} number {}",
                        batch.count, batch.first
                    ));
                }
            }
            State::Refused => {
                self.altered += present;
                if present > 0 {
                    self.complain(format!("refused, but there: client {client} number {}", batch.first));
                }
            }
        }
    }
}

/// One reading of all records.
struct Reading<'a> {
    ledger: &'a Ledger,
    /// How often each record of each client was found.
    counts: Vec<Vec<u8>>,
    verdict: Verdict,
    /// The last record's time and id: the order of the answer.
    last: (String, String),
}

impl<'a> Reading<'a> {
    fn new(ledger: &'a Ledger, accounts: &[Vec<Batch>]) -> Reading<'a> {
        let sent = |account: &Vec<Batch>| account.last().map_or(0, |last| last.first + last.count);
        let counts = accounts.iter().map(|account| vec![0; usize::try_from(sent(account)).unwrap()]).collect();
        Reading { ledger, counts, verdict: Verdict::default(), last: Default::default() }
    }

    fn read(&mut self, http: &Http) -> Result<(), String> {
        let request = ureq::get(format!("{}/logs/retrieve?order=asc", http.url())).config().http_status_as_error(false);
        let request = request.build().header("accept", "application/x-ndjson");
        let mut response = request.call().map_err(|error| error.to_string())?;
        if response.status() != 200 {
            let body = response.body_mut().read_to_string().unwrap_or_default();
            return Err(format!("{} {body}", response.status()));
        }
        if let Some(incomplete) = response.headers().get("sluice-incomplete") {
            return Err(format!("the answer is incomplete: {incomplete:?}"));
        }
        let body = BufReader::with_capacity(1 << 18, response.into_body().into_reader());
        for line in body.lines() {
            let line = line.map_err(|error| error.to_string())?;
            let record: Value = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))?;
            self.take(&record);
        }
        Ok(())
    }

    fn take(&mut self, found: &Value) {
        self.verdict.found += 1;
        let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        let key = (text("timestamp"), text("id"));
        if key <= self.last {
            self.verdict.complain(format!("out of order: {key:?} after {:?}", self.last));
        }
        self.last = key;
        let Some((record, count)) = self.sent(found) else {
            self.verdict.altered += 1;
            self.verdict.complain(format!("never sent: {found}"));
            return;
        };
        *count = count.saturating_add(1);
        if let Some(difference) = record.differs(found) {
            self.verdict.altered += 1;
            self.verdict.complain(format!("altered: {difference}"));
        }
    }

    /// The record as it was sent, and the count of its finds.
    fn sent(&mut self, found: &Value) -> Option<(Record, &mut u8)> {
        let attributes = &found["attributes"];
        let run = &self.ledger.run;
        let client = usize::try_from(attributes["client"].as_u64()?).ok()?;
        let number = attributes["number"].as_u64()?;
        let count = self.counts.get_mut(client)?.get_mut(usize::try_from(number).ok()?)?;
        (attributes["run"] == run.name.as_str()).then(|| (run.record(client, number), count))
    }
}
