//! The data folder's lock: one process per folder, held by the operating system's file lock, not by a file's existence.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use sluice_model::Timestamp;

/// The lock on a data folder; given back on drop, and by the end of the process however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Why the folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{folder} is in use by {holder}")]
    Held {
        /// The folder.
        folder: String,
        /// What the other process wrote of itself.
        holder: String,
    },
    /// It cannot be made or written.
    #[error("{folder}: {error}")]
    Io {
        /// The folder.
        folder: String,
        /// Why.
        error: std::io::Error,
    },
}

impl FolderLock {
    /// Makes the folder, for the owner only, if it is not there, and takes its lock.
    ///
    /// # Errors
    /// [`LockError::Held`], if another process has it, and [`LockError::Io`], if the folder cannot be used.
    pub fn take(folder: &Path) -> Result<FolderLock, LockError> {
        let shown = folder.display().to_string();
        let io = |error| LockError::Io { folder: shown.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        sync_parent(folder).map_err(io)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(folder.join("lock")).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The holder's line is a courtesy; without it the refusal stands all the same.
                let _ = file.read_to_string(&mut holder);
                let holder = if holder.trim().is_empty() { "another process" } else { holder.trim() }.to_owned();
                return Err(LockError::Held { folder: shown, holder });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let line = format!("process {} since {}\n", std::process::id(), Timestamp::now());
        // A courtesy to who comes later; a full disk is no reason not to start.
        let _ = file.set_len(0).and_then(|()| file.write_all(line.as_bytes()));
        Ok(FolderLock { _file: file })
    }
}

/// Makes the folder's own entry survive a crash of the machine: what is durable in it must be found again.
fn sync_parent(folder: &Path) -> std::io::Result<()> {
    // Asked of the operating system, which knows it also where a part of the path is a link.
    File::open(folder.join(".."))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = FolderLock::take(&path).unwrap();
        let refused = FolderLock::take(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("is in use by process {}", std::process::id())), "{refused}");
        drop(first);
        FolderLock::take(&path).unwrap();
    }
}
