//! Answers without a limit: encoded and sent as they are found.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use log::warn;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::encode::{Format, TableError, TableWriter};
use super::stall::Pace;
use super::windows::{Windows, lost_thread};
use crate::batch::Records;
use crate::error::{Problem, ProblemKind};
use crate::worker::ReadError;

/// What is handed to the connection at a time; it copies it to its own buffer.
const CHUNK_BYTES: usize = 64 << 10;
/// How many records are encoded at a time, so that an answer's text is never large.
const STEP_ROWS: usize = 8 << 10;
/// How many bytes of records, about.
const STEP_BYTES: usize = 4 << 20;

/// How many streams take large windows at a time; further ones take small ones, so that memory has its bound.
const WIDE_STREAMS_MAX: usize = 4;

/// The places of long answers.
pub struct Streams {
    wide: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    exports_max: usize,
}

impl Streams {
    /// Places for `exports_max` exports at a time.
    pub fn new(exports_max: usize) -> Streams {
        let wide = Arc::new(Semaphore::new(WIDE_STREAMS_MAX));
        Streams { wide, exports: Arc::new(Semaphore::new(exports_max)), exports_max }
    }

    /// A place to take large windows, if one is free.
    pub(super) fn wide(&self) -> Option<OwnedSemaphorePermit> {
        self.wide.clone().try_acquire_owned().ok()
    }

    /// A place to export.
    ///
    /// # Errors
    /// None is free.
    pub(super) fn export(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.exports.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("query.exports_max is reached: {} exports are running", self.exports_max);
            Problem::new(ProblemKind::TooManyRequests, detail)
        })
    }
}

/// Why a stream is cut.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the client did not read for {0:?}")]
    Stalled(Duration),
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Read(error) => error.into(),
            other => Problem::new(ProblemKind::Internal, other.to_string()),
        }
    }
}

/// What writes an answer that is not held as a whole.
pub(super) enum Encoder {
    /// As text; only forms without a separator between records.
    Text(Format),
    /// As a table.
    Table(TableWriter),
}

impl Encoder {
    fn write(&mut self, records: &Records, out: &mut Vec<u8>) -> Result<(), TableError> {
        match self {
            Encoder::Text(format) => {
                format.write(records, true, out);
                Ok(())
            }
            Encoder::Table(table) => table.write(records, out),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), TableError> {
        match self {
            Encoder::Text(format) => {
                format.end(out);
                Ok(())
            }
            Encoder::Table(table) => table.finish(out),
        }
    }
}

/// Answers with a stream, which keeps `place` until its end. Its first search comes before the status, so that what fails
/// at once is an error like any.
pub(super) async fn answer(
    windows: Windows,
    encoder: Encoder,
    stall_timeout: Duration,
    is_head: bool,
    place: Option<OwnedSemaphorePermit>,
    mut response: HttpResponseBuilder,
) -> Result<HttpResponse, Problem> {
    let mut head = Vec::new();
    if let Encoder::Text(format) = &encoder {
        format.begin(&mut head);
    }
    let mut feed = Feed {
        windows,
        encoder: Some(encoder),
        found: VecDeque::new(),
        chunk: Bytes::from(head),
        pace: Pace::new(stall_timeout),
        _place: place,
    };
    let first = feed.windows.next().await?;
    if is_head {
        // A body is run to its end, although it is not sent.
        feed.windows.end();
        feed.encoder = None;
        feed.chunk = Bytes::new();
    } else {
        feed.found.extend(first.into_iter().flatten());
        feed.encode().await?;
    }
    Ok(response.streaming(try_unfold(feed, Feed::next)))
}

/// What is left of an answer.
struct Feed {
    windows: Windows,
    /// Gone, when the end is written.
    encoder: Option<Encoder>,
    /// What is found and not yet encoded.
    found: VecDeque<Records>,
    /// What is encoded and not yet given to the connection.
    chunk: Bytes,
    pace: Pace,
    _place: Option<OwnedSemaphorePermit>,
}

impl Feed {
    /// The next chunk, and the rest; an error cuts the connection, so that the client sees that the end is missing.
    async fn next(mut self) -> Result<Option<(Bytes, Feed)>, StreamError> {
        match self.advance().await {
            Ok(Some(chunk)) => {
                self.pace.gave();
                Ok(Some((chunk, self)))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                warn!(error:% = error; "a streaming answer is cut");
                Err(error)
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, StreamError> {
        self.pace.check().map_err(StreamError::Stalled)?;
        while self.chunk.is_empty() && self.encoder.is_some() {
            if self.found.is_empty() {
                self.found.extend(self.windows.next().await?.into_iter().flatten());
            }
            self.encode().await?;
        }
        let length = self.chunk.len().min(CHUNK_BYTES);
        Ok((length > 0).then(|| self.chunk.split_to(length)))
    }

    /// Encodes some of what is found, and the end, if nothing follows.
    async fn encode(&mut self) -> Result<(), StreamError> {
        let Some(mut encoder) = self.encoder.take() else { return Ok(()) };
        let (records, before) = (some(&mut self.found), std::mem::take(&mut self.chunk));
        let is_end = self.found.is_empty() && self.windows.are_over();
        let write = move || {
            let mut out = Vec::from(before);
            records.iter().try_for_each(|records| encoder.write(records, &mut out))?;
            if is_end {
                encoder.finish(&mut out)?;
            }
            Ok::<_, TableError>((out, encoder))
        };
        let (out, encoder) = web::block(write).await.map_err(|_| lost_thread())??;
        self.chunk = Bytes::from(out);
        self.encoder = Some(encoder).filter(|_| !is_end);
        Ok(())
    }
}

/// Takes the first of the records, as many as are encoded at a time.
fn some(found: &mut VecDeque<Records>) -> Vec<Records> {
    let (mut taken, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while let Some(part) = found.pop_front() {
        let part_bytes = part.size_bytes();
        let fitting = (STEP_BYTES.saturating_sub(bytes) * part.len()).checked_div(part_bytes).unwrap_or(part.len());
        let fitting = fitting.max(usize::from(rows == 0)).min(STEP_ROWS - rows).min(part.len());
        if fitting < part.len() {
            found.push_front(part.slice(fitting, part.len() - fitting));
            taken.extend((fitting > 0).then(|| part.slice(0, fitting)));
            break;
        }
        rows += part.len();
        bytes += part_bytes;
        taken.push(part);
        if rows >= STEP_ROWS || bytes >= STEP_BYTES {
            break;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use sluice_model::{RecordId, Severity, Timestamp};

    use super::*;
    use crate::batch::LogBatchBuilder;

    fn records(rows: usize, message_bytes: usize) -> Records {
        let mut builder = LogBatchBuilder::new();
        for _ in 0..rows {
            builder.commit(Timestamp::from_nanos(0), Severity::Info, "INFO", "", &"x".repeat(message_bytes));
        }
        Records::numbered(RecordId::from_u128(1), builder.finish())
    }

    #[test]
    fn a_step_has_its_bounds() {
        let steps = |parts: &[(usize, usize)]| {
            let mut found: VecDeque<Records> = parts.iter().map(|(rows, bytes)| records(*rows, *bytes)).collect();
            let mut steps = Vec::new();
            while !found.is_empty() {
                let step = some(&mut found);
                assert!(step.iter().all(|part| !part.is_empty()));
                steps.push(step.iter().map(Records::len).sum::<usize>());
            }
            steps
        };
        assert_eq!(steps(&[(100, 1), (200, 1)]), [300]);
        assert_eq!(steps(&[(20_000, 1)]), [8192, 8192, 3616]);
        assert_eq!(steps(&[(8000, 1), (8000, 1)]), [8192, 7808]);
        assert_eq!(steps(&[(2, 5 << 20), (1, 1)]), [1, 1, 1], "a large record goes alone");
        assert_eq!(steps(&[]), [0; 0]);
    }
}
