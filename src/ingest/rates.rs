//! Rates: how many records a second, over the last second and the last minute.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How many seconds are kept: the minute, and the one that is not over yet.
const SLOTS: usize = 61;

/// Counts of the last minute, second by second.
pub struct Rates {
    started: Instant,
    slots: Mutex<Slots>,
}

struct Slots {
    /// Records by second, at the second modulo the number of slots.
    counts: [u64; SLOTS],
    /// The newest second with a slot.
    newest_s: u64,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { started: Instant::now(), slots: Mutex::new(Slots { counts: [0; SLOTS], newest_s: 0 }) }
    }
}

impl Rates {
    /// Counts `records` as of now.
    pub fn add(&self, records: u64) {
        self.add_at(self.started.elapsed(), records);
    }

    /// Records a second over the last whole second, and over the last 60.
    pub fn per_second(&self) -> (f64, f64) {
        self.per_second_at(self.started.elapsed())
    }

    fn add_at(&self, now: Duration, records: u64) {
        self.with_slots(now, |slots, second| {
            if let Some(count) = slots.counts.get_mut(slot(second)) {
                *count += records;
            }
        });
    }

    fn per_second_at(&self, now: Duration) -> (f64, f64) {
        self.with_slots(now, |slots, second| {
            let last = second.checked_sub(1).and_then(|second| slots.counts.get(slot(second))).copied().unwrap_or(0);
            let current = slots.counts.get(slot(second)).copied().unwrap_or(0);
            let minute = slots.counts.iter().sum::<u64>() - current;
            let covered_s = second.clamp(1, SLOTS as u64 - 1);
            (last as f64, minute as f64 / covered_s as f64)
        })
    }

    /// Clears the seconds that have passed without a record, then calls `with`.
    fn with_slots<T>(&self, now: Duration, with: impl FnOnce(&mut Slots, u64) -> T) -> T {
        let mut slots = self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let second = now.as_secs().max(slots.newest_s);
        for passed in (slots.newest_s + 1..=second).rev().take(SLOTS) {
            if let Some(count) = slots.counts.get_mut(slot(passed)) {
                *count = 0;
            }
        }
        slots.newest_s = second;
        with(&mut slots, second)
    }
}

fn slot(second: u64) -> usize {
    (second % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_second_and_the_last_minute_are_counted() {
        let rates = Rates::default();
        let at = |seconds: f64| Duration::from_secs_f64(seconds);
        for second in 0..100 {
            rates.add_at(at(f64::from(second) + 0.5), 10);
        }
        assert_eq!(rates.per_second_at(at(100.1)), (10.0, 10.0));
        assert_eq!(rates.per_second_at(at(130.0)), (0.0, 5.0));
        assert_eq!(rates.per_second_at(at(1000.0)), (0.0, 0.0));
    }
}
