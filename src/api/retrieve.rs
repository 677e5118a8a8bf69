//! Finding records: `GET /logs/retrieve`, its aliases `/logs` and `/logs/search`, and `POST /logs/query`.
//!
//! What has a limit is a page: it is collected, bounded in rows and bytes, before its first byte is sent, so that its
//! `Link` can say whether there is more. A stream without a limit is a row of bounded searches.

mod hint;
pub(super) mod query;
mod request;

use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, LINK, VARY};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use sluice_model::Timestamp;

pub(super) use self::hint::tell_unknown;
pub(super) use self::request::{ORDERS, PARAMETERS, Request};
use super::encode::Format;
use super::record::RecordSchema;
use super::selection::SelectionParams;
use super::stream::{self, Encoder, Streams};
use super::windows::{NARROW, Windows, last_position, lost_thread, stuck};
use crate::batch::Records;
use crate::config::Settings;
use crate::error::{Problem, ProblemBody};
use crate::query::Query;
use crate::worker::{Behind, Page, ReadError, Reader};

/// How many bytes of records a page has, about; where there are more, the page is shorter than its limit.
const PAGE_BYTES_MAX: usize = 32 << 20;
/// Pages of fewer bytes are written where they are collected; more would hold up other connections of the thread.
const ENCODE_INLINE_BYTES: usize = 64 << 10;

/// The cursor of the next page, for those who cannot follow a link.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("sluice-next-cursor");
/// Says what a read could not see yet.
pub(super) const INCOMPLETE: HeaderName = HeaderName::from_static("sluice-incomplete");

/// Finds records by time, level, service and a query, newest first.
///
/// A `Link` with `rel="next"` leads to the next page, if there is one. NDJSON, CSV and text without a `limit` are streams of
/// everything; one that fails midway is cut off, without the end of its last chunk. Everything accepted by this node
/// before the request is seen; what is not, after a short wait, is told in `Sluice-Incomplete`.
#[utoipa::path(
    get, path = "/logs/retrieve", tag = "read",
    params(
        SelectionParams,
        ("order" = Option<String>, Query, description = "`desc` (newest first, the default) or `asc`", pattern = "^(desc|asc)$"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10_000, description = "How many records a page has at most: 1 to 10,000; 1,000 for JSON if absent, all for the other forms. A page of more than 32 MiB ends earlier"),
        ("cursor" = Option<String>, Query, description = "Where to go on: taken, with all other parameters, from the `Link` of the page before"),
        ("fields" = Option<String>, Query, description = "The fields to answer with, in this order, by comma: `id`, `timestamp`, `level` (as sent), `severity`, `service`, `message`, `attributes`, or an attribute's name. They are the members of an object, the columns of CSV, the parts of a line; what a record lacks is left out of its object", example = "timestamp,level,http.status"),
        ("Accept" = Option<String>, Header, description = "`application/json` (the default), `application/x-ndjson`, `text/csv` or `text/plain`"),
    ),
    responses(
        (status = 200, description = "The records; an empty list, if there are none",
            content(
                (Vec<RecordSchema> = "application/json"),
                (String = "application/x-ndjson"),
                (String = "text/csv"),
                (String = "text/plain"),
            ),
            headers(
                ("Link" = String, description = "The next page, as `<…>; rel=\"next\"`; absent on the last one, and for streams without a limit"),
                ("Sluice-Next-Cursor" = String, description = "The `cursor` of that page"),
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
    streams: web::Data<Streams>,
) -> Result<HttpResponse, Problem> {
    let request = Request::parse(&request, Timestamp::now())?;
    answer(request, reader, &settings, &streams).await
}

async fn answer(
    request: Request,
    reader: web::Data<Reader>,
    settings: &Settings,
    streams: &Streams,
) -> Result<HttpResponse, Problem> {
    let behind = reader.barrier().await;
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, request.format.content_type())).insert_header((VARY, ACCEPT.as_str()));
    tell_incomplete(&mut response, behind);
    tell_unknown(&mut response, &reader, &request.query).await;
    if let Some(limit) = request.query.limit {
        return page(&reader, request, limit, response).await;
    }
    let Request { query, format, is_head, .. } = request;
    let place = streams.wide();
    let windows = Windows::new(reader.into_inner(), settings.query.clone(), query, place.is_some());
    stream::answer(windows, Encoder::Text(format), settings.query.stall_timeout, is_head, place, response).await
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
        let cursor = request.next_cursor(last);
        if let Some(page) = request.next_page(&cursor) {
            let link = HeaderValue::try_from(format!("<{page}>; rel=\"next\""))
                .map_err(|_| Problem::invalid_parameter("the query string has characters that no header can carry"))?;
            response.insert_header((LINK, link));
        }
        response.insert_header((NEXT_CURSOR, cursor));
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
    collect_by(async |query| reader.retrieve(query, NARROW.bytes).await, query, limit).await
}

/// The same by one search after the other.
pub(super) async fn collect_by(
    mut search: impl AsyncFnMut(Query) -> Result<Page, ReadError>,
    query: &Query,
    limit: usize,
) -> Result<(Vec<Records>, bool), ReadError> {
    let mut query = first_search(query, limit);
    let mut collected = Vec::new();
    let (mut rows, mut bytes, wanted) = (0, 0, limit + 1);
    let finished = loop {
        query.limit = Some((wanted - rows).min(NARROW.rows));
        let Page { records, finished } = search(query.clone()).await?;
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

/// What is asked for first, for a page of `limit` records. One more than that says whether there is another page.
pub(super) fn first_search(query: &Query, limit: usize) -> Query {
    Query { limit: Some((limit + 1).min(NARROW.rows)), ..query.clone() }
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
