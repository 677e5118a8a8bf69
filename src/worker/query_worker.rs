//! The actors that search the store.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actix::{Actor, ActorContext, Handler, Message, SyncContext};
use arrow_buffer::BooleanBuffer;
use sluice_model::RecordId;
use tokio::sync::OwnedSemaphorePermit;

use super::breaker::{Breaker, BreakerState};
use super::metrics::{WorkerMetrics, outcome};
use super::reader::{Page, Traced};
use super::{Guarded, Pool, guarded};
use crate::batch::Records;
use crate::query::{Columns, Filter, Query};
use crate::stats::{Census, Gather, LimitError, Tally, Wants};
use crate::store::{Sink, Store, StoreError, Trace};

/// Answers one search or look-up at a time; the pool has several.
#[derive(Clone)]
pub(super) struct QueryWorker {
    pub(super) store: Arc<dyn Store>,
    pub(super) breaker: Arc<Breaker>,
    pub(super) metrics: WorkerMetrics,
}

/// A search for one page.
#[derive(Message)]
#[rtype(result = "Result<Page, QueryError>")]
pub(super) struct Retrieve {
    pub(super) query: Query,
    pub(super) bytes_max: usize,
    pub(super) ticket: Ticket,
}

/// A search for one page that measures itself.
#[derive(Message)]
#[rtype(result = "Result<Traced, QueryError>")]
pub(super) struct Explain {
    pub(super) query: Query,
    pub(super) bytes_max: usize,
    /// Since when it waits for a worker.
    pub(super) asked: Instant,
    pub(super) ticket: Ticket,
}

/// A look-up of one record.
#[derive(Message)]
#[rtype(result = "Result<Option<Records>, QueryError>")]
pub(super) struct Lookup {
    pub(super) id: RecordId,
    pub(super) ticket: Ticket,
}

/// A question for the attributes that no record has.
#[derive(Message)]
#[rtype(result = "Result<Vec<String>, QueryError>")]
pub(super) struct Unknown {
    pub(super) names: Vec<String>,
    pub(super) ticket: Ticket,
}

/// A question about all matches at once.
pub(super) struct Tallying<G> {
    pub(super) filter: Filter,
    pub(super) gather: G,
    pub(super) ticket: Ticket,
}

impl<G> Message for Tallying<G>
where
    G: Gather + 'static,
    G::Answer: 'static,
{
    type Result = Result<G::Answer, QueryError>;
}

/// Why a worker has no answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum QueryError {
    /// The breaker is not closed.
    Refused(BreakerState),
    /// Nobody waits for the answer any more.
    Abandoned,
    /// The query went past one of its limits.
    Limit(LimitError),
    /// The store failed.
    Store(StoreError),
}

/// What every read carries: its end, and its place among the reads in hand, which it keeps until a worker is done.
pub(super) struct Ticket {
    /// When the reader gives up, and after how long.
    pub(super) deadline: Instant,
    /// Set when the reader has gone away.
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) _place: OwnedSemaphorePermit,
}

impl Ticket {
    /// Whether nobody waits for the answer any more.
    fn is_over(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }
}

impl Actor for QueryWorker {
    type Context = SyncContext<Self>;
}

impl Handler<Retrieve> for QueryWorker {
    type Result = Result<Page, QueryError>;

    fn handle(&mut self, message: Retrieve, context: &mut Self::Context) -> Self::Result {
        let Retrieve { query, bytes_max, ticket } = message;
        let mut collector = Collector::new(query.limit, bytes_max, &ticket);
        self.call(&ticket, context, |store| store.search(&query, &mut collector))?;
        collector.into_page()
    }
}

impl Handler<Explain> for QueryWorker {
    type Result = Result<Traced, QueryError>;

    fn handle(&mut self, message: Explain, context: &mut Self::Context) -> Self::Result {
        let Explain { query, bytes_max, asked, ticket } = message;
        let begun = Instant::now();
        let collector = Collector::new(query.limit, bytes_max, &ticket);
        let mut sink = Tracing { collector, trace: None };
        self.call(&ticket, context, |store| store.search(&query, &mut sink))?;
        let Tracing { collector, trace } = sink;
        let (queued, elapsed) = (begun.saturating_duration_since(asked), begun.elapsed());
        Ok(Traced { page: collector.into_page()?, trace, queued, elapsed })
    }
}

impl Handler<Lookup> for QueryWorker {
    type Result = Result<Option<Records>, QueryError>;

    fn handle(&mut self, message: Lookup, context: &mut Self::Context) -> Self::Result {
        self.call(&message.ticket, context, |store| store.get(message.id))
    }
}

impl Handler<Unknown> for QueryWorker {
    type Result = Result<Vec<String>, QueryError>;

    fn handle(&mut self, message: Unknown, context: &mut Self::Context) -> Self::Result {
        self.call(&message.ticket, context, |store| store.unknown_attributes(&message.names))
    }
}

impl<G> Handler<Tallying<G>> for QueryWorker
where
    G: Gather + 'static,
    G::Answer: 'static,
{
    type Result = Result<G::Answer, QueryError>;

    fn handle(&mut self, message: Tallying<G>, context: &mut Self::Context) -> Self::Result {
        let Tallying { filter, gather, ticket } = message;
        let mut watched = Watched { gather, ticket: &ticket, abandoned: false };
        let answer = self.call(&ticket, context, |store| {
            store.tally(&filter, &mut watched)?;
            let is_whole = !watched.abandoned && !ticket.is_over();
            Ok(is_whole.then(|| watched.gather.finish()))
        })?;
        answer.map_or(Err(QueryError::Abandoned), |answer| answer.map_err(QueryError::Limit))
    }
}

impl QueryWorker {
    /// Makes one call of the store through the breaker.
    fn call<T>(
        &self,
        ticket: &Ticket,
        context: &mut SyncContext<Self>,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, QueryError> {
        if ticket.is_over() {
            // It waited for a worker too long, or for nobody.
            return Err(QueryError::Abandoned);
        }
        let permit = self.breaker.permit().map_err(QueryError::Refused)?;
        let _busy = self.metrics.busy(Pool::Query);
        let started = Instant::now();
        let Guarded { result, panicked } = guarded(Pool::Query, || call(&*self.store));
        if panicked {
            // The actor is made anew; it may have been left half changed.
            self.metrics.panicked(Pool::Query);
            context.stop();
        }
        // A search that was cut short says nothing of the store.
        let cut_short = result.is_ok() && ticket.is_over();
        self.metrics.queried(started, if cut_short { "cut_short" } else { outcome(&result) });
        if cut_short {
            drop(permit);
        } else {
            permit.record(&result);
        }
        result.map_err(QueryError::Store)
    }
}

/// A tally that ends when nobody wants its answer.
struct Watched<'a, G> {
    gather: G,
    ticket: &'a Ticket,
    abandoned: bool,
}

impl<G: Gather> Tally for Watched<'_, G> {
    fn columns(&self) -> Columns {
        self.gather.columns()
    }

    fn wants(&self) -> Wants {
        self.gather.wants()
    }

    fn takes_codes(&self) -> bool {
        self.gather.takes_codes()
    }

    fn take(&mut self, census: &Census<'_>) -> bool {
        self.gather.take(census)
    }

    fn add(&mut self, records: &Records, rows: &BooleanBuffer) -> ControlFlow<()> {
        if self.ticket.is_over() {
            self.abandoned = true;
            return ControlFlow::Break(());
        }
        self.gather.add(records, rows)
    }

    fn reset(&mut self) {
        self.gather.reset();
    }

    fn is_over(&self) -> bool {
        self.ticket.is_over() || self.gather.is_over()
    }
}

/// Takes the matches of a search until there are enough, or nobody wants them.
struct Collector<'a> {
    ticket: &'a Ticket,
    /// From when on what is there is enough: a shorter page in time is better than none.
    hurry_at: Instant,
    rows_left: usize,
    bytes_left: usize,
    records: Vec<Records>,
    /// Whether it stopped the search, or a bound was reached just when the search ended.
    full: bool,
    abandoned: bool,
}

impl<'a> Collector<'a> {
    fn new(limit: Option<usize>, bytes_max: usize, ticket: &'a Ticket) -> Collector<'a> {
        let rows_left = limit.unwrap_or(usize::MAX);
        let now = Instant::now();
        Collector {
            ticket,
            hurry_at: now + ticket.deadline.saturating_duration_since(now) / 2,
            rows_left,
            bytes_left: bytes_max,
            records: Vec::new(),
            full: rows_left == 0,
            abandoned: false,
        }
    }

    fn into_page(self) -> Result<Page, QueryError> {
        if self.abandoned {
            return Err(QueryError::Abandoned);
        }
        Ok(Page { records: self.records, finished: !self.full })
    }
}

impl Sink for Collector<'_> {
    fn push(&mut self, records: Records) -> ControlFlow<()> {
        if self.ticket.is_over() {
            self.abandoned = true;
            return ControlFlow::Break(());
        }
        if self.full || records.is_empty() {
            return if self.full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        }
        let (rows, bytes) = (records.len(), records.size_bytes());
        // One record is always taken, so that a walk by pages gets on.
        let fitting = if bytes <= self.bytes_left { rows } else { rows * self.bytes_left / bytes };
        let taken = fitting.max(usize::from(self.records.is_empty())).min(self.rows_left);
        self.rows_left -= taken;
        self.bytes_left = self.bytes_left.saturating_sub(bytes / rows * taken);
        let late = Instant::now() >= self.hurry_at;
        self.full = taken < rows || self.rows_left == 0 || self.bytes_left == 0 || late;
        if taken > 0 {
            self.records.push(if taken < rows { records.slice(0, taken) } else { records });
        }
        if self.full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The same, with the search's trace.
struct Tracing<'a> {
    collector: Collector<'a>,
    trace: Option<Trace>,
}

impl Sink for Tracing<'_> {
    fn push(&mut self, records: Records) -> ControlFlow<()> {
        self.collector.push(records)
    }

    fn is_traced(&self) -> bool {
        true
    }

    fn take_trace(&mut self, trace: Trace) {
        self.trace = Some(trace);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluice_model::{RunId, Severity, Timestamp};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::batch::LogBatchBuilder;

    fn ticket(wait: Duration) -> Ticket {
        Ticket {
            deadline: Instant::now() + wait,
            cancelled: Arc::default(),
            _place: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        }
    }

    fn records(rows: u64) -> Records {
        let mut builder = LogBatchBuilder::new();
        for row in 0..rows {
            builder.commit(Timestamp::from_nanos(row as i64), Severity::Info, "INFO", "", &"x".repeat(1000));
        }
        Records::numbered(RecordId { run: RunId::from_bytes([1; RunId::BYTES]), sequence: 0 }, builder.finish())
    }

    /// Pushes batches of `pushed` rows until the collector has enough: its page's rows, and whether it was finished.
    fn collect(limit: Option<usize>, bytes_max: usize, pushed: &[u64]) -> (usize, bool) {
        let ticket = ticket(Duration::from_secs(60));
        let mut collector = Collector::new(limit, bytes_max, &ticket);
        let _ = pushed.iter().try_for_each(|rows| collector.push(records(*rows)));
        let page = collector.into_page().unwrap();
        (page.records.iter().map(Records::len).sum(), page.finished)
    }

    #[test]
    fn a_page_has_its_bounds() {
        const PLENTY: usize = 1 << 30;
        assert_eq!(collect(None, PLENTY, &[]), (0, true));
        assert_eq!(collect(None, PLENTY, &[5, 0, 7]), (12, true));
        assert_eq!(collect(Some(12), PLENTY, &[5, 7]), (12, false), "there may be more after the limit");
        assert_eq!(collect(Some(13), PLENTY, &[5, 7]), (12, true));
        assert_eq!(collect(Some(6), PLENTY, &[5, 7]), (6, false));
        assert_eq!(collect(Some(0), PLENTY, &[5]), (0, false));
        assert_eq!(collect(None, 1, &[5, 7]), (1, false), "one record is always taken");
        let (rows, finished) = collect(None, 8000, &[5, 7]);
        assert!((5..=8).contains(&rows) && !finished, "{rows} records of a kilobyte in eight");
    }

    #[test]
    fn a_page_that_takes_long_ends_early() {
        let ticket = ticket(Duration::from_millis(400));
        let mut collector = Collector::new(None, 1 << 30, &ticket);
        collector.hurry_at = Instant::now();
        assert_eq!(collector.push(records(5)), ControlFlow::Break(()));
        let page = collector.into_page().unwrap();
        assert_eq!((page.records.len(), page.finished), (1, false));
    }

    #[test]
    fn a_search_that_nobody_waits_for_ends() {
        let late = ticket(Duration::ZERO);
        let mut collector = Collector::new(None, 1 << 20, &late);
        assert_eq!(collector.push(records(1)), ControlFlow::Break(()));
        assert_eq!(collector.into_page().unwrap_err(), QueryError::Abandoned);

        let gone = ticket(Duration::from_secs(60));
        gone.cancelled.store(true, Ordering::Relaxed);
        assert_eq!(Collector::new(None, 1 << 20, &gone).push(records(1)), ControlFlow::Break(()));
    }
}
