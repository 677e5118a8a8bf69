//! The naive model: records in a list, asked row by row.

use proptest::prelude::*;
use sluice::batch::{AttributeRef, Block, BlockId, LogBatch, LogBatchBuilder, Records, RowWriter};
use sluice::query::{Expr, Order, Query};
use sluice_model::{RecordId, RunId, Severity, Timestamp};

use super::ask::Ask;

/// A moment in 2024, around which the records of these tests lie.
pub const BASE: i64 = 1_728_345_600_000_000_000;

/// A record that is sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub ns: i64,
    pub level: &'static str,
    pub service: String,
    pub message: String,
    /// Names and values by their JSON text.
    pub attributes: Vec<(String, String)>,
}

/// A record with its id.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: RecordId,
    pub sent: Sent,
}

impl Sent {
    pub fn at(ns: i64, message: &str) -> Sent {
        Sent { ns, level: "INFO", service: "svc".to_owned(), message: message.to_owned(), attributes: Vec::new() }
    }

    pub fn severity(&self) -> Severity {
        Severity::from_name(self.level).expect("a known level")
    }
}

impl Row {
    /// The record as an answer shows it.
    pub fn json(&self) -> String {
        let text = |text: &str| serde_json::to_string(text).expect("a text is JSON");
        let mut attributes = self.sent.attributes.clone();
        attributes.sort();
        let members: Vec<String> = attributes.iter().map(|(name, json)| format!("{}:{json}", text(name))).collect();
        format!(
            r#"{{"id":"{}","timestamp":"{}","level":{},"service":{},"message":{},"attributes":{{{}}}}}"#,
            self.id,
            Timestamp::from_nanos(self.sent.ns),
            text(self.sent.level),
            text(&self.sent.service),
            text(&self.sent.message),
            members.join(",")
        )
    }

    /// Whether it is asked for.
    pub fn matches(&self, query: &Query, ask: &Ask) -> bool {
        let (filter, sent) = (&query.filter, &self.sent);
        let time = Timestamp::from_nanos(sent.ns);
        let position = (time, self.id);
        let after = match (query.after, query.order) {
            (None, _) => true,
            (Some(after), Order::Ascending) => position > after,
            (Some(after), Order::Descending) => position < after,
        };
        after
            && filter.range.start <= time
            && time <= filter.range.end
            && filter.severities.contains(sent.severity())
            && (filter.services.is_empty() || filter.services.contains(&sent.service))
            && ask.matches(sent)
    }
}

/// What a store with `rows` answers to a query whose filter has no tree, as JSON.
pub fn answer(rows: &[Row], query: &Query) -> Vec<String> {
    assert_eq!(query.filter.matching, Expr::All);
    answer_to(rows, query, &Ask::All)
}

/// What a store with `rows` answers to a query whose filter has the tree of `ask`, as JSON.
pub fn answer_to(rows: &[Row], query: &Query, ask: &Ask) -> Vec<String> {
    let mut found: Vec<&Row> = rows.iter().filter(|row| row.matches(query, ask)).collect();
    found.sort_by_key(|row| (row.sent.ns, row.id));
    if query.order == Order::Descending {
        found.reverse();
    }
    found.into_iter().take(query.limit.unwrap_or(usize::MAX)).map(Row::json).collect()
}

/// What a store answered, as JSON.
pub fn shown(found: &[Records]) -> Vec<String> {
    let mut shown = Vec::new();
    for records in found {
        let writer = RowWriter::new(records);
        for row in 0..records.len() {
            let mut out = Vec::new();
            writer.write(row, &mut out);
            shown.push(String::from_utf8(out).expect("JSON is UTF-8"));
        }
    }
    shown
}

pub fn run(random: u32) -> RunId {
    RunId::new(Timestamp::from_nanos(BASE), random)
}

/// A block of `records`, numbered from `first` on, that arrived at [`BASE`].
pub fn block(run: RunId, first: u64, records: &[Sent]) -> Block {
    block_at(Timestamp::from_nanos(BASE), run, first, records)
}

pub fn block_at(arrival: Timestamp, run: RunId, first: u64, records: &[Sent]) -> Block {
    Block { id: BlockId { run, first, rows: records.len() as u32 }, arrival, batch: batch(records) }
}

/// The rows of a block.
pub fn rows(block: &Block, records: &[Sent]) -> Vec<Row> {
    let id = |index| RecordId { run: block.id.run, sequence: block.id.first + index as u64 };
    records.iter().enumerate().map(|(index, sent)| Row { id: id(index), sent: sent.clone() }).collect()
}

fn batch(records: &[Sent]) -> LogBatch {
    let mut builder = LogBatchBuilder::new();
    for sent in records {
        for (name, json) in &sent.attributes {
            append(&mut builder, name, json);
        }
        builder.commit(Timestamp::from_nanos(sent.ns), sent.severity(), sent.level, &sent.service, &sent.message);
    }
    builder.finish()
}

/// As a decoder does it: the simplest type that has this very text.
fn append(builder: &mut LogBatchBuilder, name: &str, json: &str) {
    let text;
    let canonical = |value: f64| value.is_finite() && serde_json::to_string(&value).is_ok_and(|shown| shown == json);
    let value = if let Ok(parsed) = serde_json::from_str::<String>(json) {
        text = parsed;
        AttributeRef::Text(&text)
    } else if let Ok(value) = json.parse::<bool>() {
        AttributeRef::Bool(value)
    } else if let Some(value) = json.parse::<i64>().ok().filter(|value| value.to_string() == json) {
        AttributeRef::Int(value)
    } else if let Some(value) = json.parse::<f64>().ok().filter(|value| canonical(*value)) {
        AttributeRef::Float(value)
    } else {
        AttributeRef::Json(json)
    };
    builder.attribute(name, value).expect("each name once");
}

pub const SERVICES: [&str; 4] = ["", "api", "auth", "Bücher"];
pub const LEVELS: [&str; 8] = ["TRACE", "debug", "INFO", "info", "WARN", "Warning", "error", "FATAL"];
pub const WORDS: [&str; 9] =
    ["timeout", "TIMEOUT", "disk", "Kelvin", "10.0.0.1", "größe", "\u{212a}elvin", "a_b", "{}*"];

/// Records whose times, services and words often coincide.
pub fn sent() -> impl Strategy<Value = Sent> {
    let message = prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..4).prop_map(|words| words.join(" "));
    let time = prop_oneof![
        8 => (0_i64..6).prop_map(|step| BASE + step),
        2 => (-3_i64..3).prop_map(|step| BASE + step * 86_400_000_000_000),
    ];
    let name = prop::sample::select(vec!["user.id", "user", "http.status", "tags", "", "$n"]);
    let value = prop_oneof![
        any::<i64>().prop_map(|value| value.to_string()),
        (0..100_i64).prop_map(|value| value.to_string()),
        "[a-z\"é]{0,6}".prop_map(|text| serde_json::to_string(&text).expect("a text is JSON")),
        prop::sample::select(vec!["1.5", "1.50", "null", "{}", "[1,\"x\"]", "true", "1e400"]).prop_map(str::to_owned),
    ];
    let attributes = prop::collection::btree_map(name.prop_map(str::to_owned), value, 0..4);
    (time, prop::sample::select(LEVELS.to_vec()), prop::sample::select(SERVICES.to_vec()), message, attributes)
        .prop_map(|(ns, level, service, message, attributes)| Sent {
            ns,
            level,
            service: service.to_owned(),
            message,
            attributes: attributes.into_iter().collect(),
        })
}
