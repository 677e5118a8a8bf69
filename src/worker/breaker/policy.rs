//! When a breaker opens: `failsafe`'s policy for failures in a row, one of ours for their share, and one back-off.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use failsafe::backoff::{Constant, constant};
use failsafe::failure_policy::{ConsecutiveFailures, OrElse, consecutive_failures};
use failsafe::{FailurePolicy, WindowedAdder};

use super::backoff::BackOff;
use crate::config::BreakerSettings;

/// So many calls within the window it takes at least before their failing share means anything.
const SHARE_CALLS_MIN: i64 = 10;
/// In so many steps the window moves on.
const WINDOW_SLICES: u8 = 5;

/// Opens after failures in a row, or when too large a share fails; once open, every failed probe lengthens the wait.
pub(super) struct TripPolicy {
    trips: OrElse<FailingShare, ConsecutiveFailures<Constant>>,
    tripped: bool,
    fresh: BackOff,
    backoff: BackOff,
    signal: Arc<Signal>,
}

/// Opens when of the calls within the window at least `share` have failed.
///
/// `failsafe::failure_policy::success_rate_over_time_window` takes a mean weighted by time instead, in which one failure
/// after a quiet minute weighs more than the hundred successes of the second after it.
struct FailingShare {
    share: f64,
    calls: WindowedAdder,
    failures: WindowedAdder,
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
        // A slice of no milliseconds at all would be divided by.
        let window = settings.window.max(Duration::from_millis(100));
        let adder = || WindowedAdder::new(window, WINDOW_SLICES);
        let share = FailingShare { share: settings.failure_share, calls: adder(), failures: adder() };
        // What it says is only whether; for how long is the back-off's.
        let in_a_row = consecutive_failures(settings.failures, constant(Duration::ZERO));
        let backoff = BackOff::new(settings.backoff_min, settings.backoff_max);
        TripPolicy { trips: share.or_else(in_a_row), tripped: false, fresh: backoff.clone(), backoff, signal }
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

impl FailurePolicy for FailingShare {
    fn record_success(&mut self) {
        self.calls.add(1);
        // So that both windows move on together.
        self.failures.add(0);
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        self.calls.add(1);
        self.failures.add(1);
        let (calls, failures) = (self.calls.sum(), self.failures.sum());
        let too_many = calls >= SHARE_CALLS_MIN && failures as f64 >= self.share * calls as f64;
        too_many.then_some(Duration::ZERO)
    }

    fn revived(&mut self) {
        self.calls.reset();
        self.failures.reset();
    }
}
