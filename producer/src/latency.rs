//! Latencies in a fixed number of buckets, precise to about 3 %.

use std::time::Duration;

/// Each power of two has so many buckets, as a power of two.
const SUB_BITS: u32 = 5;
const BUCKETS: usize = 64 << SUB_BITS;

/// How long requests took.
#[derive(Debug, Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies { counts: vec![0; BUCKETS], total: 0, max_us: 0 }
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(us)) {
            *count += 1;
        }
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Latencies) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// The latency that `share` (0 to 1) of all requests did not exceed; `None` if there were none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(upper_bound(at).min(self.max_us)))
    }

    /// The longest of all.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max_us)
    }
}

/// Small numbers have a bucket each; above, the highest bits decide.
fn bucket(us: u64) -> usize {
    let exponent = us.checked_ilog2().unwrap_or(0).saturating_sub(SUB_BITS);
    let sub = us >> exponent;
    usize::try_from((u64::from(exponent) << SUB_BITS) + sub).unwrap_or(usize::MAX)
}

/// The largest number in a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let exponent = (bucket >> SUB_BITS).saturating_sub(1);
    let sub = bucket - (exponent << SUB_BITS);
    ((u128::from(sub) + 1) << exponent).saturating_sub(1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_a_bucket_that_is_hardly_wider_than_itself() {
        for us in (0..10_000).chain((14..64).map(|bits| (1 << bits) + 12_345)).chain([u64::MAX]) {
            let upper = upper_bound(bucket(us));
            assert!(bucket(us) < BUCKETS && us <= upper, "{us}: {upper}");
            assert!(upper - us <= us / 32, "{us}: {upper}");
        }
    }

    #[test]
    fn quantiles_are_those_of_all_parts_together() {
        let (mut a, mut b) = (Latencies::default(), Latencies::default());
        assert_eq!(a.quantile(0.5), None);
        for ms in 1..=50 {
            a.record(Duration::from_millis(ms));
            b.record(Duration::from_millis(50 + ms));
        }
        a.merge(&b);
        for (share, ms) in [(0.0, 1), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)] {
            let got = a.quantile(share).unwrap().as_micros() as f64 / 1000.0;
            assert!((got - f64::from(ms)).abs() <= f64::from(ms) / 30.0, "{share}: {got}");
        }
        assert_eq!(a.quantile(1.0), Some(Duration::from_millis(100)));
    }
}
