//! Exactly once from the sender: connections are cut between acknowledgement and reply, the server is killed amid it all,
//! and every client tries again with the same `Idempotency-Key` until it has its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::context::{Context, Outcome, Stop, Store, words};
use crate::ledger::{Ages, Ledger, State};
use crate::load::{self, Client, Load};
use crate::proxy::{Act, Link, Proxy};
use crate::target::{Bed, Route};
use crate::wire::{Connection, Reply};

/// Small segments, so that keys move to the key file while they still matter.
const ARGS: &str = "--spool-segment-bytes 256KiB --embedded-flush-rows 500 --embedded-flush-age 200ms";

/// The client of whom the ledger knows as the one that tries out the rules by hand.
const BY_HAND: usize = 90;

/// The client of whom the ledger knows as the client library.
const LIBRARY: usize = 91;

/// How many requests with one key are under way at once.
const AT_ONCE: usize = 8;

/// Runs the scenario.
pub fn run(context: &mut Context) -> Result<Outcome, Stop> {
    let rounds = match context.store {
        Store::Embedded => context.rounds(5, 120),
        Store::Mongodb => context.rounds(2, 60),
    };
    while context.outcome.rounds < rounds {
        let left = rounds - context.outcome.rounds;
        folder(context, left.min(20))?;
    }
    Ok(std::mem::take(&mut context.outcome))
}

fn folder(context: &mut Context, rounds: u64) -> Result<(), Stop> {
    let bed = context.bed(&words(ARGS))?;
    let ledger = context.ledger(Ages::Recent);
    let upstream = bed.route.clone();
    let proxy = Proxy::start(move || upstream.get(), cutting(context.rng.random()));
    let through = Route::default();
    through.set(Some(proxy.address()));
    let keyed = |client: Client| Client { keyed_of_4: 4, ..client };
    let clients: Vec<Client> = load::mixed_for(context.store).into_iter().map(keyed).collect();
    let load = Load::start(&through, &ledger, &clients, &mut context.rng);
    let library = Library::start(&proxy, &ledger)?;
    let mut remembered = Vec::new();
    for round in 0..rounds {
        let server = bed.start()?;
        // What was acknowledged before the kill is known after it.
        for sent in &remembered {
            again(context, &bed, sent)?;
        }
        if let Some(sent) = by_hand(context, &bed, &ledger, round)? {
            remembered.push(sent);
        }
        thread::sleep(Duration::from_millis(context.rng.random_range(100..900)));
        server.kill();
        context.outcome.rounds += 1;
    }
    let server = bed.start()?;
    // The last retries need no harm to be worth something, and an end.
    through.set(bed.route.get());
    let seen = load.finish();
    let retries = library.finish();
    context.expect(retries > 0, || "the client library had to try nothing again".to_owned());
    context.expect(!seen.cut_off.is_empty() && seen.unanswered > 0, || "the proxy has cut nothing".to_owned());
    for sent in &remembered {
        again(context, &bed, sent)?;
    }
    let verdict = ledger.verify(&server.http())?;
    context.expect(verdict.in_doubt == 0, || format!("{} records stayed in doubt", verdict.in_doubt));
    context.settle(&bed, verdict);
    Ok(())
}

/// Batches by the project's own client library, which makes the keys and the retries by itself.
struct Library {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Library {
    fn start(proxy: &Proxy, ledger: &Arc<Ledger>) -> Result<Library, Stop> {
        let client = sluice_client::Client::builder(&format!("http://{}", proxy.address()))
            .retries(10_000)
            .retry_for(Duration::from_secs(120))
            .backoff(Duration::from_millis(5), Duration::from_millis(50))
            .build()
            .map_err(|error| Stop::failed(error.to_string()))?;
        let (stop, ledger) = (Arc::new(AtomicBool::new(false)), ledger.clone());
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut retries = 0;
            while !stopped.load(Ordering::Relaxed) {
                let (place, first) = ledger.send(LIBRARY, 20);
                let records = (first..first + 20).map(|number| ledger.run.record(LIBRARY, number).to_json());
                let body: String = records.map(|record| format!("{record}\n")).collect();
                match client.post_batch(sluice_client::Format::Ndjson, body.as_bytes()) {
                    Ok(receipt) => {
                        retries += u64::from(receipt.retries);
                        ledger.became(LIBRARY, place, State::Acknowledged);
                    }
                    Err(error) => ledger.complain(format!("the client library: {error}")),
                }
                thread::sleep(Duration::from_millis(10));
            }
            retries
        });
        Ok(Library { stop, thread })
    }

    /// Ends it; returns how often it tried again.
    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the client library does not panic")
    }
}

/// Makes links that lose replies whole or in half, and sometimes the second half of a request.
fn cutting(seed: u64) -> impl FnMut() -> Link + Send {
    let mut seeds = SmallRng::seed_from_u64(seed);
    move || {
        let (mut of_requests, mut of_replies) = (SmallRng::from_rng(&mut seeds), SmallRng::from_rng(&mut seeds));
        Link {
            requests: Box::new(move |bytes| match of_requests.random_range(0..200) {
                0 => Act::CutAfter(bytes[..bytes.len() / 2].to_vec()),
                _ => Act::Forward(bytes.to_vec()),
            }),
            // The server has acknowledged when its reply arrives here.
            replies: Box::new(move |bytes| match of_replies.random_range(0..100) {
                0..15 => Act::CutAfter(Vec::new()),
                15..20 => Act::CutAfter(bytes[..bytes.len() / 2].to_vec()),
                _ => Act::Forward(bytes.to_vec()),
            }),
        }
    }
}

/// A request that was acknowledged, and the reply.
struct Sent {
    key: String,
    body: Vec<u8>,
    reply: Value,
}

/// Sends one record several times at once under one key, while the first is in hand: all get the same reply.
fn by_hand(context: &mut Context, bed: &Bed, ledger: &Ledger, round: u64) -> Result<Option<Sent>, Stop> {
    let (place, first) = ledger.send(BY_HAND, 1);
    let body = ledger.run.record(BY_HAND, first).to_json().to_string().into_bytes();
    let key = format!("{}-by-hand-{round}", ledger.run.name);
    let replies: Vec<Option<Reply>> = thread::scope(|scope| {
        let senders: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| post(bed, &key, &body))).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    ledger.became(BY_HAND, place, State::Acknowledged);
    let mut bodies: Vec<String> =
        replies.iter().flatten().map(|reply| format!("{} {}", reply.status, reply.text())).collect();
    context.expect(bodies.len() == AT_ONCE, || format!("{} of {AT_ONCE} with one key were answered", bodies.len()));
    bodies.dedup();
    context
        .expect(bodies.len() == 1 && bodies[0].starts_with("202 "), || format!("one key, several replies: {bodies:?}"));
    let Some(reply) = replies.into_iter().flatten().find(|reply| reply.status == 202) else { return Ok(None) };
    let reply = serde_json::from_slice(&reply.body).map_err(|error| Stop::failed(error.to_string()))?;
    Ok(Some(Sent { key, body, reply }))
}

/// Sends an acknowledged request again: the same reply. With another body under its key: 409.
fn again(context: &mut Context, bed: &Bed, sent: &Sent) -> Result<(), Stop> {
    let reply = post(bed, &sent.key, &sent.body).ok_or_else(|| Stop::failed("a retry was not answered"))?;
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    context.expect(reply.status == 202 && body == sent.reply, || {
        format!("a retry was answered with {} {body} instead of {}", reply.status, sent.reply)
    });
    let other = post(bed, &sent.key, b"{\"message\":\"another one\"}").ok_or_else(|| Stop::failed("no answer"))?;
    context.expect(other.status == 409, || format!("a key with another body: {} {}", other.status, other.text()));
    Ok(())
}

fn post(bed: &Bed, key: &str, body: &[u8]) -> Option<Reply> {
    let mut connection = Connection::open(bed.route.get()?, Duration::from_secs(30)).ok()?;
    connection.post("/logs", &[("content-type", "application/json"), ("idempotency-key", key)], body).ok()
}
