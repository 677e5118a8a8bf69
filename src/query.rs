//! What can be asked, and the one evaluator that answers it on columns.
//!
//! A [`Query`] is a [`Filter`], an order, a place to go on from and a limit. Every store answers it in the same way:
//! what it cannot say exactly in its own terms it answers with a superset, which [`Filter::select`] finishes.

mod cursor;
mod eval;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod lexer;
mod parser;
mod term;
mod time;
pub mod token;

use sluice_model::{RecordId, Severity, Timestamp};

pub use cursor::{Cursor, CursorError};
pub use parser::{ParseError, parse};
pub use term::Term;
pub use time::{Edge, TimeError, parse_time};

/// The moments from `start` to `end`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// The first moment.
    pub start: Timestamp,
    /// The last moment.
    pub end: Timestamp,
}

impl TimeRange {
    /// All time.
    pub const ALL: TimeRange = TimeRange { start: Timestamp::MIN, end: Timestamp::MAX };

    /// Whether `time` lies in the range.
    pub fn contains(self, time: Timestamp) -> bool {
        self.start <= time && time <= self.end
    }

    /// Whether the two ranges have a moment in common.
    pub fn overlaps(self, other: TimeRange) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// A set of severities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeveritySet(u32);

impl SeveritySet {
    /// No severity.
    pub const NONE: SeveritySet = SeveritySet(0);
    /// All six.
    pub const ALL: SeveritySet = SeveritySet(u32::MAX);

    /// The set with `severity` in it too.
    #[must_use]
    pub fn with(self, severity: Severity) -> SeveritySet {
        SeveritySet(self.0 | 1 << severity.number())
    }

    /// `severity` and all graver ones.
    pub fn at_least(severity: Severity) -> SeveritySet {
        Severity::ALL.into_iter().filter(|other| *other >= severity).fold(SeveritySet::NONE, SeveritySet::with)
    }

    /// What both sets have.
    #[must_use]
    pub fn and(self, other: SeveritySet) -> SeveritySet {
        SeveritySet(self.0 & other.0)
    }

    /// Whether `severity` is in the set.
    pub fn contains(self, severity: Severity) -> bool {
        self.contains_number(severity.number())
    }

    /// Whether the severity with OpenTelemetry's number `number` is in the set.
    pub fn contains_number(self, number: u8) -> bool {
        number < 32 && self.0 & 1 << number != 0
    }

    /// Whether all six are in the set.
    pub fn is_all(self) -> bool {
        Severity::ALL.into_iter().all(|severity| self.contains(severity))
    }
}

/// Which records are asked for: those that pass every part.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// When they happened.
    pub range: TimeRange,
    /// Their severity is one of these.
    pub severities: SeveritySet,
    /// Their service is one of these; any, if the list is empty.
    pub services: Vec<String>,
    /// Each of these occurs in the message.
    pub terms: Vec<Term>,
}

impl Default for Filter {
    /// Every record.
    fn default() -> Self {
        Filter { range: TimeRange::ALL, severities: SeveritySet::ALL, services: Vec::new(), terms: Vec::new() }
    }
}

/// In which order records are answered: by timestamp, then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Newest first.
    Descending,
    /// Oldest first.
    Ascending,
}

/// Where a record stands in every order.
pub type Position = (Timestamp, RecordId);

/// A question to a store.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Which records.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// Only those that come after this place in that order.
    pub after: Option<Position>,
    /// At most so many; all, if absent. A store may stop early by it, and must not yield more.
    pub limit: Option<usize>,
}

impl Query {
    /// Whether a record at `position` comes after the place to go on from.
    pub fn is_after(&self, position: Position) -> bool {
        match (self.after, self.order) {
            (None, _) => true,
            (Some(after), Order::Ascending) => position > after,
            (Some(after), Order::Descending) => position < after,
        }
    }

    /// The times that matches can still have: the filter's range, cut at the place to go on from.
    pub fn open_range(&self) -> TimeRange {
        let range = self.filter.range;
        match (self.after, self.order) {
            (None, _) => range,
            (Some((time, _)), Order::Ascending) => TimeRange { start: range.start.max(time), ..range },
            (Some((time, _)), Order::Descending) => TimeRange { end: range.end.min(time), ..range },
        }
    }
}
