//! What a retrieve asks for, read from its query string or its body.

use actix_web::HttpRequest;
use actix_web::http::Method;
use sluice_model::Timestamp;

use crate::api::encode::{Field, Form, Format};
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
/// Those that may be lists in a body.
const LISTS: &[&str] = &["logLevel", "level", "minLevel", "service", "fields"];

/// The values of `order`.
pub(in crate::api) const ORDERS: &[(&str, Order)] = &[("desc", Order::Descending), ("asc", Order::Ascending)];

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
    /// The path and the query string without its cursor; nothing, if the parameters came in a body.
    target: Option<String>,
}

impl Request {
    /// Reads a request that arrives at `now`.
    ///
    /// # Errors
    /// A parameter is wrong, or no form is acceptable.
    pub fn parse(request: &HttpRequest, now: Timestamp) -> Result<Request, Problem> {
        let pairs = Pairs::parse(request.query_string(), &[selection::PARAMETERS, PARAMETERS])?;
        Request::of(&pairs, request, Some(target(request)), now)
    }

    /// Reads a request whose parameters are the members of `body`.
    ///
    /// # Errors
    /// As for [`Request::parse`]; the body is no JSON object; there are parameters beside it.
    pub fn parse_body(request: &HttpRequest, body: &[u8], now: Timestamp) -> Result<Request, Problem> {
        if !request.query_string().is_empty() {
            return Err(Problem::invalid_parameter(
                "the parameters of this path stand in its body, not in its query string",
            ));
        }
        let pairs = Pairs::from_json(body, &[selection::PARAMETERS, PARAMETERS], LISTS)?;
        Request::of(&pairs, request, None, now)
    }

    /// Reads a request from parameters that are taken apart already; `target` is the path and the query string without its
    /// cursor, if there is one.
    ///
    /// # Errors
    /// As for [`Request::parse`].
    pub fn of(
        pairs: &Pairs,
        request: &HttpRequest,
        target: Option<String>,
        now: Timestamp,
    ) -> Result<Request, Problem> {
        let format = Format::negotiate(request, Field::of(pairs)?)?;
        let hash = selection::hash(pairs);
        let order = pairs.choice("order", ORDERS)?.unwrap_or(Order::Descending);
        let cursor = match pairs.one("cursor")? {
            Some(text) => Some(resume(text, order, hash)?),
            None => None,
        };
        let range = match cursor {
            Some(cursor) => cursor.range,
            None => selection::range(pairs, now)?,
        };
        let filter = selection::filter(pairs, range)?;
        let limit = limit(pairs)?.or((format.form() == Form::Json).then_some(LIMIT_DEFAULT));
        let query = Query { filter, order, after: cursor.map(|cursor| cursor.after), limit };
        Ok(Request { query, format, is_head: request.method() == Method::HEAD, hash, target })
    }

    /// The cursor of the page after the one that ends with the record at `last`.
    pub fn next_cursor(&self, last: Position) -> String {
        let Query { order, filter: Filter { range, .. }, .. } = self.query;
        Cursor { order, query: self.hash, range, after: last }.encode()
    }

    /// The URL of the page that `cursor` leads to, if a URL can say it.
    pub fn next_page(&self, cursor: &str) -> Option<String> {
        let target = self.target.as_deref()?;
        let separator = if target.contains('?') { '&' } else { '?' };
        Some(format!("{target}{separator}cursor={cursor}"))
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
            ("fields=", "name 1 to 256"),
            ("fields=id,", "name 1 to 256"),
            ("fields=a,id&fields=a", "a is named twice"),
        ] {
            let problem = read(query).expect_err(query).to_string();
            assert!(problem.contains(expected), "{query}: {problem}");
        }
    }

    #[test]
    fn a_link_goes_on_with_the_same_query_only() {
        let first = read("start=-15m&q=disk%20full&limit=10&order=asc").unwrap();
        let last = (first.query.filter.range.start, RecordId::from_u128(7));
        let next_page = |request: &Request| request.next_page(&request.next_cursor(last)).unwrap();
        let link = next_page(&first);
        let (path, query) = link.split_once('?').unwrap();
        assert_eq!(path, "/logs/retrieve");
        let request = TestRequest::get().uri(&link).to_http_request();
        let later = Request::parse(&request, "2024-10-08T13:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(later.query, Query { after: Some(last), ..first.query });
        assert_eq!(next_page(&later), link);
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
