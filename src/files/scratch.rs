//! Temporary files: a folder of its own, emptied at every start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use log::warn;

use super::Files;

/// A folder for files that nobody needs after their maker.
#[derive(Debug)]
pub struct Scratch {
    files: Arc<dyn Files>,
    folder: PathBuf,
    made: AtomicU64,
}

impl Scratch {
    /// Takes `folder`, makes it if it is not there, and removes the files that a process has left there when it was killed.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(files: Arc<dyn Files>, folder: &Path) -> io::Result<Scratch> {
        files.create_folder(folder)?;
        for entry in files.list(folder)?.iter().filter(|entry| !entry.is_folder) {
            files.remove(&entry.path)?;
        }
        Ok(Scratch { files, folder: folder.to_owned(), made: AtomicU64::new(0) })
    }

    /// Makes an empty file whose name ends with `ending`.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn file(&self, ending: &str) -> io::Result<ScratchFile> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{number}.{ending}"));
        self.files.create(&path)?;
        Ok(ScratchFile { files: self.files.clone(), path })
    }
}

/// A temporary file; removed on drop.
#[derive(Debug)]
pub struct ScratchFile {
    files: Arc<dyn Files>,
    path: PathBuf,
}

impl ScratchFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system that it is on.
    pub fn files(&self) -> &dyn Files {
        &*self.files
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        if let Err(error) = self.files.remove(&self.path) {
            warn!(path:% = self.path.display(), error:% = error; "a temporary file cannot be removed; the next start tries again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::files::Disk;

    #[test]
    fn files_go_with_their_maker_and_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let tmp = folder.path().join("tmp");
        let scratch = Scratch::open(Arc::new(Disk), &tmp).unwrap();
        assert_eq!(std::fs::metadata(&tmp).unwrap().permissions().mode() & 0o777, 0o700);
        let files = [scratch.file("a").unwrap(), scratch.file("a").unwrap()];
        assert_ne!(files[0].path(), files[1].path());
        assert_eq!(std::fs::metadata(files[0].path()).unwrap().permissions().mode() & 0o777, 0o600);
        let [first, second] = files;
        drop(first);
        assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 1);
        // As if the process had been killed.
        std::mem::forget(second);
        drop(Scratch::open(Arc::new(Disk), &tmp).unwrap());
        assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
    }
}
