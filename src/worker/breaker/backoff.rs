//! How long a breaker stays open: longer each time, and never the same for two nodes.

use std::time::Duration;

use rand::Rng;

/// The shortest time for which a breaker stays open, whatever is configured.
pub(super) const SHORTEST: Duration = Duration::from_millis(500);

/// Doubles from `min` to `max`; of each step one half is kept and the other half is drawn by lot.
///
/// `failsafe::backoff::equal_jittered` does the same in whole seconds, so that from 1 s it would begin with 0 s.
#[derive(Debug, Clone)]
pub(super) struct BackOff {
    next: Duration,
    max: Duration,
}

impl BackOff {
    pub(super) fn new(min: Duration, max: Duration) -> BackOff {
        let min = min.max(SHORTEST);
        BackOff { next: min, max: max.max(min) }
    }
}

impl Iterator for BackOff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.max);
        let jitter = rand::rng().random_range(0.0..=1.0);
        Some((step / 2 + (step / 2).mul_f64(jitter)).max(SHORTEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_within_its_bounds() {
        for (min_ms, max_ms) in [(1000, 30_000), (500, 500), (1, 2), (2000, 1000), (700, 86_400_000)] {
            let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
            let mut step = min.max(SHORTEST);
            let ceiling = max.max(step);
            for wait in BackOff::new(min, max).take(70) {
                assert!(wait >= SHORTEST && wait >= step / 2 && wait <= step, "{wait:?} for a step of {step:?}");
                step = (step * 2).min(ceiling);
            }
        }
    }
}
