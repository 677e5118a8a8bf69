//! Repeated measurements of one thing.

use std::time::{Duration, Instant};

/// What was measured, in ascending order.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// The value in the middle, or between the two there; NaN, if there is none.
    pub fn median(&self) -> f64 {
        let upper = self.0.get(self.0.len() / 2);
        upper.map_or(f64::NAN, |upper| f64::midpoint(self.quantile(0.5), *upper))
    }

    /// The value that this share of the samples does not exceed; NaN, if there is none.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// The smallest value.
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The largest value.
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each value in another unit.
    pub fn scaled(&self, factor: f64) -> Samples {
        self.0.iter().map(|value| value * factor).collect()
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Samples {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        Samples(values)
    }
}

impl Extend<f64> for Samples {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        self.0.extend(values);
        self.0.sort_unstable_by(f64::total_cmp);
    }
}

/// Runs `work`, and says how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let result = work();
    (begun.elapsed(), result)
}
