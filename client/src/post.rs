//! Posting one batch.

use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::builder::Client;
use crate::problem::Problem;
use crate::retry::{Exhausted, sleep};
use crate::transport::{Cause, Failure, FinalFailure, TransportError};

/// How the records of a body are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON array of records, or one record.
    Json,
    /// A record a line.
    Ndjson,
}

/// What the server said to a batch that it has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// How many records it keeps.
    pub accepted: u64,
    /// How many it left out, which happens only where it was asked to.
    pub refused: u64,
    /// How many attempts failed before this one.
    pub retries: u32,
    /// How long the attempt that succeeded took.
    pub latency: Duration,
}

/// Why a batch is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The server will not take it, now or later. Nothing of it is kept.
    #[error("refused: {0}")]
    Refused(Problem),
    /// No attempt succeeded. If an answer got lost, the batch may have been accepted all the same.
    #[error("gave up after {attempts} attempts: {cause}")]
    GaveUp {
        /// How often it was tried.
        attempts: u32,
        /// What the last attempt failed of.
        #[source]
        cause: Cause,
    },
    /// It could not be sent at all.
    #[error("cannot send: {0}")]
    Transport(#[source] TransportError),
    /// The answer means success, but is not Sluice's.
    #[error("the answer does not say how many records were accepted; is this address Sluice's?")]
    UnknownAnswer,
    /// It could not be compressed.
    #[error("cannot compress: {0}")]
    Compress(#[source] std::io::Error),
}

impl PostError {
    /// True if the server has surely kept nothing of the batch.
    pub fn is_refusal(&self) -> bool {
        matches!(self, PostError::Refused(_) | PostError::Transport(_) | PostError::Compress(_))
    }

    /// How many attempts failed and were repeated.
    pub fn retries(&self) -> u32 {
        match self {
            PostError::GaveUp { attempts, .. } => attempts.saturating_sub(1),
            _ => 0,
        }
    }
}

/// The most of an answer that is read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

impl Client {
    /// Posts a batch and waits until it is accepted, refused, or given up.
    ///
    /// # Errors
    /// [`PostError`]; only [`PostError::GaveUp`] and [`PostError::UnknownAnswer`] leave open whether it was accepted.
    pub fn post_batch(&self, format: Format, body: &[u8]) -> Result<Receipt, PostError> {
        self.post_batch_with(format, body, &mut sleep)
    }

    /// Posts a batch as [`Client::post_batch`] does, with a say in the pauses between attempts: `wait` lets one pass,
    /// and returns false to give up instead.
    ///
    /// # Errors
    /// [`PostError`], as [`Client::post_batch`].
    pub fn post_batch_with(
        &self,
        format: Format,
        body: &[u8],
        wait: &mut dyn FnMut(Duration) -> bool,
    ) -> Result<Receipt, PostError> {
        // Drawn once a batch: the server knows a retry by it.
        let key = format!("{:032x}", rand::random::<u128>());
        self.post_batch_keyed(format, body, &key, wait)
    }

    /// Posts a batch as [`Client::post_batch_with`] does, under an `Idempotency-Key` of the caller's: whoever posts the
    /// same body under the same key again, in another process too, stores nothing twice for as long as the server
    /// remembers keys.
    ///
    /// # Errors
    /// [`PostError`], as [`Client::post_batch`]; the same key with another body is refused with 409.
    pub fn post_batch_keyed(
        &self,
        format: Format,
        body: &[u8],
        key: &str,
        wait: &mut dyn FnMut(Duration) -> bool,
    ) -> Result<Receipt, PostError> {
        let body = self.compression.encode(body).map_err(PostError::Compress)?;
        let content_type = match format {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
        };
        let encoding = self.compression.content_encoding().map(|encoding| ("Content-Encoding", encoding));
        let headers: Vec<_> =
            [("Content-Type", content_type), ("Idempotency-Key", key)].into_iter().chain(encoding).collect();
        let outcome = self.policy.run(wait, || self.attempt(&headers, &body));
        match outcome {
            Ok((receipt, retries)) => Ok(Receipt { retries, ..receipt }),
            Err(Exhausted::Final(error)) => Err(error),
            Err(Exhausted::GaveUp { attempts, cause }) => Err(PostError::GaveUp { attempts, cause }),
        }
    }

    fn attempt(&self, headers: &[(&str, &str)], body: &[u8]) -> Result<Receipt, Failure<PostError>> {
        let started = Instant::now();
        let mut response = self.transport.post("/logs/batch", headers, body).map_err(Failure::into_post)?;
        let answer = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        // The answer got lost on its way: the key makes it safe to ask again.
        let answer = answer.map_err(Failure::broken)?;
        #[derive(Deserialize)]
        struct Answer {
            accepted: u64,
            #[serde(default)]
            refused: u64,
        }
        match serde_json::from_slice::<Answer>(&answer) {
            Ok(Answer { accepted, refused }) => {
                Ok(Receipt { accepted, refused, retries: 0, latency: started.elapsed() })
            }
            Err(_) => Err(Failure::Final(PostError::UnknownAnswer)),
        }
    }
}

impl Failure<FinalFailure> {
    fn into_post(self) -> Failure<PostError> {
        match self {
            Failure::Final(FinalFailure::Refused(problem)) => Failure::Final(PostError::Refused(problem)),
            Failure::Final(FinalFailure::Transport(error)) => Failure::Final(PostError::Transport(error)),
            Failure::Transient { cause, retry_after } => Failure::Transient { cause, retry_after },
        }
    }
}
