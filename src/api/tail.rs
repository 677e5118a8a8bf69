//! Live tails: `GET /logs/tail`.
//!
//! A tail is opened before its history is searched for, so that the two meet without a gap: what the search finds of the
//! tail's own records is left out, since the tail gives it too.

mod form;
mod stream;

use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, VARY};
use actix_web::{HttpRequest, HttpResponse, web};
use arrow_array::UInt32Array;
use sluice_model::RecordId;

use self::form::Form;
use self::stream::Feed;
use super::params::Pairs;
use super::retrieve::{collect, tell_incomplete};
use super::{selection, stall};
use crate::batch::Records;
use crate::error::{Problem, ProblemBody};
use crate::query::{Comparison, Condition, Expr, Filter, Order, Query, TimeRange};
use crate::tail::{Tail, Tails};
use crate::worker::Reader;

/// How many earlier records a tail may begin with.
const LAST_MAX: usize = 10_000;
/// The names of the parameters beside those of a selection.
const PARAMETERS: &[&str] = &["last"];
/// Tells nginx not to hold the answer back.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Follows what this node accepts: every record acknowledged after the answer's head that matches, once, at once.
///
/// NDJSON: a record a line; an empty line as a sign of life when nothing was sent for `tail.heartbeat`; and
/// `{"missed":12}` in the place of 12 matches that a reader was too slow for. `passed_over` counts records there that
/// were not even looked at, since the server fell behind; any of them may be a match. Server-sent events: `data` is the
/// record and `id` its id; an event `missed` has that object; signs of life are comments. It ends when the server stops.
#[utoipa::path(
    get, path = "/logs/tail", tag = "read",
    params(
        ("last" = Option<u32>, Query, minimum = 0, maximum = 10_000, description = "How many of the newest matches to begin with, oldest first: 0 (the default) to 10,000, and no more than 32 MiB"),
        ("logLevel" = Option<Vec<String>>, Query, explode = true, description = "Records of this severity, by any of its names; several by comma or by repeating. Alias: `level`", example = json!(["WARNING"])),
        ("minLevel" = Option<String>, Query, description = "Records of this severity or a graver one", example = "warn"),
        ("service" = Option<Vec<String>>, Query, explode = true, description = "Records of this service; may repeat"),
        ("q" = Option<String>, Query, description = "A query, as in `/logs/retrieve`", example = "timeout http.status>=500"),
        ("Accept" = Option<String>, Header, description = "`application/x-ndjson` (the default) or `text/event-stream`"),
    ),
    responses(
        (status = 200, description = "The records as they come, without an end",
            content((String = "application/x-ndjson"), (String = "text/event-stream")),
            headers(("Sluice-Incomplete" = String, description = "`records=N, lag=S`: N records accepted earlier could not be searched yet and are missing in `last`"))),
        (status = 400, description = "A parameter is unknown or wrong; a tail takes no times", body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "No form of answer is acceptable", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "`tail.connections` tails are open, or too many queries wait; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The store failed in a way that it should not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read now, which `last` needs, or the server stops; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn tail(
    request: HttpRequest,
    reader: web::Data<Reader>,
    tails: web::Data<Tails>,
) -> Result<HttpResponse, Problem> {
    let (filter, last) = parse(&request)?;
    let form = Form::negotiate(&request)?;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, form.content_type()))
        .insert_header((VARY, ACCEPT.as_str()))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((BUFFERING, "no"));
    if request.method() == Method::HEAD {
        // A body is run to its end, although it is not sent.
        return Ok(response.finish());
    }
    let tail = tails.open(filter.clone())?;
    let mut history = Vec::new();
    if last > 0 {
        tell_incomplete(&mut response, reader.barrier().await);
        history = find_history(&reader, &tail, filter, last).await?;
        tail.hold_history(history.iter().map(Records::size_bytes).sum())?;
    }
    stall::lift(&request);
    Ok(response.streaming(Feed::new(tail, history, form, tails.heartbeat()).into_stream()))
}

/// What is followed, and how many earlier records are asked for.
fn parse(request: &HttpRequest) -> Result<(Filter, usize), Problem> {
    let pairs = Pairs::parse(request.query_string(), &[selection::PARAMETERS, PARAMETERS])?;
    if let Some(name) = selection::time_given(&pairs) {
        let detail = format!(
            "{name}: a tail begins now and takes no times; last=100 begins with earlier records, and GET /logs/retrieve finds them by time"
        );
        return Err(Problem::invalid_parameter(detail));
    }
    let last = pairs.count("last", LAST_MAX)?.unwrap_or(0);
    Ok((selection::filter(&pairs, TimeRange::ALL)?, last))
}

/// The newest `last` matches that the tail will not give, newest first.
async fn find_history(reader: &Reader, tail: &Tail, filter: Filter, last: usize) -> Result<Vec<Records>, Problem> {
    let query = Query {
        filter: filter.and(&accepted_before(tail.first())),
        order: Order::Descending,
        after: None,
        limit: None,
    };
    let (found, _) = collect(reader, &query, last).await?;
    Ok(found.into_iter().filter_map(|records| without_live(tail, records)).collect())
}

/// The records that this process had accepted before `first`, and all that others did.
fn accepted_before(first: RecordId) -> Expr {
    let run_end = RecordId { sequence: RecordId::SEQUENCES - 1, ..first };
    Expr::any_of([
        Expr::Condition(Condition::Id(Comparison::Less, first)),
        Expr::Condition(Condition::Id(Comparison::Greater, run_end)),
    ])
}

/// The records without those of runs drawn since, which the query could not name.
fn without_live(tail: &Tail, records: Records) -> Option<Records> {
    let rows: Vec<u32> = (0..records.len()).filter(|row| !tail.gives(records.id(*row))).map(|row| row as u32).collect();
    if rows.len() == records.len() {
        return Some(records);
    }
    records.take(&UInt32Array::from(rows)).ok()
}
