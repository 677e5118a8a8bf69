//! The worker pools, the dispatcher that feeds the writing one, and the door through which everything is read.

pub mod breaker;

use std::sync::Arc;
use std::time::Duration;

use sluice_model::RecordId;

use crate::batch::Records;
use crate::query::Query;
use crate::store::StoreError;

/// SKELETON. The door for reads: barrier, queue, breaker, worker. Shared as `web::Data<Reader>`.
pub struct Reader;

/// Matches in order, and whether there may be more after them.
#[derive(Debug)]
pub struct Page {
    pub records: Vec<Records>,
    /// Whether the search came to the end of the store (true) or stopped at a row or byte bound (false).
    pub finished: bool,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// `query.queue_max` queries are waiting already: 429.
    #[error("query.queue_max is reached: {waiting} queries are waiting")]
    Busy { waiting: usize },
    /// The breaker is open: 503, with Retry-After.
    #[error("the store is unavailable; the breaker is open")]
    BreakerOpen { retry_after: Duration },
    /// `query.timeout` is over: 503.
    #[error("the query took longer than query.timeout ({limit:?})")]
    TimedOut { limit: Duration },
    #[error(transparent)]
    Store(StoreError),
}

/// What a read could not see yet, for the header `Sluice-Incomplete: records=N, lag=S`.
pub use crate::spool::Behind;

impl Reader {
    /// Waits until everything accepted before is searchable (the barrier); `Some` if that was not met in time.
    pub async fn barrier(&self) -> Option<Behind> {
        todo!()
    }
    /// One bounded search: at most `query.limit` rows and about `bytes_max` bytes.
    pub async fn retrieve(&self, query: Query, bytes_max: usize) -> Result<Page, ReadError> {
        todo!("{query:?} {bytes_max}")
    }
    pub async fn get(&self, id: RecordId) -> Result<Option<Records>, ReadError> {
        todo!("{id}")
    }
    pub fn shared(self) -> Arc<Reader> {
        Arc::new(self)
    }
}
