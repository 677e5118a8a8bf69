//! The dispatcher: takes blocks from the spool, keeps a fixed number with the writing workers, and sees each to its end.
//!
//! It is a thread of its own and owns all its state; whatever happens comes to it as an event. A second small thread
//! waits for the spool, and fetches a block for each one that the dispatcher has asked for. What holds:
//!
//! - At most `workers.inflight` batches are with the pool; nothing else sends to it.
//! - A block, or a part of it, is never sent again while a worker holds it.
//! - [`StoreError::Unavailable`](crate::store::StoreError) and `Full` give the block back to the spool. Nothing is sent
//!   until the breaker is closed again, or a short pause is over.
//! - Rows that the store refuses for good become dead letters, by the rule that stands at `verdict::judge`. Where
//!   `dead-letter/` cannot take them their block stays in the spool.
//! - Rows that clash with others of the same id are accepted again under new ids, before their block is settled. A
//!   crash in between may accept them twice.
//! - The spool is told to forget what the store holds durably, the dead letters, and what was accepted again; nothing
//!   else.

mod delivery;
mod state;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use actix::Addr;

use self::state::State;
use self::verdict::Piece;
use super::Stopped;
use super::breaker::Breaker;
use super::dead_letter::DeadLetters;
use super::metrics::WorkerMetrics;
use super::rate::RateMeter;
use super::store_worker::{StoreWorker, WriteOutcome};
use super::thread::OwnThread;
use crate::batch::{Block, BlockId, BlockSet};
use crate::buffers;
use crate::spool::Spool;
use crate::store::Store;

/// How long the fetching thread waits for the spool at a time.
const FETCH_WAIT: Duration = Duration::from_secs(1);
/// How long it waits where the spool does not.
const CLOSED_WAIT: Duration = Duration::from_millis(100);

/// What the dispatcher works with.
pub(super) struct Parts {
    pub(super) spool: Arc<Spool>,
    pub(super) store: Arc<dyn Store>,
    pub(super) pool: Addr<StoreWorker>,
    pub(super) breaker: Arc<Breaker>,
    pub(super) metrics: WorkerMetrics,
    pub(super) rate: Arc<RateMeter>,
    pub(super) letters: DeadLetters,
    /// How many batches are with the pool at a time.
    pub(super) inflight: usize,
}

/// The dispatcher's two threads.
pub(super) struct Dispatcher {
    events: Sender<Event>,
    stopping: Arc<AtomicBool>,
    dispatching: OwnThread,
    released: Receiver<BlockSet>,
    fetching: OwnThread,
}

enum Event {
    /// The spool has given a block.
    Block(Block),
    /// A worker is done.
    Outcome { block: BlockId, piece: Piece, outcome: WriteOutcome },
    /// The breaker has changed.
    Breaker,
    /// Take no more, and end when no worker holds anything.
    Stop,
}

impl Dispatcher {
    /// Starts the threads.
    pub(super) fn start(parts: Parts) -> io::Result<Dispatcher> {
        let (events, received) = channel();
        let (orders, ordered) = channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let changed = events.clone();
        // Once the dispatcher has ended nobody needs to know.
        parts.breaker.on_change(move |_| drop(changed.send(Event::Breaker)));
        let fetching = {
            let (spool, events, stopping) = (Arc::clone(&parts.spool), events.clone(), Arc::clone(&stopping));
            OwnThread::spawn("fetch", move || fetch(&spool, &ordered, &events, &stopping))?
        };
        let state = State::new(parts, events.clone(), orders);
        let (release, released) = channel();
        // Nobody listens where the stop did not wait for it.
        let dispatching = OwnThread::spawn("dispatch", move || drop(release.send(state.run(&received))))?;
        Ok(Dispatcher { events, stopping, dispatching, released, fetching })
    }

    /// Whether it runs.
    pub(super) fn is_running(&self) -> bool {
        self.dispatching.is_running() && self.fetching.is_running()
    }

    /// Takes no more blocks, waits until no worker holds one, and ends the threads, until `deadline` at most. What is
    /// not written then is delivered again after the next start.
    pub(super) fn stop(self, deadline: Instant) -> Stopped {
        self.stopping.store(true, Ordering::Relaxed);
        // It can only fail where the thread has ended already.
        let _ = self.events.send(Event::Stop);
        let dispatched = self.dispatching.join_until(deadline);
        let fetched = self.fetching.join_until(deadline);
        Stopped { in_time: dispatched && fetched, released: self.released.try_recv().unwrap_or_default() }
    }
}

/// Fetches a block from the spool for each order, until there are no more orders.
fn fetch(spool: &Spool, orders: &Receiver<()>, events: &Sender<Event>, stopping: &AtomicBool) {
    while orders.recv().is_ok() {
        let block = loop {
            if stopping.load(Ordering::Relaxed) {
                return;
            }
            let asked = Instant::now();
            match spool.next(FETCH_WAIT) {
                Some(block) => break block,
                // A closed spool does not wait; the end comes soon.
                None if asked.elapsed() < FETCH_WAIT / 2 => thread::sleep(CLOSED_WAIT),
                None => buffers::give_back(),
            }
        };
        let id = block.id;
        if events.send(Event::Block(block)).is_err() {
            return spool.retry(id);
        }
    }
}
