//! `kill -9` at random moments, under load and during recovery itself.
//!
//! Many rounds share a folder, so that recovery meets what earlier kills have left. Folders differ in their settings: small
//! spool segments make kills fall into the roll of a segment, small flushes into flush and compaction, a small budget
//! into retention.

use std::thread;
use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::context::{Context, Outcome, Stop, Store, words};
use crate::ledger::{Ages, Ledger, Verdict};
use crate::load::{self, Client, Load};
use crate::support::http::Http;
use crate::target::Bed;

/// How a folder's server is set.
struct Setting {
    args: &'static str,
    ages: Ages,
    clients: fn(Store) -> Vec<Client>,
    /// Whether the records of clients with an odd number may be gone at the end.
    expires: bool,
}

const EMBEDDED: &[Setting] = &[
    Setting {
        args: "--spool-segment-bytes 256KiB --embedded-flush-age 100ms",
        ages: Ages::Recent,
        clients: load::mixed_for,
        expires: false,
    },
    Setting {
        args: "--spool-segment-bytes 1MiB --spool-memory-bytes 64KiB --embedded-flush-rows 200",
        ages: Ages::Scattered,
        clients: load::mixed_for,
        expires: false,
    },
    Setting {
        args: "--spool-segment-bytes 256KiB --embedded-flush-age 100ms --retention-bytes 3MiB",
        ages: Ages::Cohorts,
        clients: cohorts,
        expires: true,
    },
    Setting { args: "--spool-durability os", ages: Ages::Recent, clients: load::mixed_for, expires: false },
];

const MONGODB: &[Setting] = &[
    Setting { args: "--spool-segment-bytes 256KiB", ages: Ages::Recent, clients: load::mixed_for, expires: false },
    Setting {
        args: "--spool-segment-bytes 1MiB --spool-memory-bytes 64KiB --workers-inflight 8",
        ages: Ages::Scattered,
        clients: load::mixed_for,
        expires: false,
    },
];

/// Old records by the thousand, and few young ones, which the budget always has room for.
fn cohorts(_: Store) -> Vec<Client> {
    let client = |records, pause_ms| Client { records, keyed_of_4: 2, pause_ms };
    (0..8).map(|number| if number % 2 == 1 { client(100..1000, 50..150) } else { client(1..2, 20..60) }).collect()
}

/// Runs the scenario.
pub fn run(context: &mut Context) -> Result<Outcome, Stop> {
    let (settings, rounds) = match context.store {
        Store::Embedded => (EMBEDDED, context.rounds(20, 1000)),
        Store::Mongodb => (MONGODB, context.rounds(4, 60)),
    };
    let rounds_each = context.pick(rounds.div_ceil(settings.len() as u64), 25);
    for setting in settings.iter().cycle() {
        let left = rounds - context.outcome.rounds;
        if left == 0 {
            break;
        }
        folder(context, setting, left.min(rounds_each))?;
    }
    Ok(std::mem::take(&mut context.outcome))
}

/// Some rounds on one folder, and the reading back of it.
fn folder(context: &mut Context, setting: &Setting, rounds: u64) -> Result<(), Stop> {
    let bed = context.bed(&words(setting.args))?;
    let ledger = context.ledger(setting.ages);
    let load = Load::start(&bed.route, &ledger, &(setting.clients)(context.store), &mut context.rng);
    for _ in 0..rounds {
        round(context, &bed)?;
        context.outcome.rounds += 1;
    }
    let server = bed.start()?;
    load.finish();
    let verdict = verify(setting, &ledger, &server.http())?;
    context.expect(!setting.expires || rounds < 20 || verdict.expired > 0, || "retention deleted nothing".to_owned());
    let clean = verdict.is_clean();
    // A clean stop of what the kills have left, and a start from that.
    if clean && context.rng.random() {
        server.stop()?;
        let again = verify(setting, &ledger, &bed.start()?.http())?;
        context.expect(again.found == verdict.found || setting.expires, || {
            format!("{} records before a stop, {} after it", verdict.found, again.found)
        });
        context.settle(&bed, again);
    } else {
        context.settle(&bed, verdict);
    }
    Ok(())
}

/// One start, some load, one kill.
fn round(context: &mut Context, bed: &Bed) -> Result<(), Stop> {
    let mut server = bed.spawn();
    let recovering = context.rng.random_ratio(1, 4);
    if recovering {
        // While it starts: in the lock, the spool's recovery, the store's, the first deliveries. Most of it is over in a
        // few milliseconds, so that early moments are likelier.
        thread::sleep(Duration::from_millis(1).mul_f64(50_f64.powf(context.rng.random_range(0.0..1.0))));
    } else {
        server.wait_ready()?;
        let longest_ms = *context.pick(&[30, 200, 900][..], &[30, 200, 900, 2500]).choose(&mut context.rng).unwrap();
        thread::sleep(Duration::from_millis(context.rng.random_range(0..longest_ms)));
    }
    server.kill();
    Ok(())
}

fn verify(setting: &Setting, ledger: &Ledger, http: &Http) -> Result<Verdict, Stop> {
    ledger.verify_with(http, |client, _| setting.expires && client % 2 == 1)
}
