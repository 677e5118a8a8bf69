//! The few operations on files that the engine is made of; nothing else in it touches the file system.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What the name of a file ends with until it is complete.
pub(super) const UNFINISHED: &str = "tmp";

/// Makes a folder and those above it, so that it survives a crash of the machine.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes an empty file to be written, in place of one that a crash left unfinished.
pub(super) fn create(path: &Path) -> io::Result<File> {
    File::create(path)
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// Reads `buffer.len()` bytes from `offset` on, without moving any shared place in the file.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
}

pub(super) fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Removes a file; one that is gone already is as good.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Makes renames, creations and removals in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The size of a file; `None`, if it is not there.
pub(super) fn size(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether `path` is a folder that can be used.
pub(super) fn check_folder(path: &Path) -> io::Result<()> {
    fs::read_dir(path).map(drop)
}

/// The files in the folders within `path`, one level down, in no order.
pub(super) fn list_files_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in fs::read_dir(path)? {
        let folder = folder?;
        if folder.file_type()?.is_dir() {
            for file in fs::read_dir(folder.path())? {
                files.push(file?.path());
            }
        }
    }
    Ok(files)
}

/// How many files there are in a folder; none, if it is not there.
pub(super) fn count(path: &Path) -> usize {
    fs::read_dir(path).map_or(0, |entries| entries.filter_map(Result::ok).count())
}

/// Moves a file into the folder `quarantine` under a name that says where it stood; a file of that name is kept.
pub(super) fn set_aside(path: &Path, quarantine: &Path) -> io::Result<PathBuf> {
    create_folder(quarantine)?;
    let name = |path: &Path| path.file_name().unwrap_or(OsStr::new("unnamed")).to_string_lossy().into_owned();
    let parent = path.parent().map(name).unwrap_or_default();
    let mut place = quarantine.join(format!("{parent}_{}", name(path)));
    for copy in 2..u32::MAX {
        if !place.exists() {
            break;
        }
        place = quarantine.join(format!("{parent}_{}.{copy}", name(path)));
    }
    rename(path, &place)?;
    sync_folder(quarantine)?;
    path.parent().map_or(Ok(()), sync_folder)?;
    Ok(place)
}
