//! The one table of what can go wrong with a request, and how HTTP says it: RFC 9457 problem details.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::ingest::AcceptError;
use crate::spool::SpoolError;
use crate::store::StoreError;
use crate::tail::TailError;
use crate::worker::ReadError;

/// What kind of problem it is; each has one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The body is not what it should be.
    Malformed,
    /// Records of the batch are bad; nothing of it was kept.
    InvalidRecords,
    /// A query parameter or header is unknown or has a bad value.
    InvalidParameter,
    /// The query asks for more than one of its limits allows.
    QueryLimit,
    /// There is no such thing.
    NotFound,
    /// The path is known, but not with this method.
    MethodNotAllowed,
    /// No form that the client accepts can be given.
    NotAcceptable,
    /// The client stalled in the middle of its request.
    RequestTimeout,
    /// The `Idempotency-Key` was used for another request.
    KeyReused,
    /// The body or batch is over a limit.
    TooLarge,
    /// The content type or encoding is none that is understood.
    UnsupportedMediaType,
    /// A queue is full: try again later.
    TooManyRequests,
    /// Nothing can be done now: try again later.
    Unavailable,
    /// The server failed in a way that it should not.
    Internal,
}

impl ProblemKind {
    /// The table: status, name in the `type` URI, title.
    fn entry(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            ProblemKind::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The body cannot be read"),
            ProblemKind::InvalidRecords => {
                (StatusCode::BAD_REQUEST, "invalid-records", "Records of the batch are invalid")
            }
            ProblemKind::InvalidParameter => (StatusCode::BAD_REQUEST, "invalid-parameter", "A parameter is invalid"),
            ProblemKind::QueryLimit => (StatusCode::BAD_REQUEST, "query-limit", "The query is over a limit"),
            ProblemKind::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            ProblemKind::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The path does not take this method")
            }
            ProblemKind::NotAcceptable => {
                (StatusCode::NOT_ACCEPTABLE, "not-acceptable", "No acceptable form of answer")
            }
            ProblemKind::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "request-timeout", "The request came too slowly")
            }
            ProblemKind::KeyReused => {
                (StatusCode::CONFLICT, "key-reused", "The Idempotency-Key belongs to another request")
            }
            ProblemKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is over a limit"),
            ProblemKind::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body's form is not supported")
            }
            ProblemKind::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests"),
            ProblemKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not possible now"),
            ProblemKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "An error of the server"),
        }
    }

    /// The status that the kind is answered with.
    pub fn status(self) -> StatusCode {
        self.entry().0
    }

    /// The short name, as in the `type` URI and in metrics.
    pub fn name(self) -> &'static str {
        self.entry().1
    }
}

/// How long a client is told to wait where nothing better is known.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// A request that failed: its kind, and what exactly is wrong. It is small, so that results are.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Facts>);

#[derive(Debug, Clone, PartialEq)]
struct Facts {
    kind: ProblemKind,
    detail: String,
    errors: Vec<RecordProblem>,
    errors_total: Option<u64>,
    retry_after: Option<Duration>,
    header: Option<(HeaderName, &'static str)>,
}

/// What is wrong with one record of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordProblem {
    /// The record's place in the batch, from 0.
    pub index: u64,
    /// The field at fault, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong, and what is allowed.
    pub detail: String,
}

/// The body of an error: RFC 9457 problem details.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemBody<'a> {
    /// A URI that names the kind of problem.
    #[schema(example = "urn:sluice:problem:invalid-parameter")]
    r#type: String,
    /// The kind of problem in words.
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 400)]
    status: u16,
    /// What exactly is wrong, and what would be right.
    detail: &'a str,
    /// The first 100 bad records of a batch.
    #[serde(skip_serializing_if = "<[RecordProblem]>::is_empty")]
    errors: &'a [RecordProblem],
    /// How many bad records there are in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_total: Option<u64>,
}

impl Problem {
    /// A problem of `kind`.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Problem {
        let (errors, detail) = (Vec::new(), detail.into());
        Problem(Box::new(Facts { kind, detail, errors, errors_total: None, retry_after: None, header: None }))
    }

    /// A parameter is unknown or has a bad value.
    pub fn invalid_parameter(detail: impl Into<String>) -> Problem {
        Problem::new(ProblemKind::InvalidParameter, detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(ProblemKind::NotFound, detail)
    }

    /// No form that the client accepts can be given.
    pub fn not_acceptable(detail: impl Into<String>) -> Problem {
        Problem::new(ProblemKind::NotAcceptable, detail)
    }

    /// Records of a batch are bad: the first of them, and how many there are.
    pub fn invalid_records(errors: Vec<RecordProblem>, total: u64) -> Problem {
        let noun = if total == 1 { "record" } else { "records" };
        let detail = format!("{total} invalid {noun}; nothing of the batch was kept");
        let mut problem = Problem::new(ProblemKind::InvalidRecords, detail);
        problem.0.errors = errors;
        problem.0.errors_total = Some(total);
        problem
    }

    /// Something that can be tried again after `retry_after`.
    pub fn unavailable(detail: impl Into<String>, retry_after: Duration) -> Problem {
        let mut problem = Problem::new(ProblemKind::Unavailable, detail);
        problem.0.retry_after = Some(retry_after);
        problem
    }

    /// The problem with a header that tells the client what would be right.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &'static str) -> Problem {
        self.0.header = Some((name, value));
        self
    }

    /// How many bad records the problem is about.
    pub fn bad_records(&self) -> u64 {
        self.0.errors_total.unwrap_or(0)
    }

    /// Which kind of problem it is.
    pub fn kind(&self) -> ProblemKind {
        self.0.kind
    }

    /// The wait that the client is told, in whole seconds and at least one.
    fn retry_after_s(&self) -> Option<u64> {
        let retryable = matches!(self.0.kind, ProblemKind::TooManyRequests | ProblemKind::Unavailable);
        let wait = self.0.retry_after.or(retryable.then_some(RETRY_AFTER_DEFAULT))?;
        Some(wait.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        let (status, name, title) = self.0.kind.entry();
        let body = ProblemBody {
            r#type: format!("urn:sluice:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: &self.0.detail,
            errors: &self.0.errors,
            errors_total: self.0.errors_total,
        };
        let mut response = HttpResponse::build(status);
        if let Some(seconds) = self.retry_after_s() {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some((name, value)) = &self.0.header {
            response.insert_header((name.clone(), *value));
        }
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        response.body(serde_json::to_vec(&body).unwrap_or_default())
    }
}

impl From<SpoolError> for Problem {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::KeyReused => Problem::new(ProblemKind::KeyReused, error.to_string()),
            SpoolError::Full { .. } | SpoolError::DiskFull { .. } => {
                Problem::unavailable(error.to_string(), Duration::from_secs(5))
            }
            other => Problem::new(ProblemKind::Unavailable, other.to_string()),
        }
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Busy { .. } => Problem::new(ProblemKind::Unavailable, error.to_string()),
            AcceptError::Spool(error) => error.into(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Busy { .. } => Problem::new(ProblemKind::TooManyRequests, error.to_string()),
            ReadError::BreakerOpen { retry_after } => Problem::unavailable(error.to_string(), retry_after),
            ReadError::Store(StoreError::Unavailable(_)) | ReadError::TimedOut { .. } => {
                Problem::new(ProblemKind::Unavailable, error.to_string())
            }
            ReadError::Limit(_) => Problem::new(ProblemKind::QueryLimit, error.to_string()),
            ReadError::Store(_) => Problem::new(ProblemKind::Internal, error.to_string()),
        }
    }
}

impl From<TailError> for Problem {
    fn from(error: TailError) -> Self {
        let kind = match error {
            TailError::TooMany { .. } | TailError::TooMuchHistory { .. } => ProblemKind::TooManyRequests,
            TailError::Closed => ProblemKind::Unavailable,
        };
        Problem::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_tried_again_says_when_in_whole_seconds() {
        for (problem, expected) in [
            (Problem::unavailable("later", Duration::from_millis(1200)), Some(2)),
            (Problem::unavailable("later", Duration::ZERO), Some(1)),
            (Problem::new(ProblemKind::TooManyRequests, "busy"), Some(1)),
            (Problem::new(ProblemKind::Malformed, "bad"), None),
        ] {
            assert_eq!(problem.retry_after_s(), expected, "{problem}");
            assert_eq!(problem.error_response().headers().contains_key(RETRY_AFTER), expected.is_some());
        }
    }
}
