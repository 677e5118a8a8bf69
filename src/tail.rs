//! Live tails: whoever follows gets every record that this node accepts and that matches, once, as soon as it is durable.
//!
//! One thread takes the blocks that the spool hands over ([`Spool::subscribe`]), evaluates each open tail's filter on
//! their columns, and puts the matches into that tail's queue. Nothing here can hold up a writer: all hand-overs are
//! bounded, and what finds no room is counted where it would have stood ([`Gap`]). The thread sleeps while no tail is
//! open, and then the spool hands nothing over. Another one writes what they send ([`Tail::aside`]). Both give way to
//! requests.

mod metrics;
mod queue;
mod scribe;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::error;
use prometheus_client::registry::Registry;
use sluice_model::RecordId;

use self::metrics::Metrics;
use self::queue::{Patience, Queue};
use self::scribe::Scribe;
use crate::batch::{LogBatch, Records};
use crate::config::TailSettings;
use crate::priority::{Background, give_way};
use crate::query::Filter;
use crate::spool::{News, Spool, Subscription};

pub use self::queue::{Event, Gap};

/// How long a block waits, in all, for readers that have kept up so far and whose queues are full.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long a tail that is ended still gives out what waits for its reader.
const END_GRACE: Duration = Duration::from_secs(3);
/// How many bytes of earlier records all tails together hold for their readers.
const HISTORY_BYTES_MAX: usize = 128 << 20;

/// All open tails; shared as `web::Data<Tails>`. Dropping it ends them.
#[derive(Debug)]
pub struct Tails(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    spool: Arc<Spool>,
    settings: TailSettings,
    state: Mutex<State>,
    /// Wakes the thread when there is something to follow.
    wake: Condvar,
    metrics: Metrics,
    scribe: Scribe,
    /// Bytes of earlier records that wait for readers.
    history_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    followers: Vec<Arc<Follower>>,
    /// There is one while a tail is open.
    subscription: Option<Arc<Subscription>>,
    closed: bool,
}

#[derive(Debug)]
struct Follower {
    /// The id from which on records are its own.
    first: RecordId,
    filter: Filter,
    queue: Queue,
}

/// One open tail: the reader's end. Dropping it ends it.
#[derive(Debug)]
pub struct Tail {
    shared: Arc<Shared>,
    follower: Arc<Follower>,
    history_bytes: AtomicUsize,
}

/// Why no tail is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    /// There are as many as there may be.
    #[error("tail.connections is reached: {open} tails are open")]
    TooMany {
        /// How many are open.
        open: usize,
    },
    /// Readers leave too many earlier records unread.
    #[error("tails hold {present} bytes of earlier records for their readers; {allowed} are the limit")]
    TooMuchHistory {
        /// How many bytes there would be.
        present: usize,
        /// How many there may be.
        allowed: usize,
    },
    /// The server stops.
    #[error("the server is stopping")]
    Closed,
}

impl Tails {
    /// Starts the threads and registers the metrics.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(spool: Arc<Spool>, settings: &TailSettings, registry: &mut Registry) -> std::io::Result<Tails> {
        let shared = Arc::new(Shared {
            spool,
            settings: settings.clone(),
            state: Mutex::default(),
            wake: Condvar::new(),
            metrics: Metrics::register(registry),
            scribe: Scribe::start()?,
            history_bytes: AtomicUsize::new(0),
        });
        Metrics::register_state(registry, Arc::downgrade(&shared));
        let thread = shared.clone();
        std::thread::Builder::new().name("tails".to_owned()).spawn(move || thread.run())?;
        Ok(Tails(shared))
    }

    /// Opens a tail of the records that pass `filter`: everything that is acknowledged from now on belongs to it.
    ///
    /// # Errors
    /// [`TailError`].
    pub fn open(&self, filter: Filter) -> Result<Tail, TailError> {
        let shared = &self.0;
        let mut state = shared.locked();
        let open = state.followers.len();
        if state.closed {
            return Err(TailError::Closed);
        }
        if open >= shared.settings.connections {
            return Err(TailError::TooMany { open });
        }
        let subscribe = || Arc::new(shared.spool.subscribe(shared.settings.backlog_bytes));
        // The thread asks for the followers after it has taken a block, under this lock: it misses none.
        let first = state.subscription.get_or_insert_with(subscribe).mark();
        let follower = Arc::new(Follower { first, filter, queue: Queue::new(shared.settings.queue_bytes) });
        state.followers.push(follower.clone());
        shared.wake.notify_one();
        Ok(Tail { shared: shared.clone(), follower, history_bytes: AtomicUsize::new(0) })
    }

    /// How long a tail is silent before its reader gets a sign of life.
    pub fn heartbeat(&self) -> Duration {
        self.0.settings.heartbeat
    }

    /// Ends all tails, after what was accepted before; no more are opened.
    pub fn close(&self) {
        let mut state = self.0.locked();
        state.closed = true;
        if let Some(subscription) = &state.subscription {
            subscription.end();
        }
        self.0.wake.notify_one();
    }
}

impl Drop for Tails {
    fn drop(&mut self) {
        self.close();
    }
}

impl Tail {
    /// The id from which on this node's records belong to the tail. Those before it are history.
    pub fn first(&self) -> RecordId {
        self.follower.first
    }

    /// Whether a record of an answer to a search belongs to the tail, which gives it too.
    pub fn gives(&self, id: RecordId) -> bool {
        // What this process has accepted since stands from the first id on, in runs that it has drawn by now.
        self.first() <= id && id.run <= self.shared.spool.next_id().run
    }

    /// The next event, if there is one.
    pub fn try_next(&self) -> Option<Event> {
        self.follower.queue.try_next()
    }

    /// The next event; nothing, if none comes within `wait`.
    pub async fn next(&self, wait: Duration) -> Option<Event> {
        let queue = &self.follower.queue;
        let next = async {
            loop {
                if let Some(event) = queue.try_next() {
                    return event;
                }
                queue.filled().await;
            }
        };
        tokio::time::timeout(wait, next).await.ok()
    }

    /// Does what takes a while, such as writing many records as JSON, where no request waits for it; nothing, if it panicked.
    pub async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.shared.scribe.run(work).await
    }

    /// Notes that matches were handed to the reader's connection.
    pub fn sent(&self, records: u64) {
        self.shared.metrics.sent.inc_by(records);
    }

    /// Sets the bytes of earlier records that wait for the reader.
    ///
    /// # Errors
    /// [`TailError::TooMuchHistory`]; it is as before then.
    pub fn hold_history(&self, bytes: usize) -> Result<(), TailError> {
        let all = &self.shared.history_bytes;
        let before = self.history_bytes.load(Ordering::Relaxed);
        let present = all.load(Ordering::Relaxed).saturating_sub(before).saturating_add(bytes);
        if bytes > before && present > HISTORY_BYTES_MAX {
            return Err(TailError::TooMuchHistory { present, allowed: HISTORY_BYTES_MAX });
        }
        self.history_bytes.store(bytes, Ordering::Relaxed);
        all.fetch_add(bytes, Ordering::Relaxed);
        all.fetch_sub(before, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // Whoever waits for room in its queue waits no longer.
        self.follower.queue.end(Duration::ZERO);
        self.shared.history_bytes.fetch_sub(self.history_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        let mut state = self.shared.locked();
        state.followers.retain(|follower| !Arc::ptr_eq(follower, &self.follower));
        if state.followers.is_empty()
            && let Some(subscription) = state.subscription.take()
        {
            subscription.end();
        }
    }
}

impl Shared {
    /// The thread: follows while tails are open, until the end.
    fn run(&self) {
        give_way(Background::Tails);
        while let Some(subscription) = self.subscription() {
            while let Some(news) = subscription.next() {
                self.deliver(news, &subscription);
            }
        }
        for follower in &self.locked().followers {
            follower.queue.end(END_GRACE);
        }
    }

    /// Waits until a tail is open; nothing, if there is nothing more to give out.
    fn subscription(&self) -> Option<Arc<Subscription>> {
        let mut state = self.locked();
        loop {
            if state.closed {
                // The thread may not have begun with it, and it may hold what was accepted before the end.
                return state.subscription.take();
            }
            if let Some(subscription) = &state.subscription {
                return Some(subscription.clone());
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives news to every tail to which they belong.
    fn deliver(&self, news: News, subscription: &Subscription) {
        let (News::Committed { first, .. } | News::PassedOver { first, .. }) = news;
        let mut followers = self.locked().followers.clone();
        followers.retain(|follower| follower.first <= first);
        match news {
            News::Committed { batch, .. } => self.distribute(first, batch, &followers, subscription),
            News::PassedOver { records, .. } => self.pass_over(records, &followers),
        }
    }

    fn distribute(&self, first: RecordId, batch: LogBatch, followers: &[Arc<Follower>], subscription: &Subscription) {
        let records = Records::numbered(first, batch);
        let (waiting, allowed) = subscription.backlog_bytes();
        // One tail's reader is waited for only as long as no other tail loses by it.
        let mut patience = Patience::new(if waiting < allowed / 4 { PATIENCE } else { Duration::ZERO });
        for follower in followers {
            let select = || {
                let selected = follower.filter.select(&records);
                follower.queue.push(&records, &selected, &mut patience)
            };
            match catch_unwind(AssertUnwindSafe(select)) {
                Ok(missed) => drop(self.metrics.missed.inc_by(missed)),
                Err(_) => {
                    error!(records = records.len(), first:% = first; "a tail's filter panicked; its records are passed over");
                    self.pass_over(records.len() as u64, std::slice::from_ref(follower));
                }
            }
        }
    }

    fn pass_over(&self, records: u64, followers: &[Arc<Follower>]) {
        for follower in followers {
            self.metrics.passed_over.inc_by(records);
            follower.queue.pass_over(records);
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
