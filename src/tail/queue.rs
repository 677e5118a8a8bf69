//! What waits for the reader of one tail: bounded in bytes; what finds no room is counted, in its place.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::UInt32Array;
use arrow_buffer::BooleanBuffer;
use tokio::sync::Notify;

use crate::batch::Records;

/// What the reader gets next.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every event is of the largest kind")]
pub enum Event {
    /// Matches.
    Matches(Records),
    /// A gap in the matches.
    Gap(Gap),
    /// The tail is over.
    End,
}

/// What stands between two matches and was not sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gap {
    /// Matches for which the reader's queue had no room: exactly so many.
    pub missed: u64,
    /// Records that were not even looked at, since filtering fell behind; any of them may be a match.
    pub passed_over: u64,
}

/// The queue of one tail.
#[derive(Debug)]
pub(super) struct Queue {
    bytes_max: usize,
    state: Mutex<State>,
    /// Wakes the reader.
    filled: Notify,
    /// Wakes whoever waits for room.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
    /// Set when something was missed, until half of the room is free: a reader that is too slow gets matches and gaps in
    /// turn, and neither too often.
    lagging: bool,
    /// Until when what waits is still given out, once nothing more comes.
    ends_at: Option<Instant>,
}

/// For how long something waits for room at most.
pub(super) struct Patience {
    wait_max: Duration,
    until: Option<Instant>,
}

impl Patience {
    pub fn new(wait_max: Duration) -> Patience {
        Patience { wait_max, until: None }
    }

    /// What is left of it; it begins to run when it is first asked for.
    fn left(&mut self) -> Duration {
        let now = Instant::now();
        self.until.get_or_insert_with(|| now + self.wait_max).saturating_duration_since(now)
    }
}

impl Queue {
    pub fn new(bytes_max: usize) -> Queue {
        Queue { bytes_max, state: Mutex::default(), filled: Notify::new(), emptied: Condvar::new() }
    }

    /// Adds those of `records` that are selected; returns how many of them were missed for want of room. It is waited
    /// for room only where the reader has kept up so far.
    pub fn push(&self, records: &Records, selected: &BooleanBuffer, patience: &mut Patience) -> u64 {
        let rows: Vec<u32> = selected.set_indices().filter_map(|row| u32::try_from(row).ok()).collect();
        let row_bytes = (records.size_bytes() / records.len().max(1)).max(1);
        let mut rest = rows.as_slice();
        let mut state = self.locked();
        while !rest.is_empty() && state.ends_at.is_none() {
            let room = if state.lagging { 0 } else { self.bytes_max.saturating_sub(state.bytes) };
            let (matches, bytes) = fitting(records, rest, room, row_bytes, state.bytes == 0);
            if let Some(matches) = matches {
                rest = rest.get(matches.len()..).unwrap_or_default();
                state.bytes += bytes;
                state.events.push_back(Event::Matches(matches));
                self.filled.notify_one();
                continue;
            }
            let wait = if state.lagging { Duration::ZERO } else { patience.left() };
            if wait.is_zero() {
                state.lagging = true;
                state.gap().missed += rest.len() as u64;
                self.filled.notify_one();
                return rest.len() as u64;
            }
            (state, _) = self.emptied.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
        }
        0
    }

    /// Notes records that were not looked at.
    pub fn pass_over(&self, records: u64) {
        let mut state = self.locked();
        if state.ends_at.is_none() {
            state.gap().passed_over += records;
            self.filled.notify_one();
        }
    }

    /// Adds nothing more. What waits is given out for `grace` yet.
    pub fn end(&self, grace: Duration) {
        self.locked().ends_at.get_or_insert_with(|| Instant::now() + grace);
        self.filled.notify_one();
        self.emptied.notify_all();
    }

    /// The next event, if there is one.
    pub fn try_next(&self) -> Option<Event> {
        let mut state = self.locked();
        if state.ends_at.is_some_and(|at| state.events.is_empty() || at <= Instant::now()) {
            return Some(Event::End);
        }
        let event = state.events.pop_front()?;
        if let Event::Matches(records) = &event {
            state.bytes = state.bytes.saturating_sub(records.size_bytes());
            state.lagging &= state.bytes > self.bytes_max / 2;
            self.emptied.notify_all();
        }
        Some(event)
    }

    /// Waits until there may be an event.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.locked().bytes
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The gap at the end of the queue.
    fn gap(&mut self) -> &mut Gap {
        if !matches!(self.events.back(), Some(Event::Gap(_))) {
            self.events.push_back(Event::Gap(Gap::default()));
        }
        match self.events.back_mut() {
            Some(Event::Gap(gap)) => gap,
            _ => unreachable!("it has just been put there"),
        }
    }
}

/// As many of `rows` as take no more than `room` bytes, in their order, and their bytes; one at least, if there `must` be.
fn fitting(records: &Records, rows: &[u32], room: usize, row_bytes: usize, must: bool) -> (Option<Records>, usize) {
    let mut count = rows.len().min(room / row_bytes).max(usize::from(must));
    while count > 0 {
        let matches = if count == records.len() { Some(records.clone()) } else { take(records, rows, count) };
        let Some(matches) = matches else { break };
        let bytes = matches.size_bytes();
        if bytes <= room || (must && count == 1) {
            return (Some(matches), bytes);
        }
        // Rows are not all of one size.
        count = (count / 2).max(usize::from(must));
    }
    (None, 0)
}

fn take(records: &Records, rows: &[u32], count: usize) -> Option<Records> {
    // It fails only where a row is not there.
    records.take(&UInt32Array::from(rows.get(..count)?.to_vec())).ok()
}
