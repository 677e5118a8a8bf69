//! What a scenario is handed: its seed, its store, places for servers, and the sum of what was found.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::ledger::{Ages, Ledger, Verdict};
use crate::options::Options;
use crate::rss::Rss;
use crate::support::mongo::MongoServer;
use crate::target::{Bed, Route, panics};

/// A store under the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    /// The embedded engine.
    Embedded,
    /// A server that speaks MongoDB's protocol.
    Mongodb,
}

impl Store {
    /// Its name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Store::Embedded => "embedded",
            Store::Mongodb => "mongodb",
        }
    }
}

/// Why a scenario ended early.
#[derive(Debug)]
pub enum Stop {
    /// The server that it needs cannot be had here.
    Skipped(String),
    /// What else it needs this machine does not have or does not allow.
    Forbidden(String),
    /// It cannot go on: the server broke a promise.
    Failed(String),
}

impl Stop {
    /// The server broke a promise.
    pub fn failed(why: impl Into<String>) -> Stop {
        Stop::Failed(why.into())
    }

    /// This machine does not have or does not allow what is needed.
    pub fn forbidden(why: impl Into<String>) -> Stop {
        Stop::Forbidden(why.into())
    }

    /// What is needed cannot be had here.
    pub fn skipped(why: impl Into<String>) -> Stop {
        Stop::Skipped(why.into())
    }
}

/// Arguments as one writes them on a command line.
pub fn words(line: &str) -> Vec<&str> {
    line.split_ascii_whitespace().collect()
}

/// What a scenario found, over all its rounds and folders.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How often harm was done.
    pub rounds: u64,
    /// The sum of the verdicts.
    pub verdict: Verdict,
}

/// What a scenario is handed.
pub struct Context {
    name: String,
    /// The long form.
    pub full: bool,
    /// Which store to run on.
    pub store: Store,
    /// The scenario's own random numbers: the same for the same `--seed`, whatever else is run.
    pub rng: SmallRng,
    /// What was found so far; [`Context::settle`] adds to it.
    pub outcome: Outcome,
    rounds: Option<u64>,
    keep: bool,
    scratch: PathBuf,
    beds: u32,
    rss: Arc<Rss>,
}

impl Context {
    /// Makes the context of one scenario on one store; its files are below `scratch`.
    pub fn new(name: &str, options: &Options, store: Store, seed: u64, scratch: &Path) -> Context {
        Context {
            name: name.to_owned(),
            full: options.full,
            store,
            rng: SmallRng::seed_from_u64(seed),
            outcome: Outcome::default(),
            rounds: options.rounds,
            keep: options.keep,
            scratch: scratch.to_owned(),
            beds: 0,
            rss: Rss::start(),
        }
    }

    /// How many rounds to do: what the command line says, else one of these.
    pub fn rounds(&self, short: u64, full: u64) -> u64 {
        self.rounds.unwrap_or(self.pick(short, full))
    }

    /// The one in the short form, the other in the long form.
    pub fn pick<T>(&self, short: T, full: T) -> T {
        if self.full { full } else { short }
    }

    /// A folder of the scenario's own, for anything; it goes when the scenario has passed.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// A fresh place for a server with the scenario's store and these further arguments. With MongoDB it has a database
    /// of its own on the shared server.
    ///
    /// # Errors
    /// [`Stop::Skipped`], if there is no server that speaks MongoDB's protocol.
    pub fn bed(&mut self, args: &[&str]) -> Result<Bed, Stop> {
        let store = match self.store {
            Store::Embedded => "embedded".to_owned(),
            Store::Mongodb => {
                let server = MongoServer::shared("torture");
                server.ok_or_else(|| Stop::skipped("no MongoDB-protocol server"))?.uri()
            }
        };
        Ok(self.bed_on(&store, args))
    }

    /// A fresh place for a server with a store of the scenario's choice.
    pub fn bed_on(&mut self, store: &str, args: &[&str]) -> Bed {
        self.beds += 1;
        let folder = self.scratch.join(format!("{:03}", self.beds));
        fs::create_dir_all(&folder).unwrap();
        let args = ["--store", store].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        Bed {
            data: folder.join("data"),
            log: folder.join("log"),
            args,
            environment: Vec::new(),
            route: Route::default(),
            rss: self.rss.clone(),
        }
    }

    /// A fresh ledger for a place's clients.
    pub fn ledger(&mut self, ages: Ages) -> Arc<Ledger> {
        Arc::new(Ledger::new(rand::Rng::random(&mut self.rng), ages))
    }

    /// The highest resident memory of its servers so far, in bytes.
    pub fn peak_rss(&self) -> u64 {
        self.rss.peak()
    }

    /// Adds what was found on a place whose server has been read back. Its folder is removed if nothing is wrong.
    pub fn settle(&mut self, bed: &Bed, mut verdict: Verdict) {
        verdict.complaints.extend(panics(&bed.log));
        let clean = verdict.is_clean() && !self.keep;
        self.outcome.verdict.add(verdict);
        if clean && let Some(folder) = bed.data.parent() {
            let _ = fs::remove_dir_all(folder);
        }
    }

    /// Prints a line about what happens.
    pub fn say(&self, what: impl Display) {
        println!("{}: {what}", self.name);
    }

    /// Notes that something is not as it must be; the scenario goes on, and fails at its end.
    pub fn complain(&mut self, what: impl Into<String>) {
        self.outcome.verdict.complain(what);
    }

    /// Notes `what` unless it is so.
    pub fn expect(&mut self, so: bool, what: impl FnOnce() -> String) {
        if !so {
            self.complain(what());
        }
    }
}
