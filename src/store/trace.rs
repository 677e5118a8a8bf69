//! What a store tells of a search: how it goes about a query, and what it has done to answer it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value as Json;

/// How a store goes about a query, as is known before it is asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The store's name.
    pub store: &'static str,
    /// What it looks for by its own means, in its own terms.
    pub pushed_down: Json,
    /// Whether that is just what is asked for, so that nothing is left to the evaluator.
    pub exact: bool,
    /// What the evaluator does with what is found, one step behind the other.
    pub evaluated: Vec<Evaluation>,
}

/// A step of the evaluator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evaluation {
    /// Its name, which that of its [`StepTrace`] is.
    pub step: &'static str,
    /// The columns that it reads; whole records, if none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// What records must pass in it, in the query language.
    pub query: String,
}

/// What a search has done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Trace {
    /// The embedded engine's.
    Scan(Box<ScanTrace>),
    /// MongoDB's.
    Cursor(CursorTrace),
}

/// What a search of the embedded engine has done.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ScanTrace {
    /// The chunks of the memory tier.
    pub chunks: Visited,
    /// The segments.
    pub segments: Visited,
    /// The row groups of the segments that were opened.
    pub row_groups: Visited,
    /// How often a segment was read that another search had opened before.
    pub cache_hits: u64,
    /// How many segments were opened.
    pub opened: u64,
    /// How many records were looked at, and how many passed, step by step.
    pub steps: Vec<StepTrace>,
    /// How many records were fetched whole.
    pub rows_fetched: u64,
    /// How many bytes were read of files.
    pub bytes_read: u64,
    /// How long it took to find out where to look, in ms.
    #[serde(rename = "plan_ms", serialize_with = "as_ms")]
    pub plan: Duration,
    /// How long the look at columns took, in ms.
    #[serde(rename = "scan_ms", serialize_with = "as_ms")]
    pub scan: Duration,
    /// How long it took to fetch the records, in ms.
    #[serde(rename = "fetch_ms", serialize_with = "as_ms")]
    pub fetch: Duration,
}

/// How many of some parts were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Visited {
    /// All of them.
    pub total: u64,
    /// Those of which records were looked at.
    pub scanned: u64,
    /// Those that were passed over, by why: the name of a [`crate::query::Cause`], `limit` where the answer was complete
    /// without them, or `damaged`.
    pub pruned: BTreeMap<&'static str, u64>,
}

impl Visited {
    /// Counts one that was looked at.
    pub fn scan(&mut self) {
        self.total += 1;
        self.scanned += 1;
    }

    /// Counts some that were passed over.
    pub fn prune(&mut self, why: &'static str, count: u64) {
        if count > 0 {
            self.total += count;
            *self.pruned.entry(why).or_default() += count;
        }
    }
}

/// What a step of the evaluator has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepTrace {
    /// Its name.
    pub step: &'static str,
    /// How many records came to it.
    pub rows: u64,
    /// How many of them it had to read: what is known of the others is enough.
    pub read: u64,
    /// How many of them passed.
    pub passed: u64,
}

/// What a search of MongoDB has done.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CursorTrace {
    /// How many cursors were opened.
    pub cursors: u64,
    /// Whether the server took so long over the filter that all documents of the times were looked at here.
    pub filter_dropped: bool,
    /// How many documents the server gave.
    pub documents: u64,
    /// How many of them are no records of ours.
    pub foreign: u64,
    /// How many records they were decoded to.
    pub decoded: u64,
    /// How many of these passed the evaluator, or needed none.
    pub passed: u64,
    /// How many bytes of documents the server gave.
    pub bytes_read: u64,
    /// How long the server was waited for, in ms.
    #[serde(rename = "wait_ms", serialize_with = "as_ms")]
    pub wait: Duration,
    /// How long it took to decode documents, in ms.
    #[serde(rename = "decode_ms", serialize_with = "as_ms")]
    pub decode: Duration,
    /// How long the evaluator took, in ms.
    #[serde(rename = "evaluate_ms", serialize_with = "as_ms")]
    pub evaluate: Duration,
}

/// Milliseconds, to a thousandth.
fn as_ms<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_micros() as f64 / 1_000.0)
}
