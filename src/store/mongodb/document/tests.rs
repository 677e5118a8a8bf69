use std::collections::BTreeMap;

use mongodb::bson::{Bson, Document, doc};
use proptest::prelude::*;
use sluice_model::{AttributeValue, RunId};

use super::*;
use crate::batch::{Records, RowWriter};

fn record(attributes: &[(&str, &str)]) -> LogRecord {
    let attribute =
        |(name, json): &(&str, &str)| ((*name).to_owned(), AttributeValue::from_json((*json).to_owned()).unwrap());
    LogRecord {
        id: None,
        timestamp: Timestamp::from_nanos(1_728_345_600_123_456_789),
        level: "Warning".to_owned(),
        service: "a\0b".to_owned(),
        message: "line\n\u{1F600}".to_owned(),
        attributes: attributes.iter().map(attribute).collect(),
    }
}

fn id(sequence: u64) -> RecordId {
    RecordId { run: RunId::new(Timestamp::from_nanos(1_728_345_600_000_000_000), 7), sequence }
}

fn encoded(record: &LogRecord) -> RawDocumentBuf {
    encode(id(3), record, Severity::Warn, Timestamp::from_nanos(5_000_000), None).document
}

fn decoded(document: &RawDocument) -> LogRecord {
    let mut builder = LogBatchBuilder::new();
    let id = decode(document, &mut builder).unwrap();
    let records = Records::with_ids(&[id], builder.finish()).unwrap();
    RowWriter::new(&records).record(0)
}

fn attributes_of(attributes: &[(&str, &str)]) -> (Bson, Bson) {
    let document = Document::try_from(encoded(&record(attributes))).unwrap();
    let field = |name| document.get(name).cloned().unwrap_or(Bson::Null);
    (field("attributes"), field("attributes_json"))
}

#[test]
fn a_plain_record_is_a_plain_document() {
    let sent = record(&[("http.status", "500"), ("http.path", "\"/x\""), ("ok", "true"), ("took", "1.5")]);
    let document = Document::try_from(encoded(&sent)).unwrap();
    let hash = document.get("hash").cloned().unwrap();
    let expected = doc! {
        "_id": id(3).to_string(),
        "timestamp": DateTime::from_millis(1_728_345_600_123),
        "ns": 1_728_345_600_123_456_789_i64,
        "severity": 13_i32,
        "level": "Warning",
        "service": "a\0b",
        "message": "line\n\u{1F600}",
        "attributes": { "http": { "path": "/x", "status": 500_i64 }, "ok": true, "took": 1.5 },
        "arrival": DateTime::from_millis(5),
        "hash": hash,
    };
    assert_eq!(document, expected);
}

#[test]
fn what_can_be_queried_is_nested_and_what_is_not_exact_stands_beside_it() {
    for (attributes, nested, exact) in [
        (vec![("a", "{}"), ("b", "[]"), ("c", "null")], doc! { "a": {}, "b": [], "c": null }.into(), Bson::Null),
        (vec![("a", "[1,{\"b\":[\"x\"]}]")], doc! { "a": [1_i64, { "b": ["x"] }] }.into(), Bson::Null),
        (vec![("a", "1.10")], doc! { "a": 1.1 }.into(), r#"{"a":1.10}"#.into()),
        (vec![("a", "[1, 2]")], doc! { "a": [1_i64, 2_i64] }.into(), r#"{"a":[1, 2]}"#.into()),
        (vec![("a", "-0.0")], doc! { "a": -0.0_f64 }.into(), r#"{"a":-0.0}"#.into()),
        (
            vec![("a", "18446744073709551615")],
            doc! { "a": 1.8446744073709552e19 }.into(),
            r#"{"a":18446744073709551615}"#.into(),
        ),
        (vec![("a", "1e400")], Bson::Null, r#"{"a":1e400}"#.into()),
        (vec![("a", "[[1]]")], Bson::Null, r#"{"a":[[1]]}"#.into()),
        (vec![("a", "[{\"b.c\":1}]")], Bson::Null, r#"{"a":[{"b.c":1}]}"#.into()),
        (vec![("a", "1"), ("a.b", "2")], doc! { "a": { "b": 2_i64 } }.into(), r#"{"a":1}"#.into()),
        (
            vec![("", "1"), ("$x", "2"), ("a..b", "3"), ("n\0", "4")],
            Bson::Null,
            r#"{"":1,"$x":2,"a..b":3,"n\u0000":4}"#.into(),
        ),
        (
            vec![("a-b", "1"), ("a.b", "2"), ("a.c.d", "3"), ("a/b", "4")],
            doc! { "a-b": 1_i64, "a": { "b": 2_i64, "c": { "d": 3_i64 } }, "a/b": 4_i64 }.into(),
            Bson::Null,
        ),
    ] {
        assert_eq!(attributes_of(&attributes), (nested, exact), "{attributes:?}");
        let sent = record(&attributes);
        assert_eq!(decoded(&encoded(&sent)).attributes, sent.attributes, "{attributes:?}");
    }
}

#[test]
fn a_document_stays_small_and_flat_enough_for_the_server() {
    let deep = vec!["a"; 200].join(".");
    let nested_array = format!("{}1{}", "[{\"a\":".repeat(60), "}]".repeat(60));
    let long_array = format!("[{}1]", "1,".repeat(200_000));
    let sent = record(&[(&deep, "1"), ("b", &nested_array), ("c", &long_array), ("d", "[2]")]);
    let document = encoded(&sent);
    assert_eq!(document.get_document("attributes").unwrap().iter().count(), 1, "only d is nested");
    assert!(document.as_bytes().len() < 1 << 20);
    assert_eq!(decoded(&document).attributes, sent.attributes);
}

#[test]
fn the_hash_tells_records_apart_and_nothing_else() {
    let hash_of = |attributes: &[(&str, &str)]| hash(&record(attributes));
    assert_eq!(hash_of(&[("a", "1"), ("b", "2")]), hash_of(&[("b", "2"), ("a", "1")]));
    assert_ne!(hash_of(&[("a", "1")]), hash_of(&[("a", "1.0")]));
    assert_ne!(hash_of(&[("a", "1")]), hash_of(&[("a1", "1")]));
    let mut other = record(&[]);
    (other.service, other.message) = ("a\0bl".to_owned(), "ine\n\u{1F600}".to_owned());
    assert_ne!(hash_of(&[]), hash(&other));
    // The stored hash of a record must be the same for ever.
    assert_eq!(hash_of(&[("a", "1")]), HASH_OF_A_1);
}

const HASH_OF_A_1: Hash = [249, 183, 33, 86, 7, 204, 131, 135, 105, 70, 167, 84, 252, 166, 54, 151];

#[test]
fn retention_counts_from_the_timestamp_but_leaves_an_hour() {
    let (hour, day) = (MILLIS_PER_HOUR, MILLIS_PER_DAY);
    let week = Duration::from_secs(7 * 86_400);
    let arrival = 1_000 * day;
    for (time, expected) in [
        (arrival, arrival + 7 * day),
        (arrival - 3 * day, arrival + 4 * day),
        (arrival - 30 * day, arrival + hour),
        (arrival + day, arrival + 8 * day),
        (arrival + day + 1, arrival + 7 * day),
    ] {
        assert_eq!(expire_at_ms(time * NANOS_PER_MILLI, arrival, week), expected, "{time}");
    }
    assert_eq!(expire_at_ms(arrival * NANOS_PER_MILLI + 1, arrival, week), arrival + 7 * day + 1, "rounded up");
}

#[test]
fn a_document_of_somebody_else_is_no_record() {
    let mut builder = LogBatchBuilder::new();
    for document in [doc! {}, doc! { "_id": 1, "ns": 2_i64 }, doc! { "_id": id(1).to_string(), "ns": "x" }] {
        let document = RawDocumentBuf::try_from(&document).unwrap();
        assert_eq!(decode(&document, &mut builder), None);
    }
    assert!(builder.is_empty());
}

/// Names out of few and awkward parts, so that they often clash.
fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", ".", "..", "$", "\0", "-", "", "é", "0", "_id", " ", "\""]);
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_filter("JSON has no NaN", |value| value.is_finite()).prop_map(|value| value.to_string()),
        any::<f64>()
            .prop_filter("JSON has no NaN", |value| value.is_finite())
            .prop_map(|value| serde_json::to_string(&value).unwrap()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        prop::sample::select(vec!["null", "true", "false", "{}", "[]", "-0", "-0.0", "0.0", "1E5", "1e400"])
            .prop_map(str::to_owned),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        let member = (name(), inner.clone())
            .prop_map(|(name, value)| format!("{}:{value}", serde_json::to_string(&name).unwrap()));
        prop_oneof![
            (prop::collection::vec(inner, 0..4), prop::sample::select(vec![",", ", ", " ,"]))
                .prop_map(|(values, comma)| format!("[{}]", values.join(comma))),
            prop::collection::vec(member, 1..3).prop_map(|members| format!("[{{{}}}]", members.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn every_record_reads_back_exactly_as_sent(
        attributes in prop::collection::btree_map(name(), json(), 0..8),
        ns in any::<i64>(),
        (level, service, message) in any::<(String, String, String)>(),
    ) {
        let attributes: BTreeMap<String, AttributeValue> =
            attributes.into_iter().map(|(name, json)| (name, AttributeValue::from_json(json).unwrap())).collect();
        let timestamp = Timestamp::from_nanos(ns);
        let sent = LogRecord { id: Some(id(3)), timestamp, level, service, message, attributes };
        let document = encoded(&sent);
        prop_assert_eq!(decoded(&document), sent);
        // What servers ask of a document: no name twice, none empty, with a dot or with a `$` at its start.
        let document = Document::try_from(document).unwrap();
        if let Ok(attributes) = document.get_document("attributes") {
            check_names(attributes)?;
        }
    }
}

fn check_names(document: &Document) -> Result<(), TestCaseError> {
    let mut members: Vec<(&String, &Bson)> = document.iter().collect();
    while let Some((name, value)) = members.pop() {
        prop_assert!(!name.is_empty() && !name.starts_with('$') && !name.contains(['.', '\0']), "{:?}", name);
        match value {
            Bson::Document(inner) => members.extend(inner),
            Bson::Array(values) => members.extend(values.iter().map(|value| (name, value))),
            _ => {}
        }
    }
    Ok(())
}
