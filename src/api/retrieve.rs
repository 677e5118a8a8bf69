//! Finding records: `GET /logs/retrieve`, and its aliases `/logs` and `/logs/search`.
//!
//! What has a limit is a page: it is collected, bounded in rows and bytes, before its first byte is sent, so that its
//! `Link` can say whether there is more. A stream without a limit is a row of bounded searches, each of which starts when
//! the client has read what came before.

mod hint;
mod request;
mod stream;

use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, LINK, VARY};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use sluice_model::Timestamp;

pub(super) use self::request::Request;
use super::encode::Format;
use super::record::RecordSchema;
use super::selection::SelectionParams;
use crate::batch::Records;
use crate::config::Settings;
use crate::error::{Problem, ProblemBody};
use crate::query::{Position, Query};
use crate::store::StoreError;
use crate::worker::{Behind, Page, ReadError, Reader};

/// How many records one search yields at most.
const SEARCH_ROWS_MAX: usize = 10_000;
/// How many bytes of records one search yields, about.
const SEARCH_BYTES_MAX: usize = 4 << 20;
/// How many bytes of records a page has, about; where there are more, the page is shorter than its limit.
const PAGE_BYTES_MAX: usize = 32 << 20;
/// Pages of fewer bytes are written where they are collected; more would hold up other connections of the thread.
const ENCODE_INLINE_BYTES: usize = 64 << 10;

/// Says what a read could not see yet.
pub(super) const INCOMPLETE: HeaderName = HeaderName::from_static("sluice-incomplete");

/// Finds records by time, level, service and a query, newest first.
///
/// A `Link` with `rel="next"` leads to the next page, if there is one. NDJSON and CSV without a `limit` are streams of
/// everything; one that fails midway is cut off, without the end of its last chunk. Everything accepted by this node
/// before the request is seen; what is not, after a short wait, is told in `Sluice-Incomplete`.
#[utoipa::path(
    get, path = "/logs/retrieve", tag = "read",
    params(
        SelectionParams,
        ("order" = Option<String>, Query, description = "`desc` (newest first, the default) or `asc`", pattern = "^(desc|asc)$"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10_000, description = "How many records a page has at most: 1 to 10,000; 1,000 for JSON if absent, all for NDJSON and CSV. A page of more than 32 MiB ends earlier"),
        ("cursor" = Option<String>, Query, description = "Where to go on: taken, with all other parameters, from the `Link` of the page before"),
        ("fields" = Option<String>, Query, description = "The columns of CSV, by comma: `id`, `timestamp`, `level`, `severity`, `service`, `message`, `attributes`, or an attribute's name", example = "timestamp,level,http.status"),
        ("Accept" = Option<String>, Header, description = "`application/json` (the default), `application/x-ndjson` or `text/csv`"),
    ),
    responses(
        (status = 200, description = "The records; an empty list, if there are none",
            content(
                (Vec<RecordSchema> = "application/json"),
                (String = "application/x-ndjson"),
                (String = "text/csv"),
            ),
            headers(
                ("Link" = String, description = "The next page, as `<…>; rel=\"next\"`; absent on the last one, and for streams without a limit"),
                ("Sluice-Incomplete" = String, description = "`records=N, lag=S`: N accepted records are not searchable yet, the oldest for S seconds"),
                ("Sluice-Hint" = String, description = "Fields that the query names and no record has, as far as the store can tell soon; MongoDB cannot"),
            )),
        (status = 400, description = "A parameter is unknown or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "No form of answer is acceptable", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many queries wait; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The store failed in a way that it should not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read now; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn retrieve(
    request: HttpRequest,
    reader: web::Data<Reader>,
    settings: web::Data<Settings>,
) -> Result<HttpResponse, Problem> {
    let request = Request::parse(&request, Timestamp::now())?;
    let behind = reader.barrier().await;
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, request.format.content_type())).insert_header((VARY, ACCEPT.as_str()));
    tell_incomplete(&mut response, behind);
    hint::tell_unknown(&mut response, &reader, &request).await;
    match request.query.limit {
        Some(limit) => page(&reader, request, limit, response).await,
        None => stream::answer(reader.into_inner(), request, settings.query.clone(), response).await,
    }
}

/// Adds the header that says what could not be seen.
pub(super) fn tell_incomplete(response: &mut HttpResponseBuilder, behind: Option<Behind>) {
    if let Some(behind) = behind {
        response.insert_header((INCOMPLETE, incomplete(behind)));
    }
}

/// The value of [`INCOMPLETE`].
pub(super) fn incomplete(behind: Behind) -> String {
    format!("records={}, lag={:.3}", behind.records, behind.lag.as_secs_f64())
}

/// Answers with one page.
async fn page(
    reader: &Reader,
    request: Request,
    limit: usize,
    mut response: HttpResponseBuilder,
) -> Result<HttpResponse, Problem> {
    let (records, is_last) = collect(reader, &request.query, limit).await?;
    if let Some(last) = last_position(&records).filter(|_| !is_last) {
        let link = format!("<{}>; rel=\"next\"", request.next_page(last));
        let link = HeaderValue::try_from(link)
            .map_err(|_| Problem::invalid_parameter("the query string has characters that no header can carry"))?;
        response.insert_header((LINK, link));
    }
    let format = request.format;
    let size: usize = records.iter().map(Records::size_bytes).sum();
    let body = if size <= ENCODE_INLINE_BYTES {
        document(&format, &records)
    } else {
        web::block(move || document(&format, &records)).await.map_err(|_| Problem::from(lost_thread()))?
    };
    Ok(response.body(body))
}

fn document(format: &Format, records: &[Records]) -> Vec<u8> {
    let mut body = Vec::new();
    format.begin(&mut body);
    let mut first = true;
    for records in records.iter().filter(|records| !records.is_empty()) {
        format.write(records, first, &mut body);
        first = false;
    }
    format.end(&mut body);
    body
}

/// Finds up to `limit` records, and whether no more follow; fewer, where they have more bytes than a page.
pub(super) async fn collect(reader: &Reader, query: &Query, limit: usize) -> Result<(Vec<Records>, bool), ReadError> {
    let mut query = query.clone();
    let mut collected = Vec::new();
    // One more than asked for says whether there is another page.
    let (mut rows, mut bytes, wanted) = (0, 0, limit + 1);
    let finished = loop {
        query.limit = Some((wanted - rows).min(SEARCH_ROWS_MAX));
        let Page { records, finished } = reader.retrieve(query.clone(), SEARCH_BYTES_MAX).await?;
        rows += records.iter().map(Records::len).sum::<usize>();
        bytes += records.iter().map(Records::size_bytes).sum::<usize>();
        if !finished {
            query.after = Some(last_position(&records).ok_or_else(stuck)?);
        }
        collected.extend(records);
        if finished || rows >= wanted || bytes >= PAGE_BYTES_MAX {
            break finished;
        }
    };
    let is_last = finished && rows <= limit;
    Ok((first_rows(collected, limit), is_last))
}

/// The first `limit` of the records.
fn first_rows(parts: Vec<Records>, limit: usize) -> Vec<Records> {
    let mut room = limit;
    let mut kept = Vec::with_capacity(parts.len());
    for part in parts {
        let part = if part.len() > room { part.slice(0, room) } else { part };
        room -= part.len();
        kept.push(part);
    }
    kept
}

/// Where the last of the records stands.
fn last_position(parts: &[Records]) -> Option<Position> {
    let last = parts.iter().rev().find(|part| !part.is_empty())?;
    Some(last.position(last.len() - 1))
}

/// A search that neither ends nor finds anything would be asked for ever.
fn stuck() -> ReadError {
    ReadError::Store(StoreError::Bug("a search stopped before its end without a record".to_owned()))
}

fn lost_thread() -> ReadError {
    ReadError::Store(StoreError::Bug("the answer could not be written: its thread is gone".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluice_model::{RecordId, Severity};

    use super::*;
    use crate::batch::LogBatchBuilder;

    fn records(first: u128, count: usize) -> Records {
        let mut builder = LogBatchBuilder::new();
        for _ in 0..count {
            builder.commit(Timestamp::from_nanos(5), Severity::Info, "INFO", "", "m");
        }
        Records::numbered(RecordId::from_u128(first), builder.finish())
    }

    #[test]
    fn a_page_ends_at_its_limit() {
        let parts = || vec![records(1, 3), records(4, 0), records(4, 2)];
        for (limit, lengths, last) in
            [(9, vec![3, 0, 2], 5), (4, vec![3, 0, 1], 4), (3, vec![3, 0, 0], 3), (1, vec![1, 0, 0], 1)]
        {
            let kept = first_rows(parts(), limit);
            assert_eq!(kept.iter().map(Records::len).collect::<Vec<_>>(), lengths);
            assert_eq!(last_position(&kept), Some((Timestamp::from_nanos(5), RecordId::from_u128(last))));
        }
        assert_eq!(last_position(&[records(1, 0)]), None);
    }

    #[test]
    fn what_is_missing_is_told_in_seconds() {
        let behind = Behind { records: 12, lag: Duration::from_millis(1_500) };
        assert_eq!(incomplete(behind), "records=12, lag=1.500");
    }
}
