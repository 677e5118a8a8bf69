//! Buckets of time: how long they are, and where they begin in a time zone.
//!
//! A step in seconds, minutes or hours begins at local midnight of 1970-01-01 and goes on by the local clock; one in
//! days begins at local midnights, one in weeks on Mondays. So a day is 23 or 25 hours long where the clock is changed;
//! an hour never is, unless the clock is changed by a part of one.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};

const SECOND_NS: i128 = 1_000_000_000;
const DAY_S: i64 = 86_400;
/// The local second 0 of weeks: Monday, 1969-12-29.
const WEEK_ORIGIN_S: i64 = -3 * DAY_S;

/// Why a step cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// It is no period.
    #[error("use a whole number with s, m, h, d or w, such as 30s, 5m, 1h, 1d or 1w")]
    Period,
    /// There is no such time zone.
    #[error("unknown time zone{}", nearest.map_or_else(String::new, |name| format!(": did you mean {name}?")))]
    Zone {
        /// The name that is most like it.
        nearest: Option<&'static str>,
    },
}

/// A period by which times are put into buckets, and the clock that it goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    length_s: i64,
    origin_s: i64,
    zone: Tz,
}

/// The times from `start` to before `end`, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Bucket {
    pub(super) fn contains(self, nanos: i64) -> bool {
        // The last bucket of all time has no end.
        self.start <= nanos && (nanos < self.end || self.end == i64::MAX)
    }
}

impl Step {
    /// Reads a period such as `5m`; it goes by the clock of `zone`, or by UTC.
    ///
    /// # Errors
    /// [`StepError`].
    pub fn parse(period: &str, zone: Option<&str>) -> Result<Step, StepError> {
        /// Longer steps than this are of no use, and shorter than the range of time.
        const LENGTH_MAX_S: i64 = 100 * 366 * DAY_S;
        let unit = period.chars().next_back().ok_or(StepError::Period)?;
        let number = period.get(..period.len() - unit.len_utf8()).unwrap_or_default();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(StepError::Period);
        }
        let (unit_s, origin_s) = match unit {
            's' => (1, 0),
            'm' => (60, 0),
            'h' => (3_600, 0),
            'd' => (DAY_S, 0),
            'w' => (7 * DAY_S, WEEK_ORIGIN_S),
            _ => return Err(StepError::Period),
        };
        let length_s = number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit_s));
        let length_s = length_s.filter(|length| (1..=LENGTH_MAX_S).contains(length)).ok_or(StepError::Period)?;
        Ok(Step { length_s, origin_s, zone: zone.map_or(Ok(Tz::UTC), parse_zone)? })
    }

    /// The length of a bucket in ns and a moment at which one begins, if they go by UTC.
    pub fn in_utc(&self) -> Option<(i64, i64)> {
        let ns = |seconds: i64| i64::try_from(i128::from(seconds) * SECOND_NS).ok();
        if self.zone == Tz::UTC { ns(self.length_s).zip(ns(self.origin_s)) } else { None }
    }

    /// At least so many buckets lie between two moments.
    pub fn buckets_between(&self, start: i64, end: i64) -> u64 {
        let whole = (i128::from(end) - i128::from(start)) / (i128::from(self.length_s) * SECOND_NS);
        u64::try_from(whole).unwrap_or(0)
    }

    /// The bucket that a moment lies in.
    pub(super) fn bucket(&self, nanos: i64) -> Bucket {
        let seconds = nanos.div_euclid(SECOND_NS as i64);
        if self.zone == Tz::UTC {
            let start = self.floor(seconds);
            return bucket(start, start + self.length_s);
        }
        let local = seconds + self.offset(seconds);
        let floor = self.floor(local);
        let start = self.begin(floor, seconds);
        let end = self.begin(floor + self.length_s, seconds);
        bucket(start, end.max(seconds + 1))
    }

    /// The start of the local period of a local second.
    fn floor(&self, local: i64) -> i64 {
        (local - self.origin_s).div_euclid(self.length_s) * self.length_s + self.origin_s
    }

    /// When the local clock shows `local`, seen from the moment `near`, whose offset holds if it does then too.
    fn begin(&self, local: i64, near: i64) -> i64 {
        let candidate = local - self.offset(near);
        if self.offset(candidate) == self.offset(near) {
            return candidate;
        }
        let Some(naive) = DateTime::from_timestamp(local, 0).map(|time| time.naive_utc()) else { return candidate };
        match self.zone.from_local_datetime(&naive) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time.timestamp(),
            LocalResult::None => self.leap_over(naive).unwrap_or(candidate),
        }
    }

    /// The moment at which the local clock leaps over `naive`.
    fn leap_over(&self, naive: NaiveDateTime) -> Option<i64> {
        let local = naive.and_utc().timestamp();
        let day = TimeDelta::days(1);
        let around = [naive.checked_sub_signed(day)?, naive.checked_add_signed(day)?];
        let [before, after] = around.map(|time| self.offset(time.and_utc().timestamp()));
        // The clock has not leapt at the one, and has at the other.
        let (mut early, mut late) = (local - before.max(after) - 1, local - before.min(after));
        let offset = self.offset(early);
        while late - early > 1 {
            let middle = early + (late - early) / 2;
            if self.offset(middle) == offset {
                early = middle;
            } else {
                late = middle;
            }
        }
        Some(late)
    }

    /// How many seconds the local clock is ahead of UTC at a moment.
    fn offset(&self, seconds: i64) -> i64 {
        let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default().naive_utc();
        self.zone.offset_from_utc_datetime(&time).fix().local_minus_utc().into()
    }
}

fn bucket(start_s: i64, end_s: i64) -> Bucket {
    let nanos = |seconds: i64| (i128::from(seconds) * SECOND_NS).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
    Bucket { start: nanos(start_s), end: nanos(end_s) }
}

fn parse_zone(name: &str) -> Result<Tz, StepError> {
    const LIKENESS_MIN: f64 = 0.8;
    const NAME_BYTES_MAX: usize = 64;
    if let Ok(zone) = name.parse::<Tz>() {
        return Ok(zone);
    }
    let plain = |name: &str| name.to_lowercase().replace([' ', '-'], "_");
    let wanted = plain(if name.len() > NAME_BYTES_MAX { "" } else { name });
    // A city alone is likely meant, too.
    let city = |zone: &str| zone.rsplit('/').next().is_some_and(|city| plain(city) == wanted);
    let likeness = |zone: &str| if city(zone) { 1.0 } else { strsim::jaro_winkler(&wanted, &plain(zone)) };
    let scored = TZ_VARIANTS.iter().map(|zone| (zone.name(), likeness(zone.name())));
    let best = scored.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, likeness)| *likeness >= LIKENESS_MIN);
    Err(StepError::Zone { nearest: best.map(|(name, _)| name) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluice_model::Timestamp;

    use super::*;

    fn starts(step: &str, zone: &str, times: &[&str]) -> Vec<String> {
        let step = Step::parse(step, Some(zone)).unwrap();
        let start = |time: &&str| {
            let time: Timestamp = time.parse().unwrap();
            let bucket = step.bucket(time.as_nanos());
            assert!(bucket.contains(time.as_nanos()), "{time}");
            assert_eq!(step.bucket(bucket.start), bucket, "{time}");
            Timestamp::from_nanos(bucket.start).to_string().replace(":00.000000000Z", "Z")
        };
        times.iter().map(start).collect()
    }

    #[test]
    fn buckets_begin_by_the_local_clock() {
        for (step, zone, time, start) in [
            ("30s", "UTC", "2024-10-08T07:00:59Z", "2024-10-08T07:00:30.000000000Z"),
            ("1h", "UTC", "1969-12-31T23:30:00Z", "1969-12-31T23:00Z"),
            ("1w", "UTC", "2024-10-08T07:00:59Z", "2024-10-07T00:00Z"),
            ("2w", "UTC", "1970-01-11T07:00:59Z", "1969-12-29T00:00Z"),
            ("1h", "Asia/Kolkata", "2024-10-08T07:00:00Z", "2024-10-08T06:30Z"),
            ("1d", "Europe/Berlin", "2024-10-08T23:00:00Z", "2024-10-08T22:00Z"),
            ("1w", "America/New_York", "2024-10-07T03:59:00Z", "2024-09-30T04:00Z"),
            // The clock goes back at 01:00Z.
            ("1d", "Europe/Berlin", "2024-10-27T22:30:00Z", "2024-10-26T22:00Z"),
            ("1d", "Europe/Berlin", "2024-10-27T23:00:00Z", "2024-10-27T23:00Z"),
            ("6h", "Europe/Berlin", "2024-10-27T01:30:00Z", "2024-10-26T22:00Z"),
            ("1h", "Europe/Berlin", "2024-10-27T00:30:00Z", "2024-10-27T00:00Z"),
            ("1h", "Europe/Berlin", "2024-10-27T01:30:00Z", "2024-10-27T01:00Z"),
            // The clock goes forward at 01:00Z.
            ("1d", "Europe/Berlin", "2024-03-31T10:00:00Z", "2024-03-30T23:00Z"),
            ("1d", "Europe/Berlin", "2024-03-31T22:00:00Z", "2024-03-31T22:00Z"),
            // The clock leaps over midnight.
            ("1d", "Africa/Cairo", "2024-04-26T09:00:00Z", "2024-04-25T22:00Z"),
            ("7h", "Europe/Berlin", "2024-03-31T01:10:00Z", "2024-03-30T21:00Z"),
        ] {
            assert_eq!(starts(step, zone, &[time]), [start], "{step} {zone} {time}");
        }
    }

    #[test]
    fn what_is_no_step_is_told() {
        for period in ["", "h", "0h", "-1h", "1", "1.5h", "1y", "1 h", "99999999999999999999s", "9999999w", "1µ"] {
            assert_eq!(Step::parse(period, None), Err(StepError::Period), "{period}");
        }
        for (zone, nearest) in [
            ("Europe/Belrin", Some("Europe/Berlin")),
            ("europe/berlin", Some("Europe/Berlin")),
            ("berlin", Some("Europe/Berlin")),
            ("New York", Some("America/New_York")),
            ("zzzzzz", None),
        ] {
            assert_eq!(Step::parse("1h", Some(zone)), Err(StepError::Zone { nearest }), "{zone}");
        }
        assert_eq!(Step::parse("1w", Some("UTC")).unwrap().in_utc(), Some((604_800_000_000_000, -259_200_000_000_000)));
        assert_eq!(Step::parse("1h", Some("Europe/Berlin")).unwrap().in_utc(), None);
    }

    proptest! {
        #[test]
        fn every_moment_has_one_bucket(
            nanos in prop_oneof![any::<i64>(), 1_500_000_000_000_000_000..1_800_000_000_000_000_000_i64],
            zone in prop::sample::select(vec![
                "UTC", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia",
            ]),
            step in prop::sample::select(vec!["1s", "7m", "1h", "6h", "1d", "3d", "1w", "2w"]),
        ) {
            let step = Step::parse(step, Some(zone)).unwrap();
            let bucket = step.bucket(nanos);
            prop_assert!(bucket.contains(nanos), "{bucket:?}");
            prop_assert_eq!(step.bucket(bucket.start.max(i64::MIN + 1)).start, bucket.start);
            if bucket.end < i64::MAX {
                prop_assert!(step.bucket(bucket.end).start >= bucket.end - 1_000_000_000, "{:?}", step.bucket(bucket.end));
                prop_assert_ne!(step.bucket(bucket.end).start, bucket.start);
            }
        }
    }
}
