//! The dispatching thread: its state, and what it does about each event.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use arrow_array::UInt32Array;
use log::{debug, error, warn};

use super::delivery::{Delivery, End};
use super::verdict::{Cause, Piece, Sorted, Verdict, judge};
use super::{Event, Parts};
use crate::batch::{Block, BlockId, BlockSet};
use crate::worker::store_worker::{Reply, StoreBatch, WriteOutcome};

/// How many blocks may be in hand beyond those with workers, however large: refused ones that wait.
const WAITING_MAX: usize = 8;
/// How many may be in hand while they are small. Refused blocks wait for another write to succeed, so the blocks behind
/// them must still come in.
const SMALL_WAITING_MAX: usize = 1024;
const SMALL_WAITING_BYTES_MAX: usize = 64 << 20;
/// How often the store is asked what it holds durably, besides after each block.
const TICK: Duration = Duration::from_secs(1);
/// How often the store is asked to flush, while the spool wants it.
const FLUSH_PERIOD: Duration = Duration::from_secs(2);
/// The same, where a block stays in the spool for its dead letters' sake and no flush would help.
const FLUSH_PERIOD_PINNED: Duration = Duration::from_secs(60);
/// How long nothing is sent after a failure that has not opened the breaker, so that it is not tried in a tight loop.
const PAUSE: Duration = Duration::from_millis(100);
/// All that the dispatching thread knows.
pub(super) struct State {
    parts: Parts,
    events: Sender<Event>,
    /// Orders to the fetching thread, and how many it has not filled.
    orders: Sender<()>,
    ordered: usize,
    deliveries: BTreeMap<BlockId, Delivery>,
    with_workers: usize,
    /// How many writes have succeeded.
    successes: u64,
    /// The rows that were accepted again under new ids.
    reaccepted: BlockSet,
    paused_until: Instant,
    ticked: Instant,
    flush_asked: Option<Instant>,
    /// Whether blocks stay in the spool because `dead-letter/` does not take their rows.
    pinned: bool,
    stopping: bool,
}

impl State {
    pub(super) fn new(parts: Parts, events: Sender<Event>, orders: Sender<()>) -> State {
        let now = Instant::now();
        State {
            parts,
            events,
            orders,
            ordered: 0,
            deliveries: BTreeMap::new(),
            with_workers: 0,
            successes: 0,
            reaccepted: BlockSet::new(),
            paused_until: now,
            ticked: now,
            flush_asked: None,
            pinned: false,
            stopping: false,
        }
    }

    /// Handles events until it is told to stop and no worker holds anything; returns the records that are settled
    /// although the store has them not under their ids: dead letters, and what was accepted again.
    pub(super) fn run(mut self, events: &Receiver<Event>) -> BlockSet {
        // What the store has held since before the start need not be sent again.
        self.settle();
        while !(self.stopping && self.with_workers == 0) {
            let now = Instant::now();
            self.feed(now);
            // It cannot be disconnected, `self` has a sender; so an error is the time-out.
            if let Ok(event) = events.recv_timeout(self.wait(now)) {
                self.handle(event);
            }
            if self.ticked.elapsed() >= TICK {
                self.tick();
            }
        }
        for id in self.deliveries.keys() {
            self.parts.spool.retry(*id);
        }
        self.settle();
        self.released()
    }

    /// Sends what is ready, then orders as many blocks as could be sent too.
    fn feed(&mut self, now: Instant) {
        if self.is_parked(now) {
            return;
        }
        self.put_letters(now);
        while self.with_workers < self.parts.inflight && self.send_next(now) {}
        let bytes: usize = self.deliveries.values().map(|delivery| delivery.bytes).sum();
        let waiting_max = if bytes < SMALL_WAITING_BYTES_MAX { SMALL_WAITING_MAX } else { WAITING_MAX };
        while self.with_workers + self.ordered < self.parts.inflight
            && self.deliveries.len() + self.ordered < self.parts.inflight + waiting_max
            && self.orders.send(()).is_ok()
        {
            self.ordered += 1;
        }
    }

    fn is_parked(&self, now: Instant) -> bool {
        self.stopping || now < self.paused_until || !self.parts.breaker.is_closed()
    }

    /// How long there is nothing to do, unless an event comes.
    fn wait(&self, now: Instant) -> Duration {
        let tick = TICK.saturating_sub(now - self.ticked);
        if now < self.paused_until {
            return tick.min(self.paused_until - now);
        }
        let busy = self.is_parked(now) || self.with_workers >= self.parts.inflight;
        let due = if busy { None } else { self.deliveries.values().filter_map(|one| one.next_due(now)).min() };
        due.map_or(tick, |due| due.min(tick))
    }

    fn send_next(&mut self, now: Instant) -> bool {
        for (id, delivery) in &mut self.deliveries {
            let Some(piece) = delivery.send_next(now, self.successes) else { continue };
            let (block, events) = (*id, self.events.clone());
            let reply = Reply::new(move |outcome| drop(events.send(Event::Outcome { block, piece, outcome })));
            self.with_workers += 1;
            self.parts.pool.do_send(StoreBatch { block: delivery.cut(piece), reply });
            return true;
        }
        false
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Block(block) => {
                self.ordered = self.ordered.saturating_sub(1);
                self.take(block);
            }
            Event::Outcome { block, piece, outcome } => self.conclude(block, piece, &outcome),
            Event::Breaker => {}
            Event::Stop => self.stopping = true,
        }
    }

    fn take(&mut self, block: Block) {
        if self.is_parked(Instant::now()) {
            return self.parts.spool.retry(block.id);
        }
        let id = block.id;
        let delivery = Delivery::new(block, &[self.parts.letters.known(), &self.reaccepted]);
        self.deliveries.insert(id, delivery);
        self.end_if_over(id);
    }

    fn conclude(&mut self, id: BlockId, piece: Piece, outcome: &WriteOutcome) {
        self.with_workers = self.with_workers.saturating_sub(1);
        let Some(delivery) = self.deliveries.get_mut(&id) else { return };
        delivery.returned();
        match judge(piece, outcome, self.successes, delivery.pieces() + 1) {
            Verdict::Written => {
                self.successes += 1;
                self.parts.metrics.records_written.inc_by(u64::from(piece.rows));
                self.parts.rate.add(u64::from(piece.rows));
            }
            Verdict::GiveBack(cause) => {
                delivery.give_back();
                self.pause(cause);
            }
            Verdict::Sort(sorted) => self.sort(id, piece, sorted, outcome),
        }
        self.end_if_over(id);
    }

    fn sort(&mut self, id: BlockId, piece: Piece, mut sorted: Sorted, outcome: &WriteOutcome) {
        let clashing = std::mem::take(&mut sorted.clashing);
        if !clashing.is_empty() && !self.accept_again(id, &clashing) {
            return;
        }
        let Some(delivery) = self.deliveries.get_mut(&id) else { return };
        let reason = match outcome {
            WriteOutcome::Failed(error) => error.to_string(),
            _ => String::new(),
        };
        if piece.struck.is_none() && !(sorted.later.is_empty() && sorted.dead.is_empty()) {
            let first = id.first_record();
            warn!(first:% = first, records = piece.rows, error = reason; "the store refused records; they are tried again");
        }
        let now = Instant::now();
        delivery.queue(sorted, &reason, now);
        self.put_letters(now);
    }

    /// Accepts clashing rows again; where that fails the block goes back.
    fn accept_again(&mut self, id: BlockId, rows: &[u32]) -> bool {
        let Some(delivery) = self.deliveries.get_mut(&id) else { return false };
        let taken = delivery.block.batch.take(&UInt32Array::from(rows.to_vec()));
        let accepted = match taken {
            Ok(batch) => self.parts.spool.accept_again(batch).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match accepted {
            Ok(receipt) => {
                for row in rows {
                    self.reaccepted.insert(BlockId { first: id.first + u64::from(*row), rows: 1, ..id });
                }
                self.parts.metrics.records_clashing.inc_by(rows.len() as u64);
                let (first, as_first) = (id.first_record(), receipt.first);
                warn!(records = rows.len(), block:% = first, new_block:% = as_first; "records clashed with others of the same id; accepted again");
                true
            }
            Err(error) => {
                error!(records = rows.len(), error; "clashing records could not be accepted again; they stay in the spool");
                delivery.give_back();
                self.pause(Cause::Full);
                false
            }
        }
    }

    /// Puts rows at fault into `dead-letter/`.
    fn put_letters(&mut self, now: Instant) {
        let mut ended = Vec::new();
        for (id, delivery) in &mut self.deliveries {
            while let Some(letter) = delivery.take_letter(now) {
                let records = letter.rows.len();
                match self.parts.letters.put(&delivery.block, &letter.rows, &letter.reason) {
                    Ok(fresh) => {
                        self.parts.metrics.records_dead_lettered.inc_by(fresh);
                        warn!(records, reason = letter.reason; "records went to dead-letter/");
                        ended.push(*id);
                    }
                    Err(error) => {
                        error!(records, error:% = error; "dead letters stay in the spool");
                        delivery.keep_letter(letter, now);
                    }
                }
            }
        }
        self.show_letters();
        ended.into_iter().for_each(|id| self.end_if_over(id));
    }

    fn show_letters(&self) {
        self.parts.metrics.dead_letters.set(i64::try_from(self.parts.letters.records()).unwrap_or(i64::MAX));
    }

    fn end_if_over(&mut self, id: BlockId) {
        match self.deliveries.get(&id).and_then(Delivery::end) {
            Some(End::Written) => {
                self.parts.spool.written(id);
                self.deliveries.remove(&id);
                self.settle();
            }
            Some(End::GivenBack) => {
                self.parts.spool.retry(id);
                self.deliveries.remove(&id);
            }
            None => self.shed(id),
        }
    }

    /// Lets go of a block of which only dead letters are left that `dead-letter/` does not take, where such blocks
    /// would keep all others waiting. It counts as written, is never settled, and comes again after the next start.
    fn shed(&mut self, id: BlockId) {
        let stuck = self.deliveries.values().filter(|delivery| delivery.waits_for_letters()).count();
        if stuck >= WAITING_MAX && self.deliveries.get(&id).is_some_and(Delivery::waits_for_letters) {
            error!(block:% = id.first_record(); "a block with dead letters stays in the spool until the next start");
            self.parts.spool.written(id);
            self.deliveries.remove(&id);
            self.pinned = true;
        }
    }

    fn pause(&mut self, cause: Cause) {
        if cause == Cause::Full {
            self.parts.store.request_flush();
        }
        self.paused_until = Instant::now() + PAUSE;
    }

    fn tick(&mut self) {
        self.ticked = Instant::now();
        // What was moved away, or offered again, lies here no more.
        if let Err(error) = self.parts.letters.count() {
            debug!(error:%; "dead letters cannot be counted now");
        }
        self.show_letters();
        let open_runs = self.parts.spool.open_runs();
        self.parts.letters.retain_runs(&open_runs);
        self.reaccepted.retain_runs(|run| open_runs.contains(&run));
        self.settle();
        let period = if self.pinned { FLUSH_PERIOD_PINNED } else { FLUSH_PERIOD };
        let may_ask = self.flush_asked.is_none_or(|asked| asked.elapsed() >= period);
        if may_ask && self.parts.spool.wants_flush() {
            self.flush_asked = Some(self.ticked);
            debug!("the spool asks the store to flush");
            self.parts.store.request_flush();
        }
    }

    /// Tells the spool what it may forget.
    fn settle(&self) {
        let mut settled = self.parts.store.durable();
        settled.extend(&self.released());
        if !settled.is_empty() {
            self.parts.spool.settle(&settled);
        }
    }

    fn released(&self) -> BlockSet {
        let mut released = self.parts.letters.known().clone();
        released.extend(&self.reaccepted);
        released
    }
}
