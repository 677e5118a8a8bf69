//! Files that fail, or wait, when a test says so.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Access, Entry, File, Files, Operation, Room};

/// Another file system with faults; the test keeps [`Faults`].
#[derive(Debug)]
pub(crate) struct Faulty {
    files: Arc<dyn Files>,
    faults: Faults,
}

/// What is to fail; shared by all clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Every sync waits while a test holds this.
    pub(crate) gate: Arc<Mutex<()>>,
    failing: Arc<Mutex<Vec<Fault>>>,
}

/// A kind of step that fails for a while.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    /// Only where the path has this in it.
    pub(crate) within: &'static str,
    /// How many such steps still succeed.
    pub(crate) after: usize,
    /// How many fail then.
    pub(crate) times: usize,
    /// What the operating system says, by its number; a panic, if it is 0.
    pub(crate) error: i32,
}

/// An error of the device.
pub(crate) const EIO: i32 = 5;
/// No space left on the device.
pub(crate) const ENOSPC: i32 = 28;

impl Faults {
    /// `files` with these faults.
    pub(crate) fn over(&self, files: Arc<dyn Files>) -> Arc<dyn Files> {
        Arc::new(Faulty { files, faults: self.clone() })
    }

    /// Fails the next `times` steps of a kind.
    pub(crate) fn fail(&self, operation: Operation, times: usize) {
        let full = matches!(operation, Operation::Create | Operation::Allocate);
        self.add(Fault { operation, within: "", after: 0, times, error: if full { ENOSPC } else { EIO } });
    }

    /// Adds a fault.
    pub(crate) fn add(&self, fault: Fault) {
        self.failing().push(fault);
    }

    /// Fails nothing more.
    pub(crate) fn heal(&self) {
        self.failing().clear();
    }

    fn failing(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn before(&self, operation: Operation, path: &Path) -> io::Result<()> {
        if operation == Operation::Sync {
            drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let mut failing = self.failing();
        for fault in failing.iter_mut() {
            if fault.operation != operation || fault.times == 0 || !path.to_string_lossy().contains(fault.within) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            fault.times -= 1;
            let error = fault.error;
            drop(failing);
            assert!(error != 0, "{operation:?} of {} was made to panic", path.display());
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(())
    }
}

impl Faulty {
    fn file(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile { file, path: path.to_owned(), faults: self.faults.clone() })
    }
}

impl Files for Faulty {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        // What is there already takes no room, and needs no right to write.
        if self.files.list(path).is_err() {
            self.faults.before(Operation::Create, path)?;
        }
        self.files.create_folder(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.faults.before(Operation::Create, path)?;
        Ok(self.file(path, self.files.create(path)?))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.faults.before(Operation::Open, path)?;
        Ok(self.file(path, self.files.open(path, access)?))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.faults.before(Operation::Look, folder)?;
        self.files.list(folder)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.faults.before(Operation::Look, path)?;
        self.files.size(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.before(Operation::Rename, to)?;
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.before(Operation::Remove, path)?;
        self.files.remove(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.faults.before(Operation::SyncFolder, path)?;
        self.files.sync_folder(path)
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        self.faults.before(Operation::Look, path)?;
        self.files.room(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn File>,
    path: PathBuf,
    faults: Faults,
}

impl File for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.faults.before(Operation::Look, &self.path)?;
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.before(Operation::Read, &self.path)?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.faults.before(Operation::Write, &self.path)?;
        self.file.write_at(slices, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.faults.before(Operation::Allocate, &self.path)?;
        self.file.allocate(bytes)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.faults.before(Operation::Truncate, &self.path)?;
        self.file.truncate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.before(Operation::Sync, &self.path)?;
        self.file.sync()
    }
}
