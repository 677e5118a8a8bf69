//! The writer: one thread that forms commit groups, makes them durable, and answers.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use sluice_model::{RecordId, RunId, Timestamp};

use super::active::Active;
use super::delivery::{NewBlock, Place};
use super::group::{Part, Ready, compose};
use super::queue::{Pending, Taken};
use super::recovery::{Recovered, segment_path};
use super::segment::{PAGE, Predecessor, SegmentHeader, push_slices};
use super::segments::Segment;
use super::{Shared, SpoolError, locked};

/// How long the file of a spool with nothing in it may be.
const IDLE_BYTES: u64 = 4 << 20;
/// After how long without work the writer tidies up.
const IDLE: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });
/// How long the writer waits after a failure before it opens a new segment, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The thread's state.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    run: RunId,
    sequence: u64,
    active: Option<Active>,
    last_number: u64,
    /// What the next segment's header says of the last one that took blocks.
    predecessor: Option<Predecessor>,
    /// The segment whose last write failed, until a header says how much of it is valid.
    doubtful: Option<Active>,
    retry_wait: Duration,
    retry_at: Option<Instant>,
}

/// Sees to it that nobody waits for a writer that is gone.
struct Farewell(Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.queue.abandon();
        locked(&self.0.keys).abandon();
        locked(&self.0.refusing).get_or_insert_with(|| "the spool is closed".to_owned());
    }
}

impl Writer {
    /// Takes over what was recovered and opens a segment; a failure to do so is tried again by the thread.
    pub fn new(shared: Arc<Shared>, recovered: Recovered, run: RunId) -> Writer {
        let mut writer = Writer {
            shared,
            run,
            sequence: 0,
            active: None,
            last_number: recovered.last_number,
            predecessor: recovered.last,
            doubtful: None,
            retry_wait: RETRY_MIN,
            retry_at: None,
        };
        // It is logged, and `refusing` says so.
        let _ = writer.open_segment();
        writer
    }

    /// Works until the queue is closed and empty.
    pub fn run(mut self) {
        let _farewell = Farewell(self.shared.clone());
        loop {
            let wait = self.retry_at.map_or(IDLE, |at| at.saturating_duration_since(Instant::now()).min(IDLE));
            match self.shared.queue.take(wait) {
                Taken::Group(group) => self.survive(group),
                Taken::Idle => self.idle(),
                Taken::Closed => break,
            }
        }
        self.close_segment();
        self.shared.sweeper.sweep(&self.shared);
    }

    /// Commits a group; a panic is a failure of that group alone. Its senders learn of it by their replies being
    /// dropped, and what it left in the segment counts as little as after a failed write.
    fn survive(&mut self, group: Vec<Pending>) {
        let keys: Vec<_> = group.iter().filter_map(|pending| pending.key).collect();
        // The state that a panic leaves is made anew below: the segment, and the run, so that no id is given twice.
        if catch_unwind(AssertUnwindSafe(|| self.commit(group))).is_err() {
            error!("a commit of the spool panicked; its batches are refused");
            let failure = self.abandon_segment(&io::Error::other("a panic, which is a bug"));
            for key in keys {
                // A key that was committed stays so.
                let waiting = locked(&self.shared.keys).fail(key);
                for reply in waiting {
                    let _ = reply.send(Err(failure.clone()));
                }
            }
            self.draw_run();
        }
    }

    fn commit(&mut self, group: Vec<Pending>) {
        if group.iter().any(|pending| pending.fresh_run) {
            self.draw_run();
        }
        let drafts = compose(group);
        let mut blocks = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let rows = draft.batch.len() as u64;
            if self.sequence + rows > RecordId::SEQUENCES {
                self.draw_run();
            }
            match Ready::new(draft, self.run, self.sequence) {
                Ok(block) => blocks.push(block),
                Err((parts, error)) => self.refuse(parts, &SpoolError::Failed(error.to_string())),
            }
            // Even if the group fails: its records might come back, so their ids are used up.
            self.sequence += rows;
        }
        if blocks.is_empty() {
            return;
        }
        match self.write(&blocks) {
            Ok(places) => self.publish(blocks, places),
            Err(error) => self.refuse(blocks.into_iter().flat_map(|block| block.parts), &error),
        }
    }

    /// Draws a new run: a greater one, also where the clock was set back, so that ids go on sorting by arrival.
    fn draw_run(&mut self) {
        let later = self.run.start().as_nanos().saturating_add(1_000_000);
        self.run = RunId::new(Timestamp::now().max(Timestamp::from_nanos(later)), rand::random());
        self.sequence = 0;
    }

    /// Makes the blocks durable, all or none, and says where they stand.
    fn write(&mut self, blocks: &[Ready]) -> Result<Vec<Place>, SpoolError> {
        let lengths: Vec<u64> = blocks.iter().map(|block| block.header(0, 0, 0, 0).length()).collect();
        let bytes = lengths.iter().sum();
        self.make_room(bytes)?;
        let active = self.active.as_mut().ok_or_else(|| SpoolError::Failed("no segment is open".to_owned()))?;
        let mut offset = active.end;
        let places: Vec<Place> = lengths
            .into_iter()
            .map(|length| {
                let place = Place { segment: active.number, offset, length };
                offset += length;
                place
            })
            .collect();
        active.groups += 1;
        let heads: Vec<Vec<u8>> = blocks
            .iter()
            .zip(&places)
            .map(|(block, place)| block.header(active.number, active.nonce, place.offset, active.groups).encode())
            .collect();
        let mut slices = Vec::new();
        for (block, head) in blocks.iter().zip(&heads) {
            push_slices(head, &block.keys, &block.payload, &mut slices);
        }
        if let Err(error) = active.write(&self.shared, slices, bytes) {
            return Err(self.abandon_segment(&error));
        }
        self.shared.metrics.commits.inc();
        self.shared.metrics.written_bytes.inc_by(bytes);
        Ok(places)
    }

    /// Makes what is durable known: keys, then deliveries, then answers.
    fn publish(&mut self, blocks: Vec<Ready>, places: Vec<Place>) {
        let shared = &self.shared;
        let bytes: u64 = places.iter().map(|place| place.length).sum();
        shared.budget.add_used(bytes);
        shared.metrics.group_batches.observe(blocks.iter().map(|block| block.parts.len()).sum::<usize>() as f64);
        let now = Instant::now();
        for (block, place) in blocks.into_iter().zip(places) {
            let records: Vec<_> = block.key_records().collect();
            let Ready { id, lane, arrival, batch, parts, again, .. } = block;
            shared.index.segments(|segments| segments.grow(place.segment, place.length, id.run));
            let ordinals = shared.feed.publish(id, batch, !again, |batch| {
                let new = NewBlock { id, lane, arrival, place, batch: Some(batch), committed: Some(now) };
                shared.index.publish(if id.rows > 0 { vec![new] } else { Vec::new() })
            });
            let ordinal = ordinals.last().copied().unwrap_or(0);
            for record in records {
                let waiting = locked(&shared.keys).commit(&record, ordinal, place.segment, shared.clock.now());
                for reply in waiting {
                    let receipt = super::Receipt { first: record.first, rows: record.rows, replayed: true, ordinal };
                    // Whoever hung up finds the outcome by the key.
                    let _ = reply.send(Ok(receipt));
                }
            }
            for part in parts {
                let receipt = part.receipt(id, ordinal);
                let _ = part.reply.send(Ok(receipt));
            }
        }
    }

    /// Answers with an error; the keys are free again.
    fn refuse(&self, parts: impl IntoIterator<Item = Part>, error: &SpoolError) {
        for part in parts {
            let waiting = part.key.map(|key| locked(&self.shared.keys).fail(key)).unwrap_or_default();
            for reply in waiting.into_iter().chain([part.reply]) {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }

    /// Sees to it that a segment is open and has room.
    fn make_room(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let full = |active: &Active| active.end > PAGE && active.end + bytes > self.shared.settings.segment_bytes;
        if self.active.as_ref().is_some_and(full) {
            self.close_segment();
        }
        if self.active.is_some() {
            return Ok(());
        }
        if self.retry_at.is_some_and(|at| at > Instant::now()) {
            let why = locked(&self.shared.refusing).clone().unwrap_or_default();
            return Err(SpoolError::Failed(why));
        }
        self.open_segment()
    }

    /// Opens the next segment: only when its header is durable is anything accepted again.
    fn open_segment(&mut self) -> Result<(), SpoolError> {
        self.last_number += 1;
        let number = self.last_number;
        let header = SegmentHeader {
            number,
            nonce: rand::random(),
            run: self.run,
            created: Timestamp::now(),
            predecessor: self.predecessor,
        };
        match Active::make(&self.shared, &header) {
            Ok(active) => {
                let outlives = self.predecessor.filter(|before| before.abandoned).map(|before| before.number);
                let segment = Segment { bytes: PAGE, outlives, ..Segment::default() };
                self.shared.index.segments(|segments| segments.activate(number, segment));
                self.shared.budget.add_used(PAGE);
                self.active = Some(active);
                if let Some(before) = self.doubtful.take() {
                    // The header says the same durably; this only gives room back.
                    let _ = before.file.truncate(before.end);
                }
                if self.retry_at.take().is_some() {
                    info!(segment = number; "the spool writes again");
                }
                self.retry_wait = RETRY_MIN;
                *locked(&self.shared.refusing) = None;
                Ok(())
            }
            Err(error) => {
                let path = segment_path(&self.shared.folder, number);
                // Should it stay, the next start finds a segment without blocks.
                let _ = self.shared.files.remove(&path);
                Err(self.fail(&format!("a new segment cannot be opened: {error}")))
            }
        }
    }

    /// Ends the segment that is written; it is whole.
    fn close_segment(&mut self) {
        let Some(active) = self.active.take() else { return };
        self.predecessor = Some(Predecessor { number: active.number, valid: active.end, abandoned: false });
        // Only gives the room of the zeros at the end back.
        let _ = active.file.truncate(active.end);
        self.shared.index.segments(|segments| segments.close_active());
    }

    /// Ends the segment after a failure: what was written last is in doubt, and the file is never trusted again.
    fn abandon_segment(&mut self, error: &io::Error) -> SpoolError {
        self.shared.metrics.failures.inc();
        if let Some(active) = self.active.take() {
            self.predecessor = Some(Predecessor { number: active.number, valid: active.end, abandoned: true });
            self.doubtful = Some(active);
            self.shared.index.segments(|segments| segments.close_active());
        }
        self.fail(&format!("a write failed: {error}"))
    }

    /// Refuses everything until a new segment is open.
    fn fail(&mut self, why: &str) -> SpoolError {
        if self.retry_at.is_none() {
            error!("the spool accepts nothing: {why}");
        }
        self.retry_at = Some(Instant::now() + self.retry_wait);
        self.retry_wait = (self.retry_wait * 2).min(RETRY_MAX);
        *locked(&self.shared.refusing) = Some(why.to_owned());
        SpoolError::Failed(why.to_owned())
    }

    fn idle(&mut self) {
        if self.active.is_none() {
            if self.retry_at.is_none_or(|at| at <= Instant::now()) {
                // It is logged, and `refusing` says so.
                let _ = self.open_segment();
            }
            return;
        }
        let settled = self.shared.index.segments(|segments| segments.active_is_settled());
        if settled && self.active.as_ref().is_some_and(|active| active.allocated > IDLE_BYTES) {
            self.close_segment();
            if let Err(error) = self.open_segment() {
                warn!(error:%; "the idle spool keeps its segment");
            }
        }
        self.shared.sweeper.sweep(&self.shared);
    }
}
