//! The values of one attribute under construction: sparse, and of any type until the batch is whole.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer, OffsetBuffer};
use arrow_schema::DataType;

use super::AttributeRef;
use super::columns::OverflowBuilder;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::batch) enum Kind {
    Text,
    Int,
    Float,
    Bool,
}

impl Kind {
    pub(in crate::batch) const ALL: [Kind; 4] = [Kind::Text, Kind::Int, Kind::Float, Kind::Bool];

    pub(in crate::batch) fn data_type(self) -> DataType {
        match self {
            Kind::Text => DataType::Utf8,
            Kind::Int => DataType::Int64,
            Kind::Float => DataType::Float64,
            Kind::Bool => DataType::Boolean,
        }
    }
}

/// A value of an attribute; texts stand one after the other in the attribute's own buffer, which is no longer than u32 can
/// count: a batch comes from a body of at most 2 GiB, by the limits of the configuration.
#[derive(Clone, Copy)]
enum Cell {
    Text { start: u32, end: u32 },
    Int(i64),
    Float(f64),
    Bool(bool),
    Json { start: u32, end: u32 },
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
pub(super) struct AttributeBuilder {
    pub(super) name: Box<str>,
    rows: Vec<u32>,
    cells: Vec<Cell>,
    texts: String,
}

impl AttributeBuilder {
    /// No value yet, of the attribute `name`.
    pub(super) fn new(name: &str) -> AttributeBuilder {
        AttributeBuilder { name: name.into(), rows: Vec::new(), cells: Vec::new(), texts: String::new() }
    }

    pub(super) fn push(&mut self, row: u32, value: AttributeRef<'_>) {
        let start = self.texts.len() as u32;
        let cell = match value {
            AttributeRef::Text(text) | AttributeRef::Json(text) => {
                self.texts.push_str(text);
                let end = self.texts.len() as u32;
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

    pub(super) fn pop(&mut self) {
        self.rows.pop();
        if let Some(Cell::Text { start, .. } | Cell::Json { start, .. }) = self.cells.pop() {
            self.texts.truncate(start as usize);
        }
    }

    /// How many values there are.
    pub(super) fn count(&self) -> usize {
        self.cells.len()
    }

    /// The row that has the last value.
    pub(super) fn last_row(&self) -> Option<u32> {
        self.rows.last().copied()
    }

    /// Whether the last value is this one.
    pub(super) fn last_is(&self, value: AttributeRef<'_>) -> bool {
        self.cells.last().is_some_and(|cell| self.value(*cell) == value)
    }

    fn value(&self, cell: Cell) -> AttributeRef<'_> {
        let text = |start: u32, end: u32| self.texts.get(start as usize..end as usize).unwrap_or_default();
        match cell {
            Cell::Text { start, end } => AttributeRef::Text(text(start, end)),
            Cell::Json { start, end } => AttributeRef::Json(text(start, end)),
            Cell::Int(value) => AttributeRef::Int(value),
            Cell::Float(value) => AttributeRef::Float(value),
            Cell::Bool(value) => AttributeRef::Bool(value),
        }
    }

    /// The type that most values have; `None` if no value can stand in a column.
    pub(super) fn majority(&self) -> Option<Kind> {
        let first = self.cells.first()?.kind();
        if first.is_some() && self.is_uniform() {
            return first;
        }
        let count = |kind: &Kind| self.cells.iter().filter(|cell| cell.kind() == Some(*kind)).count();
        Kind::ALL.into_iter().max_by_key(count).filter(|kind| count(kind) > 0)
    }

    /// Whether all values are of one type that a column can have.
    pub(super) fn is_uniform(&self) -> bool {
        let first = self.cells.first().and_then(|cell| cell.kind());
        first.is_some() && self.cells.iter().all(|cell| cell.kind() == first)
    }

    /// Writes the values that are not of type `kept` to the overflow.
    pub(super) fn spill(&self, kept: Option<Kind>, overflow: &mut OverflowBuilder) {
        for (row, cell) in self.rows.iter().zip(&self.cells) {
            if kept.is_none() || cell.kind() != kept {
                overflow.push(*row as usize, &self.name, self.value(*cell));
            }
        }
    }

    /// The column of the values of type `kind`. Texts are moved to it: it is called once, after all that is spilled.
    pub(super) fn column(&mut self, kind: Kind, rows: usize) -> ArrayRef {
        if kind == Kind::Text && self.is_uniform() {
            return self.whole_text_column(rows);
        }
        let filled = self.rows.iter().zip(&self.cells).filter(|(_, cell)| cell.kind() == Some(kind));
        let nulls = nulls(filled.clone().map(|(row, _)| *row), rows);
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

    /// The column of all values, where they are texts: these stand in its order already.
    fn whole_text_column(&mut self, rows: usize) -> ArrayRef {
        let nulls = if self.rows.len() == rows { None } else { nulls(self.rows.iter().copied(), rows) };
        let mut offsets: Vec<i32> = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let mut last = 0;
        for (row, cell) in self.rows.iter().zip(&self.cells) {
            // What has no value is as long as nothing.
            offsets.resize(*row as usize + 1, last);
            if let Cell::Text { end, .. } = cell {
                last = i32::try_from(*end).unwrap_or(i32::MAX);
            }
            offsets.push(last);
        }
        offsets.resize(rows + 1, last);
        let mut texts = std::mem::take(&mut self.texts).into_bytes();
        texts.shrink_to_fit();
        Arc::new(StringArray::new(OffsetBuffer::new(offsets.into()), texts.into(), nulls))
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

/// Which rows have no value; `None`, if all have one.
fn nulls(filled: impl Iterator<Item = u32>, rows: usize) -> Option<NullBuffer> {
    let mut valid = BooleanBufferBuilder::new(rows);
    valid.append_n(rows, false);
    filled.for_each(|row| valid.set_bit(row as usize, true));
    Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0)
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
