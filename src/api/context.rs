//! What stands around a record: `GET /logs/{id}/context`.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::ToSchema;

use super::params::Pairs;
use super::record::{RecordSchema, parse_id, unknown};
use super::retrieve::{collect, tell_incomplete};
use crate::batch::{BatchError, Records, RowWriter};
use crate::error::{Problem, ProblemBody};
use crate::query::{Filter, Order, Position, Query};
use crate::store::StoreError;
use crate::worker::{ReadError, Reader};

/// How many records each side has, if nothing is said, and at most.
const SIDE_DEFAULT: usize = 20;
const SIDE_MAX: usize = 1000;

/// A record and its neighbours, oldest first.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes the JSON, which is written from columns")]
pub(super) struct Context {
    /// Those before it, by timestamp and then by id.
    before: Vec<RecordSchema>,
    record: RecordSchema,
    /// Those after it.
    after: Vec<RecordSchema>,
}

/// Whose records are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Service,
    All,
}

/// Finds a record's neighbours, by timestamp and then by id.
#[utoipa::path(
    get, path = "/logs/{id}/context", tag = "read",
    params(
        ("id" = String, Path, description = "The id that an answer showed: 26 characters of Crockford's base32", example = "01J9M2CN0000000000000000G7"),
        ("before" = Option<u32>, Query, minimum = 0, maximum = 1000, description = "How many records before it: 0 to 1,000; 20 if absent"),
        ("after" = Option<u32>, Query, minimum = 0, maximum = 1000, description = "How many records after it: 0 to 1,000; 20 if absent"),
        ("scope" = Option<String>, Query, description = "`service` (the default): of the record's own service; `all`: of any", pattern = "^(service|all)$"),
    ),
    responses(
        (status = 200, description = "The record and its neighbours; a side of more than 32 MiB has fewer, those nearest to it", body = Context,
            headers(("Sluice-Incomplete" = String, description = "`records=N, lag=S`: N accepted records are not searchable yet"))),
        (status = 400, description = "A parameter is unknown or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such record", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many queries wait; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The store failed in a way that it should not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read now; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn context(
    request: HttpRequest,
    path: web::Path<String>,
    reader: web::Data<Reader>,
) -> Result<HttpResponse, Problem> {
    let pairs = Pairs::parse(request.query_string(), &[&["before", "after", "scope"]])?;
    let before = pairs.count("before", SIDE_MAX)?.unwrap_or(SIDE_DEFAULT);
    let after = pairs.count("after", SIDE_MAX)?.unwrap_or(SIDE_DEFAULT);
    let scope = pairs.choice("scope", &[("service", Scope::Service), ("all", Scope::All)])?;
    let id = parse_id(&path)?;
    let behind = reader.barrier().await;
    let found = reader.get(id).await?;
    let Some(record) = found.filter(|records| !records.is_empty()) else { return Ok(unknown(id, behind)) };
    let filter = match scope.unwrap_or(Scope::Service) {
        Scope::Service => Filter { services: vec![record.logs.services().value(0).to_owned()], ..Filter::default() },
        Scope::All => Filter::default(),
    };
    let position = record.position(0);
    let (before, after) = tokio::try_join!(
        side(&reader, &filter, Order::Descending, position, before),
        side(&reader, &filter, Order::Ascending, position, after),
    )?;
    let body = web::block(move || document(&before, &record, &after)).await;
    let body = body.map_err(|error| broken(&error))?.map_err(|error| broken(&error))?;
    let mut response = HttpResponse::Ok();
    tell_incomplete(&mut response, behind);
    Ok(response.insert_header((CONTENT_TYPE, "application/json")).body(body))
}

/// The `count` records next to the one at `position`, the nearest first.
async fn side(
    reader: &Reader,
    filter: &Filter,
    order: Order,
    position: Position,
    count: usize,
) -> Result<Vec<Records>, ReadError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let query = Query { filter: filter.clone(), order, after: Some(position), limit: None };
    Ok(collect(reader, &query, count).await?.0)
}

fn document(before: &[Records], record: &Records, after: &[Records]) -> Result<Vec<u8>, BatchError> {
    let oldest_first: Vec<Records> = before.iter().rev().map(Records::reversed).collect::<Result<_, _>>()?;
    let mut out = b"{\"before\":".to_vec();
    write_list(&oldest_first, &mut out);
    out.extend_from_slice(b",\"record\":");
    RowWriter::new(record).write(0, &mut out);
    out.extend_from_slice(b",\"after\":");
    write_list(after, &mut out);
    out.push(b'}');
    Ok(out)
}

fn write_list(parts: &[Records], out: &mut Vec<u8>) {
    out.push(b'[');
    let start = out.len();
    for records in parts {
        let writer = RowWriter::new(records);
        for row in 0..records.len() {
            if out.len() > start {
                out.push(b',');
            }
            writer.write(row, out);
        }
    }
    out.push(b']');
}

fn broken(error: &dyn std::fmt::Display) -> Problem {
    ReadError::Store(StoreError::Bug(format!("the answer could not be written: {error}"))).into()
}
