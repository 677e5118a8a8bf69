//! The durable spool: the write-ahead log of everything accepted, and the buffer that rides out a store outage.
//!
//! A batch is appended, becomes part of a block, and is durable when [`Spool::append`] returns. Its block is then
//! delivered ([`Spool::next`]), written to the store ([`Spool::written`]), and settled ([`Spool::settle`]) once the
//! store holds it for good; what is not settled is delivered again after a restart, with the same ids.
//!
//! The files, and what happens to them when and in what order, are specified in `spool/segment.rs` and
//! `spool/key_file.rs`.

mod active;
mod budget;
mod check;
mod clock;
mod delivery;
mod entry;
mod feed;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod group;
mod index;
mod key_file;
mod keys;
mod lane;
mod metrics;
mod quarantine;
mod queue;
mod recovery;
mod scan;
mod segment;
mod segments;
mod status;
mod sweep;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::warn;
use prometheus_client::registry::Registry;
use sluice_model::{RecordId, RunId, Timestamp};
use tokio::sync::oneshot;

pub use budget::Reservation;
pub use check::check;
pub use entry::{Entry, IdempotencyKey, Ordinal, Receipt, SpoolError};
pub use feed::{News, Subscription};
pub use status::{Behind, LaneStatus, SpoolStatus};

use self::budget::Budget;
use self::clock::SteadyClock;
use self::delivery::Delivery;
use self::feed::Feed;
use self::index::Index;
use self::keys::{Claim, Keys};
use self::lane::Lane;
use self::metrics::Metrics;
use self::quarantine::{Quarantine, Reason};
use self::queue::{Pending, Queue};
use self::scan::ReadError;
use self::sweep::Sweeper;
use self::writer::Writer;
use crate::batch::{Block, BlockId, BlockSet, LogBatch};
use crate::config::SpoolSettings;
use crate::files::Files;

/// How often a block that cannot be read back is tried, over some ten minutes, before it is set aside.
const READ_ATTEMPTS: u32 = 64;
/// How long a wait is at most, so that adding it to a moment cannot overflow.
const WAIT_MAX: Duration = Duration::from_secs(86_400);

/// A handle to the spool; shared as `Arc<Spool>`. Dropping it closes it.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer's thread and the handle share.
#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    settings: SpoolSettings,
    files: Arc<dyn Files>,
    /// The run that this start drew.
    run: RunId,
    budget: Arc<Budget>,
    queue: Queue,
    index: Index,
    feed: Arc<Feed>,
    keys: Mutex<Keys>,
    /// What the keys grow old by.
    clock: SteadyClock,
    /// Why nothing can be written now.
    refusing: Mutex<Option<String>>,
    quarantine: Quarantine,
    sweeper: Sweeper,
    metrics: Metrics,
}

impl Spool {
    /// Opens the spool in `folder` of `files` (quarantine stands beside it), recovers what is there, and registers its
    /// metrics. Logs one line for each finding and one for what was recovered.
    ///
    /// # Errors
    /// [`SpoolError::Open`], if the folder cannot be made or read, or a newer version of the program wrote it. That
    /// nothing can be *written* is no such error: what is there can still be delivered, and [`Spool::status`] says so.
    pub fn open(
        files: &Arc<dyn Files>,
        folder: &Path,
        settings: &SpoolSettings,
        registry: &mut Registry,
    ) -> Result<Arc<Spool>, SpoolError> {
        let open_error =
            |error: io::Error| SpoolError::Open(format!("the spool cannot use {}: {error}", folder.display()));
        files.create_folder_durably(folder).map_err(open_error)?;
        let run = RunId::new(Timestamp::now(), rand::random());
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            settings: settings.clone(),
            files: files.clone(),
            run,
            budget: Arc::new(Budget::new(files.clone(), folder.to_owned(), settings)),
            queue: Queue::default(),
            index: Index::new(settings.memory_bytes),
            feed: Arc::new(Feed::new(run)),
            keys: Mutex::new(Keys::new(settings)),
            clock: SteadyClock::start(),
            refusing: Mutex::default(),
            quarantine: Quarantine::beside(files.clone(), folder),
            sweeper: Sweeper::default(),
            metrics: Metrics::register(registry),
        });
        let recovered = recovery::recover(&shared)?;
        Metrics::register_state(registry, Arc::downgrade(&shared));
        let writer = Writer::new(shared.clone(), recovered, shared.run);
        shared.sweeper.sweep(&shared);
        let thread = std::thread::Builder::new().name("spool-writer".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(open_error)?;
        Ok(Arc::new(Spool { shared, writer: Mutex::new(Some(thread)) }))
    }

    /// The runs of the blocks that a restart would deliver (the store may forget the intervals of all other runs).
    pub fn open_runs(&self) -> Vec<RunId> {
        let mut runs = self.shared.index.runs();
        runs.insert(self.shared.run);
        runs.into_iter().collect()
    }

    /// Sets room aside for a batch of about `bytes`, before it is decoded.
    ///
    /// # Errors
    /// [`SpoolError::Full`], [`SpoolError::DiskFull`] or [`SpoolError::Failed`], if nothing can be accepted now.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, SpoolError> {
        match &*locked(&self.shared.refusing) {
            Some(why) => Err(SpoolError::Failed(why.clone())),
            None => self.shared.budget.reserve(budget::guess(bytes)),
        }
    }

    /// Makes a batch durable; returns after its group's commit. The batch may be committed although the future is
    /// dropped.
    ///
    /// # Errors
    /// [`SpoolError`]; nothing of the batch is kept then.
    pub async fn append(&self, entry: Entry) -> Result<Receipt, SpoolError> {
        let key = entry.key;
        match key.map(|key| locked(&self.shared.keys).begin(key, self.shared.clock.now())).transpose()? {
            Some(Claim::Done(receipt)) => return Ok(receipt),
            Some(Claim::Wait(outcome)) => {
                let outcome = outcome.await.unwrap_or(Err(SpoolError::Closed));
                return outcome.map(|receipt| Receipt { replayed: true, ..receipt });
            }
            Some(Claim::Ours) => {}
            None if entry.batch.is_empty() => {
                let first = RecordId { run: self.shared.run, sequence: 0 };
                return Ok(Receipt { first, rows: 0, replayed: false, ordinal: 0 });
            }
            None => {}
        }
        match self.shared.enqueue(entry, false) {
            Ok(outcome) => outcome.await.unwrap_or_else(|_| Err(self.shared.unanswered())),
            Err(error) => {
                let waiting = key.map(|key| locked(&self.shared.keys).fail(key)).unwrap_or_default();
                for reply in waiting {
                    // Whoever hung up does not care.
                    let _ = reply.send(Err(error.clone()));
                }
                Err(error)
            }
        }
    }

    /// Accepts records again under a fresh run, after a clash of ids; may use the room that is kept for draining.
    /// Blocks; not for async code.
    ///
    /// # Errors
    /// As for [`Spool::append`].
    pub fn accept_again(&self, batch: LogBatch) -> Result<Receipt, SpoolError> {
        let entry = Entry { batch, reservation: Budget::exempt(), key: None };
        self.shared.enqueue(entry, true)?.blocking_recv().unwrap_or(Err(SpoolError::Closed))
    }

    /// Follows what is committed from now on, with at most `backlog_bytes` of it waiting to be looked at. Costs the
    /// writer next to nothing, and never holds it up. What belongs to the subscription has ids from
    /// [`Subscription::mark`] on.
    pub fn subscribe(&self, backlog_bytes: usize) -> Subscription {
        self.shared.feed.subscribe(backlog_bytes)
    }

    /// An id above all that this process has committed, and not above those to come.
    pub fn next_id(&self) -> RecordId {
        self.shared.feed.next()
    }

    /// The next block for the store, by lane (8 : 2 : 1 by bytes), or nothing within `wait` or once the spool is
    /// closed. Blocks. The block is in flight then, until it is [`Spool::written`], [`Spool::retry`] or
    /// [`Spool::settle`]d.
    pub fn next(&self, wait: Duration) -> Option<Block> {
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        loop {
            let delivery = self.shared.index.take(deadline)?;
            if let Some(block) = self.shared.load(delivery) {
                return Some(block);
            }
        }
    }

    /// Notes that a block is in the store and searchable (not yet: may be forgotten).
    pub fn written(&self, block: BlockId) {
        self.shared.index.written(block);
    }

    /// Notes that a block was not written: it is delivered again, first of its lane.
    pub fn retry(&self, block: BlockId) {
        self.shared.index.retry(block);
    }

    /// Notes that blocks are durable in the store, dead-lettered or quarantined: the spool forgets them, and deletes
    /// the segments that hold nothing else. Blocks.
    pub fn settle(&self, durable: &BlockSet) {
        self.shared.index.settle(durable);
        self.shared.sweeper.sweep(&self.shared);
    }

    /// The ordinal of the last commit.
    pub fn committed(&self) -> Ordinal {
        self.shared.index.committed()
    }

    /// Waits until every block up to `ordinal` is written or settled.
    pub async fn stored(&self, ordinal: Ordinal) {
        self.shared.index.stored(ordinal).await;
    }

    /// What of the blocks up to `ordinal` is not in the store yet; nothing, if all is.
    pub fn behind(&self, ordinal: Ordinal) -> Option<Behind> {
        self.shared.index.behind(ordinal)
    }

    /// Whether the store should flush: the spool is at half its budget, or its oldest segment waits for the store only.
    pub fn wants_flush(&self) -> bool {
        let crowded = self.shared.budget.used() >= self.shared.settings.bytes_max / 2;
        self.shared.index.waits_for_flush(crowded)
    }

    /// How many bytes others may write to the spool's disk before the spool would have to refuse (`spool.free_disk_floor`).
    pub fn spare_disk_bytes(&self) -> u64 {
        self.shared.budget.spare_disk()
    }

    /// How the spool is.
    pub fn status(&self) -> SpoolStatus {
        let shared = &self.shared;
        let refusing = locked(&shared.refusing).clone();
        SpoolStatus {
            refusing: refusing.or_else(|| shared.budget.check().err().map(|error| error.to_string())),
            bytes: shared.budget.used(),
            bytes_max: shared.settings.bytes_max,
            segments: shared.index.segments(|segments| segments.len()),
            lanes: shared.index.lanes(),
            quarantined_files: shared.quarantine.count(),
            lost_records: shared.metrics.lost_records.get(),
        }
    }

    /// Accepts nothing more, makes what waits durable, ends [`Spool::next`] and the writer's thread. Blocks settled
    /// after it are still forgotten.
    pub fn close(&self) {
        self.shared.queue.close();
        self.shared.index.close();
        let thread = locked(&self.writer).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            warn!("the spool's writer ended by a panic");
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.close();
    }
}

type Outcome = oneshot::Receiver<Result<Receipt, SpoolError>>;

impl Shared {
    /// What a batch that got no answer is told.
    fn unanswered(&self) -> SpoolError {
        if self.queue.is_closed() { SpoolError::Closed } else { SpoolError::Failed("the writer failed".to_owned()) }
    }

    /// Hands a batch to the writer.
    fn enqueue(&self, entry: Entry, fresh_run: bool) -> Result<Outcome, SpoolError> {
        let Entry { batch, mut reservation, key } = entry;
        let bytes = batch.size_bytes() as u64;
        reservation.grow(budget::need(&batch, bytes))?;
        let (reply, outcome) = oneshot::channel();
        let lane = Lane::of(&batch);
        self.queue.push(Pending { batch, lane, bytes, key, reservation, fresh_run, passed_over: 0, reply })?;
        Ok(outcome)
    }

    /// The block of a delivery, from memory or read back; nothing, if it cannot be read (now).
    fn load(&self, delivery: Delivery) -> Option<Block> {
        let Delivery { id, arrival, place, batch } = delivery;
        if let Some(batch) = batch {
            return Some(Block { id, arrival, batch });
        }
        match scan::read_block(&*self.files, &recovery::segment_path(&self.folder, place.segment), place) {
            Ok((batch, _)) => Some(Block { id, arrival, batch }),
            Err(ReadError::Io(error)) if self.index.read_failed(id) < READ_ATTEMPTS => {
                warn!(segment = place.segment, offset = place.offset, error:%; "a block cannot be read back");
                None
            }
            Err(_) => {
                self.set_aside(id, place);
                None
            }
        }
    }

    /// Settles a block that was damaged since it was committed.
    fn set_aside(&self, id: BlockId, place: delivery::Place) {
        let path = recovery::segment_path(&self.folder, place.segment);
        let range = place.offset..place.offset + place.length;
        // It is reported either way, and the segment is kept, if the copy fails.
        let _ = recovery::report(self, &path, place.segment, range, Some(id), 0, Reason::Damaged);
        let mut settled = BlockSet::new();
        settled.insert(id);
        self.index.settle(&settled);
        self.sweeper.sweep(self);
    }
}

/// Locks a mutex. What it guards is changed in steps that cannot panic half-way, so a poisoned one is used on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
