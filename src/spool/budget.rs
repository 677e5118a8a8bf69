//! The budget: how many bytes the spool may take, and how much of the disk must stay free.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::segment::{BLOCK_HEADER, PAGE, to_page};
use super::{SpoolError, locked};
use crate::batch::LogBatch;
use crate::config::SpoolSettings;
use crate::files::{Files, Room};

/// For how long a look at the disk counts.
const SAMPLE_AGE: Duration = Duration::from_secs(1);
/// The floor is at most this, unless the configuration says otherwise.
const FLOOR_MAX: u64 = 1 << 30;
/// How many of the largest segments the reserve for draining holds.
const RESERVE_SEGMENTS: u64 = 3;
/// What a column's description and padding take in a payload at most, without its name.
const COLUMN_OVERHEAD: u64 = 512;

/// Counts bytes on disk and bytes promised.
#[derive(Debug)]
pub(super) struct Budget {
    files: Arc<dyn Files>,
    folder: PathBuf,
    bytes_max: u64,
    segment_bytes: u64,
    free_disk_floor: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What segments hold.
    used: u64,
    /// What is set aside for batches that are not in a segment yet.
    reserved: u64,
    sample: Option<Sample>,
}

#[derive(Debug)]
struct Sample {
    taken: Instant,
    room: Room,
    /// What segments held then.
    used: u64,
}

impl Budget {
    pub fn new(files: Arc<dyn Files>, folder: PathBuf, settings: &SpoolSettings) -> Budget {
        Budget {
            files,
            folder,
            bytes_max: settings.bytes_max,
            segment_bytes: settings.segment_bytes,
            free_disk_floor: settings.free_disk_floor,
            state: Mutex::default(),
        }
    }

    /// Sets `bytes` aside, if neither limit is in the way.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, SpoolError> {
        let mut reservation = Reservation { bytes: 0, budget: Some(self.clone()) };
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// A reservation of nothing, for what may use the reserve.
    pub fn exempt() -> Reservation {
        Reservation { bytes: 0, budget: None }
    }

    /// Says which limit would be in the way of another page, if any.
    pub fn check(&self) -> Result<(), SpoolError> {
        self.allows(&mut locked(&self.state), 2 * PAGE)
    }

    /// Notes bytes that segments hold from now on.
    pub fn add_used(&self, bytes: u64) {
        locked(&self.state).used += bytes;
    }

    /// Notes bytes that are gone.
    pub fn remove_used(&self, bytes: u64) {
        let mut state = locked(&self.state);
        state.used = state.used.saturating_sub(bytes);
        state.sample = None;
    }

    /// How many bytes segments hold.
    pub fn used(&self) -> u64 {
        locked(&self.state).used
    }

    /// How many bytes others may write to the disk, so that this limit is not in the way of the spool.
    pub fn spare_disk(&self) -> u64 {
        let Ok(room) = self.files.room(&self.folder) else { return u64::MAX };
        room.free.saturating_sub(self.kept(room)).saturating_sub(locked(&self.state).reserved)
    }

    /// How much of the disk stays free: the floor, and the reserve above it.
    fn kept(&self, room: Room) -> u64 {
        let floor = self.free_disk_floor.unwrap_or(FLOOR_MAX.min(room.total / 20));
        floor.saturating_add((RESERVE_SEGMENTS * self.segment_bytes).min(room.total / 10))
    }

    fn allows(&self, state: &mut State, bytes: u64) -> Result<(), SpoolError> {
        let present = state.used.saturating_add(state.reserved);
        if present.saturating_add(bytes) > self.bytes_max {
            return Err(SpoolError::Full { present, allowed: self.bytes_max });
        }
        if state.sample.as_ref().is_none_or(|sample| sample.taken.elapsed() >= SAMPLE_AGE) {
            // A file system that cannot say how full it is does not stop the spool: its writes will.
            let room = self.files.room(&self.folder).unwrap_or(Room { free: u64::MAX, total: u64::MAX });
            state.sample = Some(Sample { taken: Instant::now(), room, used: state.used });
        }
        let Some(sample) = &state.sample else { return Ok(()) };
        let promised = state.reserved + state.used.saturating_sub(sample.used);
        let (free, kept) = (sample.room.free.saturating_sub(promised), self.kept(sample.room));
        if free < kept.saturating_add(bytes) {
            return Err(SpoolError::DiskFull { free, kept });
        }
        Ok(())
    }
}

/// Room that is set aside before a body is decoded; given back on drop, and when the batch is in a segment.
#[derive(Debug)]
pub struct Reservation {
    bytes: u64,
    budget: Option<Arc<Budget>>,
}

impl Reservation {
    /// Makes it at least `bytes`.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let Some(budget) = self.budget.as_ref().filter(|_| bytes > self.bytes) else { return Ok(()) };
        let mut state = locked(&budget.state);
        let more = bytes - self.bytes;
        budget.allows(&mut state, more)?;
        state.reserved += more;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            let mut state = locked(&budget.state);
            state.reserved = state.reserved.saturating_sub(self.bytes);
        }
    }
}

/// What a body of `bytes` may need in a segment: a guess, made good when the batch is there.
pub(super) fn guess(bytes: usize) -> u64 {
    to_page(bytes as u64 + BLOCK_HEADER) + PAGE
}

/// What `batch` needs in a segment at most, as a block of its own.
pub(super) fn need(batch: &LogBatch, size_bytes: u64) -> u64 {
    let names = batch.as_arrow().schema_ref().fields().iter();
    let described: u64 = names.map(|field| COLUMN_OVERHEAD + field.name().len() as u64).sum();
    to_page(size_bytes + described + BLOCK_HEADER) + PAGE
}
