//! Times as parameters of a request: a moment, or how long ago.

use sluice_model::{Timestamp, TimestampError};

/// Which end of a range a time stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The first moment of it.
    Start,
    /// The last moment of it.
    End,
}

/// Why a text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// None of the forms.
    #[error(
        "not a time: use RFC 3339 (2024-10-08T07:15:00Z), a number of s, ms, µs or ns since 1970, now, or how long ago (-15m)"
    )]
    Malformed,
    /// A time, but outside of what 64 bits of nanoseconds hold.
    #[error("outside of 1677-09-21 to 2262-04-11")]
    OutOfRange,
}

/// Reads a time: RFC 3339 or a relaxed form of it, a number since the epoch, `now`, or a time from now such as `-15m`,
/// `-1h30m` or `now-7d`.
///
/// Where a space stands for the `+` of an offset, as it does when the sender forgot to encode it, it is read as one. A
/// date alone is the whole day: its first moment as a start, its last as an end.
///
/// # Errors
/// [`TimeError`], if it is none of these.
pub fn parse_time(text: &str, now: Timestamp, edge: Edge) -> Result<Timestamp, TimeError> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    let from_now = text.strip_prefix("now").unwrap_or(text);
    if let Some(offset) = relative_nanos(from_now) {
        let nanos = offset.and_then(|offset| now.as_nanos().checked_add(offset));
        return nanos.map(Timestamp::from_nanos).ok_or(TimeError::OutOfRange);
    }
    let moment = with_plus(text).parse::<Timestamp>().map_err(|error| match error {
        TimestampError::Malformed => TimeError::Malformed,
        TimestampError::OutOfRange => TimeError::OutOfRange,
    })?;
    let is_date = text.len() == DATE_LENGTH && Timestamp::from_rfc3339(text).is_ok();
    if is_date && edge == Edge::End {
        return Ok(Timestamp::from_nanos(moment.as_nanos().saturating_add(NANOS_PER_DAY - 1)));
    }
    Ok(moment)
}

const DATE_LENGTH: usize = "2024-10-08".len();
const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// The text with the `+` of its offset back. The space right behind a date stands for a `T`.
fn with_plus(text: &str) -> String {
    match text.rsplit_once(' ') {
        Some((time, offset)) if time.len() > DATE_LENGTH => format!("{time}+{offset}"),
        _ => text.to_owned(),
    }
}

/// The nanoseconds of `-1h30m` or `+5m`; a text that is nothing like it is `None`, one too long is `Some(None)`.
fn relative_nanos(text: &str) -> Option<Option<i64>> {
    let (sign, mut rest) = match text.split_at_checked(1)? {
        ("-", rest) => (-1, rest),
        ("+", rest) => (1, rest),
        _ => return None,
    };
    let mut total = Some(0_i64);
    loop {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let nanos = unit_nanos(unit)?;
        if digits.is_empty() {
            return None;
        }
        let part = digits.parse::<i64>().ok().and_then(|count| count.checked_mul(nanos));
        total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
        if after.is_empty() {
            return Some(total.map(|total| sign * total));
        }
        rest = after;
    }
}

fn unit_nanos(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => NANOS_PER_DAY,
        "w" => 7 * NANOS_PER_DAY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "2024-10-08T12:00:00.000000000Z";

    fn read(text: &str, edge: Edge) -> String {
        let time = parse_time(text, NOW.parse().unwrap(), edge);
        time.map_or_else(|error| format!("{error:?}"), |time| time.to_string())
    }

    #[test]
    fn every_form_is_the_moment_it_names() {
        for (text, expected) in [
            ("2024-10-07T20:00:00Z", "2024-10-07T20:00:00.000000000Z"),
            ("2024-10-07T20:00:00+02:00", "2024-10-07T18:00:00.000000000Z"),
            ("2024-10-07T20:00:00 02:00", "2024-10-07T18:00:00.000000000Z"),
            ("2024-10-07 20:00:00 0200", "2024-10-07T18:00:00.000000000Z"),
            ("2024-10-07 20:00", "2024-10-07T20:00:00.000000000Z"),
            ("2024-10-07T20:00:00.5-02:00", "2024-10-07T22:00:00.500000000Z"),
            ("1728371700", "2024-10-08T07:15:00.000000000Z"),
            ("1728371700123", "2024-10-08T07:15:00.123000000Z"),
            ("-5", "1969-12-31T23:59:55.000000000Z"),
            ("now", NOW),
            ("-15m", "2024-10-08T11:45:00.000000000Z"),
            ("-1h30m", "2024-10-08T10:30:00.000000000Z"),
            ("now-1d", "2024-10-07T12:00:00.000000000Z"),
            ("now+1w", "2024-10-15T12:00:00.000000000Z"),
            ("-250ms", "2024-10-08T11:59:59.750000000Z"),
            ("-1µs", "2024-10-08T11:59:59.999999000Z"),
            ("-400000d", "OutOfRange"),
            ("-99999999999999999999d", "OutOfRange"),
            ("1e400", "OutOfRange"),
            ("15m", "Malformed"),
            ("-15", "1969-12-31T23:59:45.000000000Z"),
            ("-15x", "Malformed"),
            ("-m", "Malformed"),
            ("now15m", "Malformed"),
            ("nowish", "Malformed"),
            ("yesterday", "Malformed"),
            ("", "Malformed"),
        ] {
            assert_eq!(read(text, Edge::Start), expected, "{text}");
            assert_eq!(read(text, Edge::End), expected, "{text}");
        }
    }

    #[test]
    fn a_date_alone_is_the_whole_day() {
        assert_eq!(read("2024-10-07", Edge::Start), "2024-10-07T00:00:00.000000000Z");
        assert_eq!(read("2024-10-07", Edge::End), "2024-10-07T23:59:59.999999999Z");
        assert_eq!(read("2024-10-07T00:00", Edge::End), "2024-10-07T00:00:00.000000000Z");
        assert_eq!(read("1728371700", Edge::End), "2024-10-08T07:15:00.000000000Z");
        assert_eq!(read("2262-04-11", Edge::End), Timestamp::MAX.to_string());
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String, near in "(now)?[-+]?[0-9smhdwnµ: T-]{0,30}") {
            let _ = parse_time(&text, Timestamp::MAX, Edge::End);
            let _ = parse_time(&near, Timestamp::MIN, Edge::Start);
        }
    }
}
