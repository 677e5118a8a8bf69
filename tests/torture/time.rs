//! Clocks that are wrong: the server's is set a day back or forward, at a restart and while it runs, and its senders'
//! records are of 1970, of 2200 and of everything between.
//!
//! `libfaketime` stands between the server and the system's clock; the monotonic clock is left as it is, as it is when a
//! clock is set.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::Rng;

use crate::context::{Context, Outcome, Stop, Store, words};
use crate::hand::{metric, send, wait, walk};
use crate::ledger::{Ages, Ledger, State, drained};
use crate::load::{self, Load};
use crate::proxy::{Act, Link, Proxy};
use crate::support::http::Http;
use crate::target::{Bed, Target};

const DAY_S: i64 = 86_400;

/// Where the server's clock is led, in seconds from the true time, and whether at a restart. Forward at a restart would
/// be a day in which the server was off: keys are forgotten then.
const ROAD: &[(i64, bool)] = &[(-DAY_S, false), (DAY_S, false), (0, true), (-DAY_S, true), (0, false)];

const ARGS: &str = "--spool-segment-bytes 256KiB --embedded-flush-rows 500 --embedded-flush-age 150ms";
const RETENTION: &str = "--embedded-flush-age 100ms --retention-days 7";
const OUTAGE: &str = "--breaker-backoff-min 500ms --breaker-backoff-max 1s --mongodb-write-timeout 2s";

/// The clients of the records that are sent by hand.
const KEYED: usize = 90;
const BEFORE: usize = 0;
const AFTER: usize = 1;

/// Runs the scenario.
pub fn run(context: &mut Context) -> Result<Outcome, Stop> {
    let clock = Clock::find(context.scratch())?;
    let rounds = context.rounds(1, 10);
    for _ in 0..rounds {
        leaps(context, &clock)?;
        context.outcome.rounds += 1;
    }
    // The wait for retention is a minute with MongoDB, that for its breaker some seconds.
    if context.store == Store::Embedded || context.full {
        retention(context, &clock)?;
    }
    if context.store == Store::Mongodb && context.full {
        outage(context, &clock)?;
    }
    Ok(std::mem::take(&mut context.outcome))
}

/// Load, while the clock leaps and the server is killed and started again; then a walk through all pages.
fn leaps(context: &mut Context, clock: &Clock) -> Result<(), Stop> {
    clock.set(0);
    let bed = clock.bed(context.bed(&words(ARGS))?);
    let ledger = context.ledger(Ages::Wild);
    let load = Load::start(&bed.route, &ledger, &load::mixed_for(context.store), &mut context.rng);
    let mut server = bed.start()?;
    let (place, _) = ledger.send(KEYED, 1);
    let first = keyed(&server.http(), &ledger)?;
    ledger.became(KEYED, place, State::Acknowledged);
    for (offset, at_restart) in ROAD {
        thread::sleep(Duration::from_millis(context.rng.random_range(200..500)));
        if *at_restart {
            server.kill();
            clock.set(*offset);
            server = bed.start()?;
        } else {
            clock.set(*offset);
        }
        let again = keyed(&server.http(), &ledger)?;
        context.expect(again == first, || format!("the clock leapt to {offset} s, and a retry gave {again}"));
    }
    load.finish();
    let http = server.http();
    drained(&http)?;
    let found = walks(&http, clock)?;
    let verdict = ledger.verify(&http)?;
    context.expect(found as u64 == verdict.found, || {
        format!("{found} records on the pages, {} in a stream", verdict.found)
    });
    context.settle(&bed, verdict);
    Ok(())
}

/// Sends the one record with a key; returns its id.
fn keyed(http: &Http, ledger: &Ledger) -> Result<String, Stop> {
    let key = format!("{}-once", ledger.run.name);
    let body = ledger.run.record(KEYED, 0).to_json().to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
    let answer = http.post_with("/logs", body.as_bytes(), &headers);
    match answer.json()["id"].as_str() {
        Some(id) if answer.status == 202 => Ok(id.to_owned()),
        _ => Err(Stop::failed(format!("a keyed record: {} {}", answer.status, answer.text()))),
    }
}

/// Walks in both orders while the clock goes its road; returns how many records there are.
fn walks(http: &Http, clock: &Clock) -> Result<usize, Stop> {
    let leap = |page: usize| clock.set(ROAD[page % ROAD.len()].0);
    let mut ascending = walk(http, "asc", 700, leap)?;
    let mut descending = walk(http, "desc", 700, leap)?;
    clock.set(0);
    ascending.sort_unstable();
    descending.sort_unstable();
    if ascending != descending {
        let (up, down) = (ascending.len(), descending.len());
        return Err(Stop::failed(format!("{up} records upwards, {down} downwards, or others")));
    }
    Ok(ascending.len())
}

/// What has just arrived survives a leap over the whole retention; what the clock says is old goes, also what claims to be
/// from 2200.
fn retention(context: &mut Context, clock: &Clock) -> Result<(), Stop> {
    clock.set(0);
    let bed = clock.bed(context.bed(&words(RETENTION))?);
    let ledger = context.ledger(Ages::Wild);
    let server = bed.start()?;
    send(&server.http(), &ledger, BEFORE, 400)?;
    kept_house(context, &server)?;
    clock.set(8 * DAY_S);
    send(&server.http(), &ledger, AFTER, 1)?;
    kept_house(context, &server)?;
    let verdict = ledger.verify(&server.http())?;
    context.expect(verdict.is_clean(), || format!("what had just arrived was deleted: {verdict:?}"));
    // The server cannot know that the week did not pass while it was off, and something has arrived since.
    server.kill();
    let server = bed.start()?;
    let mut patience = 0..if context.store == Store::Mongodb { 100 } else { 20 };
    let left = loop {
        send(&server.http(), &ledger, AFTER, 1)?;
        kept_house(context, &server)?;
        let left = walk(&server.http(), "asc", 1000, |_| {})?.len();
        if left < 400 || patience.next().is_none() {
            break left;
        }
        thread::sleep(Duration::from_secs(1));
    };
    context.expect(left < 400, || format!("{left} records are left a day after their time"));
    let verdict = ledger.verify_with(&server.http(), |client, _| client == BEFORE)?;
    context.expect(verdict.expired == 400, || format!("{} of 400 are gone, also those of 2200", verdict.expired));
    context.settle(&bed, verdict);
    Ok(())
}

/// Waits until what was sent is durable in the store, after which the embedded one keeps house.
fn kept_house(context: &Context, server: &Target) -> Result<(), Stop> {
    let http = server.http();
    drained(&http)?;
    if context.store == Store::Embedded {
        wait("a flush", Duration::from_secs(30), || metric(&http, "sluice_store_memory_rows") == 0.0)?;
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// The store goes away and comes back while the clock leaps: the breaker's waits are those of the monotonic clock.
fn outage(context: &mut Context, clock: &Clock) -> Result<(), Stop> {
    clock.set(0);
    let server = crate::support::mongo::MongoServer::shared("torture");
    let uri = server.ok_or_else(|| Stop::skipped("no MongoDB-protocol server"))?.uri();
    let (proxy, up) = switched(&uri)?;
    let through = uri.replace(&authority(&uri), &proxy.address().to_string());
    let bed = clock.bed(context.bed_on(&through, &words(OUTAGE)));
    let ledger = context.ledger(Ages::Recent);
    let server = bed.start()?;
    let http = server.http();
    let state = || http.get("/ready").json()["breakers"]["store"]["state"].clone();
    for offset in [DAY_S, -DAY_S] {
        send(&http, &ledger, BEFORE, 50)?;
        drained(&http)?;
        up.store(false, Ordering::Relaxed);
        send(&http, &ledger, BEFORE, 50)?;
        wait("the breaker to open", Duration::from_secs(40), || state() != "closed")?;
        clock.set(offset);
        up.store(true, Ordering::Relaxed);
        wait("the breaker to close", Duration::from_secs(20), || state() == "closed")?;
    }
    clock.set(0);
    let verdict = ledger.verify(&http)?;
    context.settle(&bed, verdict);
    Ok(())
}

/// A proxy to the server of a URI which can be switched off.
fn switched(uri: &str) -> Result<(Proxy, Arc<AtomicBool>), Stop> {
    let upstream = authority(uri).parse().map_err(|_| Stop::skipped("the MongoDB server has no plain address"))?;
    let up = Arc::new(AtomicBool::new(true));
    let (of_server, of_links) = (up.clone(), up.clone());
    let proxy = Proxy::start(
        move || of_server.load(Ordering::Relaxed).then_some(upstream),
        move || {
            let pass = |up: Arc<AtomicBool>| {
                move |bytes: &[u8]| match up.load(Ordering::Relaxed) {
                    true => Act::Forward(bytes.to_vec()),
                    false => Act::CutAfter(Vec::new()),
                }
            };
            Link { requests: Box::new(pass(of_links.clone())), replies: Box::new(pass(of_links.clone())) }
        },
    );
    Ok((proxy, up))
}

/// The host and port of a URI.
fn authority(uri: &str) -> String {
    let (_, rest) = uri.split_once("://").unwrap_or(("", uri));
    rest.split(['/', '?']).next().unwrap_or_default().to_owned()
}

/// The server's clock.
struct Clock {
    library: PathBuf,
    file: PathBuf,
    writes: Cell<u32>,
}

impl Clock {
    fn find(scratch: &Path) -> Result<Clock, Stop> {
        let library = library().ok_or_else(|| Stop::forbidden("faketime is not installed"))?;
        let clock = Clock { library, file: scratch.join("clock"), writes: Cell::new(0) };
        clock.set(0);
        Ok(clock)
    }

    /// Sets it this many seconds from the true time.
    fn set(&self, offset_s: i64) {
        let next = self.file.with_extension(self.writes.replace(self.writes.get() + 1).to_string());
        fs::write(&next, format!("{offset_s:+}\n")).unwrap();
        // Half a number would be another time.
        fs::rename(&next, &self.file).unwrap();
    }

    /// A place whose servers go by it.
    fn bed(&self, mut bed: Bed) -> Bed {
        let path = |path: &Path| path.display().to_string();
        let set = |name: &str, value: String| (name.to_owned(), value);
        bed.environment.extend([
            set("LD_PRELOAD", path(&self.library)),
            set("FAKETIME_TIMESTAMP_FILE", path(&self.file)),
            set("FAKETIME_NO_CACHE", "1".to_owned()),
            set("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            set("NO_FAKE_STAT", "1".to_owned()),
        ]);
        bed
    }
}

/// Where distributions put it.
fn library() -> Option<PathBuf> {
    let mut folders = vec![PathBuf::from("/usr/local/lib"), PathBuf::from("/usr/lib64"), PathBuf::from("/usr/lib")];
    let below = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    folders.extend(below.filter(|path| path.is_dir()));
    folders.into_iter().map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file())
}
