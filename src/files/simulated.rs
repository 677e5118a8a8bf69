//! A disk whose power can be cut after any step.
//!
//! Everything is in memory, twice: as the process sees it, and as it is durable. Each step that changes something is a
//! boundary. A [`Snapshot`] is taken at each, with that step on its way, and [`Snapshot::after_cut`] makes of it a disk as
//! it may be when the power comes back: what is durable, and a random choice of what was pending.
//!
//! What is assumed of a disk, and of ext4 and xfs:
//! - A sector of 512 bytes is written whole or not at all. Sectors of unsynced writes land or do not, each on its own,
//!   in any order; of several writes to one sector, any may be the last that landed.
//! - Where a file grew, a sector that was written and did not land holds zeros, or garbage.
//! - The length of a file is any that it has had since it was synced. A sync of the file makes bytes and length durable.
//! - That a name was made, changed or removed is durable once the folder that it stands in is synced. Before that each
//!   such change lands or does not, on its own; a later one may land without an earlier one.
//! - A rename is atomic, also between two folders; a sync of either makes it durable.
//! - What stands in a folder whose own name did not land is gone.

mod cut;

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use cut::Totals;

use super::{Access, Entry, File, Files, Room};

/// The disk; all clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Simulated {
    world: Arc<Mutex<World>>,
    /// What the test sets to say how far it has come; each snapshot has it as it was.
    pub(crate) mark: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Default)]
struct World {
    state: State,
    /// What the process sees.
    names: BTreeMap<PathBuf, Place>,
    recording: bool,
    snapshots: Vec<Snapshot>,
}

/// What is durable, and what is on its way.
#[derive(Debug, Clone, Default)]
struct State {
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, Place>,
    pending: Vec<NameChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Folder,
    File(usize),
}

#[derive(Debug, Clone, Default)]
struct Node {
    live: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Arc<Vec<u8>> },
    Length(usize),
}

#[derive(Debug, Clone)]
struct NameChange {
    /// The name that goes.
    from: Option<PathBuf>,
    /// The name that comes.
    to: Option<PathBuf>,
    place: Place,
}

/// The disk at a boundary.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    state: State,
    /// The step at which the power is cut, from 0.
    pub(crate) boundary: usize,
    /// The test's mark.
    pub(crate) mark: usize,
}

impl Simulated {
    /// An empty disk with a folder `/data`, which takes a snapshot at each boundary.
    pub(crate) fn new() -> Simulated {
        let names: BTreeMap<PathBuf, Place> = ["/", "/data"].map(|path| (PathBuf::from(path), Place::Folder)).into();
        Simulated::with(State { names, ..State::default() })
    }

    fn with(state: State) -> Simulated {
        let world = World { names: state.names.clone(), state, recording: true, snapshots: Vec::new() };
        Simulated { world: Arc::new(Mutex::new(world)), mark: Arc::default() }
    }

    /// As what Sluice is given.
    pub(crate) fn files(&self) -> Arc<dyn Files> {
        Arc::new(self.clone())
    }

    /// The snapshots taken so far; none are taken after it.
    pub(crate) fn stop_recording(&self) -> Vec<Snapshot> {
        let mut world = self.world();
        world.recording = false;
        std::mem::take(&mut world.snapshots)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a step that changes a name, whose durability is another step.
    fn change_name(&self, change: NameChange) {
        let mut world = self.world();
        change.apply(&mut world.names);
        world.state.pending.push(change);
        self.boundary(&mut world);
    }

    fn boundary(&self, world: &mut World) {
        if world.recording {
            let mark = self.mark.load(Ordering::SeqCst);
            let snapshot = Snapshot { state: world.state.clone(), boundary: world.snapshots.len(), mark };
            world.snapshots.push(snapshot);
        }
    }

    fn found(&self, path: &Path) -> io::Result<Place> {
        self.world().names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&self, node: usize) -> Arc<dyn File> {
        Arc::new(SimulatedFile { disk: self.clone(), node })
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Place>) {
        if let Some(from) = self.from.as_ref().filter(|from| names.get(*from) == Some(&self.place)) {
            names.remove(from);
        }
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.place);
        }
    }

    /// Whether a sync of `folder` makes it durable.
    fn within(&self, folder: &Path) -> bool {
        self.from.iter().chain(&self.to).any(|path| path.parent() == Some(folder))
    }
}

impl Files for Simulated {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        if self.found(path).is_ok() {
            return Ok(());
        }
        self.found(path.parent().unwrap_or(Path::new("/")))?;
        self.change_name(NameChange { from: None, to: Some(path.to_owned()), place: Place::Folder });
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        if let Ok(Place::File(node)) = self.found(path) {
            let file = self.file(node);
            file.truncate(0)?;
            return Ok(file);
        }
        self.found(path.parent().unwrap_or(Path::new("/")))?;
        let mut world = self.world();
        world.state.nodes.push(Node::default());
        let node = world.state.nodes.len() - 1;
        drop(world);
        self.change_name(NameChange { from: None, to: Some(path.to_owned()), place: Place::File(node) });
        Ok(self.file(node))
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Arc<dyn File>> {
        match self.found(path)? {
            Place::File(node) => Ok(self.file(node)),
            Place::Folder => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.found(folder)?;
        let world = self.world();
        let within = world.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let entries = within.map(|(path, place)| match place {
            Place::Folder => Entry { path: path.clone(), bytes: 0, is_folder: true },
            Place::File(node) => {
                Entry { path: path.clone(), bytes: world.state.nodes[*node].live.len() as u64, is_folder: false }
            }
        });
        Ok(entries.collect())
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        match self.found(path) {
            Ok(Place::File(node)) => self.file(node).size().map(Some),
            Ok(Place::Folder) => Ok(Some(0)),
            Err(_) => Ok(None),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let place = self.found(from)?;
        self.change_name(NameChange { from: Some(from.to_owned()), to: Some(to.to_owned()), place });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.found(path) {
            Ok(Place::Folder) => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(place) => self.change_name(NameChange { from: Some(path.to_owned()), to: None, place }),
            Err(_) => {}
        }
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.found(path)?;
        let mut world = self.world();
        self.boundary(&mut world);
        let (landed, pending) =
            std::mem::take(&mut world.state.pending).into_iter().partition(|name| name.within(path));
        world.state.pending = pending;
        let landed: Vec<NameChange> = landed;
        for change in &landed {
            change.apply(&mut world.state.names);
            // What made the name that is now gone for good cannot land any more.
            let gone =
                |other: &NameChange| other.to.is_some() && other.to == change.from && other.place == change.place;
            world.state.pending.retain(|other| !gone(other));
        }
        Ok(())
    }

    fn room(&self, _: &Path) -> io::Result<Room> {
        Ok(Room { free: 1 << 40, total: 1 << 40 })
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Simulated,
    node: usize,
}

impl SimulatedFile {
    fn change(&self, change: Change) {
        let mut world = self.disk.world();
        let node = &mut world.state.nodes[self.node];
        change.apply(Arc::make_mut(&mut node.live));
        node.pending.push(change);
        self.disk.boundary(&mut world);
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes: written } => {
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(written);
            }
            Change::Length(length) => bytes.resize(*length, 0),
        }
    }
}

impl File for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.world().state.nodes[self.node].live.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let live = self.disk.world().state.nodes[self.node].live.clone();
        let there = live.get(offset as usize..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.change(Change::Write { offset: offset as usize, bytes: Arc::new(bytes) });
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let length = self.size()?.max(bytes);
        self.change(Change::Length(length as usize));
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.change(Change::Length(bytes as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        self.disk.boundary(&mut world);
        let node = &mut world.state.nodes[self.node];
        node.durable = node.live.clone();
        node.pending.clear();
        Ok(())
    }
}
