//! Files whose failures are counted, and said in `/ready`.
//!
//! A read that fails by the device is tried a few times: many such errors pass. Nothing else is: after a failed write or
//! sync only its caller knows what to do. What fails is logged by whoever handles it.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use rustix::io::Errno;

use super::{Access, Entry, File, Files, Operation, Room};

/// How long a read waits before it is tried again, each time.
const READ_PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(20)];
/// For how long a failure is told that has passed.
const MEMORY: Duration = Duration::from_secs(60);
/// The folders that are told apart.
const FOLDERS: [&str; 5] = ["spool", "store", "quarantine", "dead-letter", "tmp"];

/// A file system, watched.
#[derive(Debug)]
pub struct Watched {
    files: Arc<dyn Files>,
    /// The folder whose folders are told apart.
    root: PathBuf,
    record: Arc<Record>,
}

/// What failed of late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The folder below the data folder; `other`, if it is none of Sluice's.
    pub folder: &'static str,
    /// The kind of step.
    pub operation: Operation,
    /// What the operating system said.
    pub error: String,
    /// How often it failed since it last was well.
    pub count: u64,
    /// How long ago it failed last.
    pub age: Duration,
    /// Whether no such step has succeeded since.
    pub lasting: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    folder: &'static str,
    operation: &'static str,
}

#[derive(Debug, Default)]
struct Record {
    errors: Family<Labels, Counter>,
    failing: Mutex<BTreeMap<(&'static str, Operation), Trouble>>,
    /// How many kinds of steps fail, so that success costs nothing where none does.
    lasting: AtomicUsize,
}

#[derive(Debug)]
struct Trouble {
    error: String,
    count: u64,
    at: Instant,
    lasting: bool,
}

impl Watched {
    /// Watches `files`; those below `root` by the folder there. Registers its metric.
    pub fn new(files: Arc<dyn Files>, root: &Path, registry: &mut Registry) -> Watched {
        let record = Record::default();
        registry.register("sluice_io_errors", "Steps on files that failed", record.errors.clone());
        Watched { files, root: root.to_owned(), record: Arc::new(record) }
    }

    /// What fails now, or did a moment ago.
    pub fn failures(&self) -> Vec<Failure> {
        let mut failing = self.record.failing();
        failing.retain(|_, trouble| trouble.lasting || trouble.at.elapsed() < MEMORY);
        let told = failing.iter().map(|((folder, operation), trouble)| Failure {
            folder,
            operation: *operation,
            error: trouble.error.clone(),
            count: trouble.count,
            age: trouble.at.elapsed(),
            lasting: trouble.lasting,
        });
        told.collect()
    }

    fn folder(&self, path: &Path) -> &'static str {
        let first = path.strip_prefix(&self.root).ok().and_then(|below| below.components().next());
        let name = first.map(|first| first.as_os_str());
        FOLDERS.into_iter().find(|folder| name.is_some_and(|name| name == *folder)).unwrap_or("other")
    }

    fn note<T>(&self, path: &Path, operation: Operation, outcome: io::Result<T>) -> io::Result<T> {
        self.record.note(self.folder(path), operation, outcome)
    }

    fn watch(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(WatchedFile { file, folder: self.folder(path), record: self.record.clone() })
    }
}

impl Record {
    fn failing(&self) -> MutexGuard<'_, BTreeMap<(&'static str, Operation), Trouble>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note<T>(&self, folder: &'static str, operation: Operation, outcome: io::Result<T>) -> io::Result<T> {
        match &outcome {
            Ok(_) if self.lasting.load(Ordering::Relaxed) > 0 => self.heal(folder, operation),
            // That something is not there is an answer.
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.fail(folder, operation, error),
            _ => {}
        }
        outcome
    }

    fn fail(&self, folder: &'static str, operation: Operation, error: &io::Error) {
        self.errors.get_or_create(&Labels { folder, operation: operation.name() }).inc();
        let mut failing = self.failing();
        let before = failing.get(&(folder, operation)).filter(|trouble| trouble.lasting);
        let count = before.map_or(0, |trouble| trouble.count) + 1;
        if count == 1 {
            self.lasting.fetch_add(1, Ordering::Relaxed);
        }
        let trouble = Trouble { error: error.to_string(), count, at: Instant::now(), lasting: true };
        failing.insert((folder, operation), trouble);
    }

    fn heal(&self, folder: &'static str, operation: Operation) {
        let mut failing = self.failing();
        if let Some(trouble) = failing.get_mut(&(folder, operation)).filter(|trouble| trouble.lasting) {
            trouble.lasting = false;
            self.lasting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Files for Watched {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.note(path, Operation::Create, self.files.create_folder(path))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.note(path, Operation::Create, self.files.create(path))?;
        Ok(self.watch(path, file))
    }

    fn create_direct(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.note(path, Operation::Create, self.files.create_direct(path))?;
        Ok(self.watch(path, file))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let file = self.note(path, Operation::Open, self.files.open(path, access))?;
        Ok(self.watch(path, file))
    }

    fn open_direct(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.note(path, Operation::Open, self.files.open_direct(path))?;
        Ok(self.watch(path, file))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.note(folder, Operation::Look, self.files.list(folder))
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.note(path, Operation::Look, self.files.size(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(to, Operation::Rename, self.files.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(path, Operation::Remove, self.files.remove(path))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.note(path, Operation::SyncFolder, self.files.sync_folder(path))
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        self.note(path, Operation::Look, self.files.room(path))
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn File>,
    folder: &'static str,
    record: Arc<Record>,
}

impl WatchedFile {
    fn note<T>(&self, operation: Operation, outcome: io::Result<T>) -> io::Result<T> {
        self.record.note(self.folder, operation, outcome)
    }
}

impl File for WatchedFile {
    fn size(&self) -> io::Result<u64> {
        self.note(Operation::Look, self.file.size())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        for pause in READ_PAUSES {
            match self.note(Operation::Read, self.file.read_at(buffer, offset)) {
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => std::thread::sleep(pause),
                other => return other,
            }
        }
        self.note(Operation::Read, self.file.read_at(buffer, offset))
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.note(Operation::Write, self.file.write_at(slices, offset))
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.note(Operation::Allocate, self.file.allocate(bytes))
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.note(Operation::Truncate, self.file.truncate(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.note(Operation::Sync, self.file.sync())
    }
}
