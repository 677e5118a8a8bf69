//! Who follows the spool: each block is handed to them once it is durable, in the order of its ids, without a copy.
//!
//! - A follower gets every block that is committed after the moment at which it began, and nothing else: no group that
//!   failed, nothing that a repeated `Idempotency-Key` brings again, nothing that a start recovers, and no records that
//!   are accepted again after a clash of ids (they were handed over under their first ids).
//! - The moment is an id: what is committed before it has smaller ids of this process, what comes after it has that one
//!   or greater ones. This holds across runs, since a run that is drawn later is greater (`Writer::draw_run`), and is
//!   exact because a block enters the index and the feed under one lock.
//! - The writer never waits for a follower. What a backlog has no room for is passed over and counted, in its place.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use sluice_model::{RecordId, RunId};

use super::locked;
use crate::batch::{BlockId, LogBatch};

/// What a follower gets.
#[derive(Debug, Clone)]
pub enum News {
    /// Records that are durable now; the first has the id `first`, the others follow without gaps.
    Committed {
        /// The id of the first record.
        first: RecordId,
        /// The records.
        batch: LogBatch,
    },
    /// Records that were committed while the backlog was full.
    PassedOver {
        /// The id of the first of them.
        first: RecordId,
        /// How many there are.
        records: u64,
    },
}

/// A follower's end of the feed; dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    feed: Arc<Feed>,
    backlog: Arc<Backlog>,
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Feed(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Greater than every id that was committed by this process, and not above those to come.
    next: RecordId,
    followers: Vec<Arc<Backlog>>,
}

/// What waits for one follower.
#[derive(Debug)]
struct Backlog {
    bytes_max: usize,
    state: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    news: VecDeque<News>,
    bytes: usize,
    /// Whether somebody has asked for the place since the last news, so that what is passed over next is kept apart.
    marked: bool,
    ended: bool,
}

impl Feed {
    /// The feed of a process whose first run is `run`.
    pub fn new(run: RunId) -> Feed {
        Feed(Mutex::new(State { next: RecordId { run, sequence: 0 }, followers: Vec::new() }))
    }

    /// Lets `publish` make a block known and hands its records, if they are news, to all followers: in one step for
    /// whoever begins to follow.
    pub fn publish<T>(&self, id: BlockId, batch: LogBatch, is_news: bool, publish: impl FnOnce(LogBatch) -> T) -> T {
        let mut state = locked(&self.0);
        state.next = RecordId { run: id.run, sequence: id.end() };
        if is_news && !batch.is_empty() && !state.followers.is_empty() {
            let bytes = batch.size_bytes();
            state.followers.iter().for_each(|follower| follower.put(id.first_record(), &batch, bytes));
        }
        publish(batch)
    }

    /// An id above all that were committed, and not above those to come.
    pub fn next(&self) -> RecordId {
        locked(&self.0).next
    }

    /// Begins to follow.
    pub fn subscribe(self: &Arc<Self>, backlog_bytes: usize) -> Subscription {
        let backlog = Backlog { bytes_max: backlog_bytes, state: Mutex::default(), wake: Condvar::new() };
        let backlog = Arc::new(backlog);
        locked(&self.0).followers.push(backlog.clone());
        Subscription { feed: self.clone(), backlog }
    }
}

impl Subscription {
    /// The id from which on records are still to come, if nothing else asks for news.
    pub fn mark(&self) -> RecordId {
        let state = locked(&self.feed.0);
        locked(&self.backlog.state).marked = true;
        state.next
    }

    /// The next news. Blocks until there are some; `None` once the subscription has ended and nothing is left.
    pub fn next(&self) -> Option<News> {
        let mut waiting = locked(&self.backlog.state);
        loop {
            if let Some(news) = waiting.news.pop_front() {
                if let News::Committed { batch, .. } = &news {
                    waiting.bytes = waiting.bytes.saturating_sub(batch.size_bytes());
                }
                return Some(news);
            }
            if waiting.ended {
                return None;
            }
            waiting = self.backlog.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many bytes of records wait, and how many may.
    pub fn backlog_bytes(&self) -> (usize, usize) {
        (locked(&self.backlog.state).bytes, self.backlog.bytes_max)
    }

    /// Ends it: nothing more is handed over.
    pub fn end(&self) {
        locked(&self.feed.0).followers.retain(|follower| !Arc::ptr_eq(follower, &self.backlog));
        locked(&self.backlog.state).ended = true;
        self.backlog.wake.notify_all();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end();
    }
}

impl Backlog {
    /// Adds a block, or what is left of it where there is no room: the number of its records. One block is always taken.
    fn put(&self, first: RecordId, batch: &LogBatch, bytes: usize) {
        let mut waiting = locked(&self.state);
        let waiting = &mut *waiting;
        let marked = std::mem::take(&mut waiting.marked);
        if waiting.bytes == 0 || waiting.bytes + bytes <= self.bytes_max {
            waiting.bytes += bytes;
            waiting.news.push_back(News::Committed { first, batch: batch.clone() });
        } else {
            match waiting.news.back_mut() {
                Some(News::PassedOver { records, .. }) if !marked => *records += batch.len() as u64,
                _ => waiting.news.push_back(News::PassedOver { first, records: batch.len() as u64 }),
            }
        }
        self.wake.notify_one();
    }
}
