//! Reading a body: admitted before it is read, decompressed as it arrives, never past a limit.

use std::time::{Duration, Instant};

use actix_web::error::PayloadError;
use actix_web::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;

use crate::buffers::Recycled;
use crate::config::LimitSettings;
use crate::decode::content_encoding::{ContentEncoding, InflateError, Inflater, UnsupportedEncoding};
use crate::error::{Problem, ProblemKind};
use crate::ingest::{Ingest, Permit};

/// How fast a body must come, on the whole, once it is slower than `limits.client_timeout` allows.
const BYTES_PER_SECOND_MIN: f64 = 16.0 * 1024.0;

/// What a body whose length nobody has said is admitted with at first.
const UNKNOWN_LENGTH_BYTES: usize = 16 << 10;

/// How large a body may be after decompression.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimit {
    /// In bytes.
    pub bytes: usize,
    /// What sets it, as errors name it.
    pub name: &'static str,
}

impl BodyLimit {
    /// That of records.
    pub fn of_records(limits: &LimitSettings) -> BodyLimit {
        BodyLimit { bytes: limits.body_bytes, name: "limits.body_bytes" }
    }
}

/// Reads the whole body and decompresses it. `read_bytes` says how far it got, also when it fails.
///
/// The permit must be kept for as long as the body, or what was made of it, is in memory.
pub(super) async fn read<'a>(
    request: &HttpRequest,
    mut payload: web::Payload,
    ingest: &'a Ingest,
    limits: &LimitSettings,
    limit: BodyLimit,
    read_bytes: &mut usize,
) -> Result<(Recycled, Permit<'a>), Problem> {
    let encoding = ContentEncoding::parse(&header(request))?;
    let length = content_length(request);
    if encoding.is_identity() && length.is_some_and(|length| length > limit.bytes) {
        return Err(too_large(limit));
    }
    // A compressed body may have any length up to the limit; what it takes beyond its own is asked for as it grows.
    let first = length.unwrap_or(UNKNOWN_LENGTH_BYTES).min(limit.bytes);
    let mut permit = ingest.admit(first).await?;
    let mut inflater = Inflater::new(&encoding, limit.bytes).map_err(|error| refusal(&error, limit))?;
    let mut body = Recycled::with_capacity(first);
    let mut patience = Patience::new(limits.client_timeout);
    while let Some(chunk) = patience.wait(payload.next()).await.ok_or_else(|| stalled(limits))? {
        let chunk = chunk.map_err(|error| broken(&error))?;
        patience.came(chunk.len());
        let mut rest = &chunk[..];
        loop {
            permit.grow(body.len() + rest.len() + inflater.memory_bytes()).await?;
            let more = inflater.step(&mut rest, &mut body).map_err(|error| refusal(&error, limit))?;
            *read_bytes = body.len();
            if !more {
                break;
            }
        }
    }
    inflater.finish().map_err(|error| refusal(&error, limit))?;
    Ok((body, permit))
}

/// How long a body is waited for: a client that sends a byte now and then would hold its room for as long as it likes.
struct Patience {
    /// How long one wait may take.
    stall: Duration,
    /// How long all further waits together may take.
    left: Duration,
}

impl Patience {
    fn new(stall: Duration) -> Patience {
        Patience { stall, left: stall }
    }

    /// Waits for `next`; nothing, if it takes too long.
    async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        let begin = Instant::now();
        let outcome = tokio::time::timeout(self.stall.min(self.left), next).await;
        self.left = self.left.saturating_sub(begin.elapsed());
        outcome.ok()
    }

    /// Notes that some bytes have come, which earn their share of time.
    fn came(&mut self, bytes: usize) {
        self.left += Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND_MIN);
    }
}

/// The values of all `Content-Encoding` headers, joined as HTTP joins them.
fn header(request: &HttpRequest) -> String {
    let values = request.headers().get_all(CONTENT_ENCODING);
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect::<Vec<_>>().join(",")
}

fn content_length(request: &HttpRequest) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: BodyLimit) -> Problem {
    let error = InflateError::TooLarge { limit: limit.bytes };
    Problem::new(ProblemKind::TooLarge, format!("{error} ({})", limit.name))
}

fn refusal(error: &InflateError, limit: BodyLimit) -> Problem {
    match error {
        InflateError::TooLarge { .. } => too_large(limit),
        InflateError::TooLong { .. } => {
            Problem::new(ProblemKind::TooLarge, format!("{error} (twice {} and 64 KiB)", limit.name))
        }
        InflateError::Corrupt(_) | InflateError::Truncated(_) => {
            Problem::new(ProblemKind::Malformed, error.to_string())
        }
        InflateError::Memory => Problem::new(ProblemKind::Unavailable, error.to_string()),
    }
}

fn stalled(limits: &LimitSettings) -> Problem {
    let seconds = limits.client_timeout.as_secs_f64();
    Problem::new(
        ProblemKind::RequestTimeout,
        format!(
            "the body came too slowly: nothing for {seconds} s (limits.client_timeout), or less than 16 KiB/s in all"
        ),
    )
}

fn broken(error: &PayloadError) -> Problem {
    Problem::new(ProblemKind::Malformed, format!("the body broke off: {error}"))
}

impl From<UnsupportedEncoding> for Problem {
    fn from(error: UnsupportedEncoding) -> Self {
        let problem = Problem::new(ProblemKind::UnsupportedMediaType, error.to_string());
        problem.with_header(ACCEPT_ENCODING, "gzip, deflate, br, zstd")
    }
}
