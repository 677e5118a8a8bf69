//! All that Sluice asks of the file system, in one place.
//!
//! Spool, store and dead letters make, change and read files through [`Files`] alone, so that a test can make any of it
//! fail, or take the machine's power away at any step. The server runs on [`Disk`], which is plain system calls, within
//! [`Watched`], which counts what fails.
//!
//! What may be relied on after a crash of the machine:
//! - The bytes of a file are durable after [`File::sync`] of it; before that each sector may be as it was or as it was
//!   written, in any order.
//! - A name in a folder (made, renamed or removed) is durable after [`Files::sync_folder`] of the folder that it stands
//!   in, whatever was synced of the file itself.
//! - A rename is atomic: the new name leads to the one file or to the other.
//!
//! Folders are made for their owner only (0700), and so are files (0600), whatever the process's mask.

mod direct;
mod disk;
#[cfg(test)]
pub(crate) mod faulty;
mod scratch;
#[cfg(test)]
pub(crate) mod simulated;
mod stream;
mod watched;

use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use disk::Disk;
pub use scratch::{Scratch, ScratchFile};
pub use stream::{FileReader, FileWriter};
pub use watched::{Failure, Watched};

/// The ending of a file whose making by [`Files`]' helpers is not finished.
pub const UNFINISHED: &str = "new";

/// A file system. What is asked of it blocks.
pub trait Files: Debug + Send + Sync {
    /// Makes a folder that only its owner may use, in one that is there; that it is there already is no error.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes a file that only its owner may read and write; one that is there is emptied.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// The same for a file that is seldom read: large writes may pass the page cache by, where the file system can.
    ///
    /// # Errors
    /// Those of the operating system.
    fn create_direct(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.create(path)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// Opens a file to read it once: large reads of whole pages into whole pages may pass the page cache by.
    ///
    /// # Errors
    /// Those of the operating system.
    fn open_direct(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path, Access::Read)
    }

    /// What stands in a folder, in no order.
    ///
    /// # Errors
    /// Those of the operating system.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;

    /// How long a file is; nothing, if it is not there.
    ///
    /// # Errors
    /// Those of the operating system.
    fn size(&self, path: &Path) -> io::Result<Option<u64>>;

    /// Gives a file another name, in the place of whatever has that name.
    ///
    /// # Errors
    /// Those of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; that it is not there is no error.
    ///
    /// # Errors
    /// Those of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// The room on the file system of `path`.
    ///
    /// # Errors
    /// Those of the operating system.
    fn room(&self, path: &Path) -> io::Result<Room>;
}

/// An open file. Whoever shares it says at each step where.
pub trait File: Debug + Send + Sync {
    /// How long it is.
    ///
    /// # Errors
    /// Those of the operating system.
    fn size(&self) -> io::Result<u64>;

    /// Reads as many bytes at `offset` as there are, up to the length of `buffer`.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `slices` from `offset` on.
    ///
    /// # Errors
    /// Those of the operating system; any part may be written then.
    fn write_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Makes the file at least `bytes` long and takes the room for it, where the file system can.
    ///
    /// # Errors
    /// Those of the operating system.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Cuts the file off after `bytes`.
    ///
    /// # Errors
    /// Those of the operating system.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Makes its bytes durable, and its length.
    ///
    /// # Errors
    /// Those of the operating system; what was written since the last sync is in doubt then, for good.
    fn sync(&self) -> io::Result<()>;
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// What stands in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its path.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// The room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What this process may still use.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// A step that can fail; the label of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Making a file or a folder.
    Create,
    /// Opening a file.
    Open,
    /// Reading a file.
    Read,
    /// Writing to a file.
    Write,
    /// Taking room for a file.
    Allocate,
    /// Cutting a file off.
    Truncate,
    /// Making a file's bytes durable.
    Sync,
    /// Making a folder's names durable.
    SyncFolder,
    /// Giving a file another name.
    Rename,
    /// Removing a file.
    Remove,
    /// Looking at a folder, a file's length, or the room.
    Look,
}

impl Operation {
    /// The name, as in answers, metrics and log lines.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Open => "open",
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Allocate => "allocate",
            Operation::Truncate => "truncate",
            Operation::Sync => "sync",
            Operation::SyncFolder => "sync_folder",
            Operation::Rename => "rename",
            Operation::Remove => "remove",
            Operation::Look => "look",
        }
    }
}

impl dyn Files + '_ {
    /// Makes a folder, and those above it that are missing, and makes its name durable.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn create_folder_durably(&self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        match self.create_folder(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_folder_durably(parent)?;
                self.create_folder(path)?;
            }
            other => other?,
        }
        self.sync_folder(parent)
    }

    /// Whether there is such a file.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.size(path)?.is_some())
    }

    /// Reads a whole (small) file.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, Access::Read)?;
        let mut bytes = vec![0; usize::try_from(file.size()?).map_err(io::Error::other)?];
        let filled = file.read_at(&mut bytes, 0)?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Gives a file its final name, durably.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn rename_durably(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename(from, to)?;
        self.sync_folder(to.parent().unwrap_or(Path::new("")))
    }

    /// Makes a durable file of `slices`, which is there whole or not at all.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn write_whole(&self, path: &Path, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let unfinished = unfinished(path);
        let written = self.create(&unfinished).and_then(|file| {
            file.write_at(slices, 0)?;
            file.sync()
        });
        written.and_then(|()| self.rename_durably(&unfinished, path)).inspect_err(|_| {
            // If this fails too, the next start removes it.
            let _ = self.remove(&unfinished);
        })
    }

    /// Moves a file into the folder `quarantine` under a name that says where it stood; a file of that name is kept.
    /// Returns where it is now.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn set_aside(&self, path: &Path, quarantine: &Path) -> io::Result<PathBuf> {
        self.create_folder_durably(quarantine)?;
        let name = |path: &Path| path.file_name().unwrap_or(OsStr::new("unnamed")).to_string_lossy().into_owned();
        let parent = path.parent().map(name).unwrap_or_default();
        let mut place = quarantine.join(format!("{parent}_{}", name(path)));
        for copy in 2..u32::MAX {
            if !self.exists(&place)? {
                break;
            }
            place = quarantine.join(format!("{parent}_{}.{copy}", name(path)));
        }
        self.rename_durably(path, &place)?;
        path.parent().map_or(Ok(()), |folder| self.sync_folder(folder))?;
        Ok(place)
    }
}

impl dyn File + '_ {
    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof`, if there are fewer, and those of the operating system.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if self.read_at(buffer, offset)? == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// The name under which a file is made.
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    PathBuf::from(name)
}
