//! When the next batch is due.

use std::str::FromStr;
use std::time::Duration;

/// How fast records are made.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pace {
    /// Records a second; `None` is as fast as they are taken.
    pub rate: Option<f64>,
    /// Spikes on top of the rate.
    pub burst: Option<Burst>,
}

/// Spikes: each `period` begins with a time `length` in which the rate is `factor` times as high.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// How many times as high.
    pub factor: f64,
    /// How long a spike lasts.
    pub length: Duration,
    /// From the start of one spike to the start of the next.
    pub period: Duration,
}

impl Pace {
    /// When the record of this number is due, after the start; `None` if at once.
    pub fn due(&self, number: u64) -> Option<Duration> {
        let rate = self.rate?;
        let number = number as f64;
        let seconds = match self.burst {
            None => number / rate,
            Some(burst) => burst.due_s(number, rate),
        };
        // Later than any run lasts is as good as never.
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

impl Burst {
    fn due_s(&self, number: f64, rate: f64) -> f64 {
        let (length_s, period_s) = (self.length.as_secs_f64(), self.period.as_secs_f64());
        let in_spike = rate * self.factor * length_s;
        let in_period = in_spike + rate * (period_s - length_s);
        let periods = (number / in_period).floor();
        let rest = number - periods * in_period;
        let within_s = if rest < in_spike { rest / (rate * self.factor) } else { length_s + (rest - in_spike) / rate };
        periods * period_s + within_s
    }
}

/// Reads `FACTORxLENGTH/PERIOD`, such as `10x5s/60s`.
impl FromStr for Burst {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let usage = || "use FACTORxLENGTH/PERIOD, such as 10x5s/60s".to_owned();
        let (factor, times) = text.split_once('x').ok_or_else(usage)?;
        let (length, period) = times.split_once('/').ok_or_else(usage)?;
        let factor = factor.parse::<f64>().ok().filter(|factor| *factor > 0.0 && *factor <= 1e6).ok_or_else(usage)?;
        let (length, period) = (parse_duration(length)?, parse_duration(period)?);
        if length.is_zero() || length >= period {
            return Err("a spike must be shorter than its period, and longer than nothing".to_owned());
        }
        Ok(Burst { factor, length, period })
    }
}

/// Reads a duration with its unit: `500ms`, `30s`, `5m`, `1h`, `1.5s`.
///
/// # Errors
/// A text for the user, if it is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let usage = || format!("{text:?} is no duration: use a number with ms, s, m or h, such as 30s");
    let at = text.find(|byte: char| byte.is_ascii_alphabetic()).ok_or_else(usage)?;
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(usage()),
    };
    let number: f64 = number.trim().parse().map_err(|_| usage())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| usage())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_even() {
        let pace = Pace { rate: Some(100.0), burst: None };
        assert_eq!(pace.due(0), Some(Duration::ZERO));
        assert_eq!(pace.due(250), Some(Duration::from_millis(2500)));
        assert_eq!(Pace::default().due(250), None);
    }

    #[test]
    fn each_period_begins_with_a_spike() {
        // 10 s at 1,000/s, then 50 s at 100/s: 15,000 records a minute.
        let pace = Pace { rate: Some(100.0), burst: "10x10s/60s".parse().ok() };
        for (number, due_s) in [(0, 0), (5_000, 5), (10_000, 10), (10_100, 11), (15_000, 60), (20_000, 65)] {
            assert_eq!(pace.due(number).unwrap().as_secs_f64().round() as u64, due_s, "{number}");
        }
        assert!((0..50_000).map(|number| pace.due(number)).is_sorted());
    }

    #[test]
    fn durations_and_bursts_are_read_or_refused() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        for text in ["", "5", "s", "-1s", "5 days", "1e300h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["", "10", "10x5s", "0x5s/60s", "10x60s/5s", "10x0s/5s", "nanx1s/2s"] {
            assert!(text.parse::<Burst>().is_err(), "{text}");
        }
    }
}
