//! `sluice import`: sends files to a running server, once.
//!
//! A file is cut into chunks, which are posted in order. Each has an `Idempotency-Key` made of the file, its place in it
//! and its bytes, and how far a file is done stands in a file of state ([`state`]). So a run that was cut short, in
//! whatever way, goes on where it was; the one chunk that may have been on its way is sent as the same request again,
//! which the server knows for `spool.idempotency_window` (an hour). A file that is done is not sent again, but what it
//! has grown by is; `--again` sends it once more.
//!
//! A chunk is accepted whole. If the server refuses records of it, they are reported with their lines and the rest is
//! posted again without them.

mod chunk;
mod csv;
mod json;
mod reader;
mod rejects;
mod source;
mod state;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io};

use clap::{Args, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use sluice_client::Client;

use self::chunk::{Chunk, Sender};
use self::reader::{Options, Reader};
use self::rejects::Rejects;
use self::state::{Identity, State};
use super::ask::ZoneArgs;
use super::failure::Failure;
use super::progress;
use super::server::ServerArgs;
use super::terminal::escape;

/// How long a server may be away before a run gives up; another one goes on.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the help says about exit codes.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 all is imported, 1 some lines are refused and reported, 64 a bad command line, 65 another import of the file is at work, 69 the server takes nothing now (run it again), 74 a file cannot be read or written, 130 interrupted (run it again).";

/// `sluice import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The files, also compressed with gzip or zstd; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// What is in them; auto goes by the name and the first bytes
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: FormatChoice,
    /// The service of records that name none
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Write the lines that are refused here too, as a JSON object each with file, line, reason and text
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
    /// Send files again that are done already, from their beginning
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    zone: ZoneArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum FormatChoice {
    /// By the file's name, else its first bytes.
    #[default]
    Auto,
    /// JSON objects: a line each, one after the other, or in an array.
    Json,
    /// A message a line; a time and a level at its beginning are understood.
    Text,
    /// A table with a header, whose columns become fields.
    Csv,
}

/// What came of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    /// Records that the server has accepted now.
    accepted: u64,
    /// Lines that are no records, or that the server refused.
    refused: u64,
}

impl ImportArgs {
    /// Imports the files, one after the other.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let (client, url) = self.server.client(|builder| builder.retry_for(PATIENCE))?;
        let stop = stop_flag();
        let mut rejects = Rejects::open(self.rejected.as_deref())?;
        let mut refused = 0;
        for path in &self.files {
            let mut import = Import { args: self, client: &client, url: &url, stop: &stop, rejects: &mut rejects };
            refused += import.file(path)?.refused;
        }
        if refused > 0 { Err(Failure::found_wrong()) } else { Ok(()) }
    }

    /// What the records of a file depend on, beside its bytes.
    fn fingerprint(&self, url: &str) -> String {
        format!("{url}\n{:?}\n{:?}\n{}", self.format, self.service, self.zone.zone().name())
    }
}

/// One run over a file.
struct Import<'a> {
    args: &'a ImportArgs,
    client: &'a Client,
    url: &'a str,
    stop: &'a AtomicBool,
    rejects: &'a mut Rejects,
}

impl Import<'_> {
    fn file(&mut self, path: &Path) -> Result<Totals, Failure> {
        let mut state = self.state(path)?;
        let mut totals = Totals::default();
        if !self.pass(path, &mut state, &mut totals)? {
            eprintln!("sluice: {}: another file than the one before; it is imported from its beginning", shown(path));
            state.begin_anew()?;
            self.pass(path, &mut state, &mut totals)?;
        }
        let before = if totals == Totals::default() && state.is_resumed() {
            ": nothing new (--again sends it again)"
        } else {
            ""
        };
        let s = |count: u64| if count == 1 { "" } else { "s" };
        let Totals { accepted, refused } = totals;
        eprintln!(
            "sluice: {}: {accepted} record{} imported, {refused} line{} refused{before}",
            shown(path),
            s(accepted),
            s(refused)
        );
        Ok(totals)
    }

    fn state(&self, path: &Path) -> Result<State, Failure> {
        if path == Path::new("-") {
            return Ok(State::none());
        }
        let found = Identity::of(path, &self.args.fingerprint(self.url));
        let identity = found.map_err(|error| Failure::file(path, &error))?;
        let mut state = State::open(identity)?;
        if self.args.again {
            state.begin_again()?;
        }
        Ok(state)
    }

    /// Goes through the file once and sends what is not done; false if what is done is not what the file begins with.
    fn pass(&mut self, path: &Path, state: &mut State, totals: &mut Totals) -> Result<bool, Failure> {
        let of_file = |error: io::Error| Failure::file(path, &error);
        let options =
            Options { format: self.args.format, service: self.args.service.as_deref(), zone: self.args.zone.zone() };
        let source = source::open(path).map_err(of_file)?;
        let read = source.counter();
        let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
        let progress = if size > 0 { progress::through(&shown(path), size) } else { progress::bytes() };
        let mut reader = Reader::new(source, path, options).map_err(of_file)?;
        if !reader.skip_to(state.done_bytes()).map_err(of_file)? || !state.matches(reader.digest()) {
            return Ok(false);
        }
        let mut sender = Sender { client: self.client, url: self.url, stop: self.stop, accepted: 0 };
        let mut chunk = Chunk::default();
        loop {
            let end = state.sending_bytes();
            if !chunk.fill(&mut reader, end).map_err(of_file)? {
                break;
            }
            progress.set_position(read.get());
            state.note_sending(reader.position())?;
            let bad = sender.send(&chunk, |place, body| state.key(place, body), &mut pausing(self.stop))?;
            totals.refused += bad.len() as u64;
            progress.suspend(|| self.rejects.tell(path, &chunk, &bad))?;
            state.note_done(reader.position(), reader.digest())?;
            totals.accepted += std::mem::take(&mut sender.accepted);
            if self.stop.load(Ordering::Relaxed) {
                progress.finish_and_clear();
                return Err(Failure::interrupted(format!("{}: interrupted; run it again to go on", shown(path))));
            }
        }
        progress.finish_and_clear();
        state.sync()?;
        Ok(true)
    }
}

/// Lets the pauses between attempts pass, in steps, until somebody interrupts.
fn pausing(stop: &AtomicBool) -> impl FnMut(Duration) -> bool {
    const STEP: Duration = Duration::from_millis(50);
    move |pause: Duration| {
        let mut left = pause;
        while !left.is_zero() && !stop.load(Ordering::Relaxed) {
            let step = left.min(STEP);
            std::thread::sleep(step);
            left -= step;
        }
        !stop.load(Ordering::Relaxed)
    }
}

/// Set by the first signal, after which the chunk on its way is still finished; the second one ends the process.
fn stop_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Without them a signal ends the process at once, and the next run sends the chunk on its way again.
        let _ = flag::register_conditional_shutdown(signal, 130, stop.clone());
        let _ = flag::register(signal, stop.clone());
    }
    stop
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy(), false).into_owned()
}
