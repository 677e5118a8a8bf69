//! The segment that is written: how it is made, and how a commit group gets onto the disk.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use super::recovery::segment_path;
use super::segment::{PAGE, SegmentHeader, ZEROS, to_page};
use crate::config::Durability;
use crate::files::{self, File};

/// How long a segment is at first; it doubles as it fills.
const FIRST_BYTES: u64 = 1 << 20;
/// Groups below this are written over zeros.
const SMALL_GROUP_BYTES: u64 = 128 << 10;
/// How far ahead zeros are written.
const ZEROED_BYTES: u64 = 512 << 10;

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Active {
    pub file: Arc<dyn File>,
    pub number: u64,
    pub nonce: u64,
    /// Where the next block goes.
    pub end: u64,
    /// How long the file is.
    pub allocated: u64,
    /// Up to where zeros have been written.
    zeroed: u64,
    pub groups: u64,
}

impl Active {
    /// Makes a segment and its name durable.
    pub fn make(shared: &Shared, header: &SegmentHeader) -> io::Result<Active> {
        let Shared { folder, settings, .. } = shared;
        let path = segment_path(folder, header.number);
        let unfinished = files::unfinished(&path);
        let allocated = FIRST_BYTES.min(to_page(settings.segment_bytes)).max(2 * PAGE);
        let made = shared.files.create_direct(&unfinished).and_then(|file| {
            file.allocate(allocated)?;
            file.write_at(&mut [IoSlice::new(&header.encode())], 0)?;
            file.sync()?;
            Ok(file)
        });
        let file = made.inspect_err(|_| {
            // If this fails too, the next start removes it.
            let _ = shared.files.remove(&unfinished);
        })?;
        shared.files.rename_durably(&unfinished, &path)?;
        let (number, nonce) = (header.number, header.nonce);
        Ok(Active { file, number, nonce, end: PAGE, allocated, zeroed: PAGE, groups: 0 })
    }

    /// Writes `slices`, `bytes` long, behind the last block, and syncs them.
    pub fn write(&mut self, shared: &Shared, mut slices: Vec<IoSlice<'_>>, bytes: u64) -> io::Result<()> {
        let end = self.end + bytes;
        if end > self.allocated {
            let doubled = (2 * self.allocated).min(to_page(shared.settings.segment_bytes));
            self.allocated = doubled.max(to_page(end));
            self.file.allocate(self.allocated)?;
        }
        let synced = shared.settings.durability == Durability::Fsync;
        let mut zeroed = self.zeroed.max(end);
        if synced && bytes < SMALL_GROUP_BYTES && end > self.zeroed {
            // Writing into pages that were only allocated changes extents, which each sync would have to journal.
            let zeros_to = (end + ZEROED_BYTES).min(self.allocated);
            slices.extend((end..zeros_to).step_by(PAGE as usize).map(|_| IoSlice::new(&ZEROS)));
            zeroed = zeros_to;
        }
        self.file.write_at(&mut slices, self.end)?;
        if synced {
            let begun = Instant::now();
            self.file.sync()?;
            shared.metrics.fsyncs.inc();
            shared.metrics.fsync_seconds.observe(begun.elapsed().as_secs_f64());
        }
        self.end = end;
        self.zeroed = zeroed;
        Ok(())
    }
}
