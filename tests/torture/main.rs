//! The attacker: it starts the real server, sends load from clients that remember what was acknowledged, does harm, and in the
//! end reads everything back and counts: missing, double, altered.
//!
//! `cargo test --test torture` is the short form, `make torture` the long one. The seed that is printed first brings the same
//! plan of attack again; when exactly a kill falls is up to the machine.
//!
//! A scenario is a file of its own and a line in [`SCENARIOS`].

// Everything here is a test, also the helpers, which clippy cannot tell.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod breakers;
mod budget;
mod context;
mod count;
mod damage;
mod damage_harm;
mod disk_full;
mod flood;
mod hand;
mod judge;
mod kill;
mod ledger;
mod load;
mod many;
mod mongo_fault;
mod mongo_proxy;
mod once;
mod options;
mod poison;
mod proxy;
mod record;
mod rss;
mod shutdown;
mod store_down;
mod table;
mod target;
mod time;
mod volume;
mod wire;

/// What the other tests stand on too, which use more of it.
#[allow(dead_code)]
#[path = "../support"]
mod support {
    pub mod http;
    pub mod mongo;
    pub mod server;
}

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Parser;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::context::{Context, Outcome, Stop, Store};
use crate::options::Options;
use crate::table::Row;

/// One way to do harm.
struct Scenario {
    name: &'static str,
    stores: &'static [Store],
    run: fn(&mut Context) -> Result<Outcome, Stop>,
}

const EMBEDDED: &[Store] = &[Store::Embedded];
const BOTH: &[Store] = &[Store::Embedded, Store::Mongodb];

/// All scenarios, in the order in which they run.
const SCENARIOS: &[Scenario] = &[
    Scenario { name: "judge", stores: &[Store::Embedded], run: judge::run },
    Scenario { name: "kill", stores: BOTH, run: kill::run },
    Scenario { name: "shutdown", stores: BOTH, run: shutdown::run },
    Scenario { name: "once", stores: BOTH, run: once::run },
    Scenario { name: "store-down", stores: &[Store::Mongodb], run: store_down::run },
    Scenario { name: "damage", stores: EMBEDDED, run: damage::run },
    Scenario { name: "poison", stores: BOTH, run: poison::run },
    Scenario { name: "time", stores: BOTH, run: time::run },
    Scenario { name: "disk-full", stores: BOTH, run: disk_full::run },
    Scenario { name: "budget", stores: BOTH, run: budget::run },
    Scenario { name: "many", stores: &[Store::Embedded], run: many::run },
];

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        SCENARIOS.iter().filter(|scenario| options.wants(scenario.name)).for_each(|s| println!("{}: test", s.name));
        return ExitCode::SUCCESS;
    }
    let unknown = options.only.iter().find(|name| SCENARIOS.iter().all(|scenario| scenario.name != name.as_str()));
    if let Some(unknown) = unknown {
        eprintln!("there is no scenario {unknown}; --list names them");
        return ExitCode::from(2);
    }
    let seed = options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("torture: seed {seed}, {} form", if options.full { "long" } else { "short" });
    let scratch = env::temp_dir().join(format!("sluice-torture-{}", std::process::id()));
    let rows = attack_all(&options, seed, &scratch);
    // Only what is left of failures keeps it from going.
    let _ = fs::remove_dir(&scratch);
    println!("\n{}", table::render(&rows));
    if rows.iter().all(Row::is_clean) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs what was asked for. In the short form the stores take turns side by side, as most of the time is spent waiting; the
/// long form has the machine for one at a time.
fn attack_all(options: &Options, seed: u64, scratch: &Path) -> Vec<Row> {
    let on = |store: Store| {
        let wanted = options.store.is_none_or(|wanted| wanted == store);
        let scenarios = SCENARIOS.iter().filter(move |s| wanted && s.stores.contains(&store) && options.wants(s.name));
        scenarios.map(|scenario| attack(scenario, store, options, seed, scratch)).collect::<Vec<Row>>()
    };
    let (embedded, mongodb) = if options.full {
        (on(Store::Embedded), on(Store::Mongodb))
    } else {
        thread::scope(|scope| {
            let other = scope.spawn(|| on(Store::Mongodb));
            (on(Store::Embedded), other.join().expect("an attack does not panic"))
        })
    };
    let mut rows: Vec<Row> = embedded.into_iter().chain(mongodb).collect();
    let place = |row: &Row| SCENARIOS.iter().position(|scenario| scenario.name == row.scenario);
    rows.sort_by_key(place);
    rows
}

/// Runs one scenario on one store, and says how it went.
fn attack(scenario: &Scenario, store: Store, options: &Options, seed: u64, scratch: &Path) -> Row {
    let name = format!("{} on {}", scenario.name, store.name());
    println!("{name} ...");
    let started = Instant::now();
    let folder = scratch.join(format!("{}-{}", scenario.name, store.name()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let own_seed = xxh3_64_with_seed(name.as_bytes(), seed);
    let mut context = Context::new(&name, options, store, own_seed, &folder);
    let ended = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&mut context)));
    let (mut outcome, mut skipped) = (std::mem::take(&mut context.outcome), None);
    match ended {
        Ok(Ok(whole)) => outcome = whole,
        Ok(Err(Stop::Forbidden(why))) => skipped = Some(why),
        Ok(Err(Stop::Skipped(why))) if !needs_all() => skipped = Some(why),
        Ok(Err(Stop::Skipped(why))) => outcome.verdict.complain(format!("{why}, but CI needs it")),
        Ok(Err(Stop::Failed(why))) => outcome.verdict.complaints.insert(0, why),
        Err(panic) => outcome.verdict.complaints.insert(0, format!("the attacker panicked: {}", message(&*panic))),
    }
    let row = Row {
        scenario: scenario.name,
        store: store.name(),
        outcome,
        skipped,
        peak_rss: context.peak_rss(),
        took: started.elapsed(),
    };
    report(&row, options, seed, &folder);
    row
}

/// Says what is wrong and how to see it again; removes the folder if nothing is.
fn report(row: &Row, options: &Options, seed: u64, folder: &Path) {
    let name = format!("{} on {}", row.scenario, row.store);
    if row.is_clean() {
        println!("{name}: {} s", row.took.as_secs());
        if !options.keep {
            let _ = fs::remove_dir_all(folder);
        }
        return;
    }
    let complaints = &row.outcome.verdict.complaints;
    let complaints: String = complaints.iter().map(|complaint| format!("  - {complaint}\n")).collect();
    let rounds = options.rounds.map(|rounds| format!(" --rounds {rounds}")).unwrap_or_default();
    let args = format!("--seed {seed} --only {} --store {}{rounds}", row.scenario, row.store);
    let again = if options.full {
        format!("make torture ARGS=\"{args}\"")
    } else {
        format!("cargo test --locked --test torture -- {args}")
    };
    // In one piece: another attack may print too.
    let kept = folder.display();
    println!("{name}: FAILED, seed {seed}; data folders and logs are kept in {kept}\n{complaints}  again: {again}");
}

/// Whether nothing may be skipped.
fn needs_all() -> bool {
    // A server that was given cannot be stopped or frozen.
    env::var("CI").as_deref() == Ok("true") && env::var_os("MONGODB_URI").is_none()
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
