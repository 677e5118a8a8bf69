//! Circuit breakers: they keep the workers from a store that does not answer, and find out when it does again.
//!
//! `failsafe`'s state machine decides when a breaker opens and for how long. This wrapper drives it and keeps the state
//! that everybody sees, because asking the crate changes its state, and because its half-open state lets every call
//! through. What holds here:
//!
//! - While the breaker is closed every call gets a [`Permit`]; the permit takes the call's result. Only
//!   [`StoreError::Unavailable`] is a failure and only `Ok` is a success; all else is neither, and so is a permit that
//!   is dropped, by a panic too.
//! - It opens after `breaker.failures` failures in a row, or when at least `breaker.failure_share` of the calls of the
//!   last `breaker.window` have failed, of ten or more.
//! - While it is open no call passes. When its back-off is over a thread of the breaker's own, and never traffic, sends
//!   one probe, [`Store::health`](crate::store::Store::health); the breaker is half open until the probe returns. `Ok`
//!   closes it; a failure opens it for longer; a panic is followed by another probe.
//! - Results of calls that began before the last change are ignored.
//!
//! Each pool has a breaker of its own, so that searches that take too long never hold up writing. But a store that
//! cannot be reached concerns both: when calls have opened one breaker its thread asks `Store::health` at once, and if
//! that fails too, the other breaker opens as well. Timeouts of single calls alone do not do that.

mod backoff;
mod policy;
mod probe;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use failsafe::{StateMachine, clock};
use log::{info, warn};

use self::policy::{Signal, TripPolicy};
use super::Pool;
use super::metrics::WorkerMetrics;
use crate::config::BreakerSettings;
use crate::store::StoreError;

pub(super) use probe::Probers;

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Every call.
    Closed,
    /// No call, until a probe in about `retry_after` has succeeded.
    Open {
        /// How long it is until the probe.
        retry_after: Duration,
    },
    /// No call but the one probe that is under way.
    HalfOpen,
}

impl BreakerState {
    /// The name, as in answers, metrics and log lines.
    pub fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open { .. } => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }

    /// When to ask again; nothing, if calls pass.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            BreakerState::Closed => None,
            BreakerState::Open { retry_after } => Some(retry_after.max(backoff::SHORTEST)),
            BreakerState::HalfOpen => Some(backoff::SHORTEST),
        }
    }
}

/// A circuit breaker; shared as `Arc<Breaker>`.
pub struct Breaker {
    pool: Pool,
    metrics: WorkerMetrics,
    core: Mutex<Core>,
    /// Notified at each change.
    changed: Condvar,
    listeners: Mutex<Vec<Listener>>,
}

type Listener = Box<dyn Fn(BreakerState) + Send>;

struct Core {
    machine: StateMachine<TripPolicy, ()>,
    signal: Arc<Signal>,
    phase: Phase,
    /// Grows with each change; a result that belongs to an earlier one is ignored.
    generation: u64,
    /// Calls have opened the breaker, and nobody has asked yet whether the store can be reached at all.
    unconfirmed: bool,
    stopped: bool,
}

#[derive(Clone, Copy)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { probing: bool },
}

/// The result of a call, as a breaker sees it.
enum Verdict<'a> {
    Success,
    Failure(&'a str),
    Neutral,
}

/// Leave to make one call; takes its result.
pub struct Permit {
    breaker: Arc<Breaker>,
    generation: u64,
    returned: bool,
}

impl Breaker {
    /// A closed breaker for `pool`.
    pub(super) fn new(pool: Pool, settings: &BreakerSettings, metrics: WorkerMetrics) -> Arc<Breaker> {
        let signal = Arc::new(Signal::default());
        let machine = StateMachine::new(TripPolicy::new(settings, Arc::clone(&signal)), ());
        let core = Core { machine, signal, phase: Phase::Closed, generation: 0, unconfirmed: false, stopped: false };
        metrics.breaker_state(pool, 0);
        Arc::new(Breaker {
            pool,
            metrics,
            core: Mutex::new(core),
            changed: Condvar::new(),
            listeners: Mutex::new(Vec::new()),
        })
    }

    /// Which pool's calls it watches.
    pub fn pool(&self) -> Pool {
        self.pool
    }

    /// The state now; asking does not change it.
    pub fn state(&self) -> BreakerState {
        self.lock().phase.shown()
    }

    /// Whether calls pass.
    pub fn is_closed(&self) -> bool {
        self.state() == BreakerState::Closed
    }

    /// Gives leave to make a call.
    ///
    /// # Errors
    /// The state, if it is not closed.
    pub fn permit(self: &Arc<Self>) -> Result<Permit, BreakerState> {
        let core = self.lock();
        match core.phase {
            Phase::Closed => Ok(self.permit_of(core.generation)),
            phase => Err(phase.shown()),
        }
    }

    /// Calls `listener` after each change, on the thread that made it; it must not block.
    pub(super) fn on_change(&self, listener: impl Fn(BreakerState) + Send + 'static) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// Gives leave to make the probe, if its time has come and no other is under way.
    fn try_probe(self: &Arc<Self>) -> Option<Permit> {
        let mut core = self.lock();
        match core.phase {
            Phase::Open { until } if clock::now() >= until && core.machine.is_call_permitted() => {
                let generation = core.generation + 1;
                self.change(core, Phase::HalfOpen { probing: true }, "probing");
                Some(self.permit_of(generation))
            }
            Phase::HalfOpen { probing: false } => {
                core.phase = Phase::HalfOpen { probing: true };
                Some(self.permit_of(core.generation))
            }
            _ => None,
        }
    }

    /// Opens the breaker at once: the store is known to be unreachable.
    fn trip(&self, reason: &str) {
        let core = self.lock();
        if let (Phase::Closed, false) = (core.phase, core.stopped) {
            core.signal.force();
            self.fail(core, reason, false);
        }
    }

    fn settle(&self, generation: u64, verdict: Verdict<'_>) {
        let mut core = self.lock();
        // Once the server stops, a store that is closed says nothing of the store itself.
        if core.generation != generation || core.stopped {
            return;
        }
        match (core.phase, verdict) {
            (Phase::Closed, Verdict::Success) => core.machine.on_success(),
            (Phase::Closed, Verdict::Failure(reason)) => self.fail(core, reason, true),
            (Phase::HalfOpen { .. }, Verdict::Failure(reason)) => self.fail(core, reason, false),
            (Phase::HalfOpen { .. }, Verdict::Success) => {
                core.machine.on_success();
                self.change(core, Phase::Closed, "the store answers");
            }
            (Phase::HalfOpen { .. }, Verdict::Neutral) => {
                core.phase = Phase::HalfOpen { probing: false };
                self.changed.notify_all();
            }
            (Phase::Open { .. }, _) | (Phase::Closed, Verdict::Neutral) => {}
        }
    }

    /// Counts a failure; opens the breaker, if the policy says so.
    fn fail(&self, mut core: MutexGuard<'_, Core>, reason: &str, by_call: bool) {
        core.machine.on_error();
        if let Some(wait) = core.signal.take_opened() {
            core.unconfirmed = by_call;
            self.change(core, Phase::Open { until: clock::now() + wait }, reason);
        }
    }

    /// Goes over to `phase`, and says so to everybody.
    fn change(&self, mut core: MutexGuard<'_, Core>, phase: Phase, reason: &str) {
        let (from, to) = (core.phase.shown(), phase.shown());
        core.phase = phase;
        core.generation += 1;
        self.metrics.breaker_state(self.pool, phase.number());
        self.metrics.breaker_changed(self.pool, to.name());
        let (pool, before, after) = (self.pool.name(), from.name(), to.name());
        match to {
            BreakerState::Open { retry_after } => {
                let retry_after_ms = retry_after.as_millis() as u64;
                warn!(pool, from = before, to = after, retry_after_ms, reason; "breaker opened");
            }
            BreakerState::HalfOpen => info!(pool, from = before, to = after; "breaker half open"),
            BreakerState::Closed => info!(pool, from = before, to = after, reason; "breaker closed"),
        }
        drop(core);
        self.changed.notify_all();
        for listener in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(to);
        }
    }

    fn permit_of(self: &Arc<Self>, generation: u64) -> Permit {
        Permit { breaker: Arc::clone(self), generation, returned: false }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // Nothing that could panic halfway runs under the lock.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Hands the call's result in.
    pub fn record<T>(mut self, result: &Result<T, StoreError>) {
        self.returned = true;
        let verdict = match result {
            Ok(_) => Verdict::Success,
            Err(StoreError::Unavailable(reason)) => Verdict::Failure(reason),
            Err(_) => Verdict::Neutral,
        };
        self.breaker.settle(self.generation, verdict);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.returned {
            self.breaker.settle(self.generation, Verdict::Neutral);
        }
    }
}

impl Phase {
    fn shown(self) -> BreakerState {
        match self {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until } => BreakerState::Open { retry_after: until.saturating_duration_since(clock::now()) },
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// The number in the gauge.
    fn number(self) -> i64 {
        match self {
            Phase::Closed => 0,
            Phase::HalfOpen { .. } => 1,
            Phase::Open { .. } => 2,
        }
    }
}

#[cfg(test)]
mod tests;
