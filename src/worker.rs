//! The worker pools, the dispatcher that feeds the writing one, and the door through which everything is read.
//!
//! Every call of the store is made by an actor of one of two `SyncArbiter` pools, so that nothing that blocks runs on
//! actix's system thread and a slow search never holds up writing. Each pool calls through a [`breaker`] of its own.
//! Writing is fed by the `dispatcher` alone, reading by the [`Reader`] alone; both bound what they send, because the
//! pools' mailboxes are not bounded.
//!
//! Layout: `store_worker` and `query_worker` are the actors; [`dead_letter`] keeps what the store refuses for good;
//! `janitor` applies retention; `thread`, `rate` and `metrics` serve them all.

pub mod breaker;
pub mod dead_letter;
mod dispatcher;
mod janitor;
mod metrics;
mod query_worker;
mod rate;
mod reader;
mod store_worker;
mod thread;

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use actix::SyncArbiter;
use log::error;
use prometheus_client::registry::Registry;

use self::breaker::{Breaker, BreakerState, Probers};
use self::dead_letter::{DeadLetterError, DeadLetters};
use self::dispatcher::{Dispatcher, Parts};
use self::janitor::Janitor;
use self::metrics::WorkerMetrics;
use self::query_worker::QueryWorker;
use self::rate::RateMeter;
use self::store_worker::StoreWorker;
use crate::batch::BlockSet;
use crate::config::{BreakerSettings, QuerySettings, RetentionSettings, WorkerSettings};
use crate::files::Files;
use crate::spool::Spool;
use crate::store::{DamageReport, Store, StoreError};

pub use reader::{Behind, Page, ReadError, Reader, Traced};

/// The stack of a worker's thread: a store's drivers and decoders nest deeper than the usual 2 MiB allow for.
const STACK_BYTES: usize = 4 << 20;

/// One of the two pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// The actors that write.
    Store,
    /// The actors that search.
    Query,
}

impl Pool {
    /// The name, as in answers, metrics and log lines.
    pub fn name(self) -> &'static str {
        match self {
            Pool::Store => "store",
            Pool::Query => "query",
        }
    }
}

/// The sections of the configuration that concern the workers.
#[derive(Debug, Clone, Copy)]
pub struct Sections<'a> {
    /// The pools.
    pub workers: &'a WorkerSettings,
    /// The breakers.
    pub breaker: &'a BreakerSettings,
    /// The door for reads.
    pub query: &'a QuerySettings,
    /// How long records live.
    pub retention: &'a RetentionSettings,
}

/// Why the workers could not be started.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// The folder of dead letters.
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    /// A thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// How the workers are, for `/ready`.
#[derive(Debug, Clone, Copy)]
pub struct WorkersStatus {
    /// The writing pool.
    pub store: PoolStatus,
    /// The searching pool.
    pub query: PoolStatus,
    /// Whether the dispatcher runs.
    pub dispatching: bool,
    /// How many records lie in `dead-letter/`.
    pub dead_letters: u64,
    /// What damage has done to the store's files.
    pub damage: DamageReport,
    /// Records written to the store per second: over the last second, and over the last 60.
    pub written_per_second: [f64; 2],
}

/// How a pool is.
#[derive(Debug, Clone, Copy)]
pub struct PoolStatus {
    /// The state of its breaker.
    pub breaker: BreakerState,
    /// How many actors it has.
    pub workers: usize,
    /// How many of them are calling the store.
    pub busy: usize,
    /// How many panics were caught in it.
    pub panics: u64,
}

/// How the workers have ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Stopped {
    /// Whether everything came to its end before the deadline.
    pub in_time: bool,
    /// The records that the spool may forget beside those that the store holds: dead letters, and those that were
    /// accepted again under new ids. To be settled together with what the store holds once it is closed.
    pub released: BlockSet,
}

/// Everything that calls the store.
pub struct Workers {
    reader: Arc<Reader>,
    breakers: [Arc<Breaker>; 2],
    store: Arc<dyn Store>,
    metrics: WorkerMetrics,
    rate: Arc<RateMeter>,
    settings: WorkerSettings,
    /// What runs beside the pools, until it is stopped.
    running: Mutex<Option<Running>>,
}

/// The threads beside the pools.
struct Running {
    dispatcher: Dispatcher,
    probers: Probers,
    janitor: Option<Janitor>,
}

impl Workers {
    /// Starts the pools, the breakers, the dispatcher and retention; dead letters go to a folder of `files`. It must be called where an actix system runs, and
    /// does not wait for the store.
    ///
    /// # Errors
    /// [`WorkersError`], if `dead_letter_folder` cannot be read or a thread not be started.
    pub fn start(
        spool: &Arc<Spool>,
        store: &Arc<dyn Store>,
        sections: Sections<'_>,
        files: &Arc<dyn Files>,
        dead_letter_folder: &Path,
        registry: &mut Registry,
    ) -> Result<Workers, WorkersError> {
        let letters = DeadLetters::open(files.clone(), dead_letter_folder, &spool.open_runs())?;
        let metrics = WorkerMetrics::register(registry);
        let new_breaker = |pool| Breaker::new(pool, sections.breaker, metrics.clone());
        let breakers @ [writing, reading] = &[new_breaker(Pool::Store), new_breaker(Pool::Query)];
        let probers = Probers::start(breakers.clone(), store)?;
        let WorkerSettings { store: writers, query: readers, inflight } = *sections.workers;

        let actor = StoreWorker { store: Arc::clone(store), breaker: Arc::clone(writing), metrics: metrics.clone() };
        let writing_pool = start_pool(Pool::Store, writers, &metrics, move || actor.clone());
        let actor = QueryWorker { store: Arc::clone(store), breaker: Arc::clone(reading), metrics: metrics.clone() };
        let reading_pool = start_pool(Pool::Query, readers, &metrics, move || actor.clone());

        let rate = Arc::new(RateMeter::new());
        let dispatcher = Dispatcher::start(Parts {
            spool: Arc::clone(spool),
            store: Arc::clone(store),
            pool: writing_pool,
            breaker: Arc::clone(writing),
            metrics: metrics.clone(),
            rate: Arc::clone(&rate),
            letters,
            inflight,
        })?;
        let janitor = match sections.retention.age {
            Some(age) => Some(Janitor::start(age, Arc::clone(store), Arc::clone(writing), metrics.clone())?),
            None => None,
        };
        let (spool, for_plans) = (Arc::clone(spool), Arc::clone(store));
        let reader = Reader::new(spool, for_plans, reading_pool, readers, sections.query, breakers.clone());
        Ok(Workers {
            reader: Arc::new(reader),
            breakers: breakers.clone(),
            store: Arc::clone(store),
            metrics,
            rate,
            settings: sections.workers.clone(),
            running: Mutex::new(Some(Running { dispatcher, probers, janitor })),
        })
    }

    /// The door for reads.
    pub fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// How they are.
    pub fn status(&self) -> WorkersStatus {
        let [writing, reading] = &self.breakers;
        WorkersStatus {
            store: self.pool_status(writing, self.settings.store),
            query: self.pool_status(reading, self.settings.query),
            dispatching: self.lock().as_ref().is_some_and(|running| running.dispatcher.is_running()),
            dead_letters: u64::try_from(self.metrics.dead_letters.get()).unwrap_or(0),
            damage: self.store.damage(),
            written_per_second: [self.rate.per_second(1), self.rate.per_second(60)],
        }
    }

    fn pool_status(&self, breaker: &Breaker, workers: usize) -> PoolStatus {
        let pool = breaker.pool();
        let (busy, panics) = (self.metrics.busy_count(pool), self.metrics.panic_count(pool));
        PoolStatus { breaker: breaker.state(), workers, busy, panics }
    }

    /// Stops writing: takes no more blocks, waits for what the workers have in hand, and ends the threads, until
    /// `deadline` at most. Blocks, so call it off actix's system thread, while the system still runs. Spool and store
    /// must be open still, and are afterwards.
    pub fn stop(&self, deadline: Instant) -> Stopped {
        let Some(running) = self.lock().take() else { return Stopped { in_time: true, released: BlockSet::new() } };
        let dispatcher = running.dispatcher.stop(deadline);
        let janitor = running.janitor.is_none_or(|janitor| janitor.stop(deadline));
        let probers = running.probers.stop(deadline);
        Stopped { in_time: dispatcher.in_time && janitor && probers, ..dispatcher }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start_pool<A>(
    pool: Pool,
    workers: usize,
    metrics: &WorkerMetrics,
    actor: impl Fn() -> A + Send + Sync + 'static,
) -> actix::Addr<A>
where
    A: actix::Actor<Context = actix::SyncContext<A>>,
{
    metrics.set_workers(pool, workers);
    // So that the gauge is there before the first call.
    drop(metrics.busy(pool));
    let thread = move || std::thread::Builder::new().name(format!("{}-worker", pool.name())).stack_size(STACK_BYTES);
    SyncArbiter::start_with_thread_builder(workers, thread, actor)
}

/// What a call of the store gave.
struct Guarded<T> {
    result: Result<T, StoreError>,
    panicked: bool,
}

/// Calls the store; a panic is [`StoreError::Bug`], and logged.
fn guarded<T>(pool: Pool, call: impl FnOnce() -> Result<T, StoreError>) -> Guarded<T> {
    // The caller makes its own state anew after a panic, and a store answers for the state of its locks.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => Guarded { result, panicked: false },
        Err(payload) => {
            let message = panic_message(&*payload);
            error!(pool = pool.name(), message; "a call of the store panicked");
            Guarded { result: Err(StoreError::Bug(format!("panic: {message}"))), panicked: true }
        }
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests;
