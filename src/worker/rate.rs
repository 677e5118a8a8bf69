//! How many per second, over the last second and the last minute.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The longest window: a slot for each of its seconds, and one for the second that runs.
const SLOTS: usize = 61;

/// Counts by the second.
#[derive(Debug)]
pub(super) struct RateMeter {
    started: Instant,
    slots: Mutex<[(u64, u64); SLOTS]>,
}

impl RateMeter {
    /// A meter that has counted nothing.
    pub(super) fn new() -> RateMeter {
        RateMeter { started: Instant::now(), slots: Mutex::new([(0, 0); SLOTS]) }
    }

    /// Counts `amount` now.
    pub(super) fn add(&self, amount: u64) {
        self.add_in(self.started.elapsed().as_secs(), amount);
    }

    /// The mean per second over the last `seconds` whole seconds, at most 60.
    pub(super) fn per_second(&self, seconds: u64) -> f64 {
        self.per_second_in(self.started.elapsed().as_secs(), seconds)
    }

    fn add_in(&self, second: u64, amount: u64) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (second % SLOTS as u64) as usize;
        if let Some((at, count)) = slots.get_mut(place) {
            if *at != second {
                (*at, *count) = (second, 0);
            }
            *count += amount;
        }
    }

    fn per_second_in(&self, now: u64, seconds: u64) -> f64 {
        let seconds = seconds.clamp(1, SLOTS as u64 - 1);
        let first = now.saturating_sub(seconds);
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let sum: u64 = slots.iter().filter(|(at, _)| (first..now).contains(at)).map(|(_, count)| count).sum();
        sum as f64 / seconds as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_count_and_old_ones_do_not() {
        let meter = RateMeter::new();
        for second in 0..100 {
            meter.add_in(second, 10);
        }
        meter.add_in(100, 5000);
        assert_eq!(meter.per_second_in(100, 1), 10.0);
        assert_eq!(meter.per_second_in(100, 60), 10.0);
        assert_eq!(meter.per_second_in(101, 1), 5000.0);
        assert_eq!(meter.per_second_in(130, 60), (30.0 * 10.0 + 5000.0) / 60.0);
        assert_eq!(meter.per_second_in(300, 60), 0.0);
    }
}
