//! When a breaker opens: `failsafe`'s two policies, with one back-off of ours.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use failsafe::FailurePolicy;
use failsafe::backoff::{Constant, constant};
use failsafe::failure_policy::{
    ConsecutiveFailures, OrElse, SuccessRateOverTimeWindow, consecutive_failures, success_rate_over_time_window,
};

use super::backoff::BackOff;
use crate::config::BreakerSettings;

/// So many calls within the window it takes at least before their failing share means anything.
const SHARE_CALLS_MIN: u32 = 10;

type Trips = OrElse<SuccessRateOverTimeWindow<Constant>, ConsecutiveFailures<Constant>>;

/// Opens after failures in a row, or when too large a share fails; once open, every failed probe lengthens the wait.
pub(super) struct TripPolicy {
    trips: Trips,
    tripped: bool,
    fresh: BackOff,
    backoff: BackOff,
    signal: Arc<Signal>,
}

/// What the wrapper and the policy, which `failsafe` owns, say to each other; only under the wrapper's lock.
#[derive(Default)]
pub(super) struct Signal(Mutex<Said>);

#[derive(Default)]
struct Said {
    /// The next failure opens the breaker, however few there were.
    force: bool,
    /// For how long the last failure opened it.
    opened_for: Option<Duration>,
}

impl Signal {
    /// Makes the next failure open the breaker.
    pub(super) fn force(&self) {
        self.with(|said| said.force = true);
    }

    /// For how long the last failure has opened the breaker, if it has; only once.
    pub(super) fn take_opened(&self) -> Option<Duration> {
        self.with(|said| said.opened_for.take())
    }

    fn with<T>(&self, change: impl FnOnce(&mut Said) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TripPolicy {
    pub(super) fn new(settings: &BreakerSettings, signal: Arc<Signal>) -> TripPolicy {
        // What the two say is only whether; for how long is the back-off's.
        let whether = constant(Duration::ZERO);
        // The crate counts in whole seconds.
        let window = settings.window.max(Duration::from_secs(1));
        let required = (1.0 - settings.failure_share).clamp(0.0, 1.0);
        let share = success_rate_over_time_window(required, SHARE_CALLS_MIN, window, whether.clone());
        let backoff = BackOff::new(settings.backoff_min, settings.backoff_max);
        TripPolicy {
            trips: share.or_else(consecutive_failures(settings.failures, whether)),
            tripped: false,
            fresh: backoff.clone(),
            backoff,
            signal,
        }
    }
}

impl FailurePolicy for TripPolicy {
    fn record_success(&mut self) {
        self.trips.record_success();
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        let enough = self.trips.mark_dead_on_failure().is_some();
        let forced = self.signal.with(|said| std::mem::take(&mut said.force));
        self.tripped |= enough || forced;
        let wait = if self.tripped { self.backoff.next() } else { None };
        self.signal.with(|said| said.opened_for = wait);
        wait
    }

    fn revived(&mut self) {
        self.trips.revived();
        self.tripped = false;
        self.backoff = self.fresh.clone();
    }
}
