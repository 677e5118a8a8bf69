//! What the aggregator and the catalogue make of records, whatever the batches are that these come in.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{Field, Schema};
use proptest::prelude::*;
use sluice_model::{RecordId, Severity, Timestamp};

use super::*;
use crate::batch::{AttributeRef, LogBatchBuilder, Records, coded_text};

const PLENTY: usize = 1 << 30;
const HOUR: i64 = 3_600_000_000_000;

/// A record: its hour, its severity, its service, and its attributes by their JSON.
type Row = (i64, Severity, &'static str, Vec<(&'static str, &'static str)>);

fn row(hour: i64, service: &'static str, attributes: &[(&'static str, &'static str)]) -> Row {
    (hour * HOUR, Severity::Info, service, attributes.to_vec())
}

fn records(rows: &[Row]) -> Records {
    let mut builder = LogBatchBuilder::new();
    for (time, severity, service, attributes) in rows {
        for (name, json) in attributes {
            let text = serde_json::from_str::<String>(json);
            let shortest = |value: &f64| serde_json::to_string(value).is_ok_and(|shown| shown == *json);
            let value = match (&text, json.parse::<i64>(), json.parse::<f64>().ok().filter(shortest)) {
                (Ok(text), ..) => AttributeRef::Text(text),
                (_, Ok(value), _) if value.to_string() == *json => AttributeRef::Int(value),
                (_, _, Some(value)) => AttributeRef::Float(value),
                _ if matches!(*json, "true" | "false") => AttributeRef::Bool(*json == "true"),
                _ => AttributeRef::Json(json),
            };
            builder.attribute(name, value).unwrap();
        }
        builder.commit(Timestamp::from_nanos(*time), *severity, severity.name(), service, "m");
    }
    Records::numbered(RecordId::from_u128(1), builder.finish())
}

fn aggregation(agg: &str, by: &str, step: Option<&str>) -> Aggregation {
    Aggregation {
        aggregates: parse_aggregates(agg).unwrap(),
        by: if by.is_empty() { Vec::new() } else { parse_fields(by).unwrap() },
        step: step.map(|step| Step::parse(step, None).unwrap()),
        ..Aggregation::count()
    }
}

fn add<T: Tally>(tally: &mut T, rows: &[Row]) -> ControlFlow<()> {
    let records = records(rows);
    tally.add(&records, &BooleanBuffer::new_set(records.len()))
}

/// The answer to a question, a row of JSON values each.
fn answer(aggregation: Aggregation, rows: &[Row]) -> (Vec<String>, Option<Others>) {
    let mut aggregator = Aggregator::new(aggregation, PLENTY);
    assert!(add(&mut aggregator, rows).is_continue());
    shown(&aggregator.finish().unwrap())
}

fn shown(table: &Table) -> (Vec<String>, Option<Others>) {
    let show = |row: &Vec<Value>| {
        let values = row.iter().map(|value| {
            let mut out = Vec::new();
            value.write_json(&mut out);
            String::from_utf8(out).unwrap().replace(":00:00.000000000Z", "h")
        });
        values.collect::<Vec<_>>().join(" ")
    };
    (table.rows.iter().map(show).collect(), table.others)
}

#[test]
fn numbers_are_what_the_language_takes_for_numbers() {
    let values = |jsons: &[&'static str]| jsons.iter().map(|json| row(0, "s", &[("x", *json)])).collect::<Vec<_>>();
    let all = "sum(x),avg(x),min(x),max(x),count_distinct(x)";
    for (jsons, expected) in [
        (vec![], "null null null null 0"),
        (vec!["1", "2", "6"], "9 3 1 6 3"),
        (vec!["1", "\"2\"", "\"3.5\"", "4.5"], "11 2.75 1 4.5 4"),
        // Texts that are no number, numbers with a unit, arrays, booleans and null are passed over, but they are values.
        (vec!["7", "\"x\"", "\"30s\"", "\"07\"", "[100]", "true", "null", "{}"], "7 7 7 7 7"),
        (vec!["5", "5.0", "\"5\"", "5e0"], "20 5 5 5 2"),
        (
            vec!["9223372036854775807", "9223372036854775807"],
            "18446744073709551614 9223372036854776000 9223372036854775807 9223372036854775807 1",
        ),
        (vec!["18446744073709551616", "-1"], "18446744073709551615 9223372036854776000 -1 18446744073709551616 2"),
        (vec!["9007199254740993", "2.0", "1.50"], "9007199254740996 3002399751580332 1.5 9007199254740993 3"),
        (vec!["9007199254740993", "2.0", "1e16"], "19007199254740995 6335733084913665 2 10000000000000000 3"),
        // Each would be lost beside the first, were the sum a plain one.
        (vec!["1e100", "1.5", "-1e100", "2.5"], "4 1 -1e+100 1e+100 4"),
        (vec!["1e400", "1"], "null null 1 1e400 2"),
        (vec!["0.1", "0.2", "-0.3"], "2.7755575615628914e-17 9.25185853854297e-18 -0.3 0.2 3"),
    ] {
        assert_eq!(answer(aggregation(all, "", None), &values(&jsons)).0, [expected], "{jsons:?}");
    }
    let many: Vec<&str> = std::iter::repeat_n("0.1", 1000).collect();
    assert_eq!(answer(aggregation("sum(x),avg(x)", "", None), &values(&many)).0, ["100 0.1"]);
}

#[test]
fn percentiles_are_near_the_value_at_their_rank() {
    let texts: Vec<String> = (1..=1000).map(|n| (n * n).to_string()).collect();
    let rows: Vec<Row> = texts.iter().map(|text| row(0, "s", &[("x", &*text.clone().leak())])).collect();
    let mut aggregator = Aggregator::new(aggregation("p0(x),p50(x),p99.9(x),p100(x),p50(none)", "", None), PLENTY);
    for part in rows.chunks(77) {
        assert!(add(&mut aggregator, part).is_continue());
    }
    let table = aggregator.finish().unwrap();
    let near = |place: usize, expected: f64| match &table.rows[0][place] {
        Value::Int(found) => (*found as f64 - expected).abs() <= QUANTILE_ERROR * expected,
        Value::Float(found) => (found - expected).abs() <= QUANTILE_ERROR * expected,
        _ => false,
    };
    assert_eq!(table.rows[0][0], Value::Int(1));
    assert!(near(1, 500.0 * 500.0) && near(2, 999.0 * 999.0), "{:?}", table.rows);
    assert_eq!(table.rows[0][3], Value::Int(1_000_000));
    assert_eq!(table.rows[0][4], Value::Null);
    let wide = ["1e-300", "-1e300", "0", "1e300", "-1e-300"].map(|json| row(0, "s", &[("x", json)]));
    assert_eq!(answer(aggregation("p0(x),p50(x),p100(x)", "", None), &wide).0, ["-1e+300 0 1e+300"]);
}

#[test]
fn groups_keep_the_types_of_their_values_and_stand_in_order() {
    let rows = [
        row(0, "b", &[("x", "5")]),
        row(0, "b", &[("x", "5.0")]),
        row(0, "b", &[("x", "\"5\"")]),
        row(0, "a", &[("x", "null")]),
        row(0, "a", &[]),
        row(0, "a", &[("x", "[5]")]),
        row(0, "a", &[("x", "false")]),
        (0, Severity::Warn, "a", vec![("x", "-1e400")]),
    ];
    let by_x = answer(aggregation("count", "x", None), &rows).0;
    assert_eq!(by_x, ["5 2", "null 2", "-1e400 1", "\"5\" 1", "false 1", "[5] 1"]);
    let both = answer(aggregation("count,max(x)", "level,service", None), &rows).0;
    assert_eq!(both, ["\"INFO\" \"a\" 4 null", "\"INFO\" \"b\" 3 5", "\"WARN\" \"a\" 1 -1e400"]);
    // Nothing is less than the least.
    assert_eq!(answer(aggregation("max(x)", "service", None), &rows).0, ["\"b\" 5", "\"a\" -1e400"]);
    let table = |by: &str| {
        let mut aggregator = Aggregator::new(aggregation("count,max(timestamp)", by, Some("1h")), PLENTY);
        let _ = add(&mut aggregator, &rows);
        aggregator.finish().unwrap().columns.into_iter().map(|column| column.kind.name()).collect::<Vec<_>>()
    };
    assert_eq!(table("x"), ["timestamp", "any", "number", "timestamp"]);
    assert_eq!(table("level,none"), ["timestamp", "string", "any", "number", "timestamp"]);
}

#[test]
fn the_largest_groups_keep_all_their_buckets_and_the_rest_is_told() {
    let rows =
        [row(0, "a", &[]), row(1, "b", &[]), row(1, "b", &[]), row(3, "a", &[]), row(3, "a", &[]), row(3, "c", &[])];
    let top = |agg: &str, top| Aggregation { top: Some(top), ..aggregation(agg, "service", Some("1h")) };
    let (found, others) = answer(top("count", 2), &rows);
    assert_eq!(found, ["\"1970-01-01T00h\" \"a\" 1", "\"1970-01-01T01h\" \"b\" 2", "\"1970-01-01T03h\" \"a\" 2"]);
    assert_eq!(others, Some(Others { groups: 1, records: 1 }));
    assert_eq!(answer(top("count", 3), &rows).1, None);
    let (found, others) = answer(top("max(timestamp)", 1), &rows);
    assert_eq!(found, ["\"1970-01-01T00h\" \"a\" \"1970-01-01T00h\"", "\"1970-01-01T03h\" \"a\" \"1970-01-01T03h\""]);
    assert_eq!(others, Some(Others { groups: 2, records: 3 }));
}

#[test]
fn empty_buckets_are_filled_with_zero() {
    let rows = [row(1, "a", &[("x", "5")]), row(3, "b", &[])];
    let filled = |by: &str, start: Option<i64>, end: Option<i64>| {
        let agg = "count,sum(x),count_distinct(x),avg(x)";
        let fill = Some(Fill { start: start.map(|hour| hour * HOUR), end: end.map(|hour| hour * HOUR) });
        Aggregation { fill, ..aggregation(agg, by, Some("1h")) }
    };
    let hours = |rows: &[&str]| rows.iter().map(|row| format!("\"1970-01-01T{row}")).collect::<Vec<_>>();
    let zero = "0 0 0 null";
    assert_eq!(
        answer(filled("", None, Some(4)), &rows).0,
        hours(&["01h\" 1 5 1 5", &format!("02h\" {zero}"), "03h\" 1 0 0 null", &format!("04h\" {zero}")])
    );
    assert_eq!(
        answer(filled("service", Some(2), None), &rows[1..]).0,
        hours(&[&format!("02h\" \"b\" {zero}"), "03h\" \"b\" 1 0 0 null"])
    );
    assert_eq!(answer(filled("", Some(0), Some(1)), &[]).0.len(), 2);
    assert!(
        answer(filled("", None, Some(1)), &[]).0.is_empty()
            && answer(filled("service", Some(0), Some(1)), &[]).0.is_empty()
    );
    let too_many = Aggregator::new(filled("", Some(0), Some(11_001)), PLENTY).finish();
    assert_eq!(too_many.unwrap_err(), LimitError::Buckets);
}

#[test]
fn every_limit_is_told() {
    let services: Vec<&'static str> = (0..2000).map(|n| &*format!("service {n}").leak()).collect();
    let rows: Vec<Row> = services.iter().map(|service| row(0, service, &[("x", "1")])).collect();
    for agg in ["count", "count_distinct(service)", "p50(x)"] {
        let by = if agg == "count_distinct(service)" { "x" } else { "service" };
        let mut aggregator = Aggregator::new(aggregation(agg, by, None), 50_000);
        assert!(add(&mut aggregator, &rows).is_break(), "{agg}");
        assert_eq!(aggregator.finish().unwrap_err(), LimitError::Memory { limit: 50_000 }, "{agg}");
    }
    let hours: Vec<Row> = (0..11_001).map(|hour| row(hour, "s", &[])).collect();
    let mut aggregator = Aggregator::new(aggregation("count", "", Some("1h")), PLENTY);
    assert!(add(&mut aggregator, &hours[1..]).is_continue() && !aggregator.is_over());
    assert!(add(&mut aggregator, &hours[..1]).is_break() && aggregator.is_over());
    assert_eq!(aggregator.finish().unwrap_err(), LimitError::Buckets);
    let mut aggregator = Aggregator::new(aggregation("count", "timestamp", None), PLENTY);
    let many: Vec<Row> = (0..100_001).map(|time| (time, Severity::Info, "", Vec::new())).collect();
    let _ = add(&mut aggregator, &many);
    assert_eq!(aggregator.finish().unwrap_err(), LimitError::Rows);
    let mut aggregator =
        Aggregator::new(Aggregation { top: Some(1), ..aggregation("count", "timestamp", None) }, PLENTY);
    let _ = add(&mut aggregator, &many);
    assert_eq!(aggregator.finish().unwrap().others, Some(Others { groups: 100_000, records: 100_000 }));
}

#[test]
fn what_is_known_without_a_look_is_taken_where_it_is_enough() {
    let times = |from: i64, to: i64| TimeRange {
        start: Timestamp::from_nanos(from * HOUR),
        end: Timestamp::from_nanos(to * HOUR),
    };
    let plain =
        Census { rows: 7, times: times(5, 9), service: None, severity: None, counts: &[], cells: &[], fields: None };
    let warn = Census { severity: Some(Severity::Warn), ..plain };
    let counts = [("a", Severity::Warn, 3), ("b", Severity::Info, 4)].map(|(service, severity, rows)| Counted {
        service: service.to_owned(),
        severity,
        rows,
    });
    let counted = Census { counts: &counts, ..plain };
    for (agg, by, step, census, expected) in [
        ("count", "", None, plain, Some(vec!["7"])),
        ("max(timestamp),min(timestamp)", "", None, plain, Some(vec!["\"1970-01-01T09h\" \"1970-01-01T05h\""])),
        ("count,sum(x)", "", None, plain, None),
        ("count", "x", None, counted, None),
        ("count", "level", None, plain, None),
        ("count", "level", None, warn, Some(vec!["\"WARN\" 7"])),
        ("count", "level", None, counted, Some(vec!["\"INFO\" 4", "\"WARN\" 3"])),
        ("count", "service", None, warn, None),
        ("count", "service,level", None, counted, Some(vec!["\"b\" \"INFO\" 4", "\"a\" \"WARN\" 3"])),
        ("max(timestamp)", "service", None, counted, None),
        ("count", "", Some("1d"), plain, Some(vec!["\"1970-01-01T00h\" 7"])),
        ("count", "", Some("1h"), plain, None),
        ("count", "level", Some("6h"), warn, None),
    ] {
        let mut aggregator = Aggregator::new(aggregation(agg, by, step), PLENTY);
        let taken = aggregator.take(&census).then(|| shown(&aggregator.finish().unwrap()).0);
        assert_eq!(taken, expected.map(|rows| rows.into_iter().map(str::to_owned).collect()), "{agg} {by} {step:?}");
    }
    let mut catalogue = Catalogue::new(PLENTY);
    assert!(!catalogue.take(&plain));
    let attributes = vec![("x".to_owned(), FieldType::Integer, 5), ("level".to_owned(), FieldType::String, 0)];
    let fields = FieldCounts { services: 0, messages: 6, attributes };
    assert!(catalogue.take(&Census { fields: Some(&fields), ..plain }));
    let names: Vec<(String, u64)> =
        catalogue.finish().unwrap().into_iter().map(|entry| (entry.name, entry.records)).collect();
    let expected = [("id", 7), ("level", 7), ("timestamp", 7), ("message", 6), ("x", 5)];
    assert_eq!(names, expected.map(|(name, records)| (name.to_owned(), records)));
}

#[test]
fn the_catalogue_tells_types_and_names_that_can_be_asked_for() {
    let rows = [
        row(0, "", &[("x", "5"), ("level", "\"high\"")]),
        row(0, "s", &[("x", "\"5\""), ("attributes.y", "1e400")]),
        row(0, "", &[("x", "null"), ("list", "[1]"), ("empty", "{}"), ("big", "18446744073709551616")]),
        row(0, "", &[("x", "7"), ("yes", "true"), ("half", "0.5")]),
    ];
    let mut catalogue = Catalogue::new(PLENTY);
    assert!(add(&mut catalogue, &rows).is_continue());
    let shown: Vec<String> = catalogue
        .finish()
        .unwrap()
        .into_iter()
        .map(|entry| {
            let types: Vec<String> =
                entry.types.iter().map(|(kind, records)| format!("{}={records}", kind.name())).collect();
            format!("{} {} {}", entry.name, entry.records, types.join(","))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "id 4 string=4",
            "level 4 string=4",
            "message 4 string=4",
            "timestamp 4 string=4",
            "x 4 string=1,integer=2,null=1",
            "attributes.attributes.y 1 number=1",
            "attributes.level 1 string=1",
            "big 1 integer=1",
            "empty 1 object=1",
            "half 1 number=1",
            "list 1 array=1",
            "service 1 string=1",
            "yes 1 boolean=1",
        ]
    );
    let mut small = Catalogue::new(100);
    assert!(add(&mut small, &rows).is_break() && small.is_over());
    assert_eq!(small.finish().unwrap_err(), LimitError::Memory { limit: 100 });
}

fn random_rows() -> impl Strategy<Value = Vec<Row>> {
    let json =
        prop::sample::select(vec!["1", "2", "2.0", "0.25", "-7", "\"2\"", "\"word\"", "null", "[1]", "1e400", "true"]);
    let attributes = prop::collection::btree_map(prop::sample::select(vec!["x", "y"]), json, 0..3);
    let severity = prop::sample::select(Severity::ALL.to_vec());
    let service = prop::sample::select(vec!["", "a", "b"]);
    let row = (0_i64..30, severity, service, attributes);
    prop::collection::vec(
        row.prop_map(|(hour, severity, service, map)| (hour * HOUR, severity, service, map.into_iter().collect())),
        0..40,
    )
}

proptest! {
    #[test]
    fn the_answer_does_not_depend_on_the_batches(
        mut rows in random_rows(), parts in 1_usize..6,
        by in prop::sample::select(vec!["", "x", "service,y", "level,service,x", "y,x,timestamp"]),
        step in prop::option::of(prop::sample::select(vec!["1h", "1d", "1w"])),
        top in prop::option::of(1_usize..4),
    ) {
        let asked = || {
            let agg = "count,sum(x),avg(x),min(x),max(y),count_distinct(y),p50(x),count_distinct(service)";
            Aggregation { top: top.filter(|_| !by.is_empty()), ..aggregation(agg, by, step) }
        };
        let whole = answer(asked(), &rows);
        rows.reverse();
        let mut parted = Aggregator::new(asked(), PLENTY);
        prop_assert!(add(&mut parted, &rows).is_continue());
        parted.reset();
        for part in rows.chunks(rows.len().div_ceil(parts).max(1)) {
            prop_assert!(add(&mut parted, part).is_continue());
        }
        prop_assert_eq!(shown(&parted.finish().unwrap()), whole);
    }

    #[test]
    fn rows_that_are_not_selected_do_not_count(rows in random_rows(), odd: bool) {
        let selected = |row: usize| (row % 2 == 1) == odd;
        let kept: Vec<Row> = rows.iter().enumerate().filter(|(row, _)| selected(*row)).map(|(_, row)| row.clone()).collect();
        let asked = || aggregation("count,sum(x),max(x),count_distinct(x),p90(y)", "service,y", Some("1h"));
        let (records, mut aggregator, mut catalogue) = (records(&rows), Aggregator::new(asked(), PLENTY), Catalogue::new(PLENTY));
        let bits = BooleanBuffer::collect_bool(rows.len(), selected);
        prop_assert!(aggregator.add(&records, &bits).is_continue());
        prop_assert!(catalogue.add(&records, &bits).is_continue());
        prop_assert_eq!(shown(&aggregator.finish().unwrap()), answer(asked(), &kept));
        let mut only = Catalogue::new(PLENTY);
        prop_assert!(add(&mut only, &kept).is_continue());
        prop_assert_eq!(catalogue.finish().unwrap(), only.finish().unwrap());
    }
}

/// The same records, with the last column, of texts, as a dictionary.
fn coded(records: &Records) -> Records {
    let columns = records.to_arrow().unwrap();
    let mut arrays = columns.columns().to_vec();
    let mut fields: Vec<_> = columns.schema().fields().iter().cloned().collect();
    let texts = arrays.pop().unwrap();
    let codes: DictionaryArray<Int32Type> = texts.as_string::<i32>().iter().collect();
    arrays.push(Arc::new(codes) as ArrayRef);
    let name = fields.pop().unwrap().name().clone();
    fields.push(Arc::new(Field::new(name, coded_text(), true)));
    Records::try_from_coded(&RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()).unwrap()
}

#[test]
fn the_codes_of_a_dictionary_count_as_its_texts_do() {
    let host = |n: i64| [r#""a""#, r#""b""#, r#""c""#][n as usize % 3];
    let whole: Vec<Row> = (0..30).map(|n| row(n % 2, "s", &[("host", host(n))])).collect();
    let mut gaps = whole.clone();
    gaps.iter_mut().step_by(4).for_each(|row| row.3.clear());
    gaps.push(row(0, "s", &[("host", "5")]));
    for rows in [whole, gaps] {
        let plain = records(&rows);
        let coded = coded(&plain);
        assert!(Records::try_from_arrow(&coded.to_arrow().unwrap()).is_err());
        // All rows, some, and so few that the dictionary has more.
        for step in [1, 3, 29] {
            let bits: BooleanBuffer = (0..rows.len()).map(|row| row % step == 0).collect();
            for (agg, by, time) in [("count", "host", None), ("count,min(timestamp)", "host,level", Some("1h"))] {
                let tables = [&plain, &coded].map(|records| {
                    let mut aggregator = Aggregator::new(aggregation(agg, by, time), PLENTY);
                    assert!(aggregator.takes_codes());
                    assert!(aggregator.add(records, &bits).is_continue());
                    shown(&aggregator.finish().unwrap())
                });
                assert_eq!(tables[0], tables[1], "{agg} {by} {step}");
            }
        }
    }
    assert!(!Aggregator::new(aggregation("count_distinct(host)", "host", None), PLENTY).takes_codes());
}
