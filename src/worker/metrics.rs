//! What the workers count.

use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Pool;
use crate::store::StoreError;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PoolLabel {
    pool: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TransitionLabels {
    pool: &'static str,
    to: &'static str,
}

/// The metrics of the pools, the breakers, the dispatcher and the dead letters; clones count together.
#[derive(Clone)]
pub(super) struct WorkerMetrics {
    workers: Family<PoolLabel, Gauge>,
    busy: Family<PoolLabel, Gauge>,
    panics: Family<PoolLabel, Counter>,
    breaker_state: Family<PoolLabel, Gauge>,
    breaker_transitions: Family<TransitionLabels, Counter>,
    writes: Calls,
    queries: Calls,
    /// Records that the store has taken.
    pub(super) records_written: Counter,
    /// Records that were accepted again, because others stood in the store under their ids.
    pub(super) records_clashing: Counter,
    /// Records put into `dead-letter/` since the start.
    pub(super) records_dead_lettered: Counter,
    /// Records that lie in `dead-letter/`.
    pub(super) dead_letters: Gauge,
    /// Records deleted by retention.
    pub(super) records_expired: Counter,
}

/// Calls of one kind by outcome: how many, and how long they took.
#[derive(Clone)]
struct Calls {
    total: Family<OutcomeLabel, Counter>,
    seconds: Family<OutcomeLabel, Histogram, fn() -> Histogram>,
}

impl WorkerMetrics {
    /// Makes the metrics and registers them, all under the prefix `sluice_`.
    pub(super) fn register(registry: &mut Registry) -> WorkerMetrics {
        let metrics = WorkerMetrics {
            workers: Family::default(),
            busy: Family::default(),
            panics: Family::default(),
            breaker_state: Family::default(),
            breaker_transitions: Family::default(),
            writes: Calls::new(),
            queries: Calls::new(),
            records_written: Counter::default(),
            records_clashing: Counter::default(),
            records_dead_lettered: Counter::default(),
            dead_letters: Gauge::default(),
            records_expired: Counter::default(),
        };
        let registry = registry.sub_registry_with_prefix("sluice");
        let m = metrics.clone();
        registry.register("workers", "Worker actors by pool", m.workers);
        registry.register("workers_busy", "Worker actors that are calling the store", m.busy);
        registry.register("worker_panics", "Panics caught in worker actors", m.panics);
        registry.register("breaker_state", "State of a breaker: 0 closed, 1 half open, 2 open", m.breaker_state);
        registry.register("breaker_transitions", "Changes of a breaker's state", m.breaker_transitions);
        m.writes.register(
            registry,
            "store_writes",
            "store_write_duration",
            "Writes of a block, or a part, to the store",
        );
        m.queries.register(registry, "queries", "query_duration", "Searches and look-ups in the store");
        registry.register("records_written", "Records that the store has taken", m.records_written);
        registry.register("records_clashing", "Records accepted again after a clash of ids", m.records_clashing);
        registry.register("records_dead_lettered", "Records put into dead-letter/", m.records_dead_lettered);
        registry.register("dead_letter_records", "Records that lie in dead-letter/", m.dead_letters);
        registry.register("records_expired", "Records deleted by retention", m.records_expired);
        metrics
    }

    /// Says how many workers a pool has.
    pub(super) fn set_workers(&self, pool: Pool, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.workers.get_or_create(&pool.into()).set(count);
    }

    /// Counts a worker as busy until the guard is dropped.
    pub(super) fn busy(&self, pool: Pool) -> Busy {
        let gauge = self.busy.get_or_create_owned(&pool.into());
        gauge.inc();
        Busy(gauge)
    }

    /// How many workers of a pool are busy.
    pub(super) fn busy_count(&self, pool: Pool) -> usize {
        usize::try_from(self.busy.get_or_create(&pool.into()).get()).unwrap_or(0)
    }

    /// Counts a panic in a worker.
    pub(super) fn panicked(&self, pool: Pool) {
        self.panics.get_or_create(&pool.into()).inc();
    }

    /// How many panics there were in a pool.
    pub(super) fn panic_count(&self, pool: Pool) -> u64 {
        self.panics.get_or_create(&pool.into()).get()
    }

    /// Shows a breaker's state: its name, and its number in the gauge.
    pub(super) fn breaker_state(&self, pool: Pool, number: i64) {
        self.breaker_state.get_or_create(&pool.into()).set(number);
    }

    /// Counts a breaker's change.
    pub(super) fn breaker_changed(&self, pool: Pool, to: &'static str) {
        self.breaker_transitions.get_or_create(&TransitionLabels { pool: pool.name(), to }).inc();
    }

    /// Counts a write that began at `started`.
    pub(super) fn wrote<T>(&self, started: Instant, result: &Result<T, StoreError>) {
        self.writes.count(started.elapsed(), outcome(result));
    }

    /// Counts a search or look-up that began at `started`.
    pub(super) fn queried(&self, started: Instant, outcome: &'static str) {
        self.queries.count(started.elapsed(), outcome);
    }
}

/// The name of a call's outcome.
pub(super) fn outcome<T>(result: &Result<T, StoreError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(StoreError::Unavailable(_)) => "unavailable",
        Err(StoreError::Full(_)) => "full",
        Err(StoreError::Rejected { .. }) => "rejected",
        Err(StoreError::Conflict { .. }) => "conflict",
        Err(StoreError::Bug(_)) => "bug",
    }
}

impl Calls {
    fn new() -> Calls {
        Calls { total: Family::default(), seconds: Family::new_with_constructor(durations) }
    }

    fn register(&self, registry: &mut Registry, total: &str, duration: &str, help: &str) {
        registry.register(total, help, self.total.clone());
        registry.register_with_unit(duration, format!("{help}: how long"), Unit::Seconds, self.seconds.clone());
    }

    fn count(&self, took: Duration, outcome: &'static str) {
        let label = OutcomeLabel { outcome };
        self.total.get_or_create(&label).inc();
        self.seconds.get_or_create(&label).observe(took.as_secs_f64());
    }
}

/// From half a millisecond to about half a minute.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 17))
}

/// Counts a worker as busy while it lives.
pub(super) struct Busy(Gauge);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl From<Pool> for PoolLabel {
    fn from(pool: Pool) -> PoolLabel {
        PoolLabel { pool: pool.name() }
    }
}
