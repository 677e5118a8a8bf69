//! The builder: decoders append field by field, and take a record back if it turns out bad.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt8Array,
};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Schema};
use sluice_model::{Severity, Timestamp};

use super::json::write_json_text;
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
        while let Some(unused) = self.attributes.pop_if(|attribute| attribute.cells.is_empty()) {
            self.by_name.remove(&unused.name);
        }
    }

    /// Makes the batch of all committed records.
    pub fn finish(mut self) -> LogBatch {
        self.rollback();
        let rows = self.timestamps.len();
        self.attributes.retain(|attribute| !attribute.cells.is_empty());
        let (columns, spilled) = self.split_columns();
        let mut overflow = OverflowBuilder::new(rows);
        for attribute in spilled {
            let kept = if columns.contains(&attribute) { self.kind_of(attribute) } else { None };
            if let Some(attribute) = self.attributes.get(attribute) {
                attribute.spill(kept, &mut overflow);
            }
        }
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
            if let (Some(kind), Some(attribute)) = (self.kind_of(index), self.attributes.get(index)) {
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
            let cells = |index: &usize| self.attributes.get(*index).map_or(0, |attribute| attribute.cells.len());
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

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Float,
    Bool,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Text, Kind::Int, Kind::Float, Kind::Bool];

    pub(super) fn data_type(self) -> DataType {
        match self {
            Kind::Text => DataType::Utf8,
            Kind::Int => DataType::Int64,
            Kind::Float => DataType::Float64,
            Kind::Bool => DataType::Boolean,
        }
    }
}

/// A value of an attribute; texts stand one after the other in the attribute's own buffer.
#[derive(Clone, Copy)]
enum Cell {
    Text { start: usize, end: usize },
    Int(i64),
    Float(f64),
    Bool(bool),
    Json { start: usize, end: usize },
}

impl Cell {
    fn kind(self) -> Option<Kind> {
        match self {
            Cell::Text { .. } => Some(Kind::Text),
            Cell::Int(_) => Some(Kind::Int),
            Cell::Float(_) => Some(Kind::Float),
            Cell::Bool(_) => Some(Kind::Bool),
            Cell::Json { .. } => None,
        }
    }
}

/// The values of one attribute, by row.
struct AttributeBuilder {
    name: Box<str>,
    rows: Vec<u32>,
    cells: Vec<Cell>,
    texts: String,
}

impl AttributeBuilder {
    fn new(name: &str) -> AttributeBuilder {
        AttributeBuilder { name: name.into(), rows: Vec::new(), cells: Vec::new(), texts: String::new() }
    }

    fn push(&mut self, row: u32, value: AttributeRef<'_>) {
        let start = self.texts.len();
        let cell = match value {
            AttributeRef::Text(text) | AttributeRef::Json(text) => {
                self.texts.push_str(text);
                let end = self.texts.len();
                if matches!(value, AttributeRef::Text(_)) {
                    Cell::Text { start, end }
                } else {
                    Cell::Json { start, end }
                }
            }
            AttributeRef::Int(value) => Cell::Int(value),
            AttributeRef::Float(value) => Cell::Float(value),
            AttributeRef::Bool(value) => Cell::Bool(value),
        };
        self.rows.push(row);
        self.cells.push(cell);
    }

    fn pop(&mut self) {
        self.rows.pop();
        if let Some(Cell::Text { start, .. } | Cell::Json { start, .. }) = self.cells.pop() {
            self.texts.truncate(start);
        }
    }

    fn last_row(&self) -> Option<u32> {
        self.rows.last().copied()
    }

    fn last_is(&self, value: AttributeRef<'_>) -> bool {
        self.cells.last().is_some_and(|cell| self.value(*cell) == value)
    }

    fn value(&self, cell: Cell) -> AttributeRef<'_> {
        match cell {
            Cell::Text { start, end } => AttributeRef::Text(self.texts.get(start..end).unwrap_or_default()),
            Cell::Json { start, end } => AttributeRef::Json(self.texts.get(start..end).unwrap_or_default()),
            Cell::Int(value) => AttributeRef::Int(value),
            Cell::Float(value) => AttributeRef::Float(value),
            Cell::Bool(value) => AttributeRef::Bool(value),
        }
    }

    /// The type that most values have; `None` if no value can stand in a column.
    fn majority(&self) -> Option<Kind> {
        let first = self.cells.first()?.kind();
        if first.is_some() && self.is_uniform() {
            return first;
        }
        let count = |kind: &Kind| self.cells.iter().filter(|cell| cell.kind() == Some(*kind)).count();
        Kind::ALL.into_iter().max_by_key(count).filter(|kind| count(kind) > 0)
    }

    /// Whether all values are of one type that a column can have.
    fn is_uniform(&self) -> bool {
        let first = self.cells.first().and_then(|cell| cell.kind());
        first.is_some() && self.cells.iter().all(|cell| cell.kind() == first)
    }

    /// Writes the values that are not of type `kept` to the overflow.
    fn spill(&self, kept: Option<Kind>, overflow: &mut OverflowBuilder) {
        for (row, cell) in self.rows.iter().zip(&self.cells) {
            if kept.is_none() || cell.kind() != kept {
                overflow.push(*row as usize, &self.name, self.value(*cell));
            }
        }
    }

    fn column(&self, kind: Kind, rows: usize) -> ArrayRef {
        let filled = self.rows.iter().zip(&self.cells).filter(|(_, cell)| cell.kind() == Some(kind));
        let mut valid = BooleanBufferBuilder::new(rows);
        valid.append_n(rows, false);
        filled.clone().for_each(|(row, _)| valid.set_bit(*row as usize, true));
        let nulls = Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0);
        match kind {
            Kind::Text => self.text_column(filled, rows, nulls),
            Kind::Int => {
                let value = |cell: &Cell| if let Cell::Int(value) = cell { *value } else { 0 };
                Arc::new(Int64Array::new(dense(filled, rows, value).into(), nulls))
            }
            Kind::Float => {
                let value = |cell: &Cell| if let Cell::Float(value) = cell { *value } else { 0.0 };
                Arc::new(Float64Array::new(dense(filled, rows, value).into(), nulls))
            }
            Kind::Bool => {
                let value = |cell: &Cell| matches!(cell, Cell::Bool(true));
                Arc::new(BooleanArray::new(dense(filled, rows, value).into(), nulls))
            }
        }
    }

    fn text_column<'a>(
        &'a self,
        filled: impl Iterator<Item = (&'a u32, &'a Cell)>,
        rows: usize,
        nulls: Option<NullBuffer>,
    ) -> ArrayRef {
        let mut lengths = vec![0; rows];
        let mut bytes = Vec::with_capacity(self.texts.len());
        for (row, cell) in filled {
            if let (AttributeRef::Text(text), Some(length)) = (self.value(*cell), lengths.get_mut(*row as usize)) {
                *length = text.len();
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        Arc::new(StringArray::new(OffsetBuffer::from_lengths(lengths), bytes.into(), nulls))
    }
}

/// Spreads sparse values over all rows; what is between them is the default, and null.
fn dense<'a, T: Default + Clone>(
    filled: impl Iterator<Item = (&'a u32, &'a Cell)>,
    rows: usize,
    value: impl Fn(&Cell) -> T,
) -> Vec<T> {
    let mut values = vec![T::default(); rows];
    for (row, cell) in filled {
        if let Some(place) = values.get_mut(*row as usize) {
            *place = value(cell);
        }
    }
    values
}

/// A column of texts under construction.
struct TextColumn {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Default for TextColumn {
    fn default() -> Self {
        TextColumn { bytes: Vec::new(), offsets: vec![0] }
    }
}

impl TextColumn {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        // A batch comes from a body of at most 2 GiB, by the limits of the configuration.
        self.offsets.push(i32::try_from(self.bytes.len()).unwrap_or(i32::MAX));
    }

    fn finish(&mut self) -> ArrayRef {
        let column = std::mem::take(self);
        Arc::new(StringArray::new(OffsetBuffer::new(column.offsets.into()), column.bytes.into(), None))
    }
}

/// The overflow column under construction: a JSON object for each row that has any.
pub(super) struct OverflowBuilder {
    objects: Vec<Option<Vec<u8>>>,
}

impl OverflowBuilder {
    pub(super) fn new(rows: usize) -> OverflowBuilder {
        OverflowBuilder { objects: vec![None; rows] }
    }

    /// Adds an attribute to the object of `row`.
    pub(super) fn push(&mut self, row: usize, name: &str, value: AttributeRef<'_>) {
        let Some(object) = self.objects.get_mut(row) else { return };
        let object = object.get_or_insert_with(Vec::new);
        object.push(if object.is_empty() { b'{' } else { b',' });
        write_json_text(object, name);
        object.push(b':');
        match value {
            AttributeRef::Text(text) => write_json_text(object, text),
            AttributeRef::Int(value) => drop(write!(object, "{value}")),
            AttributeRef::Float(value) => super::json::write_json_float(object, value),
            AttributeRef::Bool(value) => object.extend_from_slice(if value { b"true" } else { b"false" }),
            AttributeRef::Json(text) => object.extend_from_slice(text.as_bytes()),
        }
    }

    /// Adds all attributes of an object that is in an overflow column already.
    pub(super) fn push_object(&mut self, row: usize, text: &str) {
        let Some(object) = self.objects.get_mut(row) else { return };
        let object = object.get_or_insert_with(Vec::new);
        let members = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
        if !members.is_empty() {
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.extend_from_slice(members.as_bytes());
        }
    }

    pub(super) fn finish(self) -> ArrayRef {
        let mut column = StringBuilder::with_capacity(self.objects.len(), 0);
        for object in self.objects {
            match object.filter(|object| !object.is_empty()) {
                Some(mut object) => {
                    object.push(b'}');
                    column.append_value(String::from_utf8(object).unwrap_or_default());
                }
                None => column.append_null(),
            }
        }
        Arc::new(column.finish())
    }
}
