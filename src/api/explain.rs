//! Explaining a query: `GET /query/explain`.
//!
//! The query is read, planned and, unless it is told not to, run as `/logs/retrieve` would for its first page: through the
//! same door, with the same limits. What is answered is how it was understood, how the store goes about it, and what it
//! has done.

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Value as Json, json};
use sluice_model::{Severity, Timestamp};
use utoipa::ToSchema;

use super::params::Pairs;
use super::retrieve::{self, Request};
use super::selection::{self, SelectionParams};
use super::windows::NARROW;
use crate::batch::Records;
use crate::error::{Problem, ProblemBody};
use crate::query::{Expr, Filter, Order, TimeRange, parse};
use crate::store::{Plan, Trace};
use crate::worker::{Page, ReadError, Reader, Traced};

/// The parameters beside those of a retrieve.
const PARAMETERS: &[&str] = &["run"];

/// Shows how a query is understood, what the store does for it, and what that cost.
///
/// It takes everything that `/logs/retrieve` does. `plan` is how the store goes about it, which `run=false` answers
/// without asking the store; `run` is what retrieving the first page has done. The answer is always JSON; `Accept` and
/// `limit` matter only as they do to the page.
#[utoipa::path(
    get, path = "/query/explain", tag = "read",
    params(
        ("run" = Option<bool>, Query, description = "Whether the query is run, too: `true` (the default) or `false`"),
        SelectionParams,
        ("order" = Option<String>, Query, description = "`desc` (newest first, the default) or `asc`", pattern = "^(desc|asc)$"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10_000, description = "How many records the page has at most; 1,000 if absent"),
        ("cursor" = Option<String>, Query, description = "Where the page begins: from the `Link` of a retrieve"),
        ("fields" = Option<String>, Query, description = "As for `/logs/retrieve`, of which it changes nothing that is shown here"),
    ),
    responses(
        (status = 200, description = "The query explained", body = Explanation,
            headers(("Sluice-Incomplete" = String, description = "`records=N, lag=S`: N accepted records are not searchable yet, the oldest for S seconds"))),
        (status = 400, description = "A parameter is unknown or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "No form of answer is acceptable", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many queries wait; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The store failed in a way that it should not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read now; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn explain(request: HttpRequest, reader: web::Data<Reader>) -> Result<HttpResponse, Problem> {
    let begun = Instant::now();
    let pairs = Pairs::parse(request.query_string(), &[selection::PARAMETERS, retrieve::PARAMETERS, PARAMETERS])?;
    let is_run = pairs.choice("run", &[("true", true), ("false", false)])?.unwrap_or(true);
    let request = Request::of(&pairs, &request, None, Timestamp::now())?;
    let parsed = begun.elapsed();
    // It was read once already.
    let asked = pairs.one("q")?.and_then(|q| parse(q).ok()).unwrap_or_default();
    let limit = request.query.limit.unwrap_or(NARROW.rows - 1);
    let mut explanation = Explanation {
        query: Tree::from(&asked),
        filter: Normal::from(&request.query.filter),
        order: match request.query.order {
            Order::Ascending => "asc",
            Order::Descending => "desc",
        },
        limit: request.query.limit,
        plan: reader.plan(&retrieve::first_search(&request.query, limit)),
        run: None,
    };
    let mut response = HttpResponse::Ok();
    if is_run {
        let waiting = Instant::now();
        let behind = reader.barrier().await;
        let barrier = waiting.elapsed();
        retrieve::tell_incomplete(&mut response, behind);
        explanation.run = Some(run(&reader, &request, limit, Clock { begun, parsed, barrier }).await?);
    }
    Ok(response.json(explanation))
}

/// What was measured before the search.
struct Clock {
    begun: Instant,
    parsed: Duration,
    barrier: Duration,
}

async fn run(reader: &Reader, request: &Request, limit: usize, clock: Clock) -> Result<Run, ReadError> {
    let mut searches = Vec::new();
    let search = async |query| -> Result<Page, ReadError> {
        let Traced { page, trace, queued, elapsed } = reader.explain(query, NARROW.bytes).await?;
        let matches = page.records.iter().map(Records::len).sum();
        searches.push(Search { matches, queue_ms: as_ms(queued), search_ms: as_ms(elapsed), trace });
        Ok(page)
    };
    let (records, is_last) = retrieve::collect_by(search, &request.query, limit).await?;
    Ok(Run {
        matches: records.iter().map(Records::len).sum(),
        more: !is_last,
        parse_ms: as_ms(clock.parsed),
        barrier_ms: as_ms(clock.barrier),
        total_ms: as_ms(clock.begun.elapsed()),
        searches,
    })
}

/// A query explained.
#[derive(Serialize, ToSchema)]
pub(super) struct Explanation {
    /// What `q` asks for.
    query: Tree,
    /// What is looked for: all parameters together.
    filter: Normal,
    /// `desc` or `asc`.
    #[schema(example = "desc")]
    order: &'static str,
    /// How many records the page has at most; `null` for a stream of everything, of which the beginning is run.
    limit: Option<usize>,
    /// How the store goes about it: its name as `store`, what it looks for by its own means as `pushed_down`, whether that
    /// is `exact`, and what is `evaluated` then, step by step.
    #[schema(value_type = Object, example = json!({"store": "embedded", "pushed_down": {"tokens": ["timeout"]}, "exact": false, "evaluated": [{"step": "message", "columns": ["message"], "query": "timeout"}]}))]
    plan: Plan,
    /// What retrieving the page has done; absent with `run=false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
}

/// A query as it was understood.
#[derive(Serialize, ToSchema)]
pub(super) struct Tree {
    /// In normal form, which means the same.
    #[schema(example = "timeout AND http.status>=500")]
    text: String,
    /// As a tree: `"all"`, `{"and": […]}`, `{"or": […]}`, `{"not": …}`, or a condition on a `field`.
    #[schema(value_type = Value, example = json!({"field": "message", "contains": "timeout"}))]
    tree: Json,
}

/// The filter that all parameters make.
#[derive(Serialize, ToSchema)]
pub(super) struct Normal {
    /// All of it, in the query language.
    #[schema(example = "level in (WARN, ERROR, FATAL) AND timeout")]
    text: String,
    /// The first moment; absent, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    start: Option<Timestamp>,
    /// The last moment, included; absent, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    end: Option<Timestamp>,
    /// The severities.
    #[schema(value_type = Vec<String>, example = json!(["WARN", "ERROR", "FATAL"]))]
    severities: Vec<&'static str>,
    /// The services; any, if there is none.
    services: Vec<String>,
    /// What else must be true.
    matching: Tree,
}

/// What retrieving a page has done.
#[derive(Serialize, ToSchema)]
pub(super) struct Run {
    /// How many records the page has.
    matches: usize,
    /// Whether another page follows.
    more: bool,
    /// How long it took to read the query.
    parse_ms: f64,
    /// How long it was waited until what was accepted before can be seen.
    barrier_ms: f64,
    /// How long all took.
    total_ms: f64,
    /// The searches: one, unless records are large or the store is slow.
    searches: Vec<Search>,
}

/// One search of the store.
#[derive(Serialize, ToSchema)]
pub(super) struct Search {
    /// How many records it found: one more than the page has, where another page follows.
    matches: usize,
    /// How long it waited for a worker.
    queue_ms: f64,
    /// How long it took then.
    search_ms: f64,
    /// What the store has done, in its own terms.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    trace: Option<Trace>,
}

impl From<&Expr> for Tree {
    fn from(expr: &Expr) -> Tree {
        Tree { text: expr.to_string(), tree: json!(expr) }
    }
}

impl From<&Filter> for Normal {
    fn from(filter: &Filter) -> Normal {
        let Filter { range: TimeRange { start, end }, severities, services, matching } = filter;
        Normal {
            text: filter.tree().to_string(),
            start: Some(*start).filter(|start| *start > TimeRange::ALL.start),
            end: Some(*end).filter(|end| *end < TimeRange::ALL.end),
            severities: Severity::ALL.into_iter().filter(|one| severities.contains(*one)).map(Severity::name).collect(),
            services: services.clone(),
            matching: Tree::from(matching),
        }
    }
}

/// Milliseconds, to a thousandth.
fn as_ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}
