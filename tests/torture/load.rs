//! Load: clients that send batches of every shape, try again as a good client does, and keep account of each.

use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::context::Store;
use crate::ledger::{Ledger, State};
use crate::target::Route;
use crate::wire::{Connection, Lost, Reply};

/// How long an answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// How long a keyed batch is tried on after the load was told to end.
const LAST_PATIENCE: Duration = Duration::from_secs(30);

/// The longest pause before a retry: a torture is no place for manners.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What one client sends.
#[derive(Debug, Clone)]
pub struct Client {
    /// How many records a batch has; one is a single record to `POST /logs`.
    pub records: Range<u64>,
    /// In how many of four batches there is an `Idempotency-Key`, and so a retry.
    pub keyed_of_4: u32,
    /// The pause between two batches, in ms.
    pub pause_ms: Range<u64>,
}

/// What the clients saw, summed up.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// How many batches were acknowledged.
    pub accepted: u64,
    /// How many answers said 429 or 503.
    pub refused: u64,
    /// The bodies of some of these, each kind once.
    pub refusals: Vec<String>,
    /// How often a request went without the beginning of an answer.
    pub unanswered: u64,
    /// Answers that began and did not end.
    pub cut_off: Vec<String>,
    /// The longest time to an acknowledgement.
    pub slowest: Duration,
}

/// Running clients.
pub struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

/// Sixteen clients: most send single records, some batches of hundreds, two of a thousand.
pub fn mixed() -> Vec<Client> {
    let client = |records: Range<u64>, keyed_of_4, pause_ms| Client { records, keyed_of_4, pause_ms };
    let mut clients: Vec<Client> = (0..10).map(|number| client(1..2, number % 5, 0..20)).collect();
    clients.extend((0..4).map(|number| client(1..200, number, 5..60)));
    clients.extend((0..2).map(|number| client(1000..1001, 2 + number, 60..250)));
    clients
}

/// What a store takes without falling behind: [`mixed`], or a tenth of it for a MongoDB-protocol server of the tests.
pub fn mixed_for(store: Store) -> Vec<Client> {
    let slower = |client: Client| {
        let pause_ms = &client.pause_ms;
        let times = if client.records.end > 1 { 12 } else { 3 };
        // A thousand records take it a second.
        let records = if client.records.start == 1000 { 300..301 } else { client.records.clone() };
        Client { records, pause_ms: pause_ms.start * times..pause_ms.end * times, ..client }
    };
    match store {
        Store::Embedded => mixed(),
        Store::Mongodb => mixed().into_iter().map(slower).collect(),
    }
}

impl Load {
    /// Starts the clients; each finds the server by `route`.
    pub fn start(route: &Route, ledger: &Arc<Ledger>, clients: &[Client], rng: &mut SmallRng) -> Load {
        Load::start_from(0, route, ledger, clients, rng)
    }

    /// The same with numbers from `first` on, beside clients that have the lower ones.
    pub fn start_from(
        first: usize,
        route: &Route,
        ledger: &Arc<Ledger>,
        clients: &[Client],
        rng: &mut SmallRng,
    ) -> Load {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Seen>>::default());
        let start = |(number, plan): (usize, &Client)| {
            let sender = Sender {
                number,
                plan: plan.clone(),
                route: route.clone(),
                ledger: ledger.clone(),
                rng: SmallRng::seed_from_u64(rng.random()),
                connection: None,
                stop: stop.clone(),
                seen: seen.clone(),
            };
            thread::Builder::new().name(format!("client {number}")).spawn(move || sender.run()).unwrap()
        };
        let threads = (first..).zip(clients).map(start).collect();
        Load { stop, seen, threads }
    }

    /// What the clients have seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Ends the load. What is under way is finished; a keyed batch is tried on for a while, so the server should run.
    pub fn finish(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client does not panic");
        }
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A scenario that fails does not wait for its clients.
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One client.
struct Sender {
    number: usize,
    plan: Client,
    route: Route,
    ledger: Arc<Ledger>,
    rng: SmallRng,
    connection: Option<Connection>,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

/// A batch, ready to be sent as often as it takes.
struct Request {
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    count: u64,
    keyed: bool,
}

/// What came of one attempt.
enum Attempt {
    /// It is decided.
    Done(State),
    /// Surely nothing is kept of this attempt.
    Refused,
    /// Nobody knows.
    Doubt,
}

impl Sender {
    fn run(mut self) {
        while !self.is_stopped() {
            let count = self.rng.random_range(self.plan.records.clone());
            let (place, first) = self.ledger.send(self.number, count);
            let request = self.request(first, count);
            let state = self.deliver(&request);
            self.ledger.became(self.number, place, state);
            let pause_ms = self.rng.random_range(self.plan.pause_ms.clone());
            thread::sleep(Duration::from_millis(pause_ms));
        }
    }

    /// Sends a batch until it is known what became of it. Without a key a batch in doubt must not be sent again.
    fn deliver(&mut self, request: &Request) -> State {
        let (mut doubtful, mut deadline) = (false, None);
        loop {
            match self.attempt(request) {
                Attempt::Done(state) => return state,
                Attempt::Doubt if !request.keyed => return State::InDoubt,
                Attempt::Doubt => doubtful = true,
                Attempt::Refused => {}
            }
            if self.is_stopped() {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + LAST_PATIENCE);
                if !doubtful || Instant::now() > deadline {
                    return if doubtful { State::InDoubt } else { State::Refused };
                }
            }
            thread::sleep(PAUSE_MAX.mul_f64(self.rng.random_range(0.05..1.0)));
        }
    }

    fn attempt(&mut self, request: &Request) -> Attempt {
        let asked = Instant::now();
        match self.exchange(request) {
            Ok(reply) => self.judge(request, &reply, asked.elapsed()),
            Err(Lost::NotConnected) => Attempt::Refused,
            Err(lost) => {
                let mut seen = self.seen.lock().unwrap();
                match lost {
                    Lost::CutOff(how) => seen.cut_off.push(how),
                    _ => seen.unanswered += 1,
                }
                Attempt::Doubt
            }
        }
    }

    fn exchange(&mut self, request: &Request) -> Result<Reply, Lost> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.route.get().ok_or(Lost::NotConnected)?, ANSWER_PATIENCE)?,
        };
        let headers: Vec<(&str, &str)> = request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = connection.post(request.path, &headers, &request.body)?;
        if !reply.closes() {
            self.connection = Some(connection);
        }
        Ok(reply)
    }

    fn judge(&mut self, request: &Request, reply: &Reply, took: Duration) -> Attempt {
        let mut seen = self.seen.lock().unwrap();
        match reply.status {
            202 => {
                let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                if body["accepted"] != request.count {
                    self.ledger.complain(format!("{} sent, but: {}", request.count, reply.text()));
                }
                seen.accepted += 1;
                seen.slowest = seen.slowest.max(took);
                Attempt::Done(State::Acknowledged)
            }
            429 | 503 => {
                if reply.header("retry-after").is_none() {
                    self.ledger.complain(format!("a {} without Retry-After: {}", reply.status, reply.text()));
                }
                seen.refused += 1;
                if seen.refusals.len() < 8 && !seen.refusals.contains(&reply.text()) {
                    seen.refusals.push(reply.text());
                }
                Attempt::Refused
            }
            status => {
                self.ledger.complain(format!("an answer with {status}: {}", reply.text()));
                if status >= 500 { Attempt::Done(State::InDoubt) } else { Attempt::Done(State::Refused) }
            }
        }
    }

    fn request(&mut self, first: u64, count: u64) -> Request {
        let records = (first..first + count).map(|number| self.ledger.run.record(self.number, number).to_json());
        let records: Vec<serde_json::Value> = records.collect();
        let mut headers = Vec::new();
        let (path, body) = match records.as_slice() {
            [record] => ("/logs", record.to_string().into_bytes()),
            records if self.rng.random() => {
                headers.push(("content-type", "application/x-ndjson".to_owned()));
                let lines: Vec<String> = records.iter().map(|record| format!("{record}\n")).collect();
                ("/logs/batch", lines.concat().into_bytes())
            }
            records => ("/logs/batch", serde_json::to_vec(records).unwrap()),
        };
        if headers.is_empty() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        let (encoding, body) = encode(body, &mut self.rng);
        headers.extend(encoding.map(|encoding| ("content-encoding", encoding.to_owned())));
        let keyed = self.rng.random_ratio(self.plan.keyed_of_4.min(4), 4);
        if keyed {
            headers.push(("idempotency-key", format!("{}-{}-{first}", self.ledger.run.name, self.number)));
        }
        Request { path, headers, body, count, keyed }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Encodes a body in one of the ways that a server takes, half of the time.
fn encode(body: Vec<u8>, rng: &mut SmallRng) -> (Option<&'static str>, Vec<u8>) {
    match [None, None, None, Some("gzip"), Some("deflate"), Some("zstd")].choose(rng).copied().flatten() {
        Some("gzip") => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&body).unwrap();
            (Some("gzip"), encoder.finish().unwrap())
        }
        Some("deflate") => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&body).unwrap();
            (Some("deflate"), encoder.finish().unwrap())
        }
        Some(_) => (Some("zstd"), zstd::bulk::compress(&body, 1).unwrap()),
        None => (None, body),
    }
}
