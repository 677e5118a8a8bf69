//! What a retrieve asks for, read from its query string.

use actix_web::HttpRequest;
use actix_web::http::Method;
use sluice_model::Timestamp;

use crate::api::encode::{Field, Format};
use crate::api::params::{Pairs, shown};
use crate::api::selection;
use crate::error::Problem;
use crate::query::{Cursor, Filter, Order, Position, Query};

/// How many records a page has at most.
pub(in crate::api) const LIMIT_MAX: usize = 10_000;
/// How many records a JSON page has if nothing is said.
pub(in crate::api) const LIMIT_DEFAULT: usize = 1_000;

/// The names of the parameters beside those of a selection.
pub(in crate::api) const PARAMETERS: &[&str] = &["order", "limit", "cursor", "fields"];

/// What one request asks for.
#[derive(Debug)]
pub(in crate::api) struct Request {
    /// Its `limit` is absent where everything is asked for, as a stream.
    pub query: Query,
    pub format: Format,
    /// Whether the answer is sent without its body.
    pub is_head: bool,
    /// A hash of all that the conditions say, as they were written.
    hash: u128,
    /// The path and the query string without its cursor.
    target: String,
}

impl Request {
    /// Reads a request that arrives at `now`.
    ///
    /// # Errors
    /// A parameter is wrong, or no form is acceptable.
    pub fn parse(request: &HttpRequest, now: Timestamp) -> Result<Request, Problem> {
        let pairs = Pairs::parse(request.query_string(), &[selection::PARAMETERS, PARAMETERS])?;
        Request::read(request, &pairs, now)
    }

    /// The same from parameters that are taken apart already.
    ///
    /// # Errors
    /// As for [`Request::parse`].
    pub fn read(request: &HttpRequest, pairs: &Pairs, now: Timestamp) -> Result<Request, Problem> {
        let format = Format::negotiate(request, fields(pairs)?)?;
        let hash = selection::hash(pairs);
        let order = pairs.choice("order", &[("desc", Order::Descending), ("asc", Order::Ascending)])?;
        let order = order.unwrap_or(Order::Descending);
        let cursor = match pairs.one("cursor")? {
            Some(text) => Some(resume(text, order, hash)?),
            None => None,
        };
        let range = match cursor {
            Some(cursor) => cursor.range,
            None => selection::range(pairs, now)?,
        };
        let filter = selection::filter(pairs, range)?;
        let limit = limit(pairs)?.or((format == Format::Json).then_some(LIMIT_DEFAULT));
        let query = Query { filter, order, after: cursor.map(|cursor| cursor.after), limit };
        Ok(Request { query, format, is_head: request.method() == Method::HEAD, hash, target: target(request) })
    }

    /// The URL of the page after the one that ends with the record at `last`.
    pub fn next_page(&self, last: Position) -> String {
        let Query { order, filter: Filter { range, .. }, .. } = self.query;
        let cursor = Cursor { order, query: self.hash, range, after: last };
        let separator = if self.target.contains('?') { '&' } else { '?' };
        format!("{}{separator}cursor={}", self.target, cursor.encode())
    }
}

/// The cursor, if it is one of this query.
fn resume(text: &str, order: Order, hash: u128) -> Result<Cursor, Problem> {
    let cursor = Cursor::decode(text).map_err(|error| Problem::invalid_parameter(format!("cursor: {error}")))?;
    if cursor.query == hash && cursor.order == order {
        return Ok(cursor);
    }
    Err(Problem::invalid_parameter(
        "cursor: it belongs to another query: times, levels, services, q and order must be those of the page before",
    ))
}

fn limit(pairs: &Pairs) -> Result<Option<usize>, Problem> {
    let Some(text) = pairs.one("limit")? else { return Ok(None) };
    match text.parse::<usize>() {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(Some(limit)),
        _ => Err(Problem::invalid_parameter(format!("limit={}: use 1 to {LIMIT_MAX}", shown(text)))),
    }
}

fn fields(pairs: &Pairs) -> Result<Option<Vec<Field>>, Problem> {
    const FIELDS_MAX: usize = 256;
    let Some(text) = pairs.one("fields")? else { return Ok(None) };
    let fields: Vec<Field> = text.split(',').map(|name| Field::named(name.trim())).collect();
    if text.trim().is_empty() || fields.len() > FIELDS_MAX {
        return Err(Problem::invalid_parameter(format!("fields: name 1 to {FIELDS_MAX} fields, by comma")));
    }
    Ok(Some(fields))
}

/// The request's own path and parameters, but for the cursor.
fn target(request: &HttpRequest) -> String {
    let kept: Vec<&str> = request
        .query_string()
        .split('&')
        .filter(|pair| !pair.is_empty() && *pair != "cursor" && !pair.starts_with("cursor="))
        .collect();
    let parameters = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    // What would end the link early.
    format!("{}{parameters}", request.path()).replace('<', "%3C").replace('>', "%3E")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;
    use sluice_model::{RecordId, Severity};

    use super::*;
    use crate::query::SeveritySet;

    fn read(query: &str) -> Result<Request, Problem> {
        let request = TestRequest::get().uri(&format!("/logs/retrieve?{query}")).to_http_request();
        Request::parse(&request, "2024-10-08T12:00:00Z".parse().unwrap())
    }

    fn severities_of(query: &str) -> Vec<&'static str> {
        let set = read(query).unwrap().query.filter.severities;
        Severity::ALL.into_iter().filter(|severity| set.contains(*severity)).map(Severity::name).collect()
    }

    #[test]
    fn the_original_call_is_understood() {
        let query = "startTime=2024-10-07T20:00:00Z&endTime=2024-10-08T08:00:00Z&logLevel=WARNING";
        let query = read(query).unwrap().query;
        assert_eq!(query.filter.range.start.to_string(), "2024-10-07T20:00:00.000000000Z");
        assert_eq!(query.filter.range.end.to_string(), "2024-10-08T08:00:00.000000000Z");
        assert_eq!(query.filter.severities, SeveritySet::NONE.with(Severity::Warn));
        assert_eq!((query.order, query.after, query.limit), (Order::Descending, None, Some(1000)));
    }

    #[test]
    fn levels_and_services_may_repeat() {
        assert_eq!(severities_of("level=warn,ERR&logLevel=t"), ["TRACE", "WARN", "ERROR"]);
        assert_eq!(severities_of("minLevel=warn"), ["WARN", "ERROR", "FATAL"]);
        assert_eq!(severities_of("minLevel=fatal&minLevel=error"), ["ERROR", "FATAL"]);
        assert_eq!(severities_of("minLevel=warn&level=info,error"), ["ERROR"]);
        assert_eq!(severities_of(""), ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]);
        assert_eq!(read("service=a,b&service=").unwrap().query.filter.services, ["a,b", ""]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, expected) in [
            ("startTime=2024-10-08&endTime=2024-10-07", "is after endTime"),
            ("start=yesterday", "startTime=yesterday: not a time"),
            ("logLevel=loud", "logLevel: unknown level \"loud\""),
            ("level=", "logLevel: unknown level \"\""),
            ("limit=0", "use 1 to 10000"),
            ("limit=10001", "use 1 to 10000"),
            ("limit=x", "use 1 to 10000"),
            ("order=up", "use desc or asc"),
            ("q=a+OR", "q: column 5"),
            ("cursor=x", "not a cursor"),
            ("fields=id", "text/csv"),
        ] {
            let problem = read(query).expect_err(query).to_string();
            assert!(problem.contains(expected), "{query}: {problem}");
        }
    }

    #[test]
    fn a_link_goes_on_with_the_same_query_only() {
        let first = read("start=-15m&q=disk%20full&limit=10&order=asc").unwrap();
        let last = (first.query.filter.range.start, RecordId::from_u128(7));
        let link = first.next_page(last);
        let (path, query) = link.split_once('?').unwrap();
        assert_eq!(path, "/logs/retrieve");
        let request = TestRequest::get().uri(&link).to_http_request();
        let later = Request::parse(&request, "2024-10-08T13:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(later.query, Query { after: Some(last), ..first.query });
        assert_eq!(later.next_page(last), link);
        for other in [query.replace("full", "ok"), query.replace("-15m", "-16m"), query.replace("asc", "desc")] {
            assert!(read(&other).unwrap_err().to_string().contains("another query"), "{other}");
        }
        assert!(read(&query.replace("limit=10", "limit=20")).is_ok());
    }

    proptest! {
        #[test]
        fn no_query_string_panics(query in "[a-zA-Z0-9=&%+.:-]{0,60}") {
            let _ = read(&query);
        }
    }
}
