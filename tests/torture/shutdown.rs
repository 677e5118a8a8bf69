//! SIGTERM under load: everything acknowledged is found, no answer is cut off, and the stop ends in time with code 0, also
//! while the store is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::Rng;

use crate::context::{Context, Outcome, Stop, Store, words};
use crate::ledger::{Ages, Ledger, State};
use crate::load::{self, Load};
use crate::support::mongo::MongoServer;
use crate::target::{Bed, Route, Target};
use crate::wire::{Connection, Lost};

const ARGS: &str = "--shutdown-timeout 3s --spool-segment-bytes 1MiB --embedded-flush-rows 2000 --workers-inflight 4";

/// The limit that `ARGS` set, and a little more for a busy machine to end the process in.
const LIMIT: Duration = Duration::from_secs(3 + 4);

/// How many rounds share a folder: each harm once, as a server of the tests is slow to sort what it has.
const ROUNDS_EACH: u64 = 5;

/// The client of whom the ledger knows as the one with requests that are half sent at the signal.
const HALF_SENT: usize = 90;

/// What happens to the store before a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    None,
    Frozen,
    Down,
}

/// Runs the scenario.
pub fn run(context: &mut Context) -> Result<Outcome, Stop> {
    let rounds = match context.store {
        Store::Embedded => context.rounds(4, 100),
        Store::Mongodb => context.rounds(2, 100),
    };
    // Only a server of our own may be stopped; with one that was given the rest still holds.
    let mut mongo = match context.store {
        Store::Embedded => None,
        Store::Mongodb => MongoServer::start("torture: shutdown"),
    };
    while context.outcome.rounds < rounds {
        let left = rounds - context.outcome.rounds;
        folder(context, mongo.as_mut(), left.min(ROUNDS_EACH))?;
    }
    Ok(std::mem::take(&mut context.outcome))
}

fn folder(context: &mut Context, mut mongo: Option<&mut MongoServer>, rounds: u64) -> Result<(), Stop> {
    let bed = match &mongo {
        Some(mongo) => context.bed_on(&mongo.uri(), &words(ARGS)),
        None => context.bed(&words(ARGS))?,
    };
    let ledger = context.ledger(Ages::Recent);
    let load = Load::start(&bed.route, &ledger, &load::mixed_for(context.store), &mut context.rng);
    let readers = Readers::start(&bed.route, &ledger, context.store);
    for round in 0..rounds {
        let harm = match (&mongo, round % 5) {
            (Some(_), 0) => Harm::Down,
            (Some(_), 2) => Harm::Frozen,
            _ => Harm::None,
        };
        stop_once(context, &bed, &ledger, mongo.as_deref_mut(), harm)?;
        context.outcome.rounds += 1;
    }
    let server = bed.start()?;
    let seen = load.finish();
    readers.finish();
    for how in seen.cut_off.iter().take(5) {
        context.complain(format!("an answer to a writer was cut off: {how}"));
    }
    let verdict = ledger.verify(&server.http())?;
    context.settle(&bed, verdict);
    Ok(())
}

/// A start, load for a while, the signal, and the wait for the end.
fn stop_once(
    context: &mut Context,
    bed: &Bed,
    ledger: &Arc<Ledger>,
    mongo: Option<&mut MongoServer>,
    harm: Harm,
) -> Result<(), Stop> {
    let mut server = bed.start()?;
    thread::sleep(Duration::from_millis(context.rng.random_range(50..700)));
    let mut mongo = mongo.filter(|_| harm != Harm::None);
    if let Some(mongo) = &mut mongo {
        match harm {
            Harm::Frozen => mongo.freeze(),
            _ => mongo.stop(),
        }
        thread::sleep(Duration::from_millis(context.rng.random_range(0..1500)));
    }
    let half_sent = HalfSent::begin(&server, ledger)?;
    server.signal("TERM");
    let asked = Instant::now();
    thread::sleep(Duration::from_millis(context.rng.random_range(0..300)));
    half_sent.finish(context, ledger);
    let status = server.wait(LIMIT + Duration::from_secs(30))?;
    let took = asked.elapsed();
    context.expect(status.success(), || format!("a stop ended with {status}, {harm:?}"));
    context.expect(took < LIMIT, || format!("a stop took {took:?}, {harm:?}"));
    let log = server.own_log();
    context.expect(log.contains("stopped"), || format!("a stop was not logged, {harm:?}"));
    if let Some(mongo) = mongo {
        match harm {
            Harm::Frozen => mongo.thaw(),
            _ => mongo.start_again(),
        }
    }
    Ok(())
}

/// A request whose head and half of whose body the server has when the signal comes.
struct HalfSent {
    connection: Connection,
    place: usize,
    rest: Vec<u8>,
}

impl HalfSent {
    fn begin(server: &Target, ledger: &Ledger) -> Result<HalfSent, Stop> {
        let (place, first) = ledger.send(HALF_SENT, 1);
        let body = ledger.run.record(HALF_SENT, first).to_json().to_string().into_bytes();
        let (half, rest) = body.split_at(body.len() / 2);
        let head = format!(
            "POST /logs HTTP/1.1\r\nhost: torture\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let opened = Connection::open(server.address(), Duration::from_secs(20));
        let mut connection = opened.map_err(|_| Stop::failed("a running server does not take a connection"))?;
        let written = connection.write(head.as_bytes());
        // Only that tells that the server has the request in hand, and not the kernel on its behalf.
        let begun =
            written.map_err(|error| Lost::Unanswered(error.to_string())).and_then(|()| connection.read_continue());
        begun.map_err(|lost| Stop::failed(format!("a running server does not take a request: {lost:?}")))?;
        connection
            .write(half)
            .map_err(|error| Stop::failed(format!("a running server does not take a body: {error}")))?;
        Ok(HalfSent { connection, place, rest: rest.to_vec() })
    }

    /// Sends the rest: the answer is whole, and an acceptance or a refusal.
    fn finish(mut self, context: &mut Context, ledger: &Ledger) {
        let _ = self.connection.write(&self.rest);
        let state = match self.connection.read_reply() {
            Ok(reply) if reply.status == 202 => State::Acknowledged,
            Ok(reply) => {
                context.expect(reply.status == 503, || format!("amid a stop: {} {}", reply.status, reply.text()));
                State::Refused
            }
            Err(lost) => {
                context.complain(format!("a request in hand at a stop got no whole answer: {lost:?}"));
                State::InDoubt
            }
        };
        ledger.became(HALF_SENT, self.place, state);
    }
}

/// Clients that read streams all the time.
struct Readers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start(route: &Route, ledger: &Arc<Ledger>, store: Store) -> Readers {
        // The server that the tests bring along takes seconds to sort everything.
        let path = if store == Store::Embedded { "/logs/retrieve" } else { "/logs/retrieve?limit=500" };
        let stop = Arc::new(AtomicBool::new(false));
        let reader = |_| {
            let (stop, route, ledger) = (stop.clone(), route.clone(), ledger.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    read_once(&route, &ledger, path);
                    thread::sleep(Duration::from_millis(20));
                }
            })
        };
        Readers { threads: (0..2).map(reader).collect(), stop }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Reads a stream of all records: it comes whole, or is refused.
fn read_once(route: &Route, ledger: &Ledger, path: &str) {
    let Some(address) = route.get() else { return };
    let Ok(mut connection) = Connection::open(address, Duration::from_secs(30)) else { return };
    match connection.get(path, &[("accept", "application/x-ndjson")]) {
        Ok(reply) if reply.status == 200 && !reply.body.is_empty() && !reply.body.ends_with(b"\n") => {
            ledger.complain("a stream ended within a line");
        }
        Ok(reply) if [200, 503].contains(&reply.status) => {}
        Ok(reply) => ledger.complain(format!("a read was answered with {}: {}", reply.status, reply.text())),
        Err(Lost::CutOff(how)) => ledger.complain(format!("a stream was cut off: {how}")),
        Err(_) => {}
    }
}
