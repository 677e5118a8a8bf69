//! The answer to an aggregation.

use super::cell::Value;

/// Rows of values, in the order of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What each value of a row is.
    pub columns: Vec<Column>,
    /// The rows: by time, then the first aggregate, the largest first, then the groups' values.
    pub rows: Vec<Vec<Value>>,
    /// What `top` left out, if it left anything out.
    pub others: Option<Others>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are, those that are not null.
    pub kind: ColumnType,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Moments.
    Timestamp,
    /// Texts.
    String,
    /// Numbers.
    Number,
    /// `true` and `false`.
    Boolean,
    /// Of several kinds, arrays or objects, or none at all.
    Any,
}

impl ColumnType {
    /// The name, as in answers.
    pub fn name(self) -> &'static str {
        match self {
            ColumnType::Timestamp => "timestamp",
            ColumnType::String => "string",
            ColumnType::Number => "number",
            ColumnType::Boolean => "boolean",
            ColumnType::Any => "any",
        }
    }

    /// What all of these values are.
    pub(super) fn of<'a>(values: impl Iterator<Item = &'a Value>) -> ColumnType {
        let kinds = values.filter_map(|value| match value {
            Value::Null => None,
            Value::Bool(_) => Some(ColumnType::Boolean),
            Value::Int(_) | Value::Float(_) | Value::Number(_) => Some(ColumnType::Number),
            Value::Text(_) | Value::Severity(_) => Some(ColumnType::String),
            Value::Time(_) => Some(ColumnType::Timestamp),
            Value::Json(_) => Some(ColumnType::Any),
        });
        kinds.reduce(|all, kind| if all == kind { all } else { ColumnType::Any }).unwrap_or(ColumnType::Any)
    }
}

/// Groups that are not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Others {
    /// How many groups.
    pub groups: u64,
    /// How many records are in them.
    pub records: u64,
}

impl Table {
    /// The number in the first row's last column: what a bare count answers.
    pub fn count(&self) -> u64 {
        match self.rows.first().and_then(|row| row.last()) {
            Some(Value::Int(count)) => u64::try_from(*count).unwrap_or(0),
            _ => 0,
        }
    }
}
