//! The builder: decoders append field by field, and take a record back if it turns out bad.

mod attribute;
mod columns;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, TimestampNanosecondArray, UInt8Array};
use arrow_schema::{Field, Schema};
use sluice_model::{Severity, Timestamp};

use self::attribute::AttributeBuilder;
pub(super) use self::attribute::Kind;
pub(super) use self::columns::OverflowBuilder;
use self::columns::TextColumn;
use super::{ATTRIBUTE_PREFIX, FIXED_FIELDS, LogBatch, MAX_ATTRIBUTE_COLUMNS};

/// An attribute's value, as the decoder found it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AttributeRef<'a> {
    /// A text, with its escapes resolved.
    Text(&'a str),
    /// An integer whose JSON text is the plain decimal one.
    Int(i64),
    /// A number that is written back with the very text it was sent with.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// Anything else, by its exact JSON text.
    Json(&'a str),
}

/// Why a field cannot be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The record has this attribute already, with another value.
    #[error("stands twice with different values")]
    Twice,
}

/// Appends records to columns.
///
/// For each record: the attributes in any order, then [`commit`](LogBatchBuilder::commit) with the fixed fields, or
/// [`rollback`](LogBatchBuilder::rollback).
#[derive(Default)]
pub struct LogBatchBuilder {
    timestamps: Vec<i64>,
    severities: Vec<u8>,
    levels: TextColumn,
    services: TextColumn,
    messages: TextColumn,
    attributes: Vec<AttributeBuilder>,
    by_name: HashMap<Box<str>, usize>,
    /// The attributes of the record in hand, by index: what a rollback undoes.
    touched: Vec<usize>,
}

impl LogBatchBuilder {
    /// An empty builder.
    pub fn new() -> LogBatchBuilder {
        LogBatchBuilder::default()
    }

    /// How many records are committed.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// How many attributes the record in hand has so far.
    pub fn pending_attributes(&self) -> usize {
        self.touched.len()
    }

    /// How many different attributes the records have, the one in hand included.
    pub fn attribute_names(&self) -> usize {
        self.attributes.len()
    }

    /// Appends an attribute of the record in hand. The same value twice counts once.
    ///
    /// # Errors
    /// [`BuildError::Twice`], if it is there with another value.
    pub fn attribute(&mut self, name: &str, value: AttributeRef<'_>) -> Result<(), BuildError> {
        let row = self.timestamps.len() as u32;
        let index = self.index_of(name);
        let Some(attribute) = self.attributes.get_mut(index) else { return Ok(()) };
        if attribute.last_row() == Some(row) {
            return if attribute.last_is(value) { Ok(()) } else { Err(BuildError::Twice) };
        }
        attribute.push(row, value);
        self.touched.push(index);
        Ok(())
    }

    /// Ends the record in hand with its fixed fields.
    pub fn commit(&mut self, timestamp: Timestamp, severity: Severity, level: &str, service: &str, message: &str) {
        self.timestamps.push(timestamp.as_nanos());
        self.severities.push(severity.number());
        self.levels.push(level);
        self.services.push(service);
        self.messages.push(message);
        self.touched.clear();
    }

    /// Forgets the record in hand.
    pub fn rollback(&mut self) {
        while let Some(index) = self.touched.pop() {
            if let Some(attribute) = self.attributes.get_mut(index) {
                attribute.pop();
            }
        }
        // Names that only this record had are the last ones; a refused record must not use up the batch's names.
        while let Some(unused) = self.attributes.pop_if(|attribute| attribute.count() == 0) {
            self.by_name.remove(&unused.name);
        }
    }

    /// Makes the batch of all committed records.
    pub fn finish(mut self) -> LogBatch {
        self.rollback();
        let rows = self.timestamps.len();
        self.attributes.retain(|attribute| attribute.count() > 0);
        let (columns, spilled) = self.split_columns();
        let mut overflow = OverflowBuilder::new(rows);
        for attribute in spilled {
            let kept = if columns.contains(&attribute) { self.kind_of(attribute) } else { None };
            if let Some(attribute) = self.attributes.get(attribute) {
                attribute.spill(kept, &mut overflow);
            }
        }
        self.timestamps.shrink_to_fit();
        self.severities.shrink_to_fit();
        let mut fields = FIXED_FIELDS.clone();
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from(std::mem::take(&mut self.timestamps)).with_timezone("UTC")),
            Arc::new(UInt8Array::from(std::mem::take(&mut self.severities))),
            self.levels.finish(),
            self.services.finish(),
            self.messages.finish(),
            overflow.finish(),
        ];
        for index in columns {
            if let (Some(kind), Some(attribute)) = (self.kind_of(index), self.attributes.get_mut(index)) {
                let name = format!("{ATTRIBUTE_PREFIX}{}", attribute.name);
                fields.push(Arc::new(Field::new(name, kind.data_type(), true)));
                arrays.push(attribute.column(kind, rows));
            }
        }
        let columns = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
        // The arrays above are all of `rows` rows and of their fields' types.
        LogBatch { columns: columns.unwrap_or_else(|error| unreachable!("a built batch is well formed: {error}")) }
    }

    fn index_of(&mut self, name: &str) -> usize {
        // Records of one program have the same attributes in the same order, so the next one is likely known.
        let likely = self.touched.last().map_or(0, |last| last + 1);
        if self.attributes.get(likely).is_some_and(|attribute| &*attribute.name == name) {
            return likely;
        }
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let index = self.attributes.len();
        self.attributes.push(AttributeBuilder::new(name));
        self.by_name.insert(name.into(), index);
        index
    }

    fn kind_of(&self, index: usize) -> Option<Kind> {
        self.attributes.get(index).and_then(AttributeBuilder::majority)
    }

    /// Which attributes get a column (the ones with most values, if there are too many), and which have values that
    /// must go to the overflow.
    fn split_columns(&self) -> (Vec<usize>, Vec<usize>) {
        let mut columns: Vec<usize> =
            (0..self.attributes.len()).filter(|index| self.kind_of(*index).is_some()).collect();
        if columns.len() > MAX_ATTRIBUTE_COLUMNS {
            let cells = |index: &usize| self.attributes.get(*index).map_or(0, |attribute| attribute.count());
            columns.sort_by_key(|index| (std::cmp::Reverse(cells(index)), *index));
            columns.truncate(MAX_ATTRIBUTE_COLUMNS);
            columns.sort_unstable();
        }
        let whole = |index: usize| self.attributes.get(index).is_some_and(|attribute| attribute.is_uniform());
        let in_column = |index: usize| columns.binary_search(&index).is_ok();
        let spilled = (0..self.attributes.len()).filter(|index| !(in_column(*index) && whole(*index))).collect();
        (columns, spilled)
    }
}
