//! What must hold for any query string, for the fuzzers.

use actix_web::HttpRequest;
use actix_web::http::Uri;
use actix_web::http::header::HeaderValue;
use actix_web::test::TestRequest;
use sluice_model::{RecordId, Timestamp};

use super::retrieve::Request;
use crate::query::Query;

/// The parameters of a read, behind a byte that chooses the form of the answer.
///
/// What is understood leads to a link that a header can carry and that asks for the same from another place on; a refusal
/// is short.
pub fn params(data: &[u8]) {
    let Some((choice, parameters)) = data.split_first() else { return };
    let Ok(parameters) = std::str::from_utf8(parameters) else { return };
    let Some(first) = request(&format!("/logs/retrieve?{parameters}"), *choice) else { return };
    let now = Timestamp::from_nanos(1_728_345_600_123_456_789);
    let read = match Request::parse(&first, now) {
        Ok(read) => read,
        Err(problem) => {
            assert!(problem.to_string().len() < 8192, "a refusal is short: {problem}");
            return;
        }
    };
    let last = (now, RecordId::from_u128(7));
    let cursor = read.next_cursor(last);
    let Some(link) = read.next_page(&cursor) else { unreachable!("a request by URL has a next one") };
    assert!(HeaderValue::try_from(format!("<{link}>; rel=\"next\"")).is_ok(), "{link:?}");
    assert!(!link.contains(['<', '>']), "a link that ends early: {link}");
    let Some(next) = request(&link, *choice) else { unreachable!("a link that is no URL: {link}") };
    match Request::parse(&next, now) {
        Ok(next) => assert_eq!(next.query, Query { after: Some(last), ..read.query }, "{link}"),
        Err(problem) => unreachable!("a link that is refused: {link}: {problem}"),
    }
}

/// A request for `target`, if that is a URL.
fn request(target: &str, choice: u8) -> Option<HttpRequest> {
    let accepted = ["application/json", "text/csv", "text/plain", "application/x-ndjson"];
    let accept = accepted.get(usize::from(choice & 3)).copied().unwrap_or_default();
    let uri: Uri = target.parse().ok()?;
    Some(TestRequest::get().uri(&uri.to_string()).insert_header(("accept", accept)).to_http_request())
}
