//! Columnar batches: the one form in which records travel from the decoder to the answer.
//!
//! A [`LogBatch`] wraps an Arrow `RecordBatch` of this layout:
//!
//! | column | type | |
//! |---|---|---|
//! | `timestamp` | timestamp, ns, UTC | |
//! | `severity` | `uint8` | OpenTelemetry's severity number: 1, 5, 9, 13, 17 or 21 |
//! | `level` | `utf8` | the sender's own text |
//! | `service` | `utf8` | may be empty |
//! | `message` | `utf8` | may be empty |
//! | `overflow` | `utf8`, nullable | a JSON object of the attributes that stand in no column of their own |
//! | `attributes.NAME` | `int64`, `float64`, `bool` or `utf8`, nullable | one for each attribute, at most [`MAX_ATTRIBUTE_COLUMNS`] |
//!
//! An attribute's column has the type that most of its values have. A value that is not exactly of that type (a `null`,
//! an array, an integer past 64 bits, `1.10`, whose text is not how 1.1 is written) stands in `overflow` with its exact
//! JSON text, so nothing is ever changed or dropped. One attribute of one record stands in one place only.
//!
//! [`Records`] are a batch with the ids of its records: what a store keeps and a search yields.

mod block;
mod builder;
mod concat;
mod gather;
mod ids;
mod json;

use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampNanosecondType, UInt8Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::take::take_record_batch;
use sluice_model::{RecordId, RunId, Severity, Timestamp};

pub use block::{Block, BlockId, BlockSet};
pub use builder::{AttributeRef, BuildError, LogBatchBuilder};
pub use gather::Gatherer;
pub(crate) use gather::Near;
#[cfg(test)]
pub(crate) use json::json_rows;
pub use json::{AttributeReader, RowWriter};
pub(crate) use json::{overflow_member, write_json_float, write_json_text};

use self::ids::Ids;

/// How many attributes of a batch or segment get a column of their own; the rest stand in `overflow`.
pub const MAX_ATTRIBUTE_COLUMNS: usize = 128;

/// What the name of an attribute's column begins with, so that no attribute can clash with a fixed column.
pub const ATTRIBUTE_PREFIX: &str = "attributes.";

const TIMESTAMP: usize = 0;
const SEVERITY: usize = 1;
const LEVEL: usize = 2;
const SERVICE: usize = 3;
const MESSAGE: usize = 4;
const OVERFLOW: usize = 5;
const FIXED_COLUMNS: usize = 6;

/// How many columns of [`Records::to_arrow`] stand before those of the batch.
const ID_COLUMNS: usize = 2;

static FIXED_FIELDS: LazyLock<Vec<Arc<Field>>> = LazyLock::new(|| {
    [
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), false),
        Field::new("severity", DataType::UInt8, false),
        Field::new("level", DataType::Utf8, false),
        Field::new("service", DataType::Utf8, false),
        Field::new("message", DataType::Utf8, false),
        Field::new("overflow", DataType::Utf8, true),
    ]
    .into_iter()
    .map(Arc::new)
    .collect()
});

static ID_FIELDS: LazyLock<[Arc<Field>; ID_COLUMNS]> = LazyLock::new(|| {
    [
        Arc::new(Field::new("run", DataType::FixedSizeBinary(RunId::BYTES as i32), false)),
        Arc::new(Field::new("sequence", DataType::UInt64, false)),
    ]
});

/// The columns are not those of a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// A column is missing, has another type, or has nulls where none may be.
    #[error("not a log batch: {0}")]
    Layout(String),
    /// Arrow could not do its part.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

/// Records in columns, without their ids.
#[derive(Debug, Clone, PartialEq)]
pub struct LogBatch {
    columns: RecordBatch,
}

impl LogBatch {
    /// Takes columns from outside (a file, say), after a check of their layout.
    ///
    /// # Errors
    /// [`BatchError::Layout`], if they are not laid out as this module says.
    pub fn try_new(columns: RecordBatch) -> Result<LogBatch, BatchError> {
        check_layout(&columns, false)?;
        Ok(LogBatch { columns })
    }

    /// A batch without records.
    pub fn empty() -> LogBatch {
        LogBatchBuilder::new().finish()
    }

    /// The columns.
    pub fn as_arrow(&self) -> &RecordBatch {
        &self.columns
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.columns.num_rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes of memory the batch holds.
    pub fn size_bytes(&self) -> usize {
        self.columns.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
    }

    /// Nanoseconds since the epoch, a value for each record.
    pub fn timestamps(&self) -> &[i64] {
        self.columns.column(TIMESTAMP).as_primitive::<TimestampNanosecondType>().values()
    }

    /// The same as a column, of the type `timestamp` (ns, UTC).
    pub fn timestamp_column(&self) -> ArrayRef {
        self.columns.column(TIMESTAMP).clone()
    }

    /// OpenTelemetry's severity numbers.
    pub fn severities(&self) -> &[u8] {
        self.columns.column(SEVERITY).as_primitive::<UInt8Type>().values()
    }

    /// The severity of the record in `row`; INFO for a row that is not there.
    pub fn severity(&self, row: usize) -> Severity {
        self.severities().get(row).and_then(|number| Severity::from_number(*number)).unwrap_or(Severity::Info)
    }

    /// The levels as sent.
    pub fn levels(&self) -> &StringArray {
        self.columns.column(LEVEL).as_string()
    }

    /// The services.
    pub fn services(&self) -> &StringArray {
        self.columns.column(SERVICE).as_string()
    }

    /// The messages.
    pub fn messages(&self) -> &StringArray {
        self.columns.column(MESSAGE).as_string()
    }

    /// JSON objects of the attributes that have no column.
    pub fn overflow(&self) -> &StringArray {
        self.columns.column(OVERFLOW).as_string()
    }

    /// The columns of attributes, by the attribute's name.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &ArrayRef)> {
        let fields = self.columns.schema_ref().fields().iter();
        let named = fields.zip(self.columns.columns()).skip(FIXED_COLUMNS);
        named.map(|(field, column)| (field.name().strip_prefix(ATTRIBUTE_PREFIX).unwrap_or(field.name()), column))
    }

    /// The records from `offset` on, `length` of them, without a copy.
    ///
    /// # Panics
    /// If they are not all there.
    pub fn slice(&self, offset: usize, length: usize) -> LogBatch {
        LogBatch { columns: self.columns.slice(offset, length) }
    }

    /// One batch of the records of all `batches`, in order, with the union of their columns.
    ///
    /// # Errors
    /// [`BatchError::Arrow`], where the texts together are more than a column can hold (2 GiB).
    pub fn concat(batches: &[LogBatch]) -> Result<LogBatch, BatchError> {
        concat::concat(batches)
    }

    /// The records at `rows`, in that order.
    ///
    /// # Errors
    /// [`BatchError::Arrow`], if a row is not there.
    pub fn take(&self, rows: &arrow_array::UInt32Array) -> Result<LogBatch, BatchError> {
        Ok(LogBatch { columns: take_record_batch(&self.columns, rows)? })
    }
}

/// The type of a column of texts of which each is there once, and has a code.
pub(crate) fn coded_text() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn check_layout(columns: &RecordBatch, coded: bool) -> Result<(), BatchError> {
    let fields = columns.schema_ref().fields();
    if fields.len() < FIXED_COLUMNS || fields.len() > FIXED_COLUMNS + MAX_ATTRIBUTE_COLUMNS {
        return Err(BatchError::Layout(format!("{} columns", fields.len())));
    }
    for (field, expected) in fields.iter().zip(FIXED_FIELDS.iter()) {
        if field.name() != expected.name() || field.data_type() != expected.data_type() {
            return Err(BatchError::Layout(format!("{field} where {expected} belongs")));
        }
    }
    for field in fields.iter().skip(FIXED_COLUMNS) {
        let scalar =
            matches!(field.data_type(), DataType::Int64 | DataType::Float64 | DataType::Boolean | DataType::Utf8);
        let scalar = scalar || coded && *field.data_type() == coded_text();
        if !field.name().starts_with(ATTRIBUTE_PREFIX) || !scalar {
            return Err(BatchError::Layout(format!("{field} is no attribute")));
        }
    }
    let nulls = columns.columns().iter().take(OVERFLOW).any(|column| column.null_count() > 0);
    if nulls { Err(BatchError::Layout("a null in a fixed column".to_owned())) } else { Ok(()) }
}

/// Where a record stands: in which of some parts, and in which row of it.
pub type Place = (u32, u32);

/// A batch and the ids of its records.
#[derive(Debug, Clone, PartialEq)]
pub struct Records {
    ids: Ids,
    /// The records themselves.
    pub logs: LogBatch,
}

impl Records {
    /// Gives the records of `logs` the ids from `first` on.
    pub fn numbered(first: RecordId, logs: LogBatch) -> Records {
        Records { ids: Ids::From(first, logs.len()), logs }
    }

    /// Gives each record of `logs` the id at its place in `ids`.
    ///
    /// # Errors
    /// [`BatchError::Layout`], if there are not as many ids as records.
    pub fn with_ids(ids: &[RecordId], logs: LogBatch) -> Result<Records, BatchError> {
        if ids.len() != logs.len() {
            return Err(BatchError::Layout(format!("{} ids for {} records", ids.len(), logs.len())));
        }
        Ok(Records { ids: Ids::of(ids.len(), ids.iter().copied())?, logs })
    }

    /// Takes the columns of [`Records::to_arrow`] back, after a check of their layout.
    ///
    /// # Errors
    /// [`BatchError::Layout`], if they are not laid out as that method says.
    pub fn try_from_arrow(columns: &RecordBatch) -> Result<Records, BatchError> {
        Records::from_columns(columns, false)
    }

    /// The same, where the column of an attribute may also be a dictionary of texts. Only a tally that says so looks at
    /// such records ([`crate::stats::Tally::takes_codes`]).
    pub(crate) fn try_from_coded(columns: &RecordBatch) -> Result<Records, BatchError> {
        Records::from_columns(columns, true)
    }

    fn from_columns(columns: &RecordBatch, coded: bool) -> Result<Records, BatchError> {
        let fields = columns.schema_ref().fields();
        let named = fields.iter().zip(ID_FIELDS.iter());
        let ids_lead = fields.len() > ID_COLUMNS
            && named.clone().all(|(field, id)| field.name() == id.name() && field.data_type() == id.data_type())
            && columns.columns().iter().take(ID_COLUMNS).all(|column| column.null_count() == 0);
        if !ids_lead {
            return Err(BatchError::Layout("the id columns run and sequence must come first".to_owned()));
        }
        let rest: Vec<usize> = (ID_COLUMNS..fields.len()).collect();
        let runs = columns.column(0).as_fixed_size_binary().clone();
        let sequences = columns.column(1).as_primitive::<UInt64Type>().clone();
        let logs = LogBatch { columns: columns.project(&rest)? };
        check_layout(&logs.columns, coded)?;
        Ok(Records { ids: Ids::Each(runs, sequences), logs })
    }

    /// All columns: `run` (fixed-size binary, 10 bytes) and `sequence` (`uint64`), then those of the batch.
    ///
    /// # Errors
    /// [`BatchError::Arrow`] never for records made by this module.
    pub fn to_arrow(&self) -> Result<RecordBatch, BatchError> {
        let columns = self.ids.columns().into_iter().chain(self.logs.columns.columns().iter().cloned()).collect();
        Ok(RecordBatch::try_new(self.arrow_schema(), columns)?)
    }

    /// The schema of [`Records::to_arrow`].
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields = ID_FIELDS.iter().chain(self.logs.columns.schema_ref().fields()).cloned();
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// About how many bytes of memory they hold.
    pub fn size_bytes(&self) -> usize {
        self.logs.size_bytes() + self.ids.size_bytes()
    }

    /// The id of the record in `row`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn id(&self, row: usize) -> RecordId {
        self.ids.get(row)
    }

    /// The least sequence of all ids and the greatest; nothing, if there are no records.
    pub fn sequences(&self) -> Option<(u64, u64)> {
        self.ids.sequences()
    }

    /// Where the record in `row` stands in every answer's order.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn position(&self, row: usize) -> (Timestamp, RecordId) {
        let nanos = self.logs.timestamps().get(row).copied().unwrap_or_default();
        (Timestamp::from_nanos(nanos), self.id(row))
    }

    /// The records from `offset` on, `length` of them, without a copy.
    ///
    /// # Panics
    /// If they are not all there.
    pub fn slice(&self, offset: usize, length: usize) -> Records {
        Records { ids: self.ids.slice(offset, length), logs: self.logs.slice(offset, length) }
    }

    /// The records in the opposite order.
    ///
    /// # Errors
    /// As for [`Records::take`].
    pub fn reversed(&self) -> Result<Records, BatchError> {
        self.take(&(0..u32::try_from(self.len()).unwrap_or(u32::MAX)).rev().collect::<Vec<_>>().into())
    }

    /// The records of all `parts`, in order.
    ///
    /// # Errors
    /// As for [`LogBatch::concat`].
    pub fn concat(parts: &[Records]) -> Result<Records, BatchError> {
        let batches: Vec<LogBatch> = parts.iter().map(|part| part.logs.clone()).collect();
        let ids = parts.iter().flat_map(|part| (0..part.len()).map(|row| part.id(row)));
        let logs = LogBatch::concat(&batches)?;
        Ok(Records { ids: Ids::of(logs.len(), ids)?, logs })
    }

    /// The same records with the same columns in each part, as a [`Gatherer`] needs them. Columns that stay as
    /// they are are not copied.
    ///
    /// # Errors
    /// [`BatchError::Arrow`] never for records made by this module.
    pub fn unify(parts: &[Records]) -> Result<Vec<Records>, BatchError> {
        let logs: Vec<LogBatch> = parts.iter().map(|part| part.logs.clone()).collect();
        let unified = parts.iter().zip(concat::unify(&logs)?);
        Ok(unified.map(|(part, logs)| Records { logs, ..part.clone() }).collect())
    }

    /// The records at `rows`, in that order.
    ///
    /// # Errors
    /// [`BatchError::Arrow`], if a row is not there.
    pub fn take(&self, rows: &arrow_array::UInt32Array) -> Result<Records, BatchError> {
        Records::try_from_arrow(&take_record_batch(&self.to_arrow()?, rows)?)
    }
}

#[cfg(test)]
mod tests;
