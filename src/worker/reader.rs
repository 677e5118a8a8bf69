//! The door for reads: barrier, queue, breaker, worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::dev::ToEnvelope;
use actix::{Addr, Handler, Message};
use sluice_model::RecordId;
use tokio::sync::Semaphore;

use super::breaker::{Breaker, BreakerState};
use super::query_worker::{Explain, Lookup, QueryError, QueryWorker, Retrieve, Tallying, Ticket, Unknown};
use crate::batch::Records;
use crate::config::QuerySettings;
use crate::query::{Filter, Query};
use crate::spool::Spool;
use crate::stats::{Aggregation, Aggregator, Catalogue, FieldEntry, Gather, LimitError, Table};
use crate::store::{Plan, Store, StoreError, Trace};

/// What a read could not see yet, for the header `Sluice-Incomplete: records=N, lag=S`.
pub use crate::spool::Behind;

/// Matches in order, and whether there may be more after them.
#[derive(Debug)]
pub struct Page {
    /// The matches.
    pub records: Vec<Records>,
    /// Whether the search came to the end of the store (true) or stopped at a row or byte bound (false).
    pub finished: bool,
}

/// A page, and how it was found.
#[derive(Debug)]
pub struct Traced {
    /// The page.
    pub page: Page,
    /// What the store says that it has done.
    pub trace: Option<Trace>,
    /// How long the search waited for a worker.
    pub queued: Duration,
    /// How long it took then.
    pub elapsed: Duration,
}

/// Why a read has no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// `query.queue_max` queries are waiting already: 429.
    #[error("query.queue_max is reached: {waiting} queries are waiting")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// The breaker is open: 503, with Retry-After.
    #[error("the store is unavailable; the breaker is open")]
    BreakerOpen {
        /// When to ask again.
        retry_after: Duration,
    },
    /// `query.timeout` is over: 503.
    #[error("the query took longer than query.timeout ({limit:?})")]
    TimedOut {
        /// The setting.
        limit: Duration,
    },
    /// The query asks for more than its limits allow: 400.
    #[error(transparent)]
    Limit(LimitError),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<BreakerState> for ReadError {
    /// The error for a breaker that is not closed.
    fn from(state: BreakerState) -> ReadError {
        ReadError::BreakerOpen { retry_after: state.retry_after().unwrap_or_default() }
    }
}

/// The door for reads; shared as `web::Data<Reader>`.
pub struct Reader {
    spool: Arc<Spool>,
    /// For its plans alone, which ask nobody.
    store: Arc<dyn Store>,
    workers: Addr<QueryWorker>,
    worker_count: usize,
    /// A place for each read that a worker has in hand or that waits for one.
    places: Arc<Semaphore>,
    settings: QuerySettings,
    reading: Arc<Breaker>,
    writing: Arc<Breaker>,
}

impl Reader {
    pub(super) fn new(
        spool: Arc<Spool>,
        store: Arc<dyn Store>,
        workers: Addr<QueryWorker>,
        worker_count: usize,
        settings: &QuerySettings,
        [writing, reading]: [Arc<Breaker>; 2],
    ) -> Reader {
        let places = Arc::new(Semaphore::new(worker_count.saturating_add(settings.queue_max)));
        Reader { spool, store, workers, worker_count, places, settings: settings.clone(), reading, writing }
    }

    /// Waits until everything that this node accepted before is searchable, for `query.barrier_timeout` at most;
    /// returns what is not.
    ///
    /// It is not waited for what cannot come: when the store's breaker is open, or when the oldest of those blocks has
    /// waited longer than that already.
    pub async fn barrier(&self) -> Option<Behind> {
        let ordinal = self.spool.committed();
        let behind = self.spool.behind(ordinal)?;
        let timeout = self.settings.barrier_timeout;
        if behind.lag > timeout || !self.writing.is_closed() {
            return Some(behind);
        }
        // When the wait is over, what counts is what is missing then.
        let _ = tokio::time::timeout(timeout, self.spool.stored(ordinal)).await;
        self.spool.behind(ordinal)
    }

    /// One bounded search: at most `query.limit` rows and about `bytes_max` bytes, and one row if there is any.
    ///
    /// A future that is dropped ends the search too.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn retrieve(&self, query: Query, bytes_max: usize) -> Result<Page, ReadError> {
        self.ask(|ticket| Retrieve { query, bytes_max, ticket }).await
    }

    /// The same as [`Reader::retrieve`], measured.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn explain(&self, query: Query, bytes_max: usize) -> Result<Traced, ReadError> {
        let asked = Instant::now();
        self.ask(|ticket| Explain { query, bytes_max, asked, ticket }).await
    }

    /// How the store goes about a query; also while it cannot be reached.
    pub fn plan(&self, query: &Query) -> Plan {
        self.store.plan(query)
    }

    /// Finds one record.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn get(&self, id: RecordId) -> Result<Option<Records>, ReadError> {
        self.ask(|ticket| Lookup { id, ticket }).await
    }

    /// Counts and groups all matches.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn stats(&self, filter: Filter, aggregation: Aggregation) -> Result<Table, ReadError> {
        self.gather(filter, Aggregator::new(aggregation, self.settings.memory_bytes)).await
    }

    /// Which fields the matches have, the most frequent first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn fields(&self, filter: Filter) -> Result<Vec<FieldEntry>, ReadError> {
        self.gather(filter, Catalogue::new(self.settings.memory_bytes)).await
    }

    async fn gather<G>(&self, filter: Filter, gather: G) -> Result<G::Answer, ReadError>
    where
        G: Gather + Send + 'static,
        G::Answer: Send + 'static,
    {
        self.ask(|ticket| Tallying { filter, gather, ticket }).await
    }

    /// Which of these attributes no record has, as far as the store can tell soon.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn unknown_attributes(&self, names: Vec<String>) -> Result<Vec<String>, ReadError> {
        self.ask(|ticket| Unknown { names, ticket }).await
    }

    /// Whether reads are answered now: `/ready?for=read`.
    ///
    /// # Errors
    /// The breaker's state, if it is not closed.
    pub fn readable(&self) -> Result<(), BreakerState> {
        match self.reading.state() {
            BreakerState::Closed => Ok(()),
            state => Err(state),
        }
    }

    async fn ask<M, T>(&self, message: impl FnOnce(Ticket) -> M) -> Result<T, ReadError>
    where
        M: Message<Result = Result<T, QueryError>> + Send + 'static,
        T: Send + 'static,
        QueryWorker: Handler<M>,
        actix::SyncContext<QueryWorker>: ToEnvelope<QueryWorker, M>,
    {
        // At once, and not only when a worker is free.
        self.readable()?;
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(ReadError::Busy { waiting: self.settings.queue_max });
        };
        let limit = self.settings.timeout;
        let gone = Gone(Arc::default());
        let ticket = Ticket { deadline: Instant::now() + limit, cancelled: Arc::clone(&gone.0), _place: place };
        match tokio::time::timeout(limit, self.workers.send(message(ticket))).await {
            Err(_) | Ok(Ok(Err(QueryError::Abandoned))) => Err(ReadError::TimedOut { limit }),
            Ok(Ok(Err(QueryError::Refused(state)))) => Err(state.into()),
            Ok(Ok(Err(QueryError::Limit(error)))) => Err(ReadError::Limit(error)),
            Ok(Ok(Err(QueryError::Store(error)))) => Err(ReadError::Store(error)),
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Err(_)) => Err(ReadError::Store(StoreError::Bug("the query workers are gone".to_owned()))),
        }
    }

    /// How many reads wait for a worker.
    pub fn waiting(&self) -> usize {
        let places = self.worker_count.saturating_add(self.settings.queue_max);
        places.saturating_sub(self.places.available_permits()).saturating_sub(self.worker_count)
    }
}

/// Tells the worker, when it is dropped, that nobody waits any more.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
