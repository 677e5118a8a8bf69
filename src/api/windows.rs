//! Long answers, window by window: each is one bounded search that goes on where the last one ended.
//!
//! The first window is small, so that the answer begins at once. A wide answer then takes larger ones, for which each page
//! of a segment is decoded less often, and looks for the next window while the client still reads this one. So a wide
//! answer holds two windows in memory at most, and a narrow one holds one and leaves the worker alone while the client
//! reads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::rt;
use actix_web::rt::task::JoinHandle;

use crate::batch::Records;
use crate::config::QuerySettings;
use crate::query::{Position, Query};
use crate::store::StoreError;
use crate::worker::{Page, ReadError, Reader};

/// How long a stream waits before it asks again for a place in the queue.
const BUSY_WAIT: Duration = Duration::from_millis(50);

/// How much one search yields at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// In records.
    pub rows: usize,
    /// In bytes of memory, about.
    pub bytes: usize,
}

/// Of pages, narrow answers and first windows.
pub(super) const NARROW: Bounds = Bounds { rows: 10_000, bytes: 4 << 20 };
/// Of all further windows of a wide answer.
pub(super) const WIDE: Bounds = Bounds { rows: 64 << 10, bytes: 32 << 20 };

/// The matches of a query, window by window.
pub(super) struct Windows {
    reader: Arc<Reader>,
    settings: QuerySettings,
    /// What is left: it goes on after the last window, and has the limit that is left.
    rest: Query,
    is_wide: bool,
    /// How far it is.
    state: State,
}

enum State {
    Fresh,
    /// The next window has to be searched.
    Open,
    /// It is searched already.
    Ahead(Ahead),
    Done,
}

impl Windows {
    /// The matches of `query`; a wide answer takes larger windows.
    pub fn new(reader: Arc<Reader>, settings: QuerySettings, query: Query, is_wide: bool) -> Windows {
        let state = if query.limit == Some(0) { State::Done } else { State::Fresh };
        Windows { reader, settings, rest: query, is_wide, state }
    }

    /// The next matches; nothing, if there are no more.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<Vec<Records>>, ReadError> {
        let page = match std::mem::replace(&mut self.state, State::Done) {
            // What fails at once is an error like any; later it stands in line again, for what has been sent cannot be
            // taken back.
            State::Fresh => search(&self.reader, bounded(&self.rest, NARROW), NARROW.bytes).await?,
            State::Open => self.search_next().await?,
            State::Ahead(ahead) => ahead.page().await?,
            State::Done => return Ok(None),
        };
        let Page { records, finished } = page;
        let rows: usize = records.iter().map(Records::len).sum();
        self.rest.limit = self.rest.limit.map(|limit| limit.saturating_sub(rows));
        if finished || self.rest.limit == Some(0) {
            return Ok(Some(records));
        }
        self.rest.after = Some(last_position(&records).ok_or_else(stuck)?);
        self.state = if self.is_wide { State::Ahead(Ahead(rt::spawn(self.search_next()))) } else { State::Open };
        Ok(Some(records))
    }

    /// Ends the answer: a reply without a body needs no more of it.
    pub fn end(&mut self) {
        self.state = State::Done;
    }

    /// Whether no window follows.
    pub fn are_over(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn search_next(&self) -> impl Future<Output = Result<Page, ReadError>> + use<> {
        let bounds = if self.is_wide { WIDE } else { NARROW };
        let (reader, query, timeout) = (self.reader.clone(), bounded(&self.rest, bounds), self.settings.timeout);
        async move { search_patiently(&reader, query, bounds.bytes, timeout).await }
    }
}

/// A search that runs while the client reads what came before; it ends when it is dropped.
struct Ahead(JoinHandle<Result<Page, ReadError>>);

impl Ahead {
    async fn page(mut self) -> Result<Page, ReadError> {
        (&mut self.0).await.map_err(|_| lost_thread())?
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn bounded(query: &Query, bounds: Bounds) -> Query {
    let limit = query.limit.map_or(bounds.rows, |limit| limit.min(bounds.rows));
    Query { limit: Some(limit), ..query.clone() }
}

async fn search(reader: &Reader, query: Query, bytes_max: usize) -> Result<Page, ReadError> {
    reader.retrieve(query, bytes_max).await
}

/// A search that stands in line again where the queue is full.
async fn search_patiently(
    reader: &Reader,
    query: Query,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Page, ReadError> {
    let started = Instant::now();
    loop {
        match search(reader, query.clone(), bytes_max).await {
            Err(ReadError::Busy { .. }) if started.elapsed() < timeout => rt::time::sleep(BUSY_WAIT).await,
            outcome => return outcome,
        }
    }
}

/// Where the last of the records stands.
pub(super) fn last_position(parts: &[Records]) -> Option<Position> {
    let last = parts.iter().rev().find(|part| !part.is_empty())?;
    Some(last.position(last.len() - 1))
}

/// A search that neither ends nor finds anything would be asked for ever.
pub(super) fn stuck() -> ReadError {
    ReadError::Store(StoreError::Bug("a search stopped before its end without a record".to_owned()))
}

/// The thread that did the work has panicked.
pub(super) fn lost_thread() -> ReadError {
    ReadError::Store(StoreError::Bug("the answer could not be written: its thread is gone".to_owned()))
}
