//! When to try again: exponential back-off with jitter, bounded by number and time, honouring `Retry-After`.

use std::time::{Duration, Instant};

use rand::Rng;
use sluice_model::Timestamp;

use crate::transport::{Cause, Failure};

/// How often, how long and at what distance something is tried again.
#[derive(Debug, Clone)]
pub(crate) struct RetryPolicy {
    /// The most retries after the first attempt.
    pub(crate) retries: u32,
    /// How long after the first attempt began the last one may begin.
    pub(crate) retry_for: Duration,
    /// The first pause.
    pub(crate) backoff_min: Duration,
    /// The longest pause that the client chooses by itself; the server may ask for more.
    pub(crate) backoff_max: Duration,
}

/// What came of the attempts together, where the last one failed.
#[derive(Debug)]
pub(crate) enum Exhausted<E> {
    /// A failure that no retry can heal.
    Final(E),
    /// Every attempt failed in a way that might have passed.
    GaveUp { attempts: u32, cause: Cause },
}

impl RetryPolicy {
    /// Runs `attempt` until it succeeds, fails for good, or the policy is at its end; returns the value and how many
    /// retries it took.
    ///
    /// `wait` lets a pause pass; it returns false to give up early.
    pub(crate) fn run<T, E>(
        &self,
        wait: &mut dyn FnMut(Duration) -> bool,
        mut attempt: impl FnMut() -> Result<T, Failure<E>>,
    ) -> Result<(T, u32), Exhausted<E>> {
        let started = Instant::now();
        let mut retries = 0;
        loop {
            let (cause, retry_after) = match attempt() {
                Ok(value) => return Ok((value, retries)),
                Err(Failure::Final(error)) => return Err(Exhausted::Final(error)),
                Err(Failure::Transient { cause, retry_after }) => (cause, retry_after),
            };
            let pause = self.pause(retries, started.elapsed(), retry_after);
            match pause {
                Some(pause) if wait(pause) => {
                    log::debug!("trying again after {} ms: {cause}", pause.as_millis());
                    retries += 1;
                }
                _ => return Err(Exhausted::GaveUp { attempts: retries + 1, cause }),
            }
        }
    }

    /// The pause before the next attempt; `None` if there shall be none.
    fn pause(&self, retries: u32, elapsed: Duration, retry_after: Option<Duration>) -> Option<Duration> {
        let left = self.retry_for.checked_sub(elapsed).filter(|left| !left.is_zero())?;
        if retries >= self.retries || retry_after.is_some_and(|asked| asked > left) {
            return None;
        }
        let full =
            self.backoff_min.saturating_mul(1_u32.checked_shl(retries).unwrap_or(u32::MAX)).min(self.backoff_max);
        let jittered = full.mul_f64(rand::rng().random_range(0.5..=1.0));
        Some(jittered.min(left).max(retry_after.unwrap_or_default()))
    }
}

/// Lets a pause between two attempts pass, come what may.
pub(crate) fn sleep(pause: Duration) -> bool {
    std::thread::sleep(pause);
    true
}

/// Reads a `Retry-After`: seconds, or an HTTP date, which may lie in the past.
pub(crate) fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let nanos = parse_http_date(text)?.as_nanos().saturating_sub(now.as_nanos());
    Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
}

/// Reads the one form of an HTTP date that may still be sent: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parse_http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_ascii_whitespace().skip(1);
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Timestamp::from_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        retries: 5,
        retry_for: Duration::from_secs(60),
        backoff_min: Duration::from_millis(100),
        backoff_max: Duration::from_secs(1),
    };

    #[test]
    fn pauses_double_with_jitter_up_to_the_limit() {
        for (retries, full_ms) in [(0, 100), (1, 200), (2, 400), (3, 800), (4, 1000)] {
            let pause = POLICY.pause(retries, Duration::ZERO, None).unwrap();
            let full = Duration::from_millis(full_ms);
            assert!(full / 2 <= pause && pause <= full, "retry {retries}: {pause:?}");
        }
        assert_eq!(POLICY.pause(5, Duration::ZERO, None), None);
        let huge = RetryPolicy { retries: u32::MAX, ..POLICY };
        assert!(huge.pause(1000, Duration::ZERO, None).unwrap() <= POLICY.backoff_max);
    }

    #[test]
    fn the_server_may_ask_for_a_longer_pause_within_the_time() {
        let asked = Duration::from_secs(30);
        assert_eq!(POLICY.pause(0, Duration::ZERO, Some(asked)), Some(asked));
        assert_eq!(POLICY.pause(0, Duration::from_secs(31), Some(asked)), None);
        assert_eq!(POLICY.pause(0, Duration::from_secs(60), None), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        for (text, expected) in [
            ("3", Some(3)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(parse_retry_after(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
