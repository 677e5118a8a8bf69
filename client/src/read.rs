//! Reading back: what to look for, page by page, as one stream, or counted.

mod answer;
mod query;
mod stats;
mod stream;
mod tail;

pub use answer::{Answer, ExportFormat, Form};
pub use query::{Order, Query};
pub use stats::{Column, FieldSummary, Others, Stats, Table, ValueCount, Values};
pub use stream::RecordStream;
pub use tail::{Tail, TailEvent};

use std::io;

use sluice_model::LogRecord;
use ureq::Body;
use ureq::http::Response;

use crate::builder::Client;
use crate::problem::Problem;
use crate::retry::{Exhausted, sleep};
use crate::transport::{Cause, Failure, FinalFailure, TransportError, header};

/// Why reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The server refused the query.
    #[error("refused: {0}")]
    Refused(Problem),
    /// No attempt succeeded.
    #[error("gave up after {attempts} attempts: {cause}")]
    GaveUp {
        /// How often it was tried.
        attempts: u32,
        /// What the last attempt failed of.
        #[source]
        cause: Cause,
    },
    /// The query could not be sent at all.
    #[error("cannot send: {0}")]
    Transport(#[source] TransportError),
    /// The answer broke off: what came so far is not everything.
    #[error("the answer broke off: {0}")]
    Cut(#[source] io::Error),
    /// The answer has neither a length nor chunks, so that a cut could not be told from its end.
    #[error("the answer's end cannot be told from a cut: a proxy may have removed its framing")]
    Unframed,
    /// A line is larger than any record can be.
    #[error("a line is larger than {limit} bytes")]
    LineTooLong {
        /// The limit.
        limit: usize,
    },
    /// What came is not a record.
    #[error("not a record: {0}")]
    Record(#[source] serde_json::Error),
    /// What came is not the answer to this question.
    #[error("the answer cannot be understood; is this address Sluice's? ({0})")]
    UnknownAnswer(#[source] serde_json::Error),
    /// The link to the next page leads elsewhere.
    #[error("the next page is on another server: {0}")]
    Link(String),
}

/// One page of records.
#[derive(Debug)]
pub struct Page {
    /// The records, in the query's order.
    pub records: Vec<LogRecord>,
    /// What the server says of records that it has accepted but cannot show yet, if there are any.
    pub incomplete: Option<String>,
}

/// The pages of a query, one request each.
#[derive(Debug)]
pub struct Pages<'a> {
    client: &'a Client,
    next: Option<String>,
}

/// The path of what is read back.
const RETRIEVE: &str = "/logs/retrieve";

/// The most of a page that is held in memory.
const PAGE_BYTES_MAX: u64 = 256 << 20;

impl Client {
    /// Reads a query's matches page by page, following the server's links. [`Query::limit`] is the size of a page.
    pub fn pages(&self, query: &Query) -> Pages<'_> {
        Pages { client: self, next: Some(self.transport.url(&query.to_path(RETRIEVE))) }
    }

    /// Reads a query's matches as one stream, without holding them in memory.
    ///
    /// # Errors
    /// [`ReadError`], if the server does not begin to answer. Later failures come from the stream.
    pub fn stream(&self, query: &Query) -> Result<RecordStream, ReadError> {
        self.retrieve(query, Form::Ndjson).map(RecordStream::new)
    }

    /// Asks the server whether it is there: `GET /health`.
    ///
    /// # Errors
    /// [`ReadError`], if it does not answer, or not with 200.
    pub fn health(&self) -> Result<(), ReadError> {
        self.get(&self.transport.url("/health"), "*/*").map(drop)
    }

    fn get(&self, url: &str, accept: &str) -> Result<Response<Body>, ReadError> {
        self.read(|| self.transport.get(url, accept))
    }

    /// Gets one page, again if it breaks off: a page comes whole or not at all.
    fn page(&self, url: &str) -> Result<(Page, Option<String>), ReadError> {
        let (response, body) = self.read(|| {
            let mut response = self.transport.get(url, "application/json")?;
            let body = response.body_mut().with_config().limit(PAGE_BYTES_MAX).read_to_vec();
            body.map(|body| (response, body)).map_err(Failure::broken)
        })?;
        let records = serde_json::from_slice(&body).map_err(ReadError::Record)?;
        let next = next_page(&response, url)?;
        Ok((Page { records, incomplete: incomplete(&response) }, next))
    }

    fn read<T>(&self, attempt: impl FnMut() -> Result<T, Failure<FinalFailure>>) -> Result<T, ReadError> {
        match self.policy.run(&mut sleep, attempt) {
            Ok((value, _)) => Ok(value),
            Err(Exhausted::Final(FinalFailure::Refused(problem))) => Err(ReadError::Refused(problem)),
            Err(Exhausted::Final(FinalFailure::Transport(error))) => Err(ReadError::Transport(error)),
            Err(Exhausted::GaveUp { attempts, cause }) => Err(ReadError::GaveUp { attempts, cause }),
        }
    }
}

/// Each page, then the end; an error is the last item.
impl Iterator for Pages<'_> {
    type Item = Result<Page, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let url = self.next.take()?;
        Some(self.client.page(&url).map(|(page, next)| {
            self.next = next;
            page
        }))
    }
}

/// What the server says of records that are accepted, but not searchable yet.
fn incomplete(response: &Response<Body>) -> Option<String> {
    header(response.headers(), "sluice-incomplete").map(str::to_owned)
}

/// The URL of the page after this one, if there is one.
fn next_page(response: &Response<Body>, url: &str) -> Result<Option<String>, ReadError> {
    let mut links = response.headers().get_all("link").iter().filter_map(|value| value.to_str().ok());
    links.find_map(next_link).map(|target| resolve(url, target)).transpose()
}

/// Finds the target of `rel="next"` in a `Link` header (RFC 8288), which may list several.
fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        // Parameters reach to the next link; a comma inside of quotes does not end them, as `<` does not occur there.
        let parameters = after.split_once('<').map_or(after, |(parameters, _)| parameters);
        let is_next = parameters.split([';', ',']).filter_map(|parameter| parameter.trim().split_once('=')).any(
            |(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').split(' ').any(|relation| relation.eq_ignore_ascii_case("next"))
            },
        );
        if is_next {
            return Some(target);
        }
        rest = after;
    }
}

/// Resolves a link against the URL of the page that it stands on. Another server is not followed.
fn resolve(page: &str, target: &str) -> Result<String, ReadError> {
    let elsewhere = || ReadError::Link(target.to_owned());
    let (scheme, after) = page.split_once("://").ok_or_else(elsewhere)?;
    let host_length = after.find(['/', '?']).unwrap_or(after.len());
    let origin_length = scheme.len() + "://".len() + host_length;
    let (origin, path) = page.split_at_checked(origin_length).ok_or_else(elsewhere)?;
    match target.as_bytes() {
        [b'/', b'/', ..] => Err(elsewhere()),
        [b'/', ..] => Ok(format!("{origin}{target}")),
        [b'?', ..] => Ok(format!("{origin}{}{target}", path.split('?').next().unwrap_or_default())),
        _ => match target.strip_prefix(origin) {
            Some(rest) if rest.starts_with(['/', '?']) => Ok(target.to_owned()),
            _ => Err(elsewhere()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        for (header, expected) in [
            (r#"</logs/retrieve?cursor=a,b>; rel="next""#, Some("/logs/retrieve?cursor=a,b")),
            (r#"</first>; rel="first", </second>; title="x, y"; rel=next"#, Some("/second")),
            (r#"<?cursor=c>; rel="prefetch next""#, Some("?cursor=c")),
            (r#"</first>; rel="first""#, None),
            (r#"</broken; rel="next""#, None),
            ("", None),
        ] {
            assert_eq!(next_link(header), expected, "{header}");
        }
    }

    #[test]
    fn links_stay_on_their_server() {
        let page = "http://host:1/prefix/logs?x=1";
        for (target, expected) in [
            ("/logs?cursor=c", Some("http://host:1/logs?cursor=c")),
            ("?cursor=c", Some("http://host:1/prefix/logs?cursor=c")),
            ("http://host:1/logs?cursor=c", Some("http://host:1/logs?cursor=c")),
            ("http://host:12/logs", None),
            ("http://evil/logs", None),
            ("//evil/logs", None),
            ("logs", None),
        ] {
            assert_eq!(resolve(page, target).ok().as_deref(), expected, "{target}");
        }
    }
}
