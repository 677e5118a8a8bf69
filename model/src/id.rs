//! Record ids: 128 bits that sort by arrival and need no counter that survives a crash.
//!
//! | bits | what |
//! |---|---|
//! | 48 | start of the run, ms since the Unix epoch |
//! | 32 | random, drawn at that start |
//! | 48 | sequence within the run, from 0 |
//!
//! The first 80 bits are the *run*: one value for all that one start of the server accepts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use ulid::Ulid;

use crate::Timestamp;

/// One start of the server: 48 bits of time in milliseconds and 32 random ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId([u8; RunId::BYTES]);

impl RunId {
    /// The length of a run in bytes.
    pub const BYTES: usize = 10;

    /// Makes the run that starts at `start`; `random` keeps two that start in one millisecond apart.
    pub fn new(start: Timestamp, random: u32) -> RunId {
        let millis = u64::try_from(start.as_nanos() / 1_000_000).unwrap_or(0);
        let [_, _, time @ ..] = millis.to_be_bytes();
        let [a, b, c, d, e, f] = time;
        let [r, s, t, u] = random.to_be_bytes();
        RunId([a, b, c, d, e, f, r, s, t, u])
    }

    /// When it started, to the millisecond.
    pub fn start(self) -> Timestamp {
        let [a, b, c, d, e, f, ..] = self.0;
        let millis = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Timestamp::from_nanos(millis.saturating_mul(1_000_000))
    }

    /// Takes the ten bytes that [`RunId::to_bytes`] gave.
    pub fn from_bytes(bytes: [u8; RunId::BYTES]) -> RunId {
        RunId(bytes)
    }

    /// The ten bytes, most significant first, so that they sort as the run does.
    pub fn to_bytes(self) -> [u8; RunId::BYTES] {
        self.0
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Twenty hexadecimal digits, as in file names and log lines.
impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for RunId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let canonical = text.len() == 2 * RunId::BYTES
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let value = u128::from_str_radix(text, 16).ok().filter(|_| canonical).ok_or(ParseIdError)?;
        let [_, _, _, _, _, _, run @ ..] = value.to_be_bytes();
        Ok(RunId(run))
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The identity of one record, given once by the spool and never changed.
///
/// Shown as 26 characters of Crockford's base32, which sort as the ids do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The run that accepted the record.
    pub run: RunId,
    /// Its place in that run, below 2^48.
    pub sequence: u64,
}

/// The text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: an id is 26 characters of Crockford's base32")]
pub struct ParseIdError;

impl RecordId {
    /// The length of an id's text.
    pub const TEXT_LENGTH: usize = ulid::ULID_LEN;
    /// How many sequences a run has.
    pub const SEQUENCES: u64 = 1 << 48;

    /// The id as one number, which sorts as the id does.
    pub fn as_u128(self) -> u128 {
        let run = self.run.0.iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
        run << 48 | u128::from(self.sequence % RecordId::SEQUENCES)
    }

    /// The id behind [`RecordId::as_u128`].
    pub fn from_u128(value: u128) -> RecordId {
        let [a, b, c, d, e, f, g, h, i, j, sequence @ ..] = value.to_be_bytes();
        let sequence = sequence.into_iter().fold(0, |value, byte| value << 8 | u64::from(byte));
        RecordId { run: RunId([a, b, c, d, e, f, g, h, i, j]), sequence }
    }

    /// Writes the 26 characters into `buffer`.
    pub fn encode(self, buffer: &mut [u8; RecordId::TEXT_LENGTH]) -> &str {
        Ulid::from(self.as_u128()).array_to_str(buffer)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; RecordId::TEXT_LENGTH]))
    }
}

impl FromStr for RecordId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() == RecordId::TEXT_LENGTH && text.as_bytes().first().is_some_and(|first| *first <= b'7');
        let id = Ulid::from_string(text).ok().filter(|_| fits).ok_or(ParseIdError)?;
        Ok(RecordId::from_u128(id.0))
    }
}

impl Serialize for RecordId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.encode(&mut [0; RecordId::TEXT_LENGTH]))
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(millis: i64, random: u32) -> RunId {
        RunId::new(Timestamp::from_nanos(millis * 1_000_000), random)
    }

    #[test]
    fn text_and_numbers_round_trip_and_sort_alike() {
        let mut ids = [
            RecordId { run: run(0, 0), sequence: 0 },
            RecordId { run: run(1, 0), sequence: RecordId::SEQUENCES - 1 },
            RecordId { run: run(1, 1), sequence: 0 },
            RecordId { run: run(1_728_345_600_000, u32::MAX), sequence: 7 },
        ];
        ids.sort();
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted());
        assert!(ids.iter().map(|id| id.as_u128()).is_sorted());
        for (id, text) in ids.iter().zip(&texts) {
            assert_eq!(text.parse(), Ok(*id));
            assert_eq!(RecordId::from_u128(id.as_u128()), *id);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "01", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "U0000000000000000000000000", "0000000000000000000000000é"]
        {
            assert_eq!(text.parse::<RecordId>(), Err(ParseIdError), "{text}");
        }
    }

    #[test]
    fn a_run_is_twenty_hexadecimal_digits() {
        let run = run(1_728_345_600_000, 0xdead_beef);
        assert_eq!(run.to_string(), "0192696cf000deadbeef");
        assert_eq!("0192696cf000deadbeef".parse(), Ok(run));
        assert_eq!("0192696CF000deadbeef".parse::<RunId>(), Err(ParseIdError));
        assert_eq!(RunId::from_bytes(run.to_bytes()), run);
        assert_eq!(run.start(), Timestamp::from_nanos(1_728_345_600_000_000_000));
    }
}
