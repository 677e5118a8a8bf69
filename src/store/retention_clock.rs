//! Guards retention against leaps of the system's clock: what has arrived in the last hour is not deleted because the
//! clock was set forward since.
//!
//! A leap forward counts only once it has lasted for an hour of the monotonic clock: all that arrived before it is older
//! than an hour by then. At a start a leap cannot be told from a time in which the server was off, so the time since the
//! last arrival that the store knows of is taken for a leap too. A leap back counts at once: it only makes records live
//! longer.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use sluice_model::Timestamp;

/// How long a leap forward is distrusted.
const HOUR_NS: i64 = 3600 * 1_000_000_000;
/// What is no leap: clocks are slewed, and a busy machine looks at its two clocks at different moments.
const TOLERANCE_NS: i64 = 60 * 1_000_000_000;

/// Knows how far the system's clock is ahead of what retention may go by.
#[derive(Debug)]
pub(super) struct RetentionClock {
    started: Instant,
    trust: Mutex<Trust>,
}

/// Differences between the system's clock and the monotonic one, in ns.
#[derive(Debug)]
struct Trust {
    /// The one that retention goes by.
    difference: i64,
    /// A greater one, and since when it is seen.
    leap: Option<(i64, i64)>,
}

impl RetentionClock {
    /// Starts it. `last_arrival` is the latest that the store knows of.
    pub(super) fn start(last_arrival: Option<Timestamp>) -> RetentionClock {
        let now = Timestamp::now();
        let trusted = last_arrival.map_or(now, |arrival| arrival.min(now));
        let trust = Trust { difference: trusted.as_nanos(), leap: None };
        RetentionClock { started: Instant::now(), trust: Mutex::new(trust) }
    }

    /// `cutoff`, a time reckoned from the system's clock, as it would be without a leap of the last hour. To be asked
    /// more often than once an hour.
    pub(super) fn correct(&self, cutoff: Timestamp) -> Timestamp {
        let elapsed = i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX);
        // What this guards is changed in one step.
        let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = trust.look(Timestamp::now().as_nanos(), elapsed);
        Timestamp::from_nanos(cutoff.as_nanos().saturating_sub(ahead))
    }
}

impl Trust {
    /// How far the system's clock, which says `system`, is ahead at the monotonic time `elapsed`.
    fn look(&mut self, system: i64, elapsed: i64) -> i64 {
        let difference = system.saturating_sub(elapsed);
        let grown = |before: i64| difference.saturating_sub(before) > TOLERANCE_NS;
        if !grown(self.difference) {
            (self.difference, self.leap) = (difference, None);
            return 0;
        }
        match self.leap {
            Some((before, since)) if !grown(before) => {
                if elapsed.saturating_sub(since) >= HOUR_NS {
                    (self.difference, self.leap) = (difference, None);
                    return 0;
                }
            }
            _ => self.leap = Some((difference, elapsed)),
        }
        difference.saturating_sub(self.difference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60 * 1_000_000_000;
    const DAY: i64 = 24 * HOUR_NS;

    fn trust(difference: i64) -> Trust {
        Trust { difference, leap: None }
    }

    #[test]
    fn a_leap_forward_counts_after_an_hour_and_a_further_one_an_hour_later() {
        let mut trust = trust(7 * DAY);
        assert_eq!(trust.look(7 * DAY + MINUTE, MINUTE), 0);
        assert_eq!(trust.look(8 * DAY + 2 * MINUTE, 2 * MINUTE), DAY);
        assert_eq!(trust.look(9 * DAY + HOUR_NS, HOUR_NS), 2 * DAY, "a further leap");
        assert_eq!(trust.look(9 * DAY + 2 * HOUR_NS - MINUTE, 2 * HOUR_NS - MINUTE), 2 * DAY);
        assert_eq!(trust.look(9 * DAY + 2 * HOUR_NS, 2 * HOUR_NS), 0);
        assert_eq!(trust.look(9 * DAY + 3 * HOUR_NS, 3 * HOUR_NS), 0);
    }

    #[test]
    fn a_leap_back_counts_at_once_and_ends_a_leap_forward() {
        let mut trust = trust(7 * DAY);
        assert_eq!(trust.look(8 * DAY, 0), DAY);
        assert_eq!(trust.look(7 * DAY + MINUTE, MINUTE), 0, "it was set right again");
        assert_eq!(trust.look(6 * DAY + MINUTE, MINUTE), 0);
        assert_eq!(trust.look(7 * DAY + 2 * MINUTE, 2 * MINUTE), DAY, "from there it is a leap forward");
    }

    #[test]
    fn drift_is_no_leap_however_much_it_adds_up_to() {
        let mut trust = trust(0);
        for minute in 0..10_000 {
            assert_eq!(trust.look(2 * minute * MINUTE, minute * MINUTE), 0);
        }
    }
}
