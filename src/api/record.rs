//! One record by its id: `GET /logs/{id}`.

use std::collections::BTreeMap;

use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, ResponseError, web};
use sluice_model::RecordId;
use utoipa::ToSchema;

use super::retrieve::{INCOMPLETE, incomplete, tell_incomplete};
use crate::batch::RowWriter;
use crate::error::{Problem, ProblemBody};
use crate::worker::{Behind, Reader};

/// A log record, as in every answer; it can be sent back in.
#[derive(ToSchema)]
#[schema(as = Record)]
#[allow(dead_code, reason = "it describes the JSON, which is written from columns")]
pub(super) struct RecordSchema {
    /// The identity that the server gave; ignored when sent.
    #[schema(example = "01J9M2CN0000000000000000G7", pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
    id: Option<String>,
    /// In UTC with nine digits of a second, so that the order of texts is the order of times. When sent: RFC 3339 or a
    /// number since 1970; absent means now.
    #[schema(example = "2024-10-08T00:00:00.000000000Z")]
    timestamp: Option<String>,
    /// Word for word as it was sent; absent means INFO.
    #[schema(example = "WARNING")]
    level: Option<String>,
    /// The program it comes from; may be empty.
    service: Option<String>,
    /// The text; may be empty.
    #[schema(example = "disk almost full")]
    message: Option<String>,
    /// Every other field by its dotted path, with exactly the value that was sent.
    #[schema(example = json!({"user.id": 7}))]
    attributes: Option<BTreeMap<String, serde_json::Value>>,
}

/// Finds one record by its id.
#[utoipa::path(
    get, path = "/logs/{id}", tag = "read",
    params(("id" = String, Path, description = "The id that an answer showed: 26 characters of Crockford's base32", example = "01J9M2CN0000000000000000G7")),
    responses(
        (status = 200, description = "The record", body = RecordSchema,
            headers(("Sluice-Incomplete" = String, description = "`records=N, lag=S`: N accepted records are not searchable yet"))),
        (status = 404, description = "There is no such record", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many queries wait; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The store failed in a way that it should not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read now; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn record(path: web::Path<String>, reader: web::Data<Reader>) -> Result<HttpResponse, Problem> {
    let id = parse_id(&path)?;
    let behind = reader.barrier().await;
    let found = reader.get(id).await?;
    let Some(records) = found.filter(|records| !records.is_empty()) else { return Ok(unknown(id, behind)) };
    let mut body = Vec::new();
    RowWriter::new(&records).write(0, &mut body);
    let mut response = HttpResponse::Ok();
    tell_incomplete(&mut response, behind);
    Ok(response.insert_header((CONTENT_TYPE, "application/json")).body(body))
}

/// The id in a path.
///
/// # Errors
/// It is none, so there is no such record.
pub(super) fn parse_id(text: &str) -> Result<RecordId, Problem> {
    text.parse().map_err(|error| Problem::not_found(format!("{text}: {error}")))
}

/// The answer where there is no record `id`, as far as could be seen.
pub(super) fn unknown(id: RecordId, behind: Option<Behind>) -> HttpResponse {
    let mut response = Problem::not_found(format!("there is no record {id}")).error_response();
    if let Some(value) = behind.and_then(|behind| HeaderValue::try_from(incomplete(behind)).ok()) {
        response.headers_mut().insert(INCOMPLETE, value);
    }
    response
}
