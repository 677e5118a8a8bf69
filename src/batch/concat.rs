//! Several batches as one: the union of their columns, with what does not fit moved to the overflow.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::concat::concat_batches;

use super::builder::{Kind, OverflowBuilder};
use super::{ATTRIBUTE_PREFIX, AttributeRef, BatchError, FIXED_FIELDS, LogBatch, MAX_ATTRIBUTE_COLUMNS, OVERFLOW};

/// How many values of each type an attribute has.
type Census<'a> = BTreeMap<&'a str, [usize; Kind::ALL.len()]>;

pub(super) fn concat(batches: &[LogBatch]) -> Result<LogBatch, BatchError> {
    if let [batch] = batches {
        return Ok(batch.clone());
    }
    let parts = unify(batches)?;
    let first = parts.first().ok_or_else(|| BatchError::Layout("no batches".to_owned()))?;
    let columns = concat_batches(first.columns.schema_ref(), parts.iter().map(|part| &part.columns))?;
    Ok(LogBatch { columns })
}

/// The same batches with the same columns in each. Columns that stay as they are are not copied.
pub(super) fn unify(batches: &[LogBatch]) -> Result<Vec<LogBatch>, BatchError> {
    let columns = choose_columns(&census(batches));
    let mut fields = FIXED_FIELDS.clone();
    for (name, kind) in &columns {
        fields.push(Arc::new(Field::new(format!("{ATTRIBUTE_PREFIX}{name}"), kind.data_type(), true)));
    }
    let schema = Arc::new(Schema::new(fields));
    let fit = |batch| Ok(LogBatch { columns: RecordBatch::try_new(schema.clone(), fit(batch, &columns))? });
    batches.iter().map(fit).collect()
}

/// The columns of a batch, and those chosen for its attributes.
fn fit(batch: &LogBatch, columns: &BTreeMap<&str, Kind>) -> Vec<ArrayRef> {
    let mut arrays: Vec<ArrayRef> = batch.columns.columns().iter().take(OVERFLOW).cloned().collect();
    arrays.push(fit_overflow(batch, columns));
    arrays.extend(columns.iter().map(|(name, kind)| match find(batch, name) {
        Some(column) if column.data_type() == &kind.data_type() => column.clone(),
        _ => new_null_array(&kind.data_type(), batch.len()),
    }));
    arrays
}

fn census(batches: &[LogBatch]) -> Census<'_> {
    let mut census = Census::new();
    for (name, column) in batches.iter().flat_map(LogBatch::attributes) {
        let filled = column.len() - column.null_count();
        let place = Kind::ALL.iter().position(|kind| &kind.data_type() == column.data_type());
        if let Some(count) = place.and_then(|place| census.entry(name).or_default().get_mut(place)) {
            *count += filled;
        }
    }
    census
}

/// The attributes that get a column, by name, and of which type: the commonest, if there are too many.
fn choose_columns<'a>(census: &Census<'a>) -> BTreeMap<&'a str, Kind> {
    let mut ranked: Vec<(&str, Kind, usize)> = census
        .iter()
        .filter_map(|(name, counts)| {
            let (kind, count) = Kind::ALL.into_iter().zip(counts).max_by_key(|(_, count)| **count)?;
            (*count > 0).then(|| (*name, kind, counts.iter().sum()))
        })
        .collect();
    ranked.sort_by_key(|(name, _, total)| (std::cmp::Reverse(*total), *name));
    ranked.into_iter().take(MAX_ATTRIBUTE_COLUMNS).map(|(name, kind, _)| (name, kind)).collect()
}

fn find<'a>(batch: &'a LogBatch, name: &str) -> Option<&'a ArrayRef> {
    batch.attributes().find(|(other, _)| *other == name).map(|(_, column)| column)
}

/// The overflow of a batch, and in it the values of columns that another type, or no column, was chosen for.
fn fit_overflow(batch: &LogBatch, columns: &BTreeMap<&str, Kind>) -> ArrayRef {
    let demoted = |(name, column): &(&str, &ArrayRef)| {
        columns.get(name).is_none_or(|kind| &kind.data_type() != column.data_type())
            && column.null_count() < column.len()
    };
    if !batch.attributes().any(|attribute| demoted(&attribute)) {
        return batch.columns.column(OVERFLOW).clone();
    }
    let mut overflow = OverflowBuilder::new(batch.len());
    for (row, object) in batch.overflow().iter().enumerate() {
        object.into_iter().for_each(|object| overflow.push_object(row, object));
    }
    for (name, column) in batch.attributes().filter(demoted) {
        for row in (0..batch.len()).filter(|row| column.is_valid(*row)) {
            if let Some(value) = cell(column, row) {
                overflow.push(row, name, value);
            }
        }
    }
    overflow.finish()
}

fn cell(column: &ArrayRef, row: usize) -> Option<AttributeRef<'_>> {
    match column.data_type() {
        DataType::Utf8 => Some(AttributeRef::Text(column.as_string::<i32>().value(row))),
        DataType::Int64 => Some(AttributeRef::Int(column.as_primitive::<Int64Type>().value(row))),
        DataType::Float64 => Some(AttributeRef::Float(column.as_primitive::<Float64Type>().value(row))),
        DataType::Boolean => Some(AttributeRef::Bool(column.as_boolean().value(row))),
        _ => None,
    }
}
