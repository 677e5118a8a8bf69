//! The disk is full: in the spool, in a flush, in a compaction, in the manifest, and at a start.
//!
//! The data folder lies on a small disk of its own. Under load a ballast takes the room away, down to a margin that is
//! drawn anew each time and that the load uses up itself, so that now this write fails and now that one. While the disk
//! is full, batches must be refused by name and reads be answered, also after a kill and a start; when the ballast goes,
//! the server must accept again by itself.

use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::context::{Context, Outcome, Stop, Store};
use crate::ledger::Ages;
use crate::load::{Client, Load};
use crate::target::{Bed, Target};
use crate::volume::{Ballast, Volume};

/// How large the disk is: some rounds of load, and the ballast.
const VOLUME_BYTES: u64 = 96 << 20;

/// How much is left to the load, by chance.
const MARGINS: &[u64] = &[0, 0, 8 << 10, 64 << 10, 256 << 10, 1 << 20, 3 << 20];

/// How long the server may take to refuse once the disk is full, and to accept again once it is not.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(20);
const RETURN_PATIENCE: Duration = Duration::from_secs(15);

/// How many rounds share a folder.
const ROUNDS_EACH: u64 = 4;

/// Small files, so that every kind of write comes often. With a floor of zero only the reserve for draining is kept, and
/// the ballast takes that too; the last one keeps the default floor.
const SETTINGS: &[&[&str]] = &[
    &["--spool-segment-bytes", "256KiB", "--embedded-flush-rows", "500", "--spool-free-disk-floor", "0"],
    &[
        "--spool-segment-bytes",
        "1MiB",
        "--embedded-flush-rows",
        "200",
        "--embedded-flush-age",
        "100ms",
        "--spool-free-disk-floor",
        "0",
        "--spool-memory-bytes",
        "64KiB",
    ],
    &["--spool-segment-bytes", "256KiB", "--embedded-flush-rows", "1000", "--embedded-flush-age", "200ms"],
];

/// What was seen in all rounds.
#[derive(Default)]
struct Sights {
    longest_return: Duration,
    refusals: Vec<String>,
    troubles: Vec<String>,
}

/// Runs the scenario.
pub fn run(context: &mut Context) -> Result<Outcome, Stop> {
    let rounds = match context.store {
        Store::Embedded => context.rounds(3, 60),
        Store::Mongodb => context.rounds(1, 16),
    };
    let mut sights = Sights::default();
    for setting in SETTINGS.iter().cycle() {
        let left = rounds - context.outcome.rounds;
        if left == 0 {
            break;
        }
        let each = context.pick(2, ROUNDS_EACH);
        folder(context, setting, left.min(each), &mut sights)?;
    }
    println!("  accepted again {:.1} s after room came back, at the latest", sights.longest_return.as_secs_f64());
    sights.refusals.iter().for_each(|why| println!("  refused: {why}"));
    sights.troubles.iter().for_each(|why| println!("  logged: {why}"));
    Ok(std::mem::take(&mut context.outcome))
}

/// Some rounds on one folder, and the reading back of it.
fn folder(context: &mut Context, setting: &[&str], rounds: u64, sights: &mut Sights) -> Result<(), Stop> {
    let volume = Volume::mount(context.scratch(), VOLUME_BYTES)?;
    let mut bed = context.bed(setting)?;
    bed.data = volume.path().join("data");
    let ledger = context.ledger(Ages::Scattered);
    let mut server = bed.start()?;
    let load = Load::start(&bed.route, &ledger, &clients(context), &mut context.rng);
    let mut ballast = volume.ballast();
    for _ in 0..rounds {
        thread::sleep(Duration::from_millis(context.rng.random_range(50..800)));
        server = round(context, &bed, server, &load, (&volume, &mut ballast), sights)?;
        context.outcome.rounds += 1;
    }
    let seen = load.finish();
    for refusal in seen.refusals {
        let kind = refusal.split("\"detail\":").nth(1).unwrap_or(&refusal).to_owned();
        let named = ["spool.free_disk_floor", "the spool cannot write"].iter().any(|name| kind.contains(name));
        context.expect(named, || format!("a refusal that does not say why: {refusal}"));
        note(&mut sights.refusals, kind);
    }
    bed.log_text().lines().filter(|line| line.contains("No space left")).for_each(|line| {
        note(&mut sights.troubles, line.split_once(' ').map_or(line, |(_, rest)| rest).to_owned());
    });
    let verdict = ledger.verify(&server.http())?;
    context.settle(&bed, verdict);
    Ok(())
}

/// The disk fills up, stays full for a while, and is given room again.
fn round(
    context: &mut Context,
    bed: &Bed,
    server: Target,
    load: &Load,
    (volume, ballast): (&Volume, &mut Ballast),
    sights: &mut Sights,
) -> Result<Target, Stop> {
    let margin = *MARGINS.choose(&mut context.rng).unwrap();
    let refused = load.seen().refused;
    ballast.leave(volume, margin);
    let began = Instant::now();
    // What the server gives back meanwhile (settled segments, compacted ones) is taken too.
    while load.seen().refused == refused {
        ballast.leave(volume, margin.saturating_sub(began.elapsed().as_millis() as u64 * 1024));
        if began.elapsed() > REFUSAL_PATIENCE {
            return Err(Stop::failed(format!("nothing is refused though {} bytes are free", volume.free())));
        }
        thread::sleep(Duration::from_millis(10));
    }
    hold(context, &server, volume, ballast);
    let mut server = server;
    if context.rng.random_ratio(1, 2) {
        // A kill on the full disk, and a start while it is still full.
        server.kill();
        ballast.leave(volume, 0);
        server = bed.start()?;
        hold(context, &server, volume, ballast);
    }
    let accepted = load.seen().accepted;
    ballast.release();
    let released = Instant::now();
    while load.seen().accepted == accepted {
        if released.elapsed() > RETURN_PATIENCE {
            let ready = server.http().get("/ready").text().to_owned();
            return Err(Stop::failed(format!("nothing is accepted {RETURN_PATIENCE:?} after room came back: {ready}")));
        }
        thread::sleep(Duration::from_millis(5));
    }
    sights.longest_return = sights.longest_return.max(released.elapsed());
    Ok(server)
}

/// Keeps the disk full for a while, and looks at the server.
fn hold(context: &mut Context, server: &Target, volume: &Volume, ballast: &mut Ballast) {
    let period = Duration::from_millis(context.rng.random_range(200..context.pick(700, 4000)));
    let began = Instant::now();
    while began.elapsed() < period {
        ballast.leave(volume, 0);
        look(context, server);
        thread::sleep(Duration::from_millis(20));
    }
}

/// While the disk is full: reads are answered, and `/ready` says why nothing is accepted.
fn look(context: &mut Context, server: &Target) {
    let http = server.http();
    let read = http.get("/logs?limit=3");
    // The other store has nothing to do with this disk: that it is slow on a busy machine, or its breaker is not closed
    // yet after a start, is not this scenario's business.
    let elsewhere = context.store == Store::Mongodb && read.status == 503;
    context.expect(read.status == 200 || elsewhere, || {
        format!("a read on a full disk is answered with {}: {}", read.status, read.text())
    });
    let ready = http.get("/ready");
    let report = ready.json();
    let why = report["not_writable"].as_str().unwrap_or_default();
    context.expect((ready.status == 503) == (report["writable"] == false), || format!("{}: {report}", ready.status));
    let named = ["spool.free_disk_floor", "No space left"].iter().any(|name| why.contains(name));
    context.expect(ready.status == 200 || named, || format!("/ready does not say that the disk is full: {why}"));
    context.expect(http.get("/health").status == 200, || "/health fails on a full disk".to_owned());
}

/// Single records, and for the embedded store, or in the long form, batches that are faster than the flushes.
fn clients(context: &Context) -> Vec<Client> {
    let client = |records, keyed_of_4, pause_ms| Client { records, keyed_of_4, pause_ms };
    let mut clients: Vec<Client> = (0..4).map(|number| client(1..2, number, 5..20)).collect();
    if context.store == Store::Mongodb && !context.full {
        return clients;
    }
    clients.extend((0..2).map(|number| client(50..400, 2 * number, 10..40)));
    clients.push(client(1000..1500, 4, 100..200));
    clients
}

fn note(list: &mut Vec<String>, what: String) {
    // Numbers differ from one to the next; the words tell the kind.
    let kind = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    if list.len() < 12 && !list.iter().any(|known| kind(known) == kind(&what)) {
        list.push(what);
    }
}
