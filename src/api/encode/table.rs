//! Records as a table of plain columns, for other programs: an Arrow IPC stream, or a Parquet file.
//!
//! `timestamp` is a time in ns, UTC; every other column is text: `id`, `level` as it was sent, `severity` as `WARN`,
//! `service`, `message`, and `attributes` as a JSON object. The column of one attribute has a text as it is and any other
//! value as its JSON; it is null where a record lacks the attribute.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::field::{Cells, Field};
use crate::batch::Records;

/// How many rows a row group of Parquet has at most: what readers take as one piece of work.
const GROUP_ROWS: usize = 120 << 10;
/// How many bytes of a row group wait in memory until it is written.
const GROUP_BYTES: usize = 16 << 20;
/// How many rows a data page has.
const PAGE_ROWS: usize = 16 << 10;

/// Why records cannot be written as a table.
#[derive(Debug, thiserror::Error)]
pub(in crate::api) enum TableError {
    /// Arrow could not do its part.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// Parquet could not.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
}

/// The columns of a table.
pub(in crate::api) struct Table {
    fields: Vec<Field>,
    schema: SchemaRef,
}

impl Table {
    /// A table of the fields that were named, or of all.
    pub fn new(fields: Option<Vec<Field>>) -> Table {
        let fields = fields.unwrap_or_else(|| Field::TABLE.to_vec());
        let columns: Vec<arrow_schema::Field> = fields.iter().map(column_field).collect();
        Table { schema: Arc::new(Schema::new(columns)), fields }
    }

    fn batch(&self, records: &Records) -> Result<RecordBatch, ArrowError> {
        let cells = Cells::new(&self.fields, records);
        let columns = self.fields.iter().enumerate().map(|(place, field)| column(field, place, &cells, records));
        RecordBatch::try_new(self.schema.clone(), columns.collect())
    }
}

fn column_field(field: &Field) -> arrow_schema::Field {
    let kind = match field {
        Field::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        _ => DataType::Utf8,
    };
    arrow_schema::Field::new(field.heading(), kind, matches!(field, Field::Attribute { .. }))
}

fn column(field: &Field, place: usize, cells: &Cells<'_>, records: &Records) -> ArrayRef {
    let logs = &records.logs;
    match field {
        Field::Timestamp => logs.timestamp_column(),
        Field::Level => Arc::new(logs.levels().clone()),
        Field::Service => Arc::new(logs.services().clone()),
        Field::Message => Arc::new(logs.messages().clone()),
        _ => {
            let mut texts = StringBuilder::with_capacity(records.len(), 0);
            let mut scratch = Vec::new();
            for row in 0..records.len() {
                texts.append_option(cells.text(place, row, &mut scratch));
            }
            Arc::new(texts.finish())
        }
    }
}

/// Writes a table, and hands out its bytes as they come.
pub(in crate::api) struct TableWriter {
    table: Table,
    output: Output,
}

enum Output {
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

impl TableWriter {
    /// Begins an Arrow IPC stream.
    ///
    /// # Errors
    /// [`TableError`] never for a table made here.
    pub fn arrow(table: Table) -> Result<TableWriter, TableError> {
        let writer = StreamWriter::try_new(Vec::new(), &table.schema)?;
        Ok(TableWriter { table, output: Output::Arrow(Box::new(writer)) })
    }

    /// Begins a Parquet file, whose row groups are written as they fill.
    ///
    /// # Errors
    /// [`TableError`] never for a table made here.
    pub fn parquet(table: Table) -> Result<TableWriter, TableError> {
        let writer = ArrowWriter::try_new(Vec::new(), table.schema.clone(), Some(properties(&table)))?;
        Ok(TableWriter { table, output: Output::Parquet(Box::new(writer)) })
    }

    /// Takes `records`, and appends to `out` what of the table is ready.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn write(&mut self, records: &Records, out: &mut Vec<u8>) -> Result<(), TableError> {
        let batch = self.table.batch(records)?;
        match &mut self.output {
            Output::Arrow(writer) => {
                writer.write(&batch)?;
                out.append(writer.get_mut());
            }
            Output::Parquet(writer) => {
                writer.write(&batch)?;
                if writer.in_progress_size() >= GROUP_BYTES {
                    writer.flush()?;
                }
                out.append(writer.inner_mut());
            }
        }
        Ok(())
    }

    /// Appends the rest of the table to `out`.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), TableError> {
        match &mut self.output {
            Output::Arrow(writer) => {
                writer.finish()?;
                out.append(writer.get_mut());
            }
            Output::Parquet(writer) => {
                writer.finish()?;
                out.append(writer.inner_mut());
            }
        }
        Ok(())
    }
}

/// How each column of a Parquet file is encoded: dictionaries only where values repeat.
fn properties(table: &Table) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(format!("sluice {}", env!("CARGO_PKG_VERSION")))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for field in &table.fields {
        // One name, whatever points are in it.
        let path = ColumnPath::new(vec![field.heading().to_owned()]);
        properties = match field {
            Field::Id => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BYTE_ARRAY),
            Field::Timestamp => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            Field::Message | Field::Attributes => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path, EnabledStatistics::None),
            _ => properties,
        };
    }
    properties.build()
}

#[cfg(test)]
mod tests {
    use sluice_model::{RecordId, Severity, Timestamp};

    use super::*;
    use crate::batch::LogBatchBuilder;

    #[test]
    fn row_groups_go_out_as_they_fill() {
        let mut writer = TableWriter::parquet(Table::new(None)).unwrap();
        let (mut out, mut sizes) = (Vec::new(), Vec::new());
        for window in 0..4_u64 {
            let mut builder = LogBatchBuilder::new();
            for row in 0..50_000_u64 {
                let message = format!("{:x}", ((window << 32) | row).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                builder.commit(Timestamp::from_nanos(row as i64), Severity::Info, "INFO", "s", &message);
            }
            let first = RecordId::from_u128(u128::from(window * 50_000));
            writer.write(&Records::numbered(first, builder.finish()), &mut out).unwrap();
            sizes.push(out.len());
        }
        let before = out.len();
        writer.finish(&mut out).unwrap();
        assert!(sizes[1] < 1000 && sizes[2] > 100_000, "the first group is full in the third window: {sizes:?}");
        assert!(out.len() > before && out.ends_with(b"PAR1"));
    }
}
