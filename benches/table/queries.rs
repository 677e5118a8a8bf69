//! The queries of the table: what is asked, and whether the answer is right.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::Value;

use crate::Result;
use crate::http::encoded;
use crate::naive::{NEWEST_ERRORS, NEWEST_OF_SERVICE, Newest, Row, Truth};
use crate::report::{Goal, Unit, shown};
use crate::terms::Terms;

/// A query.
pub struct Query {
    /// What it asks for, in words.
    pub name: String,
    /// Where.
    pub path: String,
    /// What it may take on a server that has just started.
    pub goal: Goal,
    answer: Answer,
}

/// What a query must answer.
enum Answer {
    Count(u64),
    /// By time.
    Hours(BTreeMap<i64, u64>),
    Groups(BTreeMap<Vec<String>, u64>),
    Newest(Newest),
}

/// All queries for records with these answers, whose terms are of `later_nanos` before.
pub fn queries(terms: &Terms, truth: &Truth, later_nanos: i64) -> Vec<Query> {
    let count = |q: &str| format!("/logs/count?q={}", encoded(q));
    let regex = format!("/{}.*{}/", terms.regex.0, terms.regex.1);
    let time = |nanos: i64| encoded(&DateTime::from_timestamp_nanos(nanos + later_nanos).to_rfc3339());
    let (start, end) = terms.hour;
    let of_service = format!(
        "/logs/retrieve?service={}&logLevel={}&startTime={}&endTime={}&limit={NEWEST_OF_SERVICE}",
        encoded(&terms.service),
        terms.severity,
        time(start),
        time(end)
    );
    let phrase = encoded(&format!("\"{}\"", terms.phrase));
    let w = |at_most: f64| (Unit::W, at_most);
    let ms = |at_most: f64| (Unit::Ms, at_most);
    let query = |name: String, path: String, (unit, at_most), answer| {
        let goal = Goal::at_most(at_most, unit);
        Query { name, path, goal, answer }
    };
    vec![
        query("count of everything".into(), "/logs/count".into(), ms(2.0), Answer::Count(truth.records)),
        query(
            format!("count of the word `{}` ({} hits)", terms.word, hits(truth.word)),
            count(&terms.word),
            w(0.02),
            Answer::Count(truth.word),
        ),
        query(
            format!("count of `{regex}` ({} hits)", hits(truth.regex)),
            count(&regex),
            w(0.04),
            Answer::Count(truth.regex),
        ),
        query("count of a word that is nowhere".into(), count(terms.nowhere), ms(2.0), Answer::Count(truth.nowhere)),
        query(
            format!("the last {} ERROR, newest first, as JSON", truth.errors.len()),
            format!("/logs/retrieve?logLevel=ERROR&limit={NEWEST_ERRORS}"),
            ms(5.0),
            Answer::Newest(truth.errors.clone()),
        ),
        query(
            format!("`{}`, {}, one hour, newest {}, as JSON", terms.service, terms.severity, truth.of_service.len()),
            of_service,
            ms(5.0),
            Answer::Newest(truth.of_service.clone()),
        ),
        query(
            format!("count by hour ({} hours)", truth.by_hour.len()),
            "/logs/stats?step=1h".into(),
            w(0.01),
            Answer::Hours(truth.by_hour.clone()),
        ),
        query(
            format!("count by service and level ({} groups)", truth.by_service.len()),
            "/logs/stats?by=service,level".into(),
            w(0.01),
            Answer::Groups(truth.by_service.clone()),
        ),
        query(
            format!(
                "\"{}\" ({} hits) counted by `{}` ({} values)",
                terms.phrase,
                hits(truth.by_attribute.values().sum()),
                terms.attribute,
                truth.by_attribute.len()
            ),
            format!("/logs/stats?q={phrase}&by={}", encoded(&terms.attribute)),
            w(0.02),
            Answer::Groups(truth.by_attribute.clone()),
        ),
    ]
}

fn hits(count: u64) -> String {
    shown(count as f64)
}

impl Query {
    /// Complains, if the answer is not that of the naive scan.
    pub fn check(&self, body: &[u8]) -> Result<()> {
        let value: Value = serde_json::from_slice(body)?;
        let right = match &self.answer {
            Answer::Count(count) => value.get("count").and_then(Value::as_u64) == Some(*count),
            Answer::Hours(hours) => by_hour(&value).as_ref() == Some(hours),
            Answer::Groups(groups) => by_group(&value).as_ref() == Some(groups),
            Answer::Newest(newest) => rows(&value).is_some_and(|rows| newest.is(&rows)),
        };
        if right {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(body.get(..body.len().min(300)).unwrap_or_default());
        Err(format!("wrong answer to {} ({}): {shown}", self.name, self.path).into())
    }
}

fn by_hour(value: &Value) -> Option<BTreeMap<i64, u64>> {
    let groups = by_group(value)?.into_iter();
    groups.map(|(group, count)| Some((nanos(group.first()?)?, count))).collect()
}

/// The rows of an answer with groups; those in which nothing was counted say nothing.
fn by_group(value: &Value) -> Option<BTreeMap<Vec<String>, u64>> {
    let rows = value.get("rows")?.as_array()?.iter();
    let groups = rows.map(|row| {
        let (count, group) = row.as_array()?.split_last()?;
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some((group.iter().map(text).collect::<Vec<String>>(), count.as_u64()?))
    });
    Some(groups.collect::<Option<Vec<_>>>()?.into_iter().filter(|(_, count)| *count > 0).collect())
}

fn rows(value: &Value) -> Option<Vec<Row>> {
    let text = |record: &Value, name: &str| Some(record.get(name)?.as_str()?.to_owned());
    let row = |record: &Value| {
        Some((nanos(&text(record, "timestamp")?)?, text(record, "service")?, text(record, "message")?))
    };
    value.as_array()?.iter().map(row).collect()
}

fn nanos(time: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(time).ok()?.timestamp_nanos_opt()
}
