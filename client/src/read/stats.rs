//! Counts, groups and facets.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sluice_model::AttributeValue;

use super::query::push_encoded;
use super::{Answer, Form, Query, ReadError};
use crate::builder::Client;

/// What to compute of a query's matches; their number, unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    parameters: Vec<(&'static str, String)>,
}

/// A table of figures.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Table {
    /// The columns: `time` first if there are steps, then the groups, then the aggregates.
    pub columns: Vec<Column>,
    /// The rows, with a value for each column as its exact JSON.
    pub rows: Vec<Vec<AttributeValue>>,
    /// What [`Stats::top`] left out, if anything.
    #[serde(default)]
    pub others: Option<Others>,
}

/// A column of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Column {
    /// Its name: `time`, a field's, or an aggregate as it was asked for.
    pub name: String,
    /// `timestamp`, `string`, `number`, …
    #[serde(rename = "type")]
    pub kind: String,
}

/// What a limit has left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Others {
    /// How many groups, or values.
    #[serde(alias = "values")]
    pub groups: u64,
    /// How many records are in these.
    pub records: u64,
}

/// A field that records have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FieldSummary {
    /// Its name; an attribute's dotted.
    pub name: String,
    /// How many records have it with each JSON type: `string`, `integer`, `number`, `boolean`, `null`, `array`, `object`.
    #[serde(default)]
    pub types: BTreeMap<String, u64>,
    /// How many records have it.
    pub records: u64,
}

/// The values of a field.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Values {
    /// The most frequent, in this order.
    pub values: Vec<ValueCount>,
    /// What is not listed, if anything.
    #[serde(default)]
    pub others: Option<Others>,
}

/// One value of a field.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ValueCount {
    /// The value as its exact JSON.
    pub value: AttributeValue,
    /// How many records have it.
    pub count: u64,
}

impl Stats {
    /// Counts.
    pub fn new() -> Stats {
        Stats::default()
    }

    /// Computes these aggregates: `count`, `count_distinct(f)`, `sum(f)`, `avg(f)`, `min(f)`, `max(f)`, `p95(f)`.
    pub fn aggregates<S: AsRef<str>>(self, list: impl IntoIterator<Item = S>) -> Stats {
        self.with("agg", join(list))
    }

    /// One row for each combination of these fields' values.
    pub fn by<S: AsRef<str>>(self, fields: impl IntoIterator<Item = S>) -> Stats {
        self.with("by", join(fields))
    }

    /// One row for each step of time, such as `1h`.
    pub fn step(self, step: &str) -> Stats {
        self.with("step", step.to_owned())
    }

    /// Days and hours begin as in this zone of the IANA database. Default: UTC.
    pub fn time_zone(self, name: &str) -> Stats {
        self.with("tz", name.to_owned())
    }

    /// Steps without records are rows too, with zeros.
    pub fn fill_zero(self) -> Stats {
        self.with("fill", "zero".to_owned())
    }

    /// Keeps the groups that are largest by the first aggregate; the rest is told in [`Table::others`].
    pub fn top(self, groups: usize) -> Stats {
        self.with("top", groups.to_string())
    }

    fn with(mut self, name: &'static str, value: String) -> Stats {
        self.parameters.push((name, value));
        self
    }

    fn to_path(&self, query: &Query) -> String {
        let all = self.parameters.iter().cloned();
        all.fold(query.clone(), |query, (name, value)| query.with(name, value)).to_path("/logs/stats")
    }
}

impl Client {
    /// Counts a query's matches.
    ///
    /// # Errors
    /// [`ReadError`], if there is no answer, or none that can be understood.
    pub fn count(&self, query: &Query) -> Result<u64, ReadError> {
        #[derive(Deserialize)]
        struct Count {
            count: u64,
        }
        self.ask::<Count>(&query.to_path("/logs/count")).map(|answer| answer.count)
    }

    /// Computes figures of a query's matches.
    ///
    /// # Errors
    /// [`ReadError`], as [`Client::count`].
    pub fn stats(&self, query: &Query, stats: &Stats) -> Result<Table, ReadError> {
        self.ask(&stats.to_path(query))
    }

    /// Computes figures as [`Client::stats`] does, in the server's words: JSON, NDJSON (an object a row) or CSV.
    ///
    /// # Errors
    /// [`ReadError`], if the server does not begin to answer. Later failures come from reading the answer.
    pub fn stats_as(&self, query: &Query, stats: &Stats, form: Form) -> Result<Answer, ReadError> {
        self.answer(&self.transport.url(&stats.to_path(query)), form.media_type())
    }

    /// Lists the fields that a query's matches have, the most frequent first.
    ///
    /// # Errors
    /// [`ReadError`], as [`Client::count`].
    pub fn fields(&self, query: &Query) -> Result<Vec<FieldSummary>, ReadError> {
        #[derive(Deserialize)]
        struct Fields {
            fields: Vec<FieldSummary>,
        }
        self.ask::<Fields>(&query.to_path("/logs/fields")).map(|answer| answer.fields)
    }

    /// Lists the `top` most frequent values of a field among a query's matches.
    ///
    /// # Errors
    /// [`ReadError`], as [`Client::count`].
    pub fn values(&self, query: &Query, field: &str, top: usize) -> Result<Values, ReadError> {
        let mut path = String::from("/logs/fields/");
        push_encoded(&mut path, field);
        path.push_str("/values");
        self.ask(&query.clone().with("top", top.to_string()).to_path(&path))
    }

    /// Asks for a JSON document that is small.
    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, ReadError> {
        const DOCUMENT_BYTES_MAX: u64 = 256 << 20;
        let answer = self.answer(&self.transport.url(path), Form::Json.media_type())?;
        let mut body = Vec::new();
        answer.take(DOCUMENT_BYTES_MAX).read_to_end(&mut body).map_err(ReadError::Cut)?;
        serde_json::from_slice(&body).map_err(ReadError::UnknownAnswer)
    }
}

fn join<S: AsRef<str>>(list: impl IntoIterator<Item = S>) -> String {
    let items: Vec<String> = list.into_iter().map(|item| item.as_ref().to_owned()).collect();
    items.join(",")
}
