use proptest::prelude::*;
use sluice_model::{RecordId, RunId, Severity, Timestamp};

use super::*;
use crate::batch::{AttributeRef, LogBatchBuilder};
use crate::query::{SeveritySet, Term, parse};

fn records(logs: LogBatchBuilder) -> Records {
    let run = RunId::from_bytes([1; RunId::BYTES]);
    Records::numbered(RecordId { run, sequence: 0 }, logs.finish())
}

/// The records that these attributes are of, one for each of `values`, which are JSON; an empty text is none.
fn with_attribute(name: &str, values: &[&str]) -> Records {
    let mut logs = LogBatchBuilder::new();
    for json in values.iter().filter(|json| !json.is_empty()) {
        let text = serde_json::from_str::<String>(json);
        let value = match (&text, json.parse::<i64>(), json.parse::<f64>(), json.parse::<bool>()) {
            (Ok(text), ..) => AttributeRef::Text(text),
            (_, Ok(value), ..) => AttributeRef::Int(value),
            (_, _, Ok(value), _) if serde_json::to_string(&value).unwrap() == **json => AttributeRef::Float(value),
            (.., Ok(value)) => AttributeRef::Bool(value),
            _ => AttributeRef::Json(json),
        };
        logs.attribute(name, value).unwrap();
        logs.commit(Timestamp::default(), Severity::Info, "INFO", "", "m");
    }
    for _ in values.iter().filter(|json| json.is_empty()) {
        logs.commit(Timestamp::default(), Severity::Info, "INFO", "", "m");
    }
    records(logs)
}

#[test]
fn attributes_are_compared_as_what_they_are() {
    // As each value of a kind, in a column and in the overflow: alone, and beside many of another kind.
    for (name, query, found, others) in [
        ("a", "a=500", vec!["500", "500.0", "\"500\"", "[1,500]", "5e2"], vec!["501", "\"500.0\"", "true", "null", ""]),
        ("a", "a!=500", vec!["501", "", "null", "[]"], vec!["500", "[500,1]"]),
        ("a", "a=\"500\"", vec!["\"500\""], vec!["500", ""]),
        (
            "a",
            "a>=18446744073709551615",
            vec!["18446744073709551615", "18446744073709551616", "1e400"],
            vec!["18446744073709551614"],
        ),
        ("a", "a<0.5", vec!["0", "-1", "0.25", "\"0.1\"", "0.50e-1"], vec!["0.5", "1", "\"x\"", "null", ""]),
        ("a", "a>b", vec!["\"c\"", "[\"a\",\"c\"]"], vec!["\"a\"", "5", ""]),
        ("a", "a:*", vec!["null", "{}", "[]", "0", "\"\""], vec![""]),
        ("a", "-a:*", vec![""], vec!["null", "0"]),
        ("a", "a:1.5", vec!["1.5", "\"v 1.5\"", "[1.5]"], vec!["1.50", "11.5", "15", ""]),
        ("a", "a:tru*", vec!["true", "\"Truth\""], vec!["false", "\"untrue\"", ""]),
        ("a", "a=~\"^[A-Z]\"", vec!["\"Ab\"", "[1,\"B\"]"], vec!["\"ab\"", "1", ""]),
        ("a", "a!~\"^[A-Z]\"", vec!["\"ab\"", "1", ""], vec!["\"Ab\""]),
        ("a", "a:timeuot~", vec!["\"a timeout\"", "[\"timeout\"]"], vec!["\"time out\"", "5"]),
        (
            "a",
            "a in (1, x, true, null)",
            vec!["1", "1.0", "\"x\"", "true", "null", "[0,1]"],
            vec!["2", "false", "\"X\"", ""],
        ),
        ("a", "a>1.5s", vec!["\"2s\"", "\"1m0.1s\"", "\"1501 ms\""], vec!["\"1.5s\"", "2000", "\"9B\"", "null"]),
        ("a_ms", "a_ms>1.5s", vec!["1501", "1500.5", "\"1501\"", "\"2s\""], vec!["1500", "3", "\"x\""]),
        ("size.bytes", "size.bytes<=1KiB", vec!["1024", "1e3", "\"1KB\""], vec!["1025", "\"2KB\"", ""]),
        (
            "t",
            "t>2024-10-08",
            vec!["\"2024-10-08T00:00:00.1Z\"", "\"2024-10-07T23:00:00-02:00\""],
            vec!["\"2024-10-07\"", "1e12", "\"x\""],
        ),
        ("odd \"name\"", "\"odd \\\"name\\\"\"=1", vec!["1", "[[1]]"], vec!["2", ""]),
    ] {
        let expr = parse(query).unwrap();
        for (value, expected) in
            found.iter().map(|value| (value, true)).chain(others.iter().map(|value| (value, false)))
        {
            for beside in [vec![], vec!["7"; 9], vec!["\"text\""; 9], vec!["0.125"; 9], vec!["false"; 9]] {
                let mut values = vec![*value];
                values.extend(beside);
                let records = with_attribute(name, &values);
                let row = if value.is_empty() { values.len() - 1 } else { 0 };
                let passing = expr.select(&records, &BooleanBuffer::new_set(values.len()));
                assert_eq!(passing.value(row), expected, "{query} on {value} beside {values:?}");
            }
        }
    }
}

#[test]
fn fixed_fields_are_compared_as_what_they_are() {
    let mut logs = LogBatchBuilder::new();
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    logs.commit(time("2024-10-08"), Severity::Warn, "Warning", "api", "Connection reset by 10.0.0.12");
    logs.commit(time("2024-10-08T23:59:59.999999999Z"), Severity::Error, "ERROR", "", "");
    logs.commit(time("2024-10-09"), Severity::Info, "500", "api-2", "connection  RESET");
    let records = records(logs);
    for (query, expected) in [
        ("", vec![0, 1, 2]),
        ("NOT *", vec![]),
        ("connection", vec![0, 2]),
        ("\"Connection\"c", vec![0]),
        ("\"connection reset\"", vec![0]),
        ("10.0.0.1", vec![]),
        ("10.0.0.1*", vec![0]),
        ("/conn.*reset$/", vec![2]),
        ("/RESET/c", vec![2]),
        ("conection~", vec![0, 2]),
        ("reset -by", vec![2]),
        ("by OR level=error", vec![0, 1]),
        ("-(by OR level=error)", vec![2]),
        ("level=warn", vec![0]),
        ("level>=warn", vec![0, 1]),
        ("level!=warn", vec![1, 2]),
        ("level_text=Warning", vec![0]),
        ("level_text=WARN", vec![]),
        ("level_text:warning", vec![0]),
        ("level_text>499", vec![2]),
        ("service=api", vec![0]),
        ("service:api", vec![0, 2]),
        ("service:*", vec![0, 2]),
        ("-service:*", vec![1]),
        ("service=\"\"", vec![1]),
        ("service in (api, api-2)", vec![0, 2]),
        ("message:*", vec![0, 2]),
        ("message=\"connection  RESET\"", vec![2]),
        ("timestamp=2024-10-08", vec![0, 1]),
        ("timestamp!=2024-10-08", vec![2]),
        ("timestamp>2024-10-08", vec![2]),
        ("timestamp<2024-10-09", vec![0, 1]),
        ("timestamp in (2024-10-09, 2024-10-08T00:00:00Z)", vec![0, 2]),
        ("attributes.message:*", vec![]),
    ] {
        let filter = Filter::default().and(&parse(query).unwrap());
        assert_eq!(filter.select(&records).set_indices().collect::<Vec<_>>(), expected, "{query}");
        let expr = parse(query).unwrap();
        let whole = expr.select(&records, &BooleanBuffer::new_set(3));
        assert_eq!(whole.set_indices().collect::<Vec<_>>(), expected, "{query}, without the filter");
    }
    let id = records.id(1);
    let select = |query: String| parse(&query).unwrap().select(&records, &BooleanBuffer::new_set(3));
    assert_eq!(select(format!("id={id}")).set_indices().collect::<Vec<_>>(), [1]);
    assert_eq!(select(format!("id>{id}")).set_indices().collect::<Vec<_>>(), [2]);
    assert_eq!(select(format!("id in ({id}, {})", records.id(0))).set_indices().collect::<Vec<_>>(), [0, 1]);
}

type Row = (i64, Severity, &'static str, String);

fn row() -> impl Strategy<Value = Row> {
    let words = ["disk", "Full", "ok", "of", "10.0.0.1", "größe", "\u{1b}[31mdisk", "diskette", "ſ", "日本"];
    (
        -3_i64..4,
        prop::sample::select(Severity::ALL.to_vec()),
        prop::sample::select(vec!["", "web", "auth"]),
        prop::collection::vec(prop::sample::select(words.to_vec()), 0..4).prop_map(|words| words.join(" ")),
    )
}

fn filter() -> impl Strategy<Value = (Filter, Vec<Term>)> {
    let services = prop::sample::subsequence(vec!["web".to_owned(), String::new()], 0..=2);
    let edges = crate::query::Edges { open_start: true, open_end: false };
    let terms = [Term::new("DISK"), Term::new("full of"), Term::with_edges("0.1", edges), Term::new("größe")];
    let terms = prop::sample::subsequence(terms.to_vec(), 0..=2);
    let severities = prop::sample::subsequence(Severity::ALL.to_vec(), 0..=6);
    let range = prop_oneof![Just(None), (-3_i64..4, -3_i64..4).prop_map(Some)];
    (range, severities, services, terms).prop_map(|(range, severities, services, terms)| {
        let range = range.map_or(TimeRange::ALL, |(start, end)| TimeRange {
            start: Timestamp::from_nanos(start),
            end: Timestamp::from_nanos(end),
        });
        let severities = severities.into_iter().fold(SeveritySet::NONE, SeveritySet::with);
        let matching = Expr::all_of(terms.iter().cloned().map(Expr::term));
        (Filter { range, severities, services, matching }, terms)
    })
}

proptest! {
    #[test]
    fn a_row_is_selected_if_it_passes_every_part(
        rows in prop::collection::vec(row(), 0..200), (filter, terms) in filter(), skipped in 0_usize..20,
    ) {
        let mut builder = LogBatchBuilder::new();
        for (time, severity, service, message) in &rows {
            builder.commit(Timestamp::from_nanos(*time), *severity, severity.name(), service, message);
        }
        let skipped = skipped.min(rows.len());
        let expected: Vec<bool> = rows
            .iter()
            .skip(skipped)
            .map(|(time, severity, service, message)| {
                filter.range.contains(Timestamp::from_nanos(*time))
                    && filter.severities.contains(*severity)
                    && (filter.services.is_empty() || filter.services.iter().any(|wanted| wanted == service))
                    && terms.iter().all(|term| term.matches(message))
            })
            .collect();
        // A slice's columns begin somewhere within their buffers.
        let selected = filter.select(&records(builder).slice(skipped, rows.len() - skipped));
        prop_assert_eq!(selected.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_laws_of_logic_hold(rows in prop::collection::vec(row(), 1..60), a in 0_usize..8, b in 0_usize..8) {
        let mut builder = LogBatchBuilder::new();
        for (time, severity, service, message) in &rows {
            builder.commit(Timestamp::from_nanos(*time), *severity, severity.name(), service, message);
        }
        let records = records(builder);
        let all = BooleanBuffer::new_set(rows.len());
        let texts = ["disk", "dis*", "/o[fk]/", "level>=warn", "service=web", "full~", "timestamp>0", "x:*"];
        let select = |query: String| parse(&query).unwrap().select(&records, &all);
        let (a, b) = (texts[a], texts[b]);
        let (left, right) = (select(a.to_owned()), select(b.to_owned()));
        prop_assert_eq!(select(format!("{a} {b}")), &left & &right);
        prop_assert_eq!(select(format!("{a} OR {b}")), &left | &right);
        prop_assert_eq!(select(format!("NOT {a}")), !&left);
        prop_assert_eq!(select(format!("NOT ({a} OR NOT {b})")), &(!&left) & &right);
    }
}
