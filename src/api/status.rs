//! How the server is: `/health`, `/ready`, `/metrics`, `/config`, and a page of links.

use std::collections::BTreeMap;

use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::params::Pairs;
use crate::config::Settings;
use crate::error::{Problem, ProblemBody};
use crate::files::{Failure, Watched};
use crate::ingest::Ingest;
use crate::spool::{LaneStatus, Spool};
use crate::telemetry::{Metrics, VERSION};
use crate::worker::breaker::BreakerState;
use crate::worker::{PoolStatus, Workers};

/// A short page of links.
#[utoipa::path(get, path = "/", tag = "status", responses((status = 200, description = "Links, as HTML", content_type = "text/html", body = String)))]
pub(super) async fn index() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(include_str!("index.html"))
}

/// Whether the process lives.
#[utoipa::path(get, path = "/health", tag = "status", responses((status = 200, description = "The process lives", body = Health)))]
pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok", version: VERSION })
}

/// That the process lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    #[schema(example = "ok")]
    status: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Whether this node can accept durably (the default), or answer reads, and how its parts are.
///
/// It is ready also while the store is down: a load balancer must not take away the nodes that buffer.
#[utoipa::path(
    get, path = "/ready", tag = "status",
    params(("for" = Option<String>, Query, description = "`write` (the default) or `read`: what the status speaks of", pattern = "^(write|read)$", example = "read")),
    responses(
        (status = 200, description = "Ready", body = Ready),
        (status = 400, description = "An unknown parameter", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not ready; the same body", body = Ready),
    ),
)]
pub(super) async fn ready(
    request: HttpRequest,
    spool: web::Data<Spool>,
    workers: web::Data<Workers>,
    ingest: web::Data<Ingest>,
    files: web::Data<Watched>,
) -> Result<HttpResponse, Problem> {
    let reads =
        Pairs::parse(request.query_string(), &[&["for"]])?.choice("for", &[("write", false), ("read", true)])?;
    let report = Ready::of(&spool, &workers, &ingest, &files);
    let ready = if reads == Some(true) { report.readable } else { report.writable };
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !ready {
        response.insert_header((RETRY_AFTER, 1));
    }
    Ok(response.json(report))
}

/// How the parts of the server are.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// Whether batches are accepted.
    writable: bool,
    /// Why they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_writable: Option<String>,
    /// Whether reads are answered.
    readable: bool,
    /// The breakers before the store: that of the writing workers and that of the reading ones.
    breakers: PerPool<Breaker>,
    /// The worker pools.
    workers: PerPool<Pool>,
    /// Records that are not in the store yet.
    queue_records: u64,
    /// Blocks that are not in the store yet.
    queue_blocks: u64,
    spool: SpoolReport,
    rates: RateReport,
    /// Records that the store refused for ever, in `dead-letter/`.
    dead_letter_records: u64,
    /// Damaged files and parts of files set aside in the `quarantine/` of the spool and of the store.
    quarantined_files: u64,
    /// Records that were found lost by damage since the start, as far as is known.
    lost_records: u64,
    /// Steps on files that fail now, or did within the last minute; left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_failures: Vec<IoFailure>,
}

/// A kind of step on files that failed of late.
#[derive(Serialize, ToSchema)]
pub(super) struct IoFailure {
    /// The folder below the data folder, or `other`.
    #[schema(example = "spool")]
    folder: &'static str,
    #[schema(example = "sync")]
    operation: &'static str,
    /// What the operating system said last.
    error: String,
    /// How often it failed since it last was well.
    count: u64,
    seconds_ago: f64,
    /// Whether no such step has succeeded since.
    lasting: bool,
}

/// Something that the writing pool and the reading pool each have.
#[derive(Serialize, ToSchema)]
pub(super) struct PerPool<T> {
    store: T,
    query: T,
}

/// A circuit breaker.
#[derive(Serialize, ToSchema)]
pub(super) struct Breaker {
    /// `closed`, `open` or `half_open`.
    #[schema(example = "closed")]
    state: &'static str,
    /// How long until the store is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// A worker pool.
#[derive(Serialize, ToSchema)]
pub(super) struct Pool {
    count: usize,
    busy: usize,
}

/// The spool.
#[derive(Serialize, ToSchema)]
pub(super) struct SpoolReport {
    bytes: u64,
    bytes_max: u64,
    segments: usize,
    /// Age of the oldest block that is not in the store.
    lag_seconds: f64,
    /// By lane: `urgent`, `normal` and `bulk`.
    lanes: BTreeMap<&'static str, LaneReport>,
}

/// A lane of the spool: what of it is not in the store yet.
#[derive(Serialize, ToSchema)]
pub(super) struct LaneReport {
    blocks: u64,
    records: u64,
    bytes: u64,
    lag_seconds: f64,
}

/// Records accepted a second, and records written to the store.
#[derive(Serialize, ToSchema)]
pub(super) struct RateReport {
    /// Over the last whole second.
    records_per_second_1s: f64,
    /// Over the last 60 seconds.
    records_per_second_60s: f64,
    /// Records written to the store a second, over the last second.
    stored_per_second_1s: f64,
    /// The same over the last 60 seconds.
    stored_per_second_60s: f64,
}

impl Ready {
    fn of(spool: &Spool, workers: &Workers, ingest: &Ingest, files: &Watched) -> Ready {
        let spool = spool.status();
        let workers = workers.status();
        let [urgent, normal, bulk] = spool.lanes;
        let lanes = [("urgent", urgent), ("normal", normal), ("bulk", bulk)];
        let lag_seconds = spool.lanes.iter().map(|lane| lane.lag.as_secs_f64()).fold(0.0, f64::max);
        let (last, minute) = ingest.rates().per_second();
        let [stored_last, stored_minute] = workers.written_per_second;
        Ready {
            writable: spool.refusing.is_none(),
            not_writable: spool.refusing,
            readable: matches!(workers.query.breaker, BreakerState::Closed),
            breakers: PerPool { store: workers.store.breaker.into(), query: workers.query.breaker.into() },
            workers: PerPool { store: workers.store.into(), query: workers.query.into() },
            queue_records: spool.lanes.iter().map(|lane| lane.records).sum(),
            queue_blocks: spool.lanes.iter().map(|lane| lane.blocks).sum(),
            spool: SpoolReport {
                bytes: spool.bytes,
                bytes_max: spool.bytes_max,
                segments: spool.segments,
                lag_seconds,
                lanes: lanes.into_iter().map(|(name, lane)| (name, lane.into())).collect(),
            },
            rates: RateReport {
                records_per_second_1s: last,
                records_per_second_60s: minute,
                stored_per_second_1s: stored_last,
                stored_per_second_60s: stored_minute,
            },
            dead_letter_records: workers.dead_letters,
            quarantined_files: spool.quarantined_files.saturating_add(workers.damage.quarantined_files),
            lost_records: spool.lost_records.saturating_add(workers.damage.lost_records),
            io_failures: files.failures().into_iter().map(IoFailure::from).collect(),
        }
    }
}

impl From<BreakerState> for Breaker {
    fn from(state: BreakerState) -> Self {
        let retry_after_ms = match state {
            BreakerState::Open { retry_after } => u64::try_from(retry_after.as_millis()).ok(),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        };
        Breaker { state: state.name(), retry_after_ms }
    }
}

impl From<Failure> for IoFailure {
    fn from(failure: Failure) -> Self {
        let Failure { folder, operation, error, count, age, lasting } = failure;
        IoFailure { folder, operation: operation.name(), error, count, seconds_ago: age.as_secs_f64(), lasting }
    }
}

impl From<PoolStatus> for Pool {
    fn from(pool: PoolStatus) -> Self {
        Pool { count: pool.workers, busy: pool.busy }
    }
}

impl From<LaneStatus> for LaneReport {
    fn from(lane: LaneStatus) -> Self {
        LaneReport {
            blocks: lane.blocks,
            records: lane.records,
            bytes: lane.bytes,
            lag_seconds: lane.lag.as_secs_f64(),
        }
    }
}

/// All metrics, in the OpenMetrics text format that Prometheus scrapes.
#[utoipa::path(get, path = "/metrics", tag = "status", responses((status = 200, description = "The metrics", content_type = "application/openmetrics-text", body = String)))]
pub(super) async fn metrics(metrics: web::Data<Metrics>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, Metrics::CONTENT_TYPE)).body(metrics.render())
}

/// The effective configuration, with secrets redacted.
#[utoipa::path(get, path = "/config", tag = "status", responses((status = 200, description = "Every key with its value as text, by section", content_type = "application/json", body = Object)))]
pub(super) async fn config(settings: web::Data<Settings>) -> HttpResponse {
    let mut shown = Map::new();
    for (path, value) in &settings.effective {
        let (section, name) = path.split_once('.').unwrap_or(("", path));
        let table = match section {
            "" => &mut shown,
            section => {
                let table = shown.entry(section).or_insert_with(|| Value::Object(Map::new()));
                let Some(table) = table.as_object_mut() else { continue };
                table
            }
        };
        table.insert(name.to_owned(), Value::String(value.clone()));
    }
    HttpResponse::Ok().json(shown)
}
