//! Reads the moments of many records.

use super::{Timestamp, TimestampError, nanos_from, take_date};

/// The length of a date's text.
const DATE_LENGTH: usize = 10;

/// Reads moments one after the other. Those of one sender are mostly of one day, which is worked out once.
#[derive(Debug, Clone, Default)]
pub struct TimestampReader {
    /// The date of the last one as it was written, and its days since the epoch.
    day: Option<([u8; DATE_LENGTH], i64)>,
}

impl TimestampReader {
    /// Reads a moment in any form that [`Timestamp`] is parsed from.
    ///
    /// # Errors
    /// As for that.
    pub fn read(&mut self, text: &str) -> Result<Timestamp, TimestampError> {
        let Some((date, rest)) = text.as_bytes().split_first_chunk() else { return text.parse() };
        match self.day {
            Some((known, days)) if known == *date => nanos_from(days, rest).map(Timestamp),
            _ => {
                self.day = take_date(date).map(|(days, _)| (*date, days)).or(self.day);
                text.parse()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_reads_what_is_read_alone(texts in proptest::collection::vec(
            "(2024-02-(28|29|30)|2024-2-1|20240228|-2024-02-0)(T|t| |x|)(23:59(:(59|60|61)(\\.[0-9]{0,10})?)?)?(Z|\\+02:00|)|[0-9]{1,12}",
            0..20,
        )) {
            let mut reader = TimestampReader::default();
            for text in texts {
                prop_assert_eq!(reader.read(&text), text.parse(), "{}", text);
            }
        }
    }
}
