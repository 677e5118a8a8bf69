//! Counting and grouping: `GET /logs/count` and `GET /logs/stats`.

mod request;
mod table;

use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, VARY};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use sluice_model::Timestamp;
use utoipa::ToSchema;

use self::request::Request;
pub(super) use self::request::number;
use self::table::Form;
use super::params::Pairs;
use super::retrieve::tell_incomplete;
use super::selection::{self, SelectionParams};
use crate::error::{Problem, ProblemBody};
use crate::stats::Aggregation;
use crate::worker::Reader;

/// Says what `top` left out, in forms that have no place for it.
const OTHERS: HeaderName = HeaderName::from_static("sluice-others");

/// How many records match.
#[derive(Serialize, ToSchema)]
pub(super) struct Count {
    /// Their number.
    #[schema(example = 1234)]
    count: u64,
}

/// Counts the records that a selection has.
///
/// It is the number that `/logs/retrieve` would give with the same parameters.
#[utoipa::path(
    get, path = "/logs/count", tag = "read",
    params(SelectionParams),
    responses(
        (status = 200, description = "How many records match", body = Count,
            headers(("Sluice-Incomplete" = String, description = "`records=N, lag=S`: N accepted records are not searchable yet, the oldest for S seconds"))),
        (status = 400, description = "A parameter is unknown or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many queries wait; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The store failed in a way that it should not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read now, or the query took longer than `query.timeout`; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn count(request: HttpRequest, reader: web::Data<Reader>) -> Result<HttpResponse, Problem> {
    let pairs = Pairs::parse(request.query_string(), &[selection::PARAMETERS])?;
    let filter = selection::filter(&pairs, selection::range(&pairs, Timestamp::now())?)?;
    let behind = reader.barrier().await;
    let table = reader.stats(filter, Aggregation::count()).await?;
    let mut response = HttpResponse::Ok();
    tell_incomplete(&mut response, behind);
    Ok(response.json(Count { count: table.count() }))
}

/// Counts, sums and groups the records that a selection has.
///
/// Numeric aggregates take numbers, and texts that are one, and pass over everything else, also numbers with a unit
/// (`"30s"`). An aggregate of no values is null. Sums of integers, `count_distinct`, `min` and `max` are exact. A percentile
/// is within 1 % of the value at the rank ⌊p/100·(n−1)⌋.
///
/// Rows are sorted by time, then by the first aggregate, the largest first, then by the values that they are grouped by.
/// Limits: 32 aggregates, 8 fields to group by, 11,000 buckets of time, 100,000 rows, and `query.memory_bytes`.
#[utoipa::path(
    get, path = "/logs/stats", tag = "read",
    params(
        SelectionParams,
        ("agg" = Option<String>, Query, description = "What to compute, by comma: `count` (the default), `count_distinct(field)`, `sum(field)`, `avg(field)`, `min(field)`, `max(field)` (also of `timestamp`), and any percentile, such as `p95(field)` or `p99.9(field)`. An odd name stands in quotes", example = "count,p95(duration_ms)"),
        ("by" = Option<String>, Query, description = "The fields to group by, by comma: `service`, `severity` (which is `level`), `level_text`, `message`, or any attribute, whose value keeps its JSON type; missing is null", example = "service,severity"),
        ("step" = Option<String>, Query, description = "Into buckets of which length to put the records: a whole number with s, m, h, d or w. Alias: `resolution`", example = "1h"),
        ("resolution" = Option<String>, Query, description = "The same as `step`"),
        ("tz" = Option<String>, Query, description = "The time zone by whose clock buckets begin: UTC, if absent. Days begin at midnight, weeks on Mondays", example = "Europe/Berlin"),
        ("fill" = Option<String>, Query, description = "`zero` adds the buckets without records, from `startTime` (or the first record) to `endTime` (or the last), with 0 for `count`, `count_distinct` and `sum`", pattern = "^zero$"),
        ("top" = Option<u32>, Query, minimum = 1, maximum = 100_000, description = "Only so many groups: those with the largest first aggregate over the whole time, each with all its buckets"),
        ("Accept" = Option<String>, Header, description = "`application/json` (the default), `application/x-ndjson` (an object a row) or `text/csv`"),
    ),
    responses(
        (status = 200, description = "A table. The column `time`, the start of the bucket, comes first if there is a step, then the fields of `by`, then the aggregates",
            content(
                (table::TableSchema = "application/json"),
                (String = "application/x-ndjson"),
                (String = "text/csv"),
            ),
            headers(
                ("Sluice-Incomplete" = String, description = "`records=N, lag=S`: N accepted records are not searchable yet, the oldest for S seconds"),
                ("Sluice-Others" = String, description = "`groups=N, records=M`: what `top` left out; absent, if it left out nothing"),
            )),
        (status = 400, description = "A parameter is unknown or wrong, or the query is over a limit, which is named", body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "No form of answer is acceptable", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many queries wait; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The store failed in a way that it should not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read now, or the query took longer than `query.timeout`; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn stats(request: HttpRequest, reader: web::Data<Reader>) -> Result<HttpResponse, Problem> {
    let form = Form::negotiate(&request)?;
    let Request { filter, aggregation } = Request::parse(request.query_string(), Timestamp::now())?;
    let behind = reader.barrier().await;
    let table = reader.stats(filter, aggregation).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, form.content_type())).insert_header((VARY, ACCEPT.as_str()));
    tell_incomplete(&mut response, behind);
    if let Some(others) = table.others {
        response.insert_header((OTHERS, format!("groups={}, records={}", others.groups, others.records)));
    }
    Ok(response.body(form.write(&table)))
}
