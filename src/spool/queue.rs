//! What waits for the writer, and which of it makes the next commit group.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use super::budget::Reservation;
use super::lane::Lane;
use super::{IdempotencyKey, Receipt, SpoolError, locked};
use crate::batch::LogBatch;

/// How large a commit group is at most, unless it is one batch.
const GROUP_BYTES: u64 = 8 << 20;
/// How often a batch is passed over for smaller ones that came later.
const PASSED_OVER_MAX: u8 = 2;

/// The answer to whoever appended.
pub(super) type Reply = oneshot::Sender<Result<Receipt, SpoolError>>;

/// A batch that waits for the writer. Their number and size are bounded by their reservations.
#[derive(Debug)]
pub(super) struct Pending {
    pub batch: LogBatch,
    pub lane: Lane,
    /// About how much memory the batch takes.
    pub bytes: u64,
    pub key: Option<IdempotencyKey>,
    pub reservation: Reservation,
    /// Whether the batch needs a run that nothing was accepted under before.
    pub fresh_run: bool,
    pub passed_over: u8,
    pub reply: Reply,
}

/// What the writer gets from [`Queue::take`].
#[derive(Debug)]
pub(super) enum Taken {
    Group(Vec<Pending>),
    /// Nothing came in time.
    Idle,
    /// Nothing waits, and nothing more will come.
    Closed,
}

/// The batches that wait for the writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<Pending>,
    closed: bool,
}

impl Queue {
    /// Adds a batch, unless the queue is closed.
    pub fn push(&self, pending: Pending) -> Result<(), SpoolError> {
        let mut state = locked(&self.state);
        if state.closed {
            return Err(SpoolError::Closed);
        }
        state.pending.push(pending);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes the next commit group; waits for one, if nothing is there.
    pub fn take(&self, wait: Duration) -> Taken {
        let state = locked(&self.state);
        let nothing = |state: &mut State| state.pending.is_empty() && !state.closed;
        let waited = self.wake.wait_timeout_while(state, wait, nothing);
        let (mut state, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        match (state.pending.is_empty(), state.closed) {
            (false, _) => Taken::Group(choose(&mut state.pending)),
            (true, true) => Taken::Closed,
            (true, false) => Taken::Idle,
        }
    }

    /// Lets nothing more in; what waits is still taken.
    pub fn close(&self) {
        locked(&self.state).closed = true;
        self.wake.notify_all();
    }

    /// Whether nothing more is let in.
    pub fn is_closed(&self) -> bool {
        locked(&self.state).closed
    }

    /// Lets nothing more in, and drops what waits.
    pub fn abandon(&self) {
        let mut state = locked(&self.state);
        state.closed = true;
        let dropped = std::mem::take(&mut state.pending);
        drop(state);
        drop(dropped);
    }
}

/// Takes a commit group out of `pending`, which stands in the order of arrival: first what was passed over too often,
/// then the small before the large.
fn choose(pending: &mut Vec<Pending>) -> Vec<Pending> {
    let mut order: Vec<(bool, u64, usize)> = Vec::with_capacity(pending.len());
    for (index, waiting) in pending.iter().enumerate() {
        let patient = waiting.passed_over < PASSED_OVER_MAX;
        order.push((patient, if patient { waiting.bytes } else { 0 }, index));
    }
    order.sort_unstable();
    let mut chosen = vec![false; pending.len()];
    let (mut bytes, mut last) = (0, 0);
    for (_, _, index) in order {
        let size = pending.get(index).map_or(0, |waiting| waiting.bytes);
        if bytes > 0 && bytes + size > GROUP_BYTES {
            // Nothing overtakes a batch that has been passed over too often, and after any other come larger ones only.
            break;
        }
        bytes += size.max(1);
        if let Some(flag) = chosen.get_mut(index) {
            *flag = true;
        }
        last = last.max(index);
    }
    let mut group = Vec::new();
    let mut rest = Vec::new();
    for (index, (mut waiting, chosen)) in pending.drain(..).zip(chosen).enumerate() {
        if chosen {
            group.push(waiting);
        } else {
            waiting.passed_over += u8::from(index < last && waiting.passed_over < u8::MAX);
            rest.push(waiting);
        }
    }
    *pending = rest;
    group
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;

    fn waiting(bytes: u64) -> Pending {
        Pending {
            batch: LogBatch::empty(),
            lane: Lane::Bulk,
            bytes,
            key: None,
            reservation: Budget::exempt(),
            fresh_run: false,
            passed_over: 0,
            reply: oneshot::channel().0,
        }
    }

    fn sizes(group: &[Pending]) -> Vec<u64> {
        group.iter().map(|waiting| waiting.bytes).collect()
    }

    #[test]
    fn small_batches_go_first_and_none_is_passed_over_more_than_twice() {
        const MIB: u64 = 1 << 20;
        let mut pending = vec![waiting(5 * MIB), waiting(MIB), waiting(7 * MIB)];
        assert_eq!(sizes(&choose(&mut pending)), [5 * MIB, MIB]);
        pending.extend([waiting(6 * MIB), waiting(6 * MIB), waiting(MIB)]);
        assert_eq!(sizes(&choose(&mut pending)), [6 * MIB, MIB]);
        pending.extend([waiting(4 * MIB), waiting(MIB)]);
        assert_eq!(sizes(&choose(&mut pending)), [4 * MIB, MIB]);
        // The first one has been passed over twice now: the small ones wait.
        pending.extend([waiting(1), waiting(2)]);
        assert_eq!(sizes(&choose(&mut pending)), [7 * MIB]);
        assert_eq!(sizes(&choose(&mut pending)), [6 * MIB, 1, 2]);
        assert!(pending.is_empty());
    }

    #[test]
    fn a_batch_larger_than_a_group_goes_alone() {
        let mut pending = vec![waiting(2 * GROUP_BYTES), waiting(3 * GROUP_BYTES)];
        assert_eq!(sizes(&choose(&mut pending)), [2 * GROUP_BYTES]);
        assert_eq!(sizes(&choose(&mut pending)), [3 * GROUP_BYTES]);
    }

    #[test]
    fn what_waits_is_taken_before_the_end() {
        let queue = Queue::default();
        assert!(matches!(queue.take(Duration::ZERO), Taken::Idle));
        queue.push(waiting(1)).unwrap();
        queue.close();
        assert!(matches!(queue.push(waiting(1)), Err(SpoolError::Closed)));
        assert!(matches!(queue.take(Duration::from_secs(9)), Taken::Group(_)));
        assert!(matches!(queue.take(Duration::from_secs(9)), Taken::Closed));
    }
}
