//! `POST /logs/query`: a retrieve whose parameters are too long for a URL.

use actix_web::http::header::{ACCEPT, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use sluice_model::Timestamp;

use super::answer;
use super::request::Request;
use crate::api::body::{self, BodyLimit};
use crate::api::record::RecordSchema;
use crate::api::stream::Streams;
use crate::config::Settings;
use crate::error::{Problem, ProblemBody, ProblemKind};
use crate::ingest::Ingest;
use crate::worker::Reader;

/// How long the body may be: a query has at most 16 KiB, and the lists have their limits.
const BODY_LIMIT: BodyLimit = BodyLimit { bytes: 256 << 10, name: "the limit of a query" };

/// Finds records as `GET /logs/retrieve` does; its parameters are the members of a JSON object.
///
/// A value is a text or a number; `logLevel`, `minLevel`, `service` and `fields` may be lists. To go on, send the same
/// object with `cursor` as `Sluice-Next-Cursor` said it.
#[utoipa::path(
    post, path = "/logs/query", tag = "read",
    request_body(
        content((Object = "application/json")),
        description = "The parameters of `GET /logs/retrieve` by name; at most 256 KiB",
        example = json!({"q": "level>=warn timeout", "start": "-1h", "service": ["web", "auth"], "limit": 100}),
    ),
    params(("Accept" = Option<String>, Header, description = "`application/json` (the default), `application/x-ndjson`, `text/csv` or `text/plain`")),
    responses(
        (status = 200, description = "The records; an empty list, if there are none",
            content(
                (Vec<RecordSchema> = "application/json"),
                (String = "application/x-ndjson"),
                (String = "text/csv"),
                (String = "text/plain"),
            ),
            headers(
                ("Sluice-Next-Cursor" = String, description = "The `cursor` of the next page; absent on the last one, and for streams without a limit"),
                ("Sluice-Incomplete" = String, description = "`records=N, lag=S`: N accepted records are not searchable yet, the oldest for S seconds"),
                ("Sluice-Hint" = String, description = "Fields that the query names and no record has, as far as the store can tell soon; MongoDB cannot"),
            )),
        (status = 400, description = "The body is no JSON object, or a member is unknown, double or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "No form of answer is acceptable", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is over its limit", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The content type is not JSON, or the encoding is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many queries wait; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The store failed in a way that it should not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read now; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(in crate::api) async fn query(
    request: HttpRequest,
    payload: web::Payload,
    ingest: web::Data<Ingest>,
    reader: web::Data<Reader>,
    settings: web::Data<Settings>,
    streams: web::Data<Streams>,
) -> Result<HttpResponse, Problem> {
    check_content_type(&request)?;
    let (body, permit) = body::read(&request, payload, &ingest, &settings.limits, BODY_LIMIT, &mut 0).await?;
    let request = Request::parse_body(&request, &body, Timestamp::now())?;
    drop((body, permit));
    answer(request, reader, &settings, &streams).await
}

fn check_content_type(request: &HttpRequest) -> Result<(), Problem> {
    let Some(value) = request.headers().get(CONTENT_TYPE) else { return Ok(()) };
    let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if matches!(media_type, "" | "application/json" | "text/json") || media_type.ends_with("+json") {
        return Ok(());
    }
    let detail = format!("{media_type:?} is not JSON; with curl, add -H 'Content-Type: application/json'");
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail).with_header(ACCEPT, "application/json"))
}
