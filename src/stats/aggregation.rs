//! What may be asked: aggregates, groups, a step.

use super::step::Step;
use crate::query::Columns;

/// How many aggregates a question has at most.
pub const AGGREGATES_MAX: usize = 32;
/// How many fields records are grouped by at most.
pub const FIELDS_MAX: usize = 8;
/// How many buckets of time an answer has at most.
pub const BUCKETS_MAX: usize = 11_000;
/// How many rows an answer has at most.
pub const ROWS_MAX: usize = 100_000;

/// A question about many records.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregation {
    /// What is computed of each group; one at least.
    pub aggregates: Vec<Named<Aggregate>>,
    /// What records are grouped by.
    pub by: Vec<Named<GroupField>>,
    /// Into which buckets of time they are put, if any.
    pub step: Option<Step>,
    /// Which buckets are added.
    pub fill: Option<Fill>,
    /// Only so many groups: those with the largest first aggregate over the whole time. All, if absent.
    pub top: Option<usize>,
}

/// Something by the name that it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<T> {
    /// The name, as a column has it.
    pub name: String,
    /// What it means.
    pub meaning: T,
}

/// The buckets that have no records are there too, with zero in `count`, `count_distinct` and `sum`. They go from the
/// start to the end of the filter's time; where that is open, from the first record, or to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// The first moment, in ns, if it is bounded.
    pub start: Option<i64>,
    /// The last moment, in ns, if it is bounded.
    pub end: Option<i64>,
}

/// What is computed of a group.
#[derive(Debug, Clone, PartialEq)]
pub enum Aggregate {
    /// How many records there are.
    Count,
    /// Something of the values of a field.
    Of(Function, GroupField),
}

/// What is computed of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// How many different ones there are, exactly.
    CountDistinct,
    /// The sum of the numbers.
    Sum,
    /// Their mean.
    Average,
    /// The least number.
    Min,
    /// The greatest number.
    Max,
    /// The number at this share of them, from 0 to 1.
    Quantile(f64),
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GroupField {
    /// The time.
    Timestamp,
    /// The severity, which is the level.
    Severity,
    /// The level as its sender wrote it.
    LevelText,
    /// The service.
    Service,
    /// The message.
    Message,
    /// The id.
    Id,
    /// The attribute of this dotted name.
    Attribute(String),
}

impl GroupField {
    /// The field that `name` names: one of every record, or an attribute. `attributes.NAME` always is the attribute.
    pub fn named(name: &str) -> GroupField {
        match name {
            "timestamp" => GroupField::Timestamp,
            "level" | "severity" => GroupField::Severity,
            "level_text" => GroupField::LevelText,
            "service" => GroupField::Service,
            "message" => GroupField::Message,
            "id" => GroupField::Id,
            name => GroupField::Attribute(name.strip_prefix(crate::batch::ATTRIBUTE_PREFIX).unwrap_or(name).to_owned()),
        }
    }

    /// Adds the column that it stands in.
    pub(super) fn need(&self, columns: &mut Columns) {
        match self {
            GroupField::Timestamp => columns.timestamp = true,
            GroupField::Severity => columns.severity = true,
            GroupField::LevelText => columns.level = true,
            GroupField::Service => columns.service = true,
            GroupField::Message => columns.message = true,
            GroupField::Id => columns.id = true,
            GroupField::Attribute(name) => drop(columns.attributes.insert(name.clone())),
        }
    }
}

impl Aggregation {
    /// How many records there are.
    pub fn count() -> Aggregation {
        Aggregation {
            aggregates: vec![Named { name: "count".to_owned(), meaning: Aggregate::Count }],
            by: Vec::new(),
            step: None,
            fill: None,
            top: None,
        }
    }

    /// The `top` commonest values of a field, and how many records have each.
    pub fn values(field: GroupField, top: usize) -> Aggregation {
        let by = vec![Named { name: "value".to_owned(), meaning: field }];
        Aggregation { by, top: Some(top), ..Aggregation::count() }
    }

    /// The columns that it takes to answer.
    pub fn columns(&self) -> Columns {
        let mut columns = Columns { timestamp: self.step.is_some(), ..Columns::default() };
        self.by.iter().for_each(|by| by.meaning.need(&mut columns));
        for aggregate in &self.aggregates {
            if let Aggregate::Of(_, field) = &aggregate.meaning {
                field.need(&mut columns);
            }
        }
        columns
    }
}
