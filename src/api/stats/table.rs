//! The forms of a table, and their writers.

use actix_web::HttpRequest;
use sluice_model::Timestamp;
use utoipa::ToSchema;

use crate::api::encode::{negotiate, write_csv_cell};
use crate::batch::write_json_text;
use crate::error::Problem;
use crate::stats::{Table, Value};

/// Rows of values.
#[derive(ToSchema)]
#[schema(as = Table)]
#[allow(dead_code, reason = "it describes the JSON, which is written from the table")]
pub(in crate::api) struct TableSchema {
    /// What each value of a row is.
    columns: Vec<ColumnSchema>,
    /// The rows.
    #[schema(value_type = Vec<Vec<serde_json::Value>>, example = json!([["2024-10-08T00:00:00.000000000Z", "shop", 5]]))]
    rows: Vec<Vec<serde_json::Value>>,
    /// What `top` left out; absent, if it left out nothing.
    others: Option<OthersSchema>,
}

/// A column.
#[derive(ToSchema)]
#[schema(as = Column)]
#[allow(dead_code, reason = "it describes the JSON, which is written from the table")]
struct ColumnSchema {
    /// Its name: that which was asked for.
    #[schema(example = "count")]
    name: String,
    /// `timestamp`, `string`, `number`, `boolean`, or `any`, where its values are of several kinds. Null is in any of them.
    #[schema(example = "number")]
    r#type: String,
}

/// Groups that are not shown.
#[derive(ToSchema)]
#[schema(as = Others)]
#[allow(dead_code, reason = "it describes the JSON, which is written from the table")]
struct OthersSchema {
    /// How many groups.
    groups: u64,
    /// How many records are in them.
    records: u64,
}

/// In which form a table is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One object.
    Json,
    /// An object a row.
    Ndjson,
    /// A header line, and a line a row.
    Csv,
}

const TYPES: &[(&str, Form)] = &[
    ("application/json", Form::Json),
    ("application/x-ndjson", Form::Ndjson),
    ("application/ndjson", Form::Ndjson),
    ("application/jsonl", Form::Ndjson),
    ("text/csv", Form::Csv),
];

impl Form {
    /// The form that the client likes best.
    ///
    /// # Errors
    /// There is none that it accepts.
    pub fn negotiate(request: &HttpRequest) -> Result<Form, Problem> {
        negotiate(request, TYPES).ok_or_else(|| {
            Problem::not_acceptable(
                "answers are application/json, application/x-ndjson or text/csv, none of which is accepted",
            )
        })
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::Ndjson => "application/x-ndjson",
            Form::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// The whole answer.
    pub fn write(self, table: &Table) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Form::Json => write_json(table, &mut out),
            Form::Ndjson => write_ndjson(table, &mut out),
            Form::Csv => write_csv(table, &mut out),
        }
        out
    }
}

fn write_json(table: &Table, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"columns\":");
    write_list(&table.columns, b"[]", out, |column, out| {
        out.extend_from_slice(b"{\"name\":");
        write_json_text(out, &column.name);
        out.extend_from_slice(format!(",\"type\":\"{}\"}}", column.kind.name()).as_bytes());
    });
    out.extend_from_slice(b",\"rows\":");
    write_list(&table.rows, b"[]", out, |row, out| write_list(row, b"[]", out, Value::write_json));
    if let Some(others) = table.others {
        let others = format!(",\"others\":{{\"groups\":{},\"records\":{}}}", others.groups, others.records);
        out.extend_from_slice(others.as_bytes());
    }
    out.push(b'}');
}

fn write_ndjson(table: &Table, out: &mut Vec<u8>) {
    for row in &table.rows {
        let members: Vec<_> = table.columns.iter().zip(row).collect();
        write_list(&members, b"{}", out, |(column, value), out| {
            write_json_text(out, &column.name);
            out.push(b':');
            value.write_json(out);
        });
        out.push(b'\n');
    }
}

fn write_csv(table: &Table, out: &mut Vec<u8>) {
    let count = table.columns.len();
    for (place, column) in table.columns.iter().enumerate() {
        write_csv_cell(column.name.as_bytes(), place, count, out);
    }
    out.extend_from_slice(b"\r\n");
    let mut cell = Vec::new();
    for row in &table.rows {
        for (place, value) in row.iter().enumerate() {
            cell.clear();
            match value {
                Value::Null => {}
                Value::Text(text) => cell.extend_from_slice(text.as_bytes()),
                Value::Severity(severity) => cell.extend_from_slice(severity.name().as_bytes()),
                Value::Time(time) => cell.extend_from_slice(time.encode(&mut [0; Timestamp::TEXT_LENGTH]).as_bytes()),
                value => value.write_json(&mut cell),
            }
            write_csv_cell(&cell, place, count, out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes items with commas between them, within a pair of brackets.
fn write_list<T>(items: &[T], brackets: &[u8; 2], out: &mut Vec<u8>, mut write: impl FnMut(&T, &mut Vec<u8>)) {
    let [open, close] = *brackets;
    out.push(open);
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use sluice_model::Severity;

    use super::*;
    use crate::stats::{Column, ColumnType, Others};

    #[test]
    fn a_table_is_written_in_every_form() {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let table = Table {
            columns: vec![
                column("time", ColumnType::Timestamp),
                column("level", ColumnType::String),
                column("a,\"b", ColumnType::Any),
                column("avg(x)", ColumnType::Number),
            ],
            rows: vec![
                vec![
                    Value::Time(Timestamp::from_nanos(1)),
                    Value::Severity(Severity::Warn),
                    Value::Text("x,y".into()),
                    Value::Float(0.5),
                ],
                vec![Value::Null, Value::Null, Value::Json("[1,\"a\"]".into()), Value::Int(-3)],
            ],
            others: Some(Others { groups: 2, records: 9 }),
        };
        let written = |form: Form| String::from_utf8(form.write(&table)).unwrap();
        assert_eq!(
            written(Form::Json),
            r#"{"columns":[{"name":"time","type":"timestamp"},{"name":"level","type":"string"},{"name":"a,\"b","type":"any"},{"name":"avg(x)","type":"number"}],"rows":[["1970-01-01T00:00:00.000000001Z","WARN","x,y",0.5],[null,null,[1,"a"],-3]],"others":{"groups":2,"records":9}}"#
        );
        assert_eq!(
            written(Form::Ndjson),
            "{\"time\":\"1970-01-01T00:00:00.000000001Z\",\"level\":\"WARN\",\"a,\\\"b\":\"x,y\",\"avg(x)\":0.5}\n\
             {\"time\":null,\"level\":null,\"a,\\\"b\":[1,\"a\"],\"avg(x)\":-3}\n"
        );
        assert_eq!(
            written(Form::Csv),
            "time,level,\"a,\"\"b\",avg(x)\r\n1970-01-01T00:00:00.000000001Z,WARN,\"x,y\",0.5\r\n,,\"[1,\"\"a\"\"]\",-3\r\n"
        );
    }
}
