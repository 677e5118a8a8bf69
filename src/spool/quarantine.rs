//! `quarantine/`: copies of bytes that are no whole block, for people to look at.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::segment::PAGE;
use crate::files::{self, Access, File, Files};

/// Why bytes are set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// They are the end of what was being written when the machine stopped.
    Torn,
    /// They were whole once.
    Damaged,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Torn => "torn",
            Reason::Damaged => "damaged",
        }
    }
}

/// The folder of such copies.
#[derive(Debug)]
pub(super) struct Quarantine {
    files: Arc<dyn Files>,
    folder: PathBuf,
    count: AtomicU64,
}

/// How many bytes are copied at a time.
const CHUNK: u64 = 1 << 20;

impl Quarantine {
    /// Stands beside the spool's folder; it is made when something is put there.
    pub fn beside(files: Arc<dyn Files>, spool: &Path) -> Quarantine {
        let folder = spool.with_file_name("quarantine");
        let count = files.list(&folder).map_or(0, |entries| entries.len());
        Quarantine { files, folder, count: AtomicU64::new(count as u64) }
    }

    /// How many files are in it.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Copies `range` of the file at `path` and makes the copy durable; returns where it is. What cannot be read is
    /// zeros in the copy. The same bytes set aside again, by another start, are the same copy.
    pub fn copy(&self, path: &Path, range: Range<u64>, stamp: u64, reason: Reason) -> io::Result<PathBuf> {
        let stem = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = self.folder.join(format!("{stem}.{stamp:016x}.{}.{}", range.start, reason.name()));
        if self.files.size(&target)? == Some(range.end - range.start) {
            return Ok(target);
        }
        self.files.create_folder_durably(&self.folder)?;
        let unfinished = files::unfinished(&target);
        let copied = self.copy_bytes(&*self.files.open(path, Access::Read)?, &unfinished, range);
        copied.and_then(|()| self.files.rename_durably(&unfinished, &target)).inspect_err(|_| {
            // The next copy overwrites it.
            let _ = self.files.remove(&unfinished);
        })?;
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(target)
    }

    fn copy_bytes(&self, from: &dyn File, to: &Path, range: Range<u64>) -> io::Result<()> {
        let copy = self.files.create(to)?;
        let mut position = range.start;
        while position < range.end {
            let mut chunk = vec![0; CHUNK.min(range.end - position) as usize];
            let mut page_at = position;
            for page in chunk.chunks_mut(PAGE as usize) {
                // A sector that cannot be read must not keep the others from being saved.
                let _ = from.read_at(page, page_at);
                page_at += page.len() as u64;
            }
            copy.write_at(&mut [IoSlice::new(&chunk)], position - range.start)?;
            position += chunk.len() as u64;
        }
        copy.sync()
    }
}
