//! Counting, grouping and cataloguing: what is answered of many records at once, and in no order.
//!
//! An [`Aggregation`] says what is asked: aggregates ([`parse_aggregates`] reads them), fields to group by, a [`Step`] of time. Its
//! [`Aggregator`] takes the matches of a filter batch by batch, or as counts where a store knows them without a look,
//! and makes a [`Table`]. The [`Catalogue`] takes them in the same way, and says which fields there are. Both are
//! [`Tally`]s: what a store gives its matches to.
//!
//! # What counts as what
//!
//! - A value of a group, and one that `count_distinct` tells from others, keeps its JSON type: `5` and `"5"` are two.
//!   Numbers are the same if they are equal, however they are written: `5`, `5.0` and `5e0`. An array or object is the
//!   same as another if its JSON text is. An attribute that is missing or `null` is `null` as a group, and no value to
//!   any aggregate.
//! - Numeric aggregates take what the query language compares as numbers: JSON numbers, and texts that are one. They
//!   pass over all else: arrays, words, and numbers with a unit (`"30s"`), which are texts here.
//! - Sums of integers are exact; others are compensated. `sum` and `avg` are `null` past the range of a float.
//!   `min` and `max` are exact, whatever the size of the number.
//! - A percentile is that of a sketch: within [`QUANTILE_ERROR`] of the value at the rank ⌊p/100 · (n − 1)⌋. The 0th and
//!   the 100th are exact to a float's precision.

mod accumulate;
mod aggregation;
mod aggregator;
mod catalogue;
mod cell;
mod codes;
mod fast;
mod finish;
mod measure;
mod numbers;
mod parser;
mod step;
mod table;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use arrow_buffer::BooleanBuffer;
use sluice_model::Severity;

pub use aggregation::{
    AGGREGATES_MAX, Aggregate, Aggregation, BUCKETS_MAX, FIELDS_MAX, Fill, Function, GroupField, Named, ROWS_MAX,
};
pub use aggregator::Aggregator;
pub use catalogue::{Catalogue, FieldEntry, FieldType};
pub use cell::Value;
pub use measure::QUANTILE_ERROR;
pub use parser::{ParseError, parse_aggregates, parse_fields};
pub use step::{Step, StepError};
pub use table::{Column, ColumnType, Others, Table};

use crate::batch::Records;
use crate::query::{Columns, TimeRange};

/// Takes the matches of a filter, each once and in no order.
pub trait Tally {
    /// The columns that it looks at; the others may hold anything.
    fn columns(&self) -> Columns;

    /// What it can take instead of records.
    fn wants(&self) -> Wants;

    /// Whether it takes the column of an attribute also as a dictionary of texts.
    fn takes_codes(&self) -> bool {
        false
    }

    /// Takes records that all match, if so much is known of them that it needs no look: whether it has.
    fn take(&mut self, census: &Census<'_>) -> bool;

    /// Takes those of `records` whose bit is set in `rows`; `Break` ends the work.
    fn add(&mut self, records: &Records, rows: &BooleanBuffer) -> ControlFlow<()>;

    /// Forgets all that was taken: the store begins anew.
    fn reset(&mut self);

    /// Whether nobody needs any more. A store asks where it finds nothing for long.
    fn is_over(&self) -> bool {
        false
    }
}

/// A tally that comes to an answer.
pub trait Gather: Tally {
    /// What it makes of all that it has taken.
    type Answer;

    /// The answer.
    ///
    /// # Errors
    /// [`LimitError`], if it went past a limit.
    fn finish(self) -> Result<Self::Answer, LimitError>;
}

/// What a tally can take instead of records.
#[derive(Debug, Clone, PartialEq)]
pub enum Wants {
    /// Nothing: it has to see them.
    Records,
    /// Counts.
    Counts(Dimensions),
    /// How many records have each field.
    Fields,
}

/// By what counts must be told apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimensions {
    /// By service.
    pub service: bool,
    /// By severity.
    pub severity: bool,
    /// By bucket of time.
    pub step: Option<Step>,
}

/// What is known of some records without a look at them.
#[derive(Debug, Clone, Copy)]
pub struct Census<'a> {
    /// How many they are.
    pub rows: u64,
    /// The first and the last of their times, exactly.
    pub times: TimeRange,
    /// The service of all of them, if it is one and known.
    pub service: Option<&'a str>,
    /// The severity of all of them, if it is one and known.
    pub severity: Option<Severity>,
    /// How many there are of each service and severity; empty, if that is not known.
    pub counts: &'a [Counted],
    /// How many there are in each stretch of time, in order; empty, if that is not known.
    pub cells: &'a [TimeCell],
    /// How many have each field, if it is known.
    pub fields: Option<&'a FieldCounts>,
}

/// How many records have this service and severity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The service.
    pub service: String,
    /// The severity.
    pub severity: Severity,
    /// How many.
    pub rows: u64,
}

/// How many records lie in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeCell {
    /// No time is before this one, in ns.
    pub first: i64,
    /// No time is after this one, in ns.
    pub last: i64,
    /// How many.
    pub rows: u64,
}

/// How many records have each field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldCounts {
    /// How many have a service that is not empty.
    pub services: u64,
    /// How many have a message that is not empty.
    pub messages: u64,
    /// How many have each attribute, by its name, with a value of this type.
    pub attributes: Vec<(String, FieldType, u64)>,
}

/// A limit that a question went past.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The state of the query.
    #[error(
        "query.memory_bytes is reached: groups, distinct values and percentiles of this query take more than {limit} \
         bytes; ask for a shorter time, fewer or coarser groups, or a filter"
    )]
    Memory {
        /// The setting.
        limit: usize,
    },
    /// The buckets of time.
    #[error("more than {BUCKETS_MAX} buckets of time (a fixed limit): use a longer step or a shorter time")]
    Buckets,
    /// The rows of the answer.
    #[error("more than {ROWS_MAX} rows (a fixed limit): use top=N, a longer step, or fewer groups")]
    Rows,
}
