//! A block that the spool has handed out, until it is in the store or goes back.

use std::time::{Duration, Instant};

use super::verdict::{Piece, Sorted};
use crate::batch::{Block, BlockSet};

/// A block in hand: which of its rows wait, and for what.
pub(super) struct Delivery {
    pub(super) block: Block,
    /// About how many bytes of memory it holds.
    pub(super) bytes: usize,
    ready: Vec<Piece>,
    held: Vec<Held>,
    letters: Vec<Letter>,
    with_workers: usize,
    given_back: bool,
}

/// Rows that were refused, and wait for another write's success or their back-off's end.
struct Held {
    piece: Piece,
    until: Instant,
}

/// Rows that are to become dead letters.
pub(super) struct Letter {
    pub(super) rows: Vec<u32>,
    pub(super) reason: String,
    attempts: u32,
    until: Instant,
}

impl Delivery {
    /// Takes a block whose rows in `released` need no writing any more.
    pub(super) fn new(block: Block, released: &[&BlockSet]) -> Delivery {
        let whole = Piece::fresh(0, block.id.rows);
        let ready = if released.iter().any(|set| set.touches(block.id)) {
            let is_released = |row: &u32| released.iter().any(|set| set.contains(block.slice(*row, 1).id));
            whole.without(&(0..block.id.rows).filter(is_released).collect::<Vec<_>>())
        } else {
            vec![whole]
        };
        Delivery {
            bytes: block.batch.size_bytes(),
            block,
            ready,
            held: Vec::new(),
            letters: Vec::new(),
            with_workers: 0,
            given_back: false,
        }
    }

    /// The next rows to be sent, if any; they are with a worker from now on.
    pub(super) fn send_next(&mut self, now: Instant, successes: u64) -> Option<Piece> {
        let piece = match self.ready.pop() {
            Some(piece) => piece,
            None => {
                let due = |held: &Held| held.until <= now || held.piece.struck.is_some_and(|struck| successes > struck);
                let place = self.held.iter().position(due)?;
                self.held.swap_remove(place).piece
            }
        };
        self.with_workers += 1;
        Some(piece)
    }

    /// The rows of a piece as a block to send.
    pub(super) fn cut(&self, piece: Piece) -> Block {
        if piece.rows == self.block.id.rows { self.block.clone() } else { self.block.slice(piece.offset, piece.rows) }
    }

    /// A worker is done with a piece.
    pub(super) fn returned(&mut self) {
        self.with_workers = self.with_workers.saturating_sub(1);
    }

    /// Queues what has become of a piece, but for the rows that clash.
    pub(super) fn queue(&mut self, sorted: Sorted, reason: &str, now: Instant) {
        if self.given_back {
            return;
        }
        self.ready.extend(sorted.now);
        self.held.extend(sorted.later.into_iter().map(|piece| Held { piece, until: now + piece.backoff() }));
        if !sorted.dead.is_empty() {
            self.letters.push(Letter { rows: sorted.dead, reason: reason.to_owned(), attempts: 0, until: now });
        }
    }

    /// A letter whose time has come.
    pub(super) fn take_letter(&mut self, now: Instant) -> Option<Letter> {
        let place = self.letters.iter().position(|letter| letter.until <= now)?;
        Some(self.letters.swap_remove(place))
    }

    /// Keeps a letter that could not be put away; it is tried again later.
    pub(super) fn keep_letter(&mut self, mut letter: Letter, now: Instant) {
        let wait = Piece { attempts: letter.attempts, ..Piece::fresh(0, 0) }.backoff();
        letter.attempts = letter.attempts.saturating_add(1);
        letter.until = now + wait;
        self.letters.push(letter);
    }

    /// Sends nothing more of it; the block goes back to the spool when no worker holds any of it.
    pub(super) fn give_back(&mut self) {
        self.given_back = true;
        self.ready.clear();
        self.held.clear();
        self.letters.clear();
    }

    /// How many pieces there are.
    pub(super) fn pieces(&self) -> usize {
        self.ready.len() + self.held.len() + self.with_workers
    }

    /// Whether all that is left of it are dead letters that cannot be put away.
    pub(super) fn waits_for_letters(&self) -> bool {
        self.pieces() == 0 && !self.letters.is_empty()
    }

    /// What has become of it, once nothing is left to do.
    pub(super) fn end(&self) -> Option<End> {
        let over = self.pieces() == 0 && self.letters.is_empty();
        over.then_some(if self.given_back { End::GivenBack } else { End::Written })
    }

    /// How long until something is due.
    pub(super) fn next_due(&self, now: Instant) -> Option<Duration> {
        let held = self.held.iter().map(|held| held.until);
        held.chain(self.letters.iter().map(|letter| letter.until)).min().map(|due| due.saturating_duration_since(now))
    }
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Every row is in the store, a dead letter, or accepted again.
    Written,
    /// It goes back to the spool.
    GivenBack,
}

#[cfg(test)]
mod tests {
    use sluice_model::{RunId, Severity, Timestamp};

    use super::*;
    use crate::batch::{BlockId, LogBatchBuilder};

    fn block(rows: u32) -> Block {
        let mut builder = LogBatchBuilder::new();
        for row in 0..rows {
            builder.commit(Timestamp::from_nanos(i64::from(row)), Severity::Info, "INFO", "", "m");
        }
        let id = BlockId { run: RunId::from_bytes([3; RunId::BYTES]), first: 1000, rows };
        Block { id, arrival: Timestamp::from_nanos(0), batch: builder.finish() }
    }

    #[test]
    fn released_rows_are_not_sent() {
        let block = block(10);
        let mut released = BlockSet::new();
        released.insert(BlockId { first: 1000, rows: 2, ..block.id });
        released.insert(BlockId { first: 1005, rows: 1, ..block.id });
        let now = Instant::now();
        let mut delivery = Delivery::new(block.clone(), &[&released]);
        let mut sent: Vec<_> = std::iter::from_fn(|| delivery.send_next(now, 0)).collect();
        sent.sort_by_key(|piece| piece.offset);
        let ids: Vec<_> = sent.iter().map(|piece| delivery.cut(*piece).id).map(|id| (id.first, id.rows)).collect();
        assert_eq!(ids, [(1002, 3), (1006, 4)]);
        assert_eq!(delivery.end(), None);
        sent.iter().for_each(|_| delivery.returned());
        assert_eq!(delivery.end(), Some(End::Written));

        released.insert(block.id);
        assert_eq!(Delivery::new(block, &[&released]).end(), Some(End::Written));
    }

    #[test]
    fn a_block_goes_back_only_when_no_worker_holds_any_of_it() {
        let now = Instant::now();
        let mut delivery = Delivery::new(block(4), &[]);
        let whole = delivery.send_next(now, 0).unwrap();
        delivery.returned();
        let halves = Sorted {
            now: vec![Piece { rows: 2, ..whole }, Piece { offset: 2, rows: 2, ..whole }],
            ..Sorted::default()
        };
        delivery.queue(halves, "", now);
        assert!(delivery.send_next(now, 0).is_some() && delivery.send_next(now, 0).is_some());
        delivery.give_back();
        delivery.returned();
        assert_eq!(delivery.end(), None, "the other half is with a worker");
        let late = Sorted { now: vec![whole], dead: vec![1], ..Sorted::default() };
        delivery.queue(late, "", now);
        delivery.returned();
        assert_eq!(delivery.end(), Some(End::GivenBack));
    }

    #[test]
    fn held_rows_wait_for_a_success_or_their_time() {
        let now = Instant::now();
        let mut delivery = Delivery::new(block(4), &[]);
        let piece = delivery.send_next(now, 5).unwrap();
        delivery.returned();
        let held = Piece { struck: Some(5), attempts: 1, ..piece };
        delivery.queue(Sorted { later: vec![held], ..Sorted::default() }, "", now);
        assert_eq!(delivery.send_next(now, 5), None);
        assert_eq!(delivery.next_due(now), Some(Duration::from_secs(2)));
        assert_eq!(delivery.send_next(now, 6), Some(held));
        delivery.queue(Sorted { later: vec![held], ..Sorted::default() }, "", now);
        assert_eq!(delivery.send_next(now + Duration::from_secs(2), 5), Some(held));
    }

    #[test]
    fn a_letter_that_cannot_be_put_away_waits_longer_each_time() {
        let mut now = Instant::now();
        let mut delivery = Delivery::new(block(1), &[]);
        delivery.send_next(now, 0);
        delivery.returned();
        delivery.queue(Sorted { dead: vec![0], ..Sorted::default() }, "why", now);
        for wait in [1, 2, 4] {
            let letter = delivery.take_letter(now).unwrap();
            assert_eq!(letter.reason, "why");
            delivery.keep_letter(letter, now);
            assert!(delivery.waits_for_letters() && delivery.take_letter(now).is_none());
            now += Duration::from_secs(wait);
        }
    }
}
