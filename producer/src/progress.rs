//! Showing how far it is: a bar on a terminal, a line a second otherwise.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What all clients count together, in records (retries in attempts).
#[derive(Debug, Default)]
pub struct Counters {
    /// Handed to the server, with whatever outcome.
    pub sent: AtomicU64,
    /// Accepted by the server.
    pub accepted: AtomicU64,
    /// Refused by the server.
    pub refused: AtomicU64,
    /// Given up: the outcome is not known.
    pub failed: AtomicU64,
    /// Attempts that were repeated.
    pub retries: AtomicU64,
}

impl Counters {
    /// Adds to one of the counters.
    pub fn add(counter: &AtomicU64, value: u64) {
        counter.fetch_add(value, Ordering::Relaxed);
    }

    /// Reads one of the counters.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// Where progress is shown.
#[derive(Debug)]
pub struct Progress {
    /// Present on a terminal.
    bar: Option<ProgressBar>,
}

const BAR_PERIOD: Duration = Duration::from_millis(100);
const LINE_PERIOD: Duration = Duration::from_secs(1);

impl Progress {
    /// Shows progress towards `count` records, if there is an end.
    pub fn new(count: Option<u64>) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(count, ProgressDrawTarget::stderr());
            let template = match count {
                Some(_) => "{elapsed_precise} [{bar:40}] {human_pos}/{human_len} records, {msg}, eta {eta}",
                None => "{elapsed_precise} {spinner} {human_pos} records, {msg}",
            };
            // A template that cannot be read leaves the default one, which is good enough.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Progress { bar }
    }

    /// Shows a line without disturbing the bar.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Shows the counters again and again until the sender of `done` is gone.
    pub fn follow(&self, counters: &Counters, done: &Receiver<()>) {
        let period = if self.bar.is_some() { BAR_PERIOD } else { LINE_PERIOD };
        let begun = Instant::now();
        let (mut last, mut last_at) = (0, begun);
        while done.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
            let accepted = Counters::get(&counters.accepted);
            let now = Instant::now();
            let rate = (accepted - last) as f64 / now.duration_since(last_at).as_secs_f64();
            let troubles = troubles(counters);
            match &self.bar {
                Some(bar) => {
                    let overall = accepted as f64 / begun.elapsed().as_secs_f64();
                    bar.set_message(format!("{overall:.0} records/s{troubles}"));
                    bar.set_position(accepted);
                }
                None => {
                    let elapsed_s = begun.elapsed().as_secs();
                    eprintln!("{elapsed_s:>5} s  {accepted} accepted, {rate:.0} records/s{troubles}");
                }
            }
            (last, last_at) = (accepted, now);
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What did not go well, if anything.
fn troubles(counters: &Counters) -> String {
    let named = [("refused", &counters.refused), ("failed", &counters.failed), ("retries", &counters.retries)];
    let told = named.into_iter().map(|(name, counter)| (name, Counters::get(counter))).filter(|(_, value)| *value > 0);
    told.map(|(name, value)| format!(", {value} {name}")).collect()
}
