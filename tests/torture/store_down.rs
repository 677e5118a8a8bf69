//! The store away: stopped, frozen, killed amid writes, slow, or no primary any more. Writers notice nothing, reads are refused
//! at once while the breaker is open, and afterwards the urgent records come first and all come once.

use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::Value;

use crate::breakers;
use crate::context::{Context, Outcome, Stop, words};
use crate::ledger::{Ages, Ledger, drained};
use crate::load::{Client, Load};
use crate::mongo_proxy::{MongoProxy, Mood};
use crate::record::FAT_CLIENT;
use crate::rss;
use crate::support::http::Http;
use crate::support::mongo::MongoServer;
use crate::target::{Bed, Target};

const ARGS: &str = "--spool-memory-bytes 4MiB --spool-segment-bytes 1MiB --breaker-backoff-max 2s \
                    --mongodb-write-timeout 2s";

/// How much resident memory may grow in an outage, in which the spool grows without end.
const RSS_GROWTH_MAX: u64 = 64 << 20;

/// How long a read that is refused may take.
const REFUSAL_MAX: Duration = Duration::from_millis(50);

/// How long the breaker may take to open: timeouts of the driver, three times.
const OPENING_MAX: Duration = Duration::from_secs(30);

/// Runs the scenario.
pub fn run(context: &mut Context) -> Result<Outcome, Stop> {
    let Some(mut mongo) = MongoServer::start("torture: store-down") else {
        return Err(Stop::skipped("no MongoDB-protocol server that may be stopped"));
    };
    for _ in 0..context.rounds(1, 2) {
        // First, because the server of the tests recovers slowly from a kill once it has much. For each harm a database
        // of its own, because it is slow to sort what it has.
        killed(context, &mut mongo)?;
        stopped(context, &mut mongo)?;
        // A test of its own freezes one too, in less time.
        if context.full {
            frozen(context, &mongo)?;
        }
        behind_proxy(context, &mongo)?;
    }
    Ok(std::mem::take(&mut context.outcome))
}

/// Clients of every lane, slow enough for the server of the tests to catch up with them: it takes a block of one record as
/// long as one of a hundred.
fn clients() -> Vec<Client> {
    let client = |records, keyed_of_4, pause_ms| Client { records, keyed_of_4, pause_ms };
    let small = (0..8).map(|number| client(1..2, number % 5, 120..400));
    small.chain((0..4).map(|number| client(1..60, number, 400..1200))).collect()
}

/// The server killed amid writes, again and again.
fn killed(context: &mut Context, mongo: &mut MongoServer) -> Result<(), Stop> {
    let bed = context.bed_on(&mongo.uri(), &words(ARGS));
    let scene = Scene::start(context, bed)?;
    for _ in 0..context.pick(1, 10) {
        thread::sleep(Duration::from_millis(context.rng.random_range(100..900)));
        mongo.kill();
        mongo.start_again();
        context.outcome.rounds += 1;
    }
    scene.wait_closed()?;
    scene.finish(context)
}

/// The server stopped, and started again.
fn stopped(context: &mut Context, mongo: &mut MongoServer) -> Result<(), Stop> {
    let bed = context.bed_on(&mongo.uri(), &words(ARGS));
    let scene = Scene::start(context, bed)?;
    let length = Duration::from_secs(context.pick(1, 60));
    mongo.stop();
    scene.endure(context, "stopped", length)?;
    mongo.start_again();
    scene.recover(context, "stopped", length)?;
    scene.finish(context)
}

/// The server frozen: connections stay open, nothing is answered.
fn frozen(context: &mut Context, mongo: &MongoServer) -> Result<(), Stop> {
    let bed = context.bed_on(&mongo.uri(), &words(ARGS));
    let scene = Scene::start(context, bed)?;
    let length = Duration::from_secs(30);
    mongo.freeze();
    let endured = scene.endure(context, "frozen", length);
    mongo.thaw();
    endured?;
    scene.recover(context, "frozen", length)?;
    scene.finish(context)
}

/// The server slow, and no primary any more.
fn behind_proxy(context: &mut Context, mongo: &MongoServer) -> Result<(), Stop> {
    let uri = mongo.uri();
    let address = uri.trim_start_matches("mongodb://").split('/').next().unwrap_or_default();
    let address = address.to_socket_addrs().ok().and_then(|mut all| all.next());
    let proxy = MongoProxy::start(address.ok_or_else(|| Stop::failed(format!("no address in {uri}")))?);
    let bed = context.bed_on(&proxy.uri(&uri), &words(ARGS));
    let scene = Scene::start(context, bed)?;
    let length = Duration::from_secs(context.pick(1, 30));

    proxy.set(Mood::Slow);
    scene.slow(context, length);
    proxy.set(Mood::NotPrimary);
    let endured = scene.endure(context, "not primary", length);
    proxy.set(Mood::Fair);
    endured?;
    scene.recover(context, "not primary", length)?;
    scene.finish(context)
}

/// A server under load.
struct Scene {
    bed: Bed,
    server: Target,
    http: Http,
    ledger: Arc<Ledger>,
    loads: [Load; 2],
}

impl Scene {
    fn start(context: &mut Context, bed: Bed) -> Result<Scene, Stop> {
        let server = bed.start()?;
        let ledger = context.ledger(Ages::Recent);
        let fat = Client { records: 1..3, keyed_of_4: 2, pause_ms: 150..400 };
        let loads = [
            Load::start(&bed.route, &ledger, &clients(), &mut context.rng),
            Load::start_from(FAT_CLIENT, &bed.route, &ledger, &[fat], &mut context.rng),
        ];
        let http = server.http();
        let scene = Scene { bed, server, http, ledger, loads };
        thread::sleep(Duration::from_secs(1));
        Ok(scene)
    }

    /// Watches the server for as long as its store is away: writers, readers, memory.
    fn endure(&self, context: &mut Context, harm: &str, length: Duration) -> Result<(), Stop> {
        let (began, rss_before) = (Instant::now(), rss::now(self.server.id()).unwrap_or(0));
        let accepted_before = self.ledger.acknowledged();
        // Failing writes open their breaker, and then that of the reads.
        while ["store", "query"].iter().any(|pool| self.breaker(pool) == "closed") {
            if began.elapsed() > OPENING_MAX {
                return Err(Stop::failed(format!("{harm}: the breakers do not open")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let opened = Instant::now();
        let mut refusals = Vec::new();
        while opened.elapsed() < length {
            refusals.extend(self.refused_read(context, harm));
            thread::sleep(Duration::from_millis(100));
        }
        refusals.sort();
        // A machine with more to do than cores may hold up one or the other.
        let usual = refusals.get(refusals.len() * 3 / 4).copied();
        context.expect(usual.is_some_and(|took| took < REFUSAL_MAX), || {
            format!("{harm}: reads are refused after {usual:?}, of {}", refusals.len())
        });
        let ready = self.http.get("/ready");
        context.expect(ready.status == 200 && ready.json()["writable"] == true, || format!("{harm}: {}", ready.text()));
        let accepted = self.ledger.acknowledged() - accepted_before;
        context.expect(accepted > 0, || format!("{harm}: nothing was accepted"));
        let grown = rss::now(self.server.id()).unwrap_or(0).saturating_sub(rss_before);
        context.expect(grown < RSS_GROWTH_MAX, || format!("{harm}: memory grew by {} MiB", grown >> 20));
        context.say(format_args!(
            "{harm}: opened after {:.1} s, {accepted} accepted in {:.1} s, reads refused in {:?}, spool {} MiB, memory +{} MiB",
            (opened - began).as_secs_f64(),
            began.elapsed().as_secs_f64(),
            usual.unwrap_or_default(),
            ready.json()["spool"]["bytes"].as_u64().unwrap_or(0) >> 20,
            grown >> 20,
        ));
        context.outcome.rounds += 1;
        Ok(())
    }

    /// How long it took to refuse a read, if the breaker was open all the while.
    fn refused_read(&self, context: &mut Context, harm: &str) -> Option<Duration> {
        let asked = Instant::now();
        let answer = self.http.get("/logs?limit=1");
        let took = asked.elapsed();
        if answer.status != 503 {
            // The store cannot have answered: only a breaker that closed too early lets this through.
            context.complain(format!("{harm}: a read was answered with {} {}", answer.status, answer.text()));
            return None;
        }
        context.expect(answer.headers.contains_key("retry-after"), || format!("{harm}: a 503 without Retry-After"));
        Some(took)
    }

    /// Waits until what came in the outage is in the store, while the load goes on: the urgent lane first, bulk too.
    fn recover(&self, context: &mut Context, harm: &str, length: Duration) -> Result<(), Stop> {
        let (began, limit) = (Instant::now(), 6 * length + Duration::from_secs(120));
        let lane_bytes = |ready: &Value, lane: &str| ready["spool"]["lanes"][lane]["bytes"].as_u64().unwrap_or(0);
        let backlog = self.http.get("/ready").json();
        // No lane starves: a handful of bulk may well be through before much that is urgent.
        let decides = lane_bytes(&backlog, "bulk") > lane_bytes(&backlog, "urgent");
        let mut caught_up: [Option<Duration>; 3] = [None; 3];
        while caught_up.contains(&None) {
            let ready = self.http.get("/ready").json();
            let lanes = &ready["spool"]["lanes"];
            for (at, lane) in ["urgent", "normal", "bulk"].iter().enumerate() {
                // What is younger than the recovery did not wait for it.
                let waited = lanes[lane]["lag_seconds"].as_f64().unwrap_or(f64::MAX) > began.elapsed().as_secs_f64();
                if !waited && caught_up[at].is_none() {
                    caught_up[at] = Some(began.elapsed());
                }
            }
            if began.elapsed() > limit {
                return Err(Stop::failed(format!("{harm}: not caught up after {limit:?}: {lanes}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let [urgent, _, bulk] = caught_up.map(Option::unwrap_or_default);
        context.expect(urgent <= bulk || !decides, || {
            format!("{harm}: urgent caught up after {urgent:?}, bulk after {bulk:?}")
        });
        context.say(format_args!("{harm}: urgent caught up after {urgent:.1?}, bulk after {bulk:.1?}"));
        self.wait_closed()
    }

    /// A slow store is still a store: the breakers stay closed, and reads are answered.
    fn slow(&self, context: &mut Context, length: Duration) {
        let began = Instant::now();
        while began.elapsed() < length {
            let answer = self.http.get("/logs?limit=1");
            context.expect(answer.status == 200, || format!("slow: a read was answered with {}", answer.text()));
        }
        let opened = breakers::transitions(&self.server.own_log()).len();
        context.expect(opened == 0, || "slow: a breaker opened".to_owned());
        context.outcome.rounds += 1;
    }

    fn breaker(&self, pool: &str) -> String {
        let ready: Value = self.http.get("/ready").json();
        ready["breakers"][pool]["state"].as_str().unwrap_or_default().to_owned()
    }

    fn wait_closed(&self) -> Result<(), Stop> {
        let began = Instant::now();
        while ["store", "query"].iter().any(|pool| self.breaker(pool) != "closed") {
            if began.elapsed() > OPENING_MAX {
                return Err(Stop::failed("a breaker does not close"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends the load and reads everything back. No writer may have noticed anything.
    fn finish(self, context: &mut Context) -> Result<(), Stop> {
        for load in self.loads {
            let seen = load.finish();
            context.expect(seen.refused == 0, || format!("writers were refused: {:?}", seen.refusals));
            let lost = seen.unanswered + seen.cut_off.len() as u64;
            context.expect(lost == 0, || format!("{lost} writers got no answer"));
            context.expect(seen.slowest < Duration::from_secs(5), || format!("a writer waited {:?}", seen.slowest));
        }
        drained(&self.http)?;
        let metrics = self.http.get("/metrics");
        for complaint in breakers::check(&self.server.own_log(), metrics.text()) {
            context.complain(complaint);
        }
        let verdict = self.ledger.verify(&self.http)?;
        context.settle(&self.bed, verdict);
        Ok(())
    }
}
