//! The store's own thread: makes ready for the first query, flushes when it is time, and keeps the disk tier in order.

use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::engine::{Engine, State};
use super::search::search;
use super::segment::Segment;
use super::{compaction, retention};
use crate::batch::Records;
use crate::priority::{Background, give_way};
use crate::query::{Filter, Order, Query};
use crate::store::Sink;

/// How often retention and compaction are looked at, if no flush gives cause to.
const HOUSEKEEPING: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// How many of the newest records are read at the start.
const NEWEST_ROWS: usize = 1000;

/// How long a start waits for that at most: a slow disk must not keep a server from accepting.
const WARM_WAIT: Duration = Duration::from_millis(100);

/// How long the thread waits after a failure: at first, and at most.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Starts the thread, and waits a moment for it to be ready; it ends when the engine is told to stop.
pub(super) fn start(engine: Arc<Engine>) -> io::Result<JoinHandle<()>> {
    let (warming, warmed) = mpsc::channel::<()>();
    let thread = thread::Builder::new().name("sluice-store".to_owned()).spawn(move || {
        // Only a convenience for the first query: what goes wrong with it does so again there.
        let _ = catch_unwind(AssertUnwindSafe(|| warm(&engine)));
        drop(warming);
        // Not before: helpers of queries may have begun meanwhile, and would do so too.
        give_way(Background::Store);
        run(&engine);
    })?;
    // It ends with an error either way: nothing is ever sent.
    let _ = warmed.recv_timeout(WARM_WAIT);
    Ok(thread)
}

/// What there is to do.
enum Task {
    Stop,
    Flush,
    SetDamageAside,
    KeepHouse,
}

fn run(engine: &Engine) {
    let mut backoff = BACKOFF_MIN;
    let mut resume = Instant::now();
    let mut housekeeping = Instant::now() + HOUSEKEEPING;
    loop {
        let task = next_task(engine, resume, housekeeping);
        let outcome = catch_unwind(AssertUnwindSafe(|| match task {
            Task::Stop => Ok(()),
            Task::Flush => flush(engine),
            Task::SetDamageAside => engine.set_damage_aside().map_err(|error| {
                // What could not be written now is tried again.
                engine.state().damage_found = true;
                error.to_string()
            }),
            Task::KeepHouse => keep_house(engine),
        }));
        match task {
            Task::Stop => return,
            // What was flushed may be ready to be compacted, and may be too much to keep.
            Task::Flush => housekeeping = Instant::now(),
            Task::KeepHouse => housekeeping = Instant::now() + HOUSEKEEPING,
            Task::SetDamageAside => {}
        }
        let trouble = outcome.unwrap_or_else(|_| Err("a panic, which is a bug".to_owned())).err();
        if trouble.is_some() {
            resume = Instant::now() + backoff;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        } else {
            backoff = BACKOFF_MIN;
        }
        note(engine, trouble);
    }
}

/// Opens the newest segments, and reads the newest records: that brings the code and the memory that it takes.
fn warm(engine: &Engine) {
    engine.cache.warm(&engine.segments(), || !engine.state().stopping);
    let (filter, order) = (Filter::default(), Order::Descending);
    let newest = Query { filter, order, after: None, limit: Some(NEWEST_ROWS) };
    let report = |segment: &Segment, why: &str| engine.report_damage(segment, why);
    let _ = search(&engine.snapshot(), &engine.cache, &newest, &mut Nobody, &report);
}

/// Wants no records.
struct Nobody;

impl Sink for Nobody {
    fn push(&mut self, _: Records) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Waits for something to do.
fn next_task(engine: &Engine, resume: Instant, housekeeping: Instant) -> Task {
    let mut state = engine.state();
    loop {
        let now = Instant::now();
        if state.stopping {
            return Task::Stop;
        }
        if now >= resume {
            if state.damage_found {
                state.damage_found = false;
                return Task::SetDamageAside;
            }
            if is_flush_due(engine, &state, now) {
                state.flush_requested = false;
                return Task::Flush;
            }
            if now >= housekeeping {
                return Task::KeepHouse;
            }
        }
        let aged = state.oldest().map(|oldest| oldest + engine.settings.flush_age);
        let deadline = aged.map_or(housekeeping, |aged| aged.min(housekeeping)).max(resume);
        state = engine.wait(state, deadline);
    }
}

fn is_flush_due(engine: &Engine, state: &State, now: Instant) -> bool {
    state.flush_requested
        || state.is_flush_unfinished()
        || engine.is_full_enough(state)
        || state.oldest().is_some_and(|oldest| now >= oldest + engine.settings.flush_age)
}

fn flush(engine: &Engine) -> Result<(), String> {
    engine.flush().map_err(|error| {
        engine.metrics.flush_failures.inc();
        let kind = error.io().map(|error| format!(" ({})", error.kind())).unwrap_or_default();
        format!("{error}{kind}")
    })
}

fn keep_house(engine: &Engine) -> Result<(), String> {
    engine.settle(&mut engine.disk()).map_err(|error| error.to_string())?;
    engine.measure_quarantine();
    // Those that the device could not read may be readable again.
    engine.set_damage_aside().map_err(|error| error.to_string())?;
    retention::apply(engine).map_err(|error| error.to_string())?;
    compaction::compact(engine).map_err(|error| error.to_string())
}

/// Logs a failure once, and its end.
fn note(engine: &Engine, trouble: Option<String>) {
    let mut state = engine.state();
    if state.trouble == trouble {
        return;
    }
    match &trouble {
        Some(reason) => log::error!(reason = reason.as_str(); "the store cannot write; it keeps trying"),
        None => log::info!("the store can write again"),
    }
    state.trouble = trouble;
}
