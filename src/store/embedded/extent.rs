//! Extents: what is known of some records without looking at them, so that a search can pass them by.

use arrow_array::StringArray;
use serde::{Deserialize, Serialize};
use sluice_model::{Severity, Timestamp};

use crate::batch::LogBatch;
use crate::query::{Order, SeveritySet, TimeRange};

/// How many bytes of a service's name an extent keeps.
const SERVICE_BYTES: usize = 64;

/// Bounds of the times, severities and services of some records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extent {
    /// The first timestamp, in ns.
    pub(super) time_min: i64,
    /// The last timestamp, in ns.
    pub(super) time_max: i64,
    /// A bit for each severity number that occurs.
    severities: u32,
    /// No service sorts before this text.
    service_min: String,
    /// No service sorts after this text; absent, if the last one is too long to be kept.
    service_max: Option<String>,
}

impl Extent {
    /// The extent of the records of `logs`; `None`, if there are none.
    pub(super) fn of(logs: &LogBatch) -> Option<Extent> {
        let mut bounds = Bounds::default();
        bounds.add(logs);
        bounds.extent()
    }

    /// Widens the extent by another one.
    pub(super) fn cover(&mut self, other: &Extent) {
        self.time_min = self.time_min.min(other.time_min);
        self.time_max = self.time_max.max(other.time_max);
        self.severities |= other.severities;
        if other.service_min < self.service_min {
            self.service_min.clone_from(&other.service_min);
        }
        self.service_max = match (self.service_max.take(), &other.service_max) {
            (Some(max), Some(other)) => Some(if *other > max { other.clone() } else { max }),
            _ => None,
        };
    }

    /// The times that occur.
    pub(super) fn times(&self) -> TimeRange {
        TimeRange { start: Timestamp::from_nanos(self.time_min), end: Timestamp::from_nanos(self.time_max) }
    }

    /// Where the first of the records, in the given order, can stand at best.
    pub(super) fn best_time(&self, order: Order) -> i64 {
        match order {
            Order::Ascending => self.time_min,
            Order::Descending => self.time_max,
        }
    }

    /// The severities that occur.
    pub(super) fn severities(&self) -> SeveritySet {
        severities_of(self.severities)
    }

    /// The severity of all records, if it is one.
    pub(super) fn only_severity(&self) -> Option<Severity> {
        let mut occurring = Severity::ALL.into_iter().filter(|severity| self.severities().contains(*severity));
        occurring.next().filter(|_| occurring.next().is_none())
    }

    /// The service of all records, if it is one and is kept whole.
    pub(super) fn only_service(&self) -> Option<&str> {
        self.service_max.as_deref().filter(|max| *max == self.service_min)
    }

    /// Whether the service may occur.
    pub(super) fn may_have_service(&self, service: &str) -> bool {
        self.service_min.as_str() <= service && self.service_max.as_deref().is_none_or(|max| service <= max)
    }
}

/// Finds the extent of records that come in parts.
#[derive(Default)]
pub(super) struct Bounds {
    times: Option<(i64, i64)>,
    severities: u32,
    /// The first service and the last, by name.
    services: Option<(String, String)>,
}

impl Bounds {
    /// Takes in some records.
    pub(super) fn add(&mut self, logs: &LogBatch) {
        let both = [self.times, min_max(logs.timestamps().iter().copied())];
        self.times = min_max(both.into_iter().flatten().flat_map(|(min, max)| [min, max]));
        self.severities |= logs.severities().iter().fold(0, |bits, number| bits | severity_bit(*number));
        let found = first_and_last(logs.services());
        match (&mut self.services, found) {
            (Some((first, last)), Some((min, max))) => {
                if min < first.as_str() {
                    min.clone_into(first);
                }
                if max > last.as_str() {
                    max.clone_into(last);
                }
            }
            (none, found) => *none = none.take().or(found.map(|(min, max)| (min.to_owned(), max.to_owned()))),
        }
    }

    /// The extent of all of them; `None`, if there were none.
    pub(super) fn extent(self) -> Option<Extent> {
        let ((time_min, time_max), (service_min, service_max)) = self.times.zip(self.services)?;
        Some(Extent {
            time_min,
            time_max,
            severities: self.severities,
            service_min: prefix(&service_min).to_owned(),
            service_max: Some(service_max).filter(|max| max.len() <= SERVICE_BYTES),
        })
    }
}

/// The first and the last of some texts by name.
fn first_and_last(texts: &StringArray) -> Option<(&str, &str)> {
    let mut texts = texts.iter().flatten();
    let first = texts.next()?;
    let (mut min, mut max) = (first, first);
    let (mut least, mut greatest) = (beginning(first), beginning(first));
    for text in texts {
        // Most are between the two by their first bytes.
        let begins = beginning(text);
        if begins <= least && text < min {
            (min, least) = (text, begins);
        }
        if begins >= greatest && text > max {
            (max, greatest) = (text, begins);
        }
    }
    Some((min, max))
}

/// The first bytes of a text as a number; those of a text that sorts before another are no greater.
fn beginning(text: &str) -> u64 {
    match text.as_bytes().first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => text.bytes().zip([56, 48, 40, 32, 24, 16, 8]).fold(0, |all, (byte, at)| all | u64::from(byte) << at),
    }
}

/// The least and the greatest of some values.
pub(super) fn min_max(values: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
    values.fold(None, |bounds, value| match bounds {
        None => Some((value, value)),
        Some((min, max)) => Some((value.min(min), value.max(max))),
    })
}

/// The severities whose bits are set.
pub(super) fn severities_of(bits: u32) -> SeveritySet {
    let occurs = |severity: &Severity| bits & severity_bit(severity.number()) != 0;
    Severity::ALL.into_iter().filter(occurs).fold(SeveritySet::NONE, SeveritySet::with)
}

/// The bit of a severity number.
pub(super) fn severity_bit(number: u8) -> u32 {
    1_u32.checked_shl(u32::from(number)).unwrap_or(0)
}

/// The beginning of a text, which never sorts after it.
fn prefix(text: &str) -> &str {
    let end = (0..=SERVICE_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_and_the_last_are_those_by_name(texts in proptest::collection::vec("(abcdefgh|a|\\x00|é|\\x7f){0,4}", 0..9)) {
            let column = StringArray::from_iter_values(&texts);
            let sorted = texts.iter().min().zip(texts.iter().max());
            prop_assert_eq!(first_and_last(&column), sorted.map(|(min, max)| (min.as_str(), max.as_str())));
        }
    }
}
