use proptest::prelude::*;
use sluice_model::{RecordId, RunId, Severity, Timestamp};

use super::*;

/// An attribute's value for a test: as the decoder would hand it over, and as JSON.
#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Json(&'static str),
}

impl Value {
    fn as_ref(&self) -> AttributeRef<'_> {
        match self {
            Value::Text(text) => AttributeRef::Text(text),
            Value::Int(value) => AttributeRef::Int(*value),
            Value::Float(value) => AttributeRef::Float(*value),
            Value::Bool(value) => AttributeRef::Bool(*value),
            Value::Json(text) => AttributeRef::Json(text),
        }
    }

    fn json(&self) -> String {
        match self {
            Value::Text(text) => serde_json::to_string(text).unwrap(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => serde_json::to_string(value).unwrap(),
            Value::Bool(value) => value.to_string(),
            Value::Json(text) => (*text).to_owned(),
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        ".{0,8}".prop_map(Value::Text),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("JSON has no NaN", |value| value.is_finite()).prop_map(Value::Float),
        any::<bool>().prop_map(Value::Bool),
        prop::sample::select(vec!["null", "{}", "[1,2.0,{\"a\":null}]", "1.10", "123456789012345678901234567890"])
            .prop_map(Value::Json),
    ]
}

type Row = BTreeMap<String, Value>;
use std::collections::BTreeMap;

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let name = prop::sample::select(vec!["a", "a.b", "", "é\"x", "host", "z"]).prop_map(str::to_owned);
    prop::collection::vec(prop::collection::btree_map(name, value(), 0..5), 0..12)
}

fn build(rows: &[Row]) -> LogBatch {
    let mut builder = LogBatchBuilder::new();
    for (index, row) in rows.iter().enumerate() {
        for (name, value) in row.iter().rev() {
            builder.attribute(name, value.as_ref()).unwrap();
        }
        builder.commit(Timestamp::from_nanos(index as i64), Severity::Warn, "WARNING", "svc", "text \u{1} \"q\"");
    }
    builder.finish()
}

fn number(logs: LogBatch) -> Records {
    Records::numbered(RecordId { run: RunId::from_bytes([1; RunId::BYTES]), sequence: 5 }, logs)
}

fn attributes_of(records: &Records) -> Vec<String> {
    let writer = RowWriter::new(records);
    let row = |row| {
        let mut out = Vec::new();
        writer.write_attributes(row, &mut out);
        String::from_utf8(out).unwrap()
    };
    (0..records.len()).map(row).collect()
}

fn expected(rows: &[Row]) -> Vec<String> {
    let member =
        |(name, value): (&String, &Value)| format!("{}:{}", serde_json::to_string(name).unwrap(), value.json());
    rows.iter().map(|row| format!("{{{}}}", row.iter().map(member).collect::<Vec<_>>().join(","))).collect()
}

proptest! {
    #[test]
    fn every_value_comes_back_as_it_was_sent(rows in rows()) {
        let records = number(build(&rows));
        prop_assert_eq!(attributes_of(&records), expected(&rows));
        let again = Records::try_from_arrow(&records.to_arrow().unwrap()).unwrap();
        prop_assert_eq!(again, records);
    }

    #[test]
    fn joined_and_picked_batches_keep_every_value(parts in prop::collection::vec(rows(), 1..5), seed: u64) {
        let all: Vec<Row> = parts.iter().flatten().cloned().collect();
        let batches: Vec<LogBatch> = parts.iter().map(|part| build(part)).collect();
        let joined = number(LogBatch::concat(&batches).unwrap());
        prop_assert_eq!(attributes_of(&joined), expected(&all));
        if !all.is_empty() {
            let picks: Vec<u32> = (0..5).map(|n| ((seed >> (8 * n)) % all.len() as u64) as u32).collect();
            let picked: Vec<Row> = picks.iter().map(|row| all[*row as usize].clone()).collect();
            let taken = joined.take(&picks.clone().into()).unwrap();
            prop_assert_eq!(attributes_of(&taken), expected(&picked));
            prop_assert_eq!(taken.id(0).sequence, 5 + u64::from(picks[0]));
        }
    }
}

#[test]
fn a_record_is_written_in_the_shape_of_an_answer() {
    let row = Row::from([("n".to_owned(), Value::Int(12)), ("list".to_owned(), Value::Json("[1]"))]);
    let records = number(build(&[row]));
    let mut out = Vec::new();
    RowWriter::new(&records).write(0, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"id":"01041040G40G40G400000000005","timestamp":"1970-01-01T00:00:00.000000000Z","level":"WARNING","service":"svc","message":"text \u0001 \"q\"","attributes":{"list":[1],"n":12}}"#
            .replace("01041040G40G40G400000000005", &records.id(0).to_string())
    );
}

#[test]
fn a_record_taken_back_leaves_no_trace() {
    let mut builder = LogBatchBuilder::new();
    builder.attribute("a", AttributeRef::Text("gone")).unwrap();
    builder.rollback();
    builder.attribute("b", AttributeRef::Int(1)).unwrap();
    assert_eq!(builder.attribute("b", AttributeRef::Int(1)), Ok(()));
    assert_eq!(builder.attribute("b", AttributeRef::Int(2)), Err(BuildError::Twice));
    builder.commit(Timestamp::default(), Severity::Info, "INFO", "", "m");
    let batch = builder.finish();
    assert_eq!(batch.attributes().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn attributes_past_the_cap_are_kept_in_the_overflow() {
    let mut builder = LogBatchBuilder::new();
    let rows: Vec<Row> = (0..3)
        .map(|row| (0..200).filter(|n| row == 0 || n % 2 == 0).map(|n| (format!("k{n:03}"), Value::Int(n))).collect())
        .collect();
    for row in &rows {
        row.iter().for_each(|(name, value)| builder.attribute(name, value.as_ref()).unwrap());
        builder.commit(Timestamp::default(), Severity::Info, "INFO", "", "");
    }
    let records = number(builder.finish());
    assert_eq!(records.logs.attributes().count(), MAX_ATTRIBUTE_COLUMNS);
    assert_eq!(attributes_of(&records), expected(&rows));
}

#[test]
fn a_column_has_the_type_that_most_values_have() {
    let rows: Vec<Row> = [Value::Int(1), Value::Text("x".into()), Value::Text("y".into())]
        .into_iter()
        .map(|value| Row::from([("v".to_owned(), value)]))
        .collect();
    let batch = build(&rows);
    assert_eq!(batch.attributes().next().unwrap().1.data_type(), &DataType::Utf8);
    assert_eq!(batch.overflow().value(0), r#"{"v":1}"#);
}

#[test]
fn texts_keep_their_rows_where_some_have_none() {
    for missing in [vec![], vec![0], vec![4], vec![0, 1, 3, 4], vec![2, 3]] {
        let mut builder = LogBatchBuilder::new();
        for row in 0..5 {
            if !missing.contains(&row) {
                builder.attribute("host", AttributeRef::Text(&format!("node-{row}é"))).unwrap();
            }
            builder.commit(Timestamp::default(), Severity::Info, "", "", "");
            // What is taken back leaves no trace.
            builder.attribute("host", AttributeRef::Text("gone")).unwrap();
            builder.rollback();
        }
        let batch = builder.finish();
        let (_, column) = batch.attributes().next().unwrap();
        let hosts: Vec<Option<String>> = column.as_string::<i32>().iter().map(|host| host.map(str::to_owned)).collect();
        let expected = |row| (!missing.contains(&row)).then(|| format!("node-{row}é"));
        assert_eq!(hosts, (0..5).map(expected).collect::<Vec<_>>());
        assert_eq!((batch.overflow().len(), batch.overflow().null_count()), (5, 5));
    }
}

#[test]
fn texts_are_written_as_json_whatever_is_in_them() {
    for text in
        ["", "plain", "naïve 日本", "a \"quoted\" word", "back\\slash", "tab\there", "\u{1b}[1m", "\u{7f}", "\u{0}"]
    {
        // Wherever it stands.
        for text in [text.to_owned(), format!("{text}{}", "x".repeat(70)), format!("{}{text}", "x".repeat(70))] {
            let mut out = b"[".to_vec();
            write_json_text(&mut out, &text);
            assert_eq!(String::from_utf8(out).unwrap(), format!("[{}", serde_json::to_string(&text).unwrap()));
        }
    }
}
