//! What can be asked, and the one evaluator that answers it on columns.
//!
//! A [`Query`] is a [`Filter`], an order, a place to go on from and a limit. Every store answers it in the same way:
//! what it cannot say exactly in its own terms it answers with a superset, which [`Filter::select`] finishes.
//!
//! # The language
//!
//! [`parse`] reads this grammar; [`lexer`] says what the pieces look like.
//!
//! ```text
//! query      = [ any ] ;                                        an empty one is everything
//! any        = all { ( "OR" | "|" | "||" ) all } ;
//! all        = part { [ "AND" | "&" | "&&" ] part } ;
//! part       = ( "NOT" | "!" | "-" ) part | "(" any ")" | condition | needle | "*" ;
//! needle     = word | phrase | "pre*" | "*fix" | "*mid*" | word "~" [ "1" | "2" ] | regex ;
//! phrase     = '"' text '"' [ "c" ] ;                           in it \" and \\ are the escapes; c: the case counts
//! regex      = "/" expression "/" [ "c" ] ;
//! condition  = field ":" ( needle | "*" )                       contains; is there
//!            | field ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
//!            | field ( "=~" | "!~" ) value                      an expression whose case counts
//!            | field "in" "(" value { "," value } ")" ;
//! field      = name | '"' text '"' ;
//! value      = bare | '"' text '"' ;
//! ```
//!
//! - Only upper-case words are operators. `-` and `!` mean NOT only before a letter, a quote, `(` or `/`. White space may
//!   stand around a comparison's operator, on both sides, but not around `:`.
//! - The fields `timestamp`, `level` (which is `severity`), `service`, `message`, `id` and `level_text` are those of every
//!   record; any other name is an attribute's, and `attributes.NAME` always is.
//! - `!=`, `!~` and NOT are negations of the whole condition: they find records without the field too.
//! - A bare value may be a number, which equals the number and the text of that spelling, a time, a JSON word, or a
//!   quantity (`1.5s`, `10MiB`); in quotes it is a text. `<` and its kin compare numbers and numeric texts, quantities,
//!   times, else texts, and never values of different kinds.

mod cause;
mod cursor;
mod display;
mod eval;
mod explain;
mod expr;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod fuzzy;
mod letters;
mod lexer;
mod literal;
mod number;
mod parser;
mod pattern;
mod quantity;
mod term;
mod time;
pub mod token;
mod verdict;

use sluice_model::{RecordId, Severity, Timestamp};

pub use cause::Cause;
pub use cursor::{Cursor, CursorError};
pub use expr::{Columns, Comparison, Condition, Expr, Field, Needle, Test};
pub use fuzzy::Fuzzy;
pub use literal::Literal;
pub(crate) use number::Decimal;
pub use parser::{DEPTH_MAX, ParseError, QUERY_BYTES_MAX, REGEXES_MAX, TERM_BYTES_MAX, TERMS_MAX, parse};
pub use pattern::{Pattern, REGEX_BYTES_MAX, REGEX_DEPTH_MAX};
pub use term::{Edges, Term};
pub use time::{Edge, TimeError, parse_time};
pub use verdict::{Summary, Verdict};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeveritySet(u32);

impl SeveritySet {
    /// No severity.
    pub const NONE: SeveritySet = SeveritySet(0);
    /// All six.
    pub const ALL: SeveritySet = SeveritySet(1 << 1 | 1 << 5 | 1 << 9 | 1 << 13 | 1 << 17 | 1 << 21);

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

    /// What either set has.
    #[must_use]
    pub fn or(self, other: SeveritySet) -> SeveritySet {
        SeveritySet(self.0 | other.0)
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
        self == SeveritySet::ALL
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
    /// And this is true of them.
    pub matching: Expr,
}

impl Default for Filter {
    /// Every record.
    fn default() -> Self {
        Filter { range: TimeRange::ALL, severities: SeveritySet::ALL, services: Vec::new(), matching: Expr::All }
    }
}

impl Filter {
    /// The records that pass `expr` too. What it says of times, severities and services goes to the parts for these,
    /// by which stores find records soonest.
    #[must_use]
    pub fn and(mut self, expr: &Expr) -> Filter {
        let rest: Vec<Expr> = expr.conjuncts().iter().filter(|part| !self.absorb(part)).cloned().collect();
        self.matching = Expr::all_of(std::iter::once(self.matching).chain(rest));
        self
    }

    /// The whole of it as one tree.
    pub fn tree(&self) -> Expr {
        let TimeRange { start, end } = self.range;
        let time = |comparison, time| Expr::Condition(Condition::Time(comparison, time));
        let services = self.services.iter().map(|service| Literal::new(service, true)).collect();
        let parts = [
            (start > TimeRange::ALL.start).then(|| time(Comparison::GreaterEqual, start)),
            (end < TimeRange::ALL.end).then(|| time(Comparison::LessEqual, end)),
            match self.severities {
                SeveritySet::ALL => None,
                SeveritySet::NONE => Some(Expr::none()),
                severities => Some(Expr::Condition(Condition::Severity(severities))),
            },
            (!self.services.is_empty()).then(|| Expr::field(Field::Service, Test::OneOf(services))),
            Some(self.matching.clone()),
        ];
        Expr::all_of(parts.into_iter().flatten())
    }

    /// The columns that [`Filter::select`] looks at.
    pub fn columns(&self) -> Columns {
        let mut columns = self.matching.columns();
        columns.timestamp |= self.range != TimeRange::ALL;
        columns.severity |= !self.severities.is_all();
        columns.service |= !self.services.is_empty();
        columns
    }

    /// Makes a condition a part of the filter, if it is of a kind that has one.
    fn absorb(&mut self, part: &Expr) -> bool {
        match part {
            Expr::Condition(Condition::Severity(set)) => self.severities = self.severities.and(*set),
            Expr::Condition(Condition::Time(comparison, time)) => match comparison.range(*time) {
                Some(TimeRange { start, end }) => {
                    self.range = TimeRange { start: self.range.start.max(start), end: self.range.end.min(end) };
                }
                None => return false,
            },
            Expr::Condition(Condition::Field(Field::Service, Test::OneOf(wanted)))
                if wanted.iter().all(Literal::is_one_text) =>
            {
                let is_wanted = |service: &str| wanted.iter().any(|literal| literal.text() == service);
                if self.services.is_empty() {
                    self.services = wanted.iter().map(|literal| literal.text().to_owned()).collect();
                } else if self.services.iter().any(|service| is_wanted(service)) {
                    self.services.retain(|service| is_wanted(service));
                } else {
                    // No service at all cannot be said by the list.
                    return false;
                }
            }
            _ => return false,
        }
        true
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
