//! The zone in which people read and write times.

use std::path::Path;
use std::str::FromStr;
use std::{env, fs};

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use sluice_model::Timestamp;

use crate::query;
pub(in crate::cli) use crate::query::Edge;

/// A zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Zone(Tz);

/// A name that the database does not have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such zone: use a name of the IANA database such as Europe/Berlin, or UTC")]
pub(in crate::cli) struct UnknownZone;

/// How times are written without a zone.
const DATE_TIMES: [&str; 4] = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
const TIMES: [&str; 2] = ["%H:%M:%S%.f", "%H:%M"];

impl Zone {
    /// Universal time.
    pub(in crate::cli) const UTC: Zone = Zone(Tz::UTC);

    /// This machine's: `$TZ`, else `/etc/localtime`, else `/etc/timezone`. One that has no name in the database is UTC.
    pub(in crate::cli) fn local() -> Zone {
        match env::var("TZ") {
            Ok(name) if !name.is_empty() => name.trim_start_matches(':').parse().unwrap_or(Zone::UTC),
            _ => Zone::of_machine(Path::new("/etc")),
        }
    }

    fn of_machine(etc: &Path) -> Zone {
        let link = fs::read_link(etc.join("localtime")).ok();
        let linked = link.as_ref().and_then(|path| path.to_str()?.split_once("zoneinfo/")?.1.parse().ok());
        let written = || fs::read_to_string(etc.join("timezone")).ok()?.trim().parse().ok();
        linked.or_else(written).unwrap_or(Zone::UTC)
    }

    /// Its name in the database.
    pub(in crate::cli) fn name(self) -> &'static str {
        self.0.name()
    }

    /// A time to the millisecond, as `2024-10-08 09:00:00.123`; universal time ends in `Z`.
    pub(in crate::cli) fn show(self, time: Timestamp) -> String {
        let suffix = if self == Zone::UTC { "Z" } else { "" };
        format!("{}{suffix}", self.at(time).format("%Y-%m-%d %H:%M:%S%.3f"))
    }

    /// A time without parts that are zero for all that it stands among, as `2024-10-08` or `2024-10-08 09:00`.
    pub(in crate::cli) fn show_briefly(self, time: Timestamp, precision: Precision) -> String {
        let format = match precision {
            Precision::Days => "%Y-%m-%d",
            Precision::Minutes => "%Y-%m-%d %H:%M",
            Precision::Seconds => "%Y-%m-%d %H:%M:%S",
            Precision::Milliseconds => "%Y-%m-%d %H:%M:%S%.3f",
        };
        self.at(time).format(format).to_string()
    }

    /// How precisely a time has to be shown.
    pub(in crate::cli) fn precision(self, time: Timestamp) -> Precision {
        let at = self.at(time).time();
        let second = TimeDelta::seconds(1).num_nanoseconds().unwrap_or(1);
        if time.as_nanos() % second != 0 {
            Precision::Milliseconds
        } else if at.format("%S").to_string() != "00" {
            Precision::Seconds
        } else if at != NaiveTime::MIN {
            Precision::Minutes
        } else {
            Precision::Days
        }
    }

    /// Reads a time as people write it: how long ago (`15m`, `2h30m`, `7d`), `today`, `yesterday`, a time of today
    /// (`09:30`), a date or a time in this zone, or whatever the server takes.
    pub(in crate::cli) fn moment(self, text: &str, now: Timestamp, edge: Edge) -> Result<Timestamp, String> {
        let text = text.trim();
        let today = self.at(now).date_naive();
        let day = match text {
            "today" => Some(today),
            "yesterday" => today.pred_opt(),
            _ => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok(),
        };
        if let Some(day) = day {
            return self.of_day(day, edge).ok_or_else(|| "outside of what can be kept".to_owned());
        }
        let of_today = TIMES.iter().find_map(|format| NaiveTime::parse_from_str(text, format).ok());
        let written = DATE_TIMES.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        if let Some(local) = of_today.map(|time| today.and_time(time)).or(written) {
            return self.instant(local).ok_or_else(|| "outside of what can be kept".to_owned());
        }
        let is_period = text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(|c: char| c.is_alphabetic());
        let ago = is_period.then(|| query::parse_time(&format!("-{text}"), now, edge)).and_then(Result::ok);
        ago.map_or_else(|| query::parse_time(text, now, edge), Ok)
            .map_err(|error| format!("{error}, 15m, 09:30, yesterday"))
    }

    /// The instant at which the clocks of this zone show `local`: the first, where they show it twice, and an hour later,
    /// where they skip it.
    pub(in crate::cli) fn instant(self, local: NaiveDateTime) -> Option<Timestamp> {
        let found = match self.0.from_local_datetime(&local) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Some(time),
            LocalResult::None => self.0.from_local_datetime(&(local + TimeDelta::hours(1))).earliest(),
        };
        found?.timestamp_nanos_opt().map(Timestamp::from_nanos)
    }

    fn of_day(self, day: NaiveDate, edge: Edge) -> Option<Timestamp> {
        match edge {
            Edge::Start => self.instant(day.and_time(NaiveTime::MIN)),
            Edge::End => {
                let next = self.instant(day.checked_add_days(Days::new(1))?.and_time(NaiveTime::MIN))?;
                Some(Timestamp::from_nanos(next.as_nanos() - 1))
            }
        }
    }

    fn at(self, time: Timestamp) -> DateTime<Tz> {
        DateTime::<Utc>::from_timestamp_nanos(time.as_nanos()).with_timezone(&self.0)
    }
}

/// How much of a time has to be shown, from little to much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Precision {
    Days,
    Minutes,
    Seconds,
    Milliseconds,
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Zone, UnknownZone> {
        name.parse().map(Zone).map_err(|_| UnknownZone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2024-10-08T12:00:00Z";

    fn moment(text: &str, edge: Edge) -> Result<String, String> {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        berlin.moment(text, NOW.parse().unwrap(), edge).map(|time| time.to_string())
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("15m", "2024-10-08T11:45:00.000000000Z"),
            ("1h30m", "2024-10-08T10:30:00.000000000Z"),
            ("-15m", "2024-10-08T11:45:00.000000000Z"),
            ("now", "2024-10-08T12:00:00.000000000Z"),
            ("today", "2024-10-07T22:00:00.000000000Z"),
            ("yesterday", "2024-10-06T22:00:00.000000000Z"),
            ("2024-10-08", "2024-10-07T22:00:00.000000000Z"),
            ("09:30", "2024-10-08T07:30:00.000000000Z"),
            ("2024-01-08 07:00", "2024-01-08T06:00:00.000000000Z"),
            ("2024-01-08T07:00:00.5", "2024-01-08T06:00:00.500000000Z"),
            ("2024-01-08T07:00:00Z", "2024-01-08T07:00:00.000000000Z"),
            ("2024-01-08T07:00:00+02:00", "2024-01-08T05:00:00.000000000Z"),
            ("1728388800", "2024-10-08T12:00:00.000000000Z"),
        ] {
            assert_eq!(moment(text, Edge::Start).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(moment("2024-10-08", Edge::End).unwrap(), "2024-10-08T21:59:59.999999999Z");
        for text in ["", "soon", "15x", "2024-13-01", "25:00"] {
            assert!(moment(text, Edge::Start).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_that_the_clocks_skip_or_repeat_is_still_one() {
        assert_eq!(moment("2024-03-31 02:30", Edge::Start).unwrap(), "2024-03-31T01:30:00.000000000Z");
        assert_eq!(moment("2024-10-27 02:30", Edge::Start).unwrap(), "2024-10-27T00:30:00.000000000Z");
    }

    #[test]
    fn the_machines_zone_is_a_link_or_a_line() {
        let etc = tempfile::tempdir().unwrap();
        assert_eq!(Zone::of_machine(etc.path()), Zone::UTC);
        fs::write(etc.path().join("timezone"), "Asia/Tokyo\n").unwrap();
        assert_eq!(Zone::of_machine(etc.path()).name(), "Asia/Tokyo");
        std::os::unix::fs::symlink("/usr/share/zoneinfo/America/New_York", etc.path().join("localtime")).unwrap();
        assert_eq!(Zone::of_machine(etc.path()).name(), "America/New_York");
        assert_eq!("Mars/Olympus".parse::<Zone>(), Err(UnknownZone));
    }

    #[test]
    fn times_are_as_short_as_they_can_be() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        for (time, expected) in [
            ("2024-10-07T22:00:00Z", "2024-10-08"),
            ("2024-10-08T07:00:00Z", "2024-10-08 09:00"),
            ("2024-10-08T07:00:10Z", "2024-10-08 09:00:10"),
            ("2024-10-08T07:00:10.25Z", "2024-10-08 09:00:10.250"),
        ] {
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(berlin.show_briefly(time, berlin.precision(time)), expected);
        }
    }
}
