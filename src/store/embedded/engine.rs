//! The engine's state, and the few steps that change it.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus_client::registry::Registry;
use sluice_model::{RunId, Timestamp};

use super::cache::Cache;
use super::manifest::ManifestFile;
use super::memory::{Chunk, Memory};
use super::metrics::Metrics;
use super::reader::ReadError;
use super::recovery::{self, Folders, Mode};
use super::salvage::{self, SalvageError, Salvaged};
use super::search::Snapshot;
use super::segment::{MEMORY_BYTES_MAX, ROWS_MAX, Segment, SegmentInfo};
use super::writer::WriteError;
use super::{OpenError, flush};
use crate::batch::{Block, BlockId, BlockSet};
use crate::config::{EmbeddedSettings, RetentionSettings};
use crate::finding::{Finding, Kind};
use crate::store::retention_clock::RetentionClock;
use crate::store::{DamageReport, StoreError};

/// What the store's handle and its thread share. Where both locks are held, `disk` was taken first.
pub(super) struct Engine {
    pub(super) folders: Folders,
    pub(super) settings: EmbeddedSettings,
    pub(super) retention: RetentionSettings,
    pub(super) retention_clock: RetentionClock,
    pub(super) cache: Cache,
    pub(super) metrics: Metrics,
    /// What searches and writes see; held for moments only.
    state: Mutex<State>,
    /// Wakes the store's thread.
    wake: Condvar,
    /// The disk tier; held while it is being changed.
    disk: Mutex<Disk>,
}

/// What searches and writes see.
pub(super) struct State {
    pub(super) memory: Memory,
    /// What a flush has taken from memory and not committed yet.
    flushing: Vec<Arc<Chunk>>,
    segments: Arc<Vec<Arc<Segment>>>,
    /// The blocks in memory, being flushed, and on disk.
    known: BlockSet,
    /// The blocks that the synced manifest covers.
    durable: BlockSet,
    pub(super) flush_requested: bool,
    /// Whether a search found damage that is to be set aside.
    pub(super) damage_found: bool,
    pub(super) stopping: bool,
    closed: bool,
    /// Why the last flush failed.
    pub(super) trouble: Option<String>,
}

/// The disk tier.
pub(super) struct Disk {
    manifest: ManifestFile,
    /// Segments of what is being flushed that are written and lack the commit.
    prepared: Option<Vec<SegmentInfo>>,
    /// Segments that the manifest has dropped, until that is durable.
    retired: Vec<Arc<Segment>>,
}

/// A step from one manifest to the next.
#[derive(Default)]
pub(super) struct Change {
    pub(super) added: Vec<SegmentInfo>,
    /// Segments whose files are to go.
    pub(super) removed: Vec<Arc<Segment>>,
    /// Segments whose files stay, elsewhere.
    pub(super) set_aside: Vec<Arc<Segment>>,
    /// Blocks that the added segments bring.
    pub(super) covered: BlockSet,
    /// Whether this ends the flush in hand.
    pub(super) flushed: bool,
}

/// More rows than this are flushed in parts: none is let go of before the whole of its part is on disk.
const FLUSH_ROWS_MAX: usize = 384 << 10;

/// How many rows blocks may differ by for the parts of a flush to be about alike.
const FLUSH_ROWS_SLACK: usize = 32 << 10;

impl Engine {
    pub(super) fn open(
        folders: Folders,
        settings: &EmbeddedSettings,
        retention: RetentionSettings,
        spooled_runs: &[RunId],
        registry: &mut Registry,
    ) -> Result<Engine, OpenError> {
        let recovered = recovery::recover(&folders, Some(spooled_runs), Mode::Mend)?;
        let current = recovered.manifest.current();
        let last_arrival = current.segments.iter().map(|info| info.age.arrival_max).max();
        let segments = current.segments.iter().map(|info| Arc::new(Segment::new(&folders, info.clone())));
        let state = State {
            memory: Memory::default(),
            flushing: Vec::new(),
            segments: Arc::new(segments.collect()),
            known: current.covered.clone(),
            durable: recovered.durable,
            flush_requested: false,
            damage_found: false,
            stopping: false,
            closed: false,
            trouble: None,
        };
        let metrics = Metrics::register(registry);
        let engine = Engine {
            folders,
            settings: settings.clone(),
            retention,
            retention_clock: RetentionClock::start(last_arrival.map(Timestamp::from_nanos)),
            cache: Cache::default(),
            metrics,
            state: Mutex::new(state),
            wake: Condvar::new(),
            disk: Mutex::new(Disk { manifest: recovered.manifest, prepared: None, retired: Vec::new() }),
        };
        engine.measure_segments(&engine.state());
        recovered.findings.iter().for_each(|finding| engine.report(finding));
        engine.measure_quarantine();
        Ok(engine)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk tier, for a change.
    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a block, but for what is there already.
    pub(super) fn write(&self, block: &Block) -> Result<(), StoreError> {
        let bytes = block.batch.size_bytes();
        // Made before the lock is taken; in vain for a block that comes twice, which is rare.
        let chunks = Memory::chunks_of(block);
        let mut state = self.state();
        if state.closed {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        if state.known.contains(block.id) {
            return Ok(());
        }
        let used = state.memory_bytes();
        if used > 0 && used + bytes > self.settings.memory_bytes {
            state.flush_requested = true;
            self.wake.notify_all();
            let reason = state.trouble.clone().unwrap_or_else(|| "it is being flushed".to_owned());
            return Err(StoreError::Full(format!("the memory tier holds {used} bytes: {reason}")));
        }
        let was_empty = state.oldest().is_none();
        if state.known.touches(block.id) {
            for (offset, rows) in missing(&state.known, block.id) {
                Memory::chunks_of(&block.slice(offset, rows)).into_iter().for_each(|chunk| state.memory.push(chunk));
            }
        } else {
            chunks.into_iter().for_each(|chunk| state.memory.push(chunk));
        }
        state.known.insert(block.id);
        self.measure_memory(&state);
        // The thread reckons with the age of what is in memory: it must know when there is something again.
        if was_empty || self.is_full_enough(&state) {
            self.wake.notify_all();
        }
        Ok(())
    }

    /// Whether memory holds so much that it is to be flushed.
    pub(super) fn is_full_enough(&self, state: &State) -> bool {
        state.memory.rows() >= self.settings.flush_rows || state.memory.bytes() >= self.settings.flush_bytes
    }

    /// What a search that begins now sees.
    pub(super) fn snapshot(&self) -> Snapshot {
        let state = self.state();
        let chunks = state.memory.chunks().iter().chain(&state.flushing).cloned().collect();
        Snapshot { chunks, segments: state.segments.clone() }
    }

    pub(super) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.state().segments.clone()
    }

    pub(super) fn durable(&self) -> BlockSet {
        self.state().durable.clone()
    }

    pub(super) fn request_flush(&self) {
        self.state().flush_requested = true;
        self.wake.notify_all();
    }

    /// Ends the store's thread, and all writing.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        state.closed = true;
        self.wake.notify_all();
    }

    /// Lets the lock go until something happens, or until `deadline`.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, deadline: Instant) -> MutexGuard<'a, State> {
        let period = deadline.saturating_duration_since(Instant::now());
        self.wake.wait_timeout(state, period).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Notes that a segment cannot be read; the store's thread looks at it again, and if it is damaged sets it aside and
    /// saves what is whole of it.
    pub(super) fn report_damage(&self, segment: &Segment, reason: &str) {
        if segment.mark_damaged() {
            log::error!(
                file:% = segment.path.display(), records = segment.info.rows, reason;
                "a segment cannot be read; searches go on without it"
            );
        }
        self.state().damage_found = true;
        self.wake.notify_all();
    }

    /// Writes what is in memory now to disk. After an error all of it is still in memory.
    pub(super) fn flush(&self) -> Result<(), WriteError> {
        let mut disk = self.disk();
        let mut left = self.state().rows();
        while left > 0 {
            let chunks = self.take_for_flush(rows_of_one(left));
            if chunks.is_empty() {
                break;
            }
            let started = Instant::now();
            left = left.saturating_sub(chunks.iter().map(|chunk| chunk.records.len()).sum());
            self.flush_chunks(&mut disk, &chunks)?;
            self.metrics.flushes.inc();
            self.metrics.flush_seconds.observe(started.elapsed().as_secs_f64());
        }
        self.settle(&mut disk)?;
        Ok(())
    }

    /// What to flush next: what an earlier flush failed to, or else the front of memory.
    fn take_for_flush(&self, rows_max: usize) -> Vec<Arc<Chunk>> {
        let mut state = self.state();
        if state.flushing.is_empty() {
            state.flushing = state.memory.take(rows_max, MEMORY_BYTES_MAX);
        }
        state.flushing.clone()
    }

    fn flush_chunks(&self, disk: &mut Disk, chunks: &[Arc<Chunk>]) -> Result<(), WriteError> {
        let added = match disk.prepared.take() {
            Some(prepared) => prepared,
            None => flush::write(&self.folders, chunks)?,
        };
        let mut covered = BlockSet::new();
        chunks.iter().flat_map(|chunk| &chunk.parts).for_each(|part| covered.insert(part.block));
        let change = Change { added: added.clone(), covered, flushed: true, ..Change::default() };
        if let Err(error) = self.commit(disk, change) {
            // Whatever became of the manifest on disk, these very segments are what the next try commits.
            disk.prepared = Some(added);
            return Err(error.into());
        }
        Ok(())
    }

    /// Commits a change to the manifest and shows it to searches.
    pub(super) fn commit(&self, disk: &mut Disk, change: Change) -> io::Result<()> {
        let Change { added, removed, set_aside, covered, flushed } = change;
        let gone: BTreeSet<&str> = removed.iter().chain(&set_aside).map(|segment| segment.info.name.as_str()).collect();
        let mut next = disk.manifest.current().clone();
        next.segments.retain(|info| !gone.contains(info.name.as_str()));
        next.segments.extend(added.iter().cloned());
        next.covered.extend(&covered);
        next.deleting.retain(|name| !self.folders.is_gone(name));
        next.deleting.extend(removed.iter().map(|segment| segment.info.name.clone()));
        disk.manifest.commit(next)?;
        let mut state = self.state();
        let kept = state.segments.iter().filter(|segment| !gone.contains(segment.info.name.as_str())).cloned();
        let added_segments = added.iter().map(|info| Arc::new(Segment::new(&self.folders, info.clone())));
        state.segments = Arc::new(kept.chain(added_segments).collect());
        if flushed {
            state.flushing.clear();
        }
        self.measure_memory(&state);
        self.measure_segments(&state);
        drop(state);
        gone.iter().for_each(|name| self.cache.forget(name));
        self.metrics.rows_written.inc_by(added.iter().map(|info| info.rows).sum());
        self.metrics.bytes_written.inc_by(added.iter().map(|info| info.bytes).sum());
        disk.retired.extend(removed);
        // A failed sync is tried again before the next change; until then nothing counts as durable.
        let _ = self.settle(disk);
        Ok(())
    }

    /// Once the manifest is durable: says so, and lets go of what it no longer lists.
    pub(super) fn settle(&self, disk: &mut Disk) -> io::Result<()> {
        disk.manifest.sync()?;
        disk.retired.drain(..).for_each(|segment| segment.doom());
        let mut state = self.state();
        if state.durable != disk.manifest.current().covered {
            state.durable = disk.manifest.current().covered.clone();
        }
        Ok(())
    }

    /// Sets damaged segments aside, and puts what is whole of them in their place; takes up again those that can be read
    /// after all. One that the device cannot read stays where it is, and is passed over by searches until it can.
    pub(super) fn set_damage_aside(&self) -> Result<(), SalvageError> {
        let mut disk = self.disk();
        let segments = self.segments();
        for segment in segments.iter().filter(|segment| segment.is_damaged() && self.is_lost(segment)) {
            let Salvaged { segment: saved, mut finding } = salvage::salvage(&self.folders, &segment.info)?;
            let rows = saved.as_ref().map_or(0, |saved| saved.rows);
            let change = Change {
                added: saved.into_iter().collect(),
                set_aside: vec![Arc::clone(segment)],
                ..Change::default()
            };
            self.commit(&mut disk, change).map_err(WriteError::from)?;
            let Folders { files, quarantine, .. } = &self.folders;
            if files.exists(&segment.path).map_err(WriteError::from)? {
                let place = files.set_aside(&segment.path, quarantine).map_err(WriteError::from)?;
                finding.remedy = format!("{rows} records are saved; the file is set aside as {}", place.display());
            }
            self.report(&finding);
            self.measure_quarantine();
        }
        Ok(())
    }

    /// Logs and counts a finding.
    fn report(&self, finding: &Finding) {
        finding.log();
        if matches!(finding.kind, Kind::Damaged | Kind::Missing | Kind::Doubled) {
            self.metrics.segments_quarantined.inc();
        }
        self.metrics.lost_rows.inc_by(finding.lost.records.unwrap_or(0));
    }

    /// What is set aside, and how many records were lost since the start.
    pub(super) fn damage(&self) -> DamageReport {
        DamageReport {
            quarantined_files: u64::try_from(self.metrics.quarantined_files.get()).unwrap_or(0),
            lost_records: self.metrics.lost_rows.get(),
        }
    }

    pub(super) fn measure_quarantine(&self) {
        let files = self.folders.files.list(&self.folders.quarantine).map_or(0, |entries| entries.len());
        self.metrics.quarantined_files.set(i64::try_from(files).unwrap_or(i64::MAX));
    }

    /// Whether a segment that could not be read is damaged for good.
    fn is_lost(&self, segment: &Segment) -> bool {
        self.cache.forget(&segment.info.name);
        match self.cache.get(segment).and_then(|open| open.verify()) {
            Ok(()) => {
                segment.mark_sound();
                log::info!(file:% = segment.path.display(), records = segment.info.rows; "a segment can be read again");
                false
            }
            Err(ReadError::Unreadable(_) | ReadError::Io(_) | ReadError::TooNew(_)) => false,
            Err(ReadError::Damaged(_)) => true,
        }
    }

    fn measure_memory(&self, state: &State) {
        self.metrics.memory_rows.set(state.rows() as i64);
        self.metrics.memory_bytes.set(state.memory_bytes() as i64);
    }

    fn measure_segments(&self, state: &State) {
        self.metrics.segments.set(state.segments.len() as i64);
        self.metrics.segment_bytes.set(state.segments.iter().map(|segment| segment.info.bytes).sum::<u64>() as i64);
    }
}

impl State {
    /// How many records are in memory.
    fn rows(&self) -> usize {
        self.memory.rows() + self.flushing.iter().map(|chunk| chunk.records.len()).sum::<usize>()
    }

    /// How many bytes they take.
    fn memory_bytes(&self) -> usize {
        self.memory.bytes() + self.flushing.iter().map(|chunk| chunk.bytes).sum::<usize>()
    }

    /// Since when something waits for a flush.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.memory.since()
    }

    /// Whether an earlier flush left something behind.
    pub(super) fn is_flush_unfinished(&self) -> bool {
        !self.flushing.is_empty()
    }
}

/// How many rows the next part of a flush has, of which so many are left.
fn rows_of_one(left: usize) -> usize {
    (left / left.div_ceil(FLUSH_ROWS_MAX).max(1) + FLUSH_ROWS_SLACK).min(ROWS_MAX)
}

/// The rows of a block that `known` does not cover: offset and count of each stretch.
fn missing(known: &BlockSet, block: BlockId) -> Vec<(u32, u32)> {
    let mut gaps = Vec::new();
    let mut next = block.first;
    let of_run =
        known.intervals().filter(|(run, first, end)| *run == block.run && *end > block.first && *first < block.end());
    for (_, first, end) in of_run.chain([(block.run, block.end(), block.end())]) {
        if first > next {
            // Both lie within the block, whose rows are counted by u32.
            gaps.push(((next - block.first) as u32, (first - next) as u32));
        }
        next = next.max(end);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_great_flush_is_cut_into_parts_that_are_about_alike() {
        for rows in [1, 1000, FLUSH_ROWS_MAX, FLUSH_ROWS_MAX + 1, 3 * FLUSH_ROWS_MAX + 7] {
            let part = rows_of_one(rows);
            let parts = rows.div_ceil(part);
            assert!((1..=ROWS_MAX).contains(&part) && parts == rows.div_ceil(FLUSH_ROWS_MAX), "{rows}: {part}");
        }
    }
}
