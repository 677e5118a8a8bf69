//! Moments: nanoseconds since the Unix epoch, and the ways in which senders write them.

mod reader;

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveDate};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use self::reader::TimestampReader;

/// A moment in UTC, in nanoseconds since the Unix epoch: 1677-09-21 to 2262-04-11.
///
/// Its text always has nine digits of a second and a `Z`, so that the order of texts is the order of moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Why a text or number is no timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Neither RFC 3339 (or one of its relaxed forms) nor a number.
    #[error("not a time: use RFC 3339 (2024-10-08T07:15:00Z) or a number of s, ms, µs or ns since 1970")]
    Malformed,
    /// A time, but outside of what 64 bits of nanoseconds hold.
    #[error("outside of 1677-09-21 to 2262-04-11")]
    OutOfRange,
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// How many digits behind the point of a second tell of nanoseconds.
const NANO_DIGITS: usize = 9;

impl Timestamp {
    /// The earliest moment there is.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The latest moment there is.
    pub const MAX: Timestamp = Timestamp(i64::MAX);
    /// The length of a timestamp's text.
    pub const TEXT_LENGTH: usize = 30;

    /// The moment `nanos` after (or before) the Unix epoch.
    pub const fn from_nanos(nanos: i64) -> Timestamp {
        Timestamp(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The system clock's present time.
    pub fn now() -> Timestamp {
        let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        };
        Timestamp(nanos)
    }

    /// Reads a number of seconds, ms, µs or ns since the epoch, told apart by magnitude: seconds below 1e11, ms below
    /// 1e14, µs below 1e17, else ns. A fraction is exact; digits past the ninth are cut.
    ///
    /// # Errors
    /// [`TimestampError`], if it is not a decimal number or too large.
    pub fn from_decimal(text: &str) -> Result<Timestamp, TimestampError> {
        decimal_nanos(text).map(Timestamp)
    }

    /// Reads RFC 3339 or a relaxed form of it: a space for the `T`, a date alone, no zone (which means UTC).
    ///
    /// # Errors
    /// [`TimestampError`], if it is no such time or cannot be held.
    pub fn from_rfc3339(text: &str) -> Result<Timestamp, TimestampError> {
        calendar_nanos(text.as_bytes()).map(Timestamp)
    }

    /// Writes the text into `buffer` and returns it.
    pub fn encode(self, buffer: &mut [u8; Timestamp::TEXT_LENGTH]) -> &str {
        let seconds = self.0.div_euclid(NANOS_PER_SECOND);
        let nanos = self.0.rem_euclid(NANOS_PER_SECOND);
        let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        // Every i64 of nanoseconds is a date that chrono holds.
        let date = DateTime::from_timestamp(seconds, 0).map(|time| time.date_naive()).unwrap_or_default();
        let (year, month, day) = year_month_day(date);
        // Half as wide as what they are of, as they are small, and so divided in less time.
        let (second, nanos) = (second_of_day as u32, nanos as u32);
        let mut rest: &mut [u8] = buffer;
        for (value, digits, after) in [
            (year, 4, Some(b'-')),
            (month, 2, Some(b'-')),
            (day, 2, Some(b'T')),
            (second / 3600, 2, Some(b':')),
            (second / 60 % 60, 2, Some(b':')),
            (second % 60, 2, Some(b'.')),
            (nanos, 9, Some(b'Z')),
        ] {
            rest = put_digits(rest, value, digits, after);
        }
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

fn year_month_day(date: NaiveDate) -> (u32, u32, u32) {
    use chrono::Datelike;
    (date.year().unsigned_abs(), date.month(), date.day())
}

/// Writes `value` with `digits` digits, and a separator; returns what is left of the buffer.
fn put_digits(buffer: &mut [u8], mut value: u32, digits: usize, after: Option<u8>) -> &mut [u8] {
    let (field, rest) = buffer.split_at_mut(digits);
    for place in field.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
    match (after, rest.split_first_mut()) {
        (Some(byte), Some((place, rest))) => {
            *place = byte;
            rest
        }
        (_, _) => &mut [],
    }
}

/// Powers of ten that matter: the largest value is below 1e19, the smallest unit is a nanosecond.
const MOST_DIGITS: usize = 36;

fn decimal_nanos(text: &str) -> Result<i64, TimestampError> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, bytes),
    };
    let (mantissa, exponent) = match digits.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => {
            let (mantissa, exponent) = digits.split_at(at);
            let exponent = std::str::from_utf8(exponent.get(1..).unwrap_or_default()).unwrap_or_default();
            (mantissa, exponent.parse::<i32>().map_err(|_| TimestampError::Malformed)?)
        }
        None => (digits, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (mantissa.get(..at).unwrap_or_default(), mantissa.get(at + 1..).unwrap_or_default()),
        None => (mantissa, &[][..]),
    };
    let dangling_point = whole.len() < mantissa.len() && fraction.is_empty();
    if whole.is_empty() || dangling_point || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(TimestampError::Malformed);
    }
    // The number is 0.d₁d₂d₃… × 10^point, with leading zeros gone.
    let significant = whole.iter().chain(fraction).map(|byte| byte - b'0').skip_while(|digit| *digit == 0);
    let leading = whole.iter().chain(fraction).take_while(|byte| **byte == b'0').count();
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX) - i64::try_from(leading).unwrap_or(i64::MAX)
        + i64::from(exponent);
    // Below 1e11 the number is seconds, and a nanosecond is nine places behind the point; and so on.
    let unit = match point {
        ..=11 => 9,
        12..=14 => 6,
        15..=17 => 3,
        _ => 0,
    };
    let places = usize::try_from(point + unit).unwrap_or(0);
    if places > MOST_DIGITS {
        let zero = whole.iter().chain(fraction).all(|byte| *byte == b'0');
        return if zero { Ok(0) } else { Err(TimestampError::OutOfRange) };
    }
    let magnitude = significant
        .chain(std::iter::repeat(0))
        .take(places)
        .fold(0_i128, |value, digit| value * 10 + i128::from(digit));
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| TimestampError::OutOfRange)
}

/// Reads `digits` digits from the front of `bytes`.
fn take_number(bytes: &[u8], digits: usize) -> Option<(u32, &[u8])> {
    let (field, rest) = bytes.split_at_checked(digits)?;
    let value = field
        .iter()
        .try_fold(0_u32, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))?;
    Some((value, rest))
}

/// Takes `byte` from the front of `bytes`.
fn take_byte(bytes: &[u8], byte: u8) -> Option<&[u8]> {
    bytes.split_first().filter(|(first, _)| **first == byte).map(|(_, rest)| rest)
}

fn calendar_nanos(bytes: &[u8]) -> Result<i64, TimestampError> {
    let (days, rest) = take_date(bytes).ok_or(TimestampError::Malformed)?;
    nanos_from(days, rest)
}

/// The nanoseconds of a moment that is so many days after the epoch, and of which `rest` stands behind the date.
fn nanos_from(days: i64, rest: &[u8]) -> Result<i64, TimestampError> {
    let mut seconds = days * SECONDS_PER_DAY;
    let mut nanos = 0;
    if let Some((separator, rest)) = rest.split_first() {
        if !matches!(separator, b'T' | b't' | b' ') {
            return Err(TimestampError::Malformed);
        }
        let (second_of_day, fraction, rest) = take_time(rest).ok_or(TimestampError::Malformed)?;
        let offset = take_offset(rest).ok_or(TimestampError::Malformed)?;
        seconds += second_of_day - offset;
        nanos = fraction;
    }
    let total = i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos);
    i64::try_from(total).map_err(|_| TimestampError::OutOfRange)
}

/// Takes `YYYY-MM-DD`; returns days since the epoch.
fn take_date(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = take_number(bytes, 4)?;
    let (month, rest) = take_number(take_byte(rest, b'-')?, 2)?;
    let (day, rest) = take_number(take_byte(rest, b'-')?, 2)?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    Some((i64::from(date.to_epoch_days()), rest))
}

/// Takes `HH:MM`, `:SS` and a fraction; returns seconds of the day and nanoseconds. A leap second is the next one.
fn take_time(bytes: &[u8]) -> Option<(i64, i64, &[u8])> {
    let (hour, rest) = take_number(bytes, 2)?;
    let (minute, rest) = take_number(take_byte(rest, b':')?, 2)?;
    let (second, mut rest) = match take_byte(rest, b':') {
        Some(rest) => take_number(rest, 2)?,
        None => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut nanos = 0;
    if let Some(fraction) = take_byte(rest, b'.').or_else(|| take_byte(rest, b',')) {
        let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, after) = fraction.split_at_checked(length).filter(|(digits, _)| !digits.is_empty())?;
        let kept = digits.get(..NANO_DIGITS).unwrap_or(digits);
        nanos = kept.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        nanos *= 10_i64.pow((NANO_DIGITS - kept.len()) as u32);
        rest = after;
    }
    Some((i64::from(hour * 3600 + minute * 60 + second), nanos, rest))
}

/// Takes the zone that ends the text, if any; returns its offset from UTC in seconds.
fn take_offset(bytes: &[u8]) -> Option<i64> {
    let (sign, rest) = match bytes.split_first() {
        None => return Some(0),
        Some((b'Z' | b'z', [])) => return Some(0),
        Some((b'+', rest)) => (1, rest),
        Some((b'-', rest)) => (-1, rest),
        Some(_) => return None,
    };
    let (hours, rest) = take_number(rest, 2)?;
    let rest = take_byte(rest, b':').unwrap_or(rest);
    let (minutes, rest) = if rest.is_empty() { (0, rest) } else { take_number(rest, 2)? };
    let valid = rest.is_empty() && hours < 24 && minutes < 60;
    valid.then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; Timestamp::TEXT_LENGTH]))
    }
}

/// Reads every form a sender may use: RFC 3339 and its relaxed forms, or a string of digits.
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Timestamp::from_rfc3339(text) {
            Err(TimestampError::Malformed) => Timestamp::from_decimal(text),
            known => known,
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.encode(&mut [0; Timestamp::TEXT_LENGTH]))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Timestamp>().map_or_else(|error| format!("{error:?}"), |time| time.to_string())
    }

    #[test]
    fn every_accepted_form_is_the_moment_it_names() {
        for (sent, expected) in [
            ("2024-10-08T07:15:00Z", "2024-10-08T07:15:00.000000000Z"),
            ("2024-10-08 07:15:00", "2024-10-08T07:15:00.000000000Z"),
            ("2024-10-08T07:15", "2024-10-08T07:15:00.000000000Z"),
            ("2024-10-08", "2024-10-08T00:00:00.000000000Z"),
            ("2024-10-08T07:15:00.123456789987+02:00", "2024-10-08T05:15:00.123456789Z"),
            ("2024-10-08T07:15:00,5-0130", "2024-10-08T08:45:00.500000000Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000000Z"),
            ("1728371700", "2024-10-08T07:15:00.000000000Z"),
            ("1728371700.5", "2024-10-08T07:15:00.500000000Z"),
            ("1728371700123", "2024-10-08T07:15:00.123000000Z"),
            ("1728371700123.25", "2024-10-08T07:15:00.123250000Z"),
            ("1728371700123456", "2024-10-08T07:15:00.123456000Z"),
            ("1728371700123456789", "2024-10-08T07:15:00.123456789Z"),
            ("1.7283717e9", "2024-10-08T07:15:00.000000000Z"),
            ("99999999999", "OutOfRange"),
            ("100000000000", "1973-03-03T09:46:40.000000000Z"),
            ("-1", "1969-12-31T23:59:59.000000000Z"),
            ("-0.000000001", "1969-12-31T23:59:59.999999999Z"),
            ("0", "1970-01-01T00:00:00.000000000Z"),
            ("0e99", "1970-01-01T00:00:00.000000000Z"),
            ("1e-400", "1970-01-01T00:00:00.000000000Z"),
            ("1e400", "OutOfRange"),
            ("1677-09-21T00:12:43.145224192Z", "1677-09-21T00:12:43.145224192Z"),
            ("2262-04-11T23:47:16.854775807Z", "2262-04-11T23:47:16.854775807Z"),
            ("2262-04-11T23:47:16.854775808Z", "OutOfRange"),
            ("1677-09-21T00:12:43.145224191Z", "OutOfRange"),
            ("2024-02-30T00:00:00Z", "Malformed"),
            ("2024-10-08T24:00:00Z", "Malformed"),
            ("2024-10-08T07:15:00.Z", "Malformed"),
            ("2024-10-08T07:15:00Zx", "Malformed"),
            ("yesterday", "Malformed"),
            ("", "Malformed"),
            ("-", "Malformed"),
            ("1.", "Malformed"),
            (".5", "Malformed"),
            ("+5", "Malformed"),
            ("NaN", "Malformed"),
        ] {
            assert_eq!(shown(sent), expected, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips_and_sorts_as_time(a: i64, b: i64) {
            let (a, b) = (Timestamp::from_nanos(a), Timestamp::from_nanos(b));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}", digits in "-?[0-9.eE+-]{0,60}") {
            let _ = text.parse::<Timestamp>();
            let _ = Timestamp::from_decimal(&digits);
        }
    }
}
