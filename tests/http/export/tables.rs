//! Reads tables back with the readers of others.

use std::io::Cursor;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rusqlite::types::ValueRef;
use serde_json::Value;
use sluice_model::{Severity, Timestamp};

/// A table, with all values as texts.
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// Reads a file of one of the formats.
    pub fn read(format: &str, file: &[u8]) -> Table {
        match format {
            "arrow" => {
                let reader = arrow_ipc::reader::StreamReader::try_new(Cursor::new(file), None).unwrap();
                let columns = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
                of_batches(columns, reader.map(Result::unwrap))
            }
            "parquet" => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(file)).unwrap();
                let columns = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
                of_batches(columns, builder.build().unwrap().map(Result::unwrap))
            }
            "sqlite" => of_database(file),
            other => panic!("{other}"),
        }
    }

    /// Checks the columns of a whole export against the records as JSON.
    pub fn check(&self, records: &[Value], what: &str) {
        let mut columns = vec!["id", "timestamp", "level", "severity", "service", "message", "attributes"];
        let has_nanos = what.starts_with("sqlite");
        if has_nanos {
            columns.insert(2, "timestamp_ns");
        }
        assert_eq!(self.columns, columns, "{what}");
        assert_eq!(self.rows.len(), records.len(), "{what}");
        for (row, record) in self.rows.iter().zip(records) {
            let text = |name: &str| record[name].as_str().unwrap().to_owned();
            let timestamp: Timestamp = text("timestamp").parse().unwrap();
            let severity: Severity = text("level").parse().unwrap();
            let mut expected = vec![
                text("id"),
                text("timestamp"),
                text("level"),
                severity.name().to_owned(),
                text("service"),
                text("message"),
            ];
            if has_nanos {
                expected.insert(2, timestamp.as_nanos().to_string());
            }
            let (attributes, fixed) = row.split_last().unwrap();
            assert_eq!(fixed, expected.into_iter().map(Some).collect::<Vec<_>>(), "{what}");
            let attributes: Value = serde_json::from_str(attributes.as_deref().unwrap()).unwrap();
            assert_eq!(attributes, record["attributes"], "{what}");
        }
    }
}

fn of_batches(columns: Vec<String>, batches: impl Iterator<Item = RecordBatch>) -> Table {
    let mut rows = Vec::new();
    for batch in batches {
        rows.extend((0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| cell(column, row)).collect()));
    }
    Table { columns, rows }
}

fn cell(column: &dyn Array, row: usize) -> Option<String> {
    column.is_valid(row).then(|| match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Timestamp(..) => {
            assert_eq!(column.data_type().to_string(), "Timestamp(ns, \"UTC\")");
            Timestamp::from_nanos(column.as_primitive::<TimestampNanosecondType>().value(row)).to_string()
        }
        other => panic!("{other}"),
    })
}

fn of_database(file: &[u8]) -> Table {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.sqlite");
    std::fs::write(&path, file).unwrap();
    let database = rusqlite::Connection::open(&path).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mut select = database.prepare("SELECT * FROM logs ORDER BY rowid").unwrap();
    let columns: Vec<String> = select.column_names().into_iter().map(str::to_owned).collect();
    let mut found = select.query([]).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = found.next().unwrap() {
        let cells = (0..columns.len()).map(|place| match row.get_ref(place).unwrap() {
            ValueRef::Null => None,
            ValueRef::Integer(value) => Some(value.to_string()),
            ValueRef::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        });
        rows.push(cells.collect());
    }
    Table { columns, rows }
}
