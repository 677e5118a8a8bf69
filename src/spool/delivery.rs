//! What becomes of a block: it waits for the store, is on its way, is in the store, is settled and forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use sluice_model::Timestamp;

use super::lane::{Lane, PerLane, Schedule};
use super::segments::Segments;
use super::{Behind, LaneStatus, Ordinal};
use crate::batch::{BlockId, BlockSet, LogBatch};

/// How long a block rests that could not be read back: at first, and at most.
const READ_REST_MIN: Duration = Duration::from_millis(10);
const READ_REST_MAX: Duration = Duration::from_secs(10);

/// Where a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub segment: u64,
    pub offset: u64,
    /// With header, keys and padding.
    pub length: u64,
}

/// A block that is new to the index.
#[derive(Debug)]
pub(super) struct NewBlock {
    pub id: BlockId,
    pub lane: Lane,
    pub arrival: Timestamp,
    pub place: Place,
    /// The records, unless they are to be read back.
    pub batch: Option<LogBatch>,
    /// When it was committed, unless an earlier process did it.
    pub committed: Option<Instant>,
}

/// A block that is to go to the store.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub id: BlockId,
    pub arrival: Timestamp,
    pub place: Place,
    pub batch: Option<LogBatch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waiting,
    InFlight,
    /// Searchable in the store, which may still lose it.
    Written,
}

#[derive(Debug)]
struct Tracked {
    block: NewBlock,
    progress: Progress,
    memory_bytes: u64,
    read_failures: u32,
}

#[derive(Debug, Default)]
struct LaneState {
    /// What waits, next one first; what has been settled meanwhile is skipped when it is met.
    waiting: VecDeque<Ordinal>,
    /// What is not in the store.
    open: BTreeSet<Ordinal>,
    records: u64,
    bytes: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct State {
    blocks: BTreeMap<Ordinal, Tracked>,
    by_id: BTreeMap<BlockId, Ordinal>,
    lanes: PerLane<LaneState>,
    schedule: Schedule,
    pub segments: Segments,
    /// The ordinal of the last block.
    pub last: Ordinal,
    memory_used: u64,
    /// Blocks that could not be read back, and when they wait for the store again.
    resting: Vec<(Instant, BlockId)>,
    /// How many blocks are written but not settled.
    written: u64,
    pub closed: bool,
}

impl State {
    pub fn publish(&mut self, mut block: NewBlock, memory_max: u64) -> Ordinal {
        self.last += 1;
        let ordinal = self.last;
        let size = block.batch.as_ref().map_or(0, |batch| batch.size_bytes() as u64);
        let memory_bytes = if self.memory_used + size <= memory_max { size } else { 0 };
        if memory_bytes < size {
            block.batch = None;
        }
        self.memory_used += memory_bytes;
        self.segments.add_block(block.place.segment, block.id.run);
        let lane = self.lanes.get_mut(block.lane);
        if lane.waiting.is_empty() {
            self.schedule.wake(block.lane);
        }
        lane.waiting.push_back(ordinal);
        lane.open.insert(ordinal);
        lane.records += u64::from(block.id.rows);
        lane.bytes += block.place.length;
        self.by_id.insert(block.id, ordinal);
        let tracked = Tracked { block, progress: Progress::Waiting, memory_bytes, read_failures: 0 };
        self.blocks.insert(ordinal, tracked);
        ordinal
    }

    pub fn take(&mut self) -> Option<Delivery> {
        self.wake_rested();
        for lane in Lane::ALL {
            let blocks = &self.blocks;
            let waits =
                |ordinal: &Ordinal| blocks.get(ordinal).is_some_and(|tracked| tracked.progress == Progress::Waiting);
            let waiting = &mut self.lanes.get_mut(lane).waiting;
            while waiting.front().is_some_and(|ordinal| !waits(ordinal)) {
                waiting.pop_front();
            }
        }
        let lane = self.schedule.choose(|lane| !self.lanes.get(lane).waiting.is_empty())?;
        let ordinal = self.lanes.get_mut(lane).waiting.pop_front()?;
        let tracked = self.blocks.get_mut(&ordinal)?;
        tracked.progress = Progress::InFlight;
        let NewBlock { id, arrival, place, ref batch, .. } = tracked.block;
        self.schedule.charge(lane, place.length);
        Some(Delivery { id, arrival, place, batch: batch.clone() })
    }

    pub fn written(&mut self, id: BlockId) {
        let Some(ordinal) = self.by_id.get(&id).copied() else { return };
        let fresh = |tracked: &&mut Tracked| tracked.progress != Progress::Written;
        let Some(tracked) = self.blocks.get_mut(&ordinal).filter(fresh) else { return };
        tracked.progress = Progress::Written;
        tracked.block.batch = None;
        self.memory_used -= std::mem::take(&mut tracked.memory_bytes);
        self.written += 1;
        Self::leave(self.lanes.get_mut(tracked.block.lane), ordinal, tracked);
    }

    /// Takes a block out of what is not in the store.
    fn leave(lane: &mut LaneState, ordinal: Ordinal, tracked: &Tracked) {
        if lane.open.remove(&ordinal) {
            lane.records -= tracked.rows();
            lane.bytes -= tracked.block.place.length;
        }
    }

    pub fn retry(&mut self, id: BlockId) {
        self.wait_again(id, VecDeque::push_front);
    }

    /// Lets a block rest that could not be read back, the longer the more often that happened; returns how often.
    pub fn read_failed(&mut self, id: BlockId) -> u32 {
        let Some(tracked) = self.by_id.get(&id).and_then(|ordinal| self.blocks.get_mut(ordinal)) else { return 0 };
        let rest = READ_REST_MAX.min(READ_REST_MIN * 2_u32.saturating_pow(tracked.read_failures));
        tracked.read_failures = tracked.read_failures.saturating_add(1);
        let failures = tracked.read_failures;
        self.resting.push((Instant::now() + rest, id));
        failures
    }

    /// When the next block has rested.
    pub fn rested_at(&self) -> Option<Instant> {
        self.resting.iter().map(|(until, _)| *until).min()
    }

    fn wake_rested(&mut self) {
        if self.resting.is_empty() {
            return;
        }
        let now = Instant::now();
        let (rested, resting) = std::mem::take(&mut self.resting).into_iter().partition(|(until, _)| *until <= now);
        self.resting = resting;
        let rested: Vec<(Instant, BlockId)> = rested;
        rested.into_iter().for_each(|(_, id)| self.wait_again(id, VecDeque::push_back));
    }

    fn wait_again(&mut self, id: BlockId, put: impl Fn(&mut VecDeque<Ordinal>, Ordinal)) {
        let Some(ordinal) = self.by_id.get(&id).copied() else { return };
        let in_flight = |tracked: &&mut Tracked| tracked.progress == Progress::InFlight;
        let Some(tracked) = self.blocks.get_mut(&ordinal).filter(in_flight) else { return };
        tracked.progress = Progress::Waiting;
        let lane = tracked.block.lane;
        let waiting = &mut self.lanes.get_mut(lane).waiting;
        if waiting.is_empty() {
            self.schedule.wake(lane);
        }
        put(waiting, ordinal);
    }

    /// Forgets the blocks that are in `durable`.
    pub fn settle(&mut self, durable: &BlockSet) {
        for (run, start, end) in durable.intervals() {
            let bounds = BlockId { run, first: start, rows: 0 }..BlockId { run, first: end, rows: 0 };
            let whole = self.by_id.range(bounds).filter(|(id, _)| id.end() <= end);
            let settled: Vec<Ordinal> = whole.map(|(_, ordinal)| *ordinal).collect();
            settled.into_iter().for_each(|ordinal| self.forget(ordinal));
        }
    }

    fn forget(&mut self, ordinal: Ordinal) {
        let Some(tracked) = self.blocks.remove(&ordinal) else { return };
        self.by_id.remove(&tracked.block.id);
        self.memory_used -= tracked.memory_bytes;
        self.written -= u64::from(tracked.progress == Progress::Written);
        Self::leave(self.lanes.get_mut(tracked.block.lane), ordinal, &tracked);
        self.segments.settle_block(tracked.block.place.segment);
    }

    /// Up to where everything is in the store.
    pub fn stored(&self) -> Ordinal {
        let open = Lane::ALL.into_iter().filter_map(|lane| self.lanes.get(lane).open.first());
        open.min().map_or(self.last, |oldest| oldest - 1)
    }

    /// What of the blocks up to `ordinal` is not in the store.
    pub fn behind(&self, ordinal: Ordinal) -> Option<Behind> {
        let lanes = || Lane::ALL.into_iter().map(|lane| self.lanes.get(lane));
        // Few blocks come after a read's ordinal, many may stand before it: the few are taken off the total.
        let later = lanes().flat_map(|lane| lane.open.range(ordinal + 1..));
        let later: u64 = later.filter_map(|ordinal| self.blocks.get(ordinal)).map(Tracked::rows).sum();
        let records = lanes().map(|lane| lane.records).sum::<u64>().saturating_sub(later);
        let oldest = lanes().filter_map(|lane| lane.open.first()).min()?;
        let lag = self.blocks.get(oldest).filter(|_| *oldest <= ordinal)?.age();
        Some(Behind { records, lag })
    }

    /// Whether blocks that are written, and nothing else, keep the spool from shrinking.
    pub fn waits_for_flush(&self, crowded: bool) -> bool {
        if self.written == 0 {
            return false;
        }
        let held = self.segments.oldest_closed().is_some_and(|segment| {
            // Blocks stand in the order of their segments, so those of the oldest one come first.
            let mut of_segment = self.blocks.values().take_while(|tracked| tracked.block.place.segment <= segment);
            of_segment.all(|tracked| tracked.progress == Progress::Written)
        });
        crowded || held
    }

    pub fn status(&self, lane: Lane) -> LaneStatus {
        let state = self.lanes.get(lane);
        let oldest = state.open.first().and_then(|ordinal| self.blocks.get(ordinal));
        let lag = oldest.map_or(Duration::ZERO, Tracked::age);
        LaneStatus { blocks: state.open.len() as u64, records: state.records, bytes: state.bytes, lag }
    }
}

impl Tracked {
    fn rows(&self) -> u64 {
        u64::from(self.block.id.rows)
    }

    fn age(&self) -> Duration {
        let by_clock = || Timestamp::now().as_nanos().saturating_sub(self.block.arrival.as_nanos());
        match self.block.committed {
            Some(committed) => committed.elapsed(),
            None => Duration::from_nanos(u64::try_from(by_clock()).unwrap_or(0)),
        }
    }
}
