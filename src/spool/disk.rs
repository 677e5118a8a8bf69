//! All that the spool asks of the file system, in one place.
//!
//! Whatever makes or changes a file goes through [`Disk`], so that a test can make any of it fail.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// How many buffers one system call takes (Linux: `IOV_MAX`).
const MAX_SLICES: usize = 1024;

/// The ending of a file whose making is not finished.
pub(super) const UNFINISHED: &str = "new";

/// Makes and changes files.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub faults: super::tests::faults::Faults,
}

/// The step that is about to be taken; tests fail it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Allocate,
    Write,
    Sync,
    Rename,
    SyncFolder,
    Remove,
    Truncate,
}

/// The room on a file system, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// What this process may still use.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

impl Disk {
    /// Makes a folder that only its owner sees, where there is none.
    pub fn create_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    /// Makes a file that only its owner reads; one that is there is emptied.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        self.before(Step::Create)?;
        OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
    }

    /// Makes the file at least `bytes` long and takes the room for it.
    pub fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.before(Step::Allocate)?;
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            // The file then grows with each write: slower, as safe.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Writes all of `slices` from `offset` on.
    pub fn write_at(&self, file: &File, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        self.before(Step::Write)?;
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let batch = slices.get(..slices.len().min(MAX_SLICES)).unwrap_or_default();
            match rustix::io::pwritev(file, batch, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut slices, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes the file's bytes durable.
    pub fn sync(&self, file: &File) -> io::Result<()> {
        self.before(Step::Sync)?;
        file.sync_data()
    }

    /// Cuts the file off after `bytes`.
    pub fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.before(Step::Truncate)?;
        file.set_len(bytes)
    }

    /// Makes the names in a folder durable.
    pub fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.before(Step::SyncFolder)?;
        // The parent of a relative name is the empty path.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        File::open(path)?.sync_all()
    }

    /// Gives a file its final name, durably.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(Step::Rename)?;
        std::fs::rename(from, to)?;
        self.sync_folder(to.parent().unwrap_or(Path::new("")))
    }

    /// Removes a file; that it is not there is no error.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.before(Step::Remove)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Makes a durable file of `slices`, which is there whole or not at all.
    pub fn write_whole(&self, path: &Path, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let unfinished = unfinished(path);
        let written = self.create(&unfinished).and_then(|file| {
            self.write_at(&file, slices, 0)?;
            self.sync(&file)
        });
        written.and_then(|()| self.rename(&unfinished, path)).inspect_err(|_| {
            // If this fails too, the next start removes it.
            let _ = self.remove(&unfinished);
        })
    }

    /// The room on the file system of `path`.
    pub fn room(&self, path: &Path) -> io::Result<Room> {
        let stat = statvfs(path)?;
        Ok(Room { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
    }

    #[cfg(not(test))]
    fn before(&self, _: Step) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn before(&self, step: Step) -> io::Result<()> {
        self.faults.before(step)
    }
}

/// The name under which a file is made.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// Reads as many bytes at `offset` as there are, up to the length of `buffer`.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads a whole (small) file.
pub(super) fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}
