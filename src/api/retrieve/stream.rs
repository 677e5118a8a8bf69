//! Answers without a limit: a row of bounded searches, sent as they are found.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use log::warn;

use super::request::Request;
use super::{SEARCH_BYTES_MAX, SEARCH_ROWS_MAX, last_position, lost_thread, stuck};
use crate::api::encode::Format;
use crate::batch::Records;
use crate::config::QuerySettings;
use crate::error::Problem;
use crate::query::Query;
use crate::worker::{Page, ReadError, Reader};

/// What is handed to the connection at a time; it copies it to its own buffer.
const CHUNK_BYTES: usize = 64 << 10;
/// How long a stream waits before it asks again for a place in the queue.
const BUSY_WAIT: Duration = Duration::from_millis(50);

/// Why a stream is cut.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the client did not read for {0:?}")]
    Stalled(Duration),
}

/// Answers with a stream. Its first search comes before the status, so that what fails at once is an error like any.
pub(super) async fn answer(
    reader: Arc<Reader>,
    request: Request,
    settings: QuerySettings,
    mut response: HttpResponseBuilder,
) -> Result<HttpResponse, Problem> {
    let Request { query, format, is_head, .. } = request;
    let mut head = Vec::new();
    format.begin(&mut head);
    let mut feed = Feed {
        reader,
        settings,
        query: Query { limit: Some(SEARCH_ROWS_MAX), ..query },
        format: Arc::new(format),
        chunk: Bytes::from(head),
        finished: false,
        given: None,
    };
    let page = feed.search().await?;
    if is_head {
        // A body is run to its end, although it is not sent.
        feed.finished = true;
        feed.chunk = Bytes::new();
    } else {
        feed.take(page).await?;
    }
    Ok(response.streaming(try_unfold(feed, Feed::next)))
}

/// What is left of an answer.
struct Feed {
    reader: Arc<Reader>,
    settings: QuerySettings,
    /// The next search.
    query: Query,
    format: Arc<Format>,
    /// What is found and not yet given to the connection.
    chunk: Bytes,
    /// Whether no further search is needed.
    finished: bool,
    /// When the connection was last given something.
    given: Option<Instant>,
}

impl Feed {
    /// The next chunk, and the rest; an error cuts the connection, so that the client sees that the end is missing.
    async fn next(mut self) -> Result<Option<(Bytes, Feed)>, StreamError> {
        match self.advance().await {
            Ok(Some(chunk)) => {
                self.given = Some(Instant::now());
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
        let stalled = self.given.map(|given| given.elapsed()).filter(|waited| *waited > self.settings.stall_timeout);
        if let Some(waited) = stalled {
            return Err(StreamError::Stalled(waited));
        }
        while self.chunk.is_empty() && !self.finished {
            let page = self.search_patiently().await?;
            self.take(page).await?;
        }
        let length = self.chunk.len().min(CHUNK_BYTES);
        Ok((length > 0).then(|| self.chunk.split_to(length)))
    }

    async fn search(&self) -> Result<Page, ReadError> {
        self.reader.retrieve(self.query.clone(), SEARCH_BYTES_MAX).await
    }

    /// A search that stands in line again where the queue is full: what has been sent cannot be taken back.
    async fn search_patiently(&self) -> Result<Page, ReadError> {
        let started = Instant::now();
        loop {
            match self.search().await {
                Err(ReadError::Busy { .. }) if started.elapsed() < self.settings.timeout => {
                    tokio::time::sleep(BUSY_WAIT).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Writes what was found behind the chunk, and moves on.
    async fn take(&mut self, page: Page) -> Result<(), ReadError> {
        let Page { records, finished } = page;
        if !finished {
            self.query.after = Some(last_position(&records).ok_or_else(stuck)?);
        }
        self.finished = finished;
        let (format, before) = (Arc::clone(&self.format), std::mem::take(&mut self.chunk));
        let write = move || written(&format, before, &records, finished);
        self.chunk = web::block(write).await.map_err(|_| lost_thread())?;
        Ok(())
    }
}

/// What comes behind `before`. Only forms without a separator between records are streamed.
fn written(format: &Format, before: Bytes, records: &[Records], finished: bool) -> Bytes {
    let mut out = Vec::from(before);
    for records in records {
        format.write(records, true, &mut out);
    }
    if finished {
        format.end(&mut out);
    }
    Bytes::from(out)
}
