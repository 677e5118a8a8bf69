//! The manifest: which segments there are, and which blocks are done with.
//!
//! # Specification, format 2
//!
//! **Layout.** `manifest` is two lines of JSON. The first has the number of the format, the length of the second line, and
//! the CRC32C of that line and the number (as four bytes, little-endian); the second is [`Manifest`]. `manifest.previous`
//! is the one before, word for word. In format 1 the CRC32C is of the line alone; it is read, and written no more. The
//! number grows with that of the segments, so that a version that cannot read these stops here.
//!
//! **Commit.** The next manifest is written to `manifest.tmp` and synced; `manifest` is renamed to `manifest.previous`,
//! `manifest.tmp` to `manifest`, and the folder is synced. The second rename is the commit for this process, the sync
//! makes it one for the machine: only after it are blocks called durable and old files removed. A crash between the two
//! renames leaves the state before the commit, under the previous name.
//!
//! **Invariants.** Each listed segment is complete and synced. `covered` has every block that stands in a listed segment,
//! and those that compaction, retention or damage took away, until the spool holds no block of their run at a start.
//! `deleting` names the files that are to be removed, until they are gone.
//!
//! **Recovery.** A manifest that is lost, or does not fit its checksum, gives way to the previous one; where that is lost
//! too, it is built anew from the segments' footers ([`super::recovery`]). A manifest of a newer format is never passed by.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::segment::SegmentInfo;
use crate::batch::BlockSet;
use crate::files::Files;

const FORMAT: u32 = 2;
pub(super) const NAME: &str = "manifest";
pub(super) const PREVIOUS: &str = "manifest.previous";
pub(super) const NEXT: &str = "manifest.tmp";

/// The state of the disk tier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The blocks that the store holds, or held.
    pub(super) covered: BlockSet,
    pub(super) segments: Vec<SegmentInfo>,
    /// Segments that are to be removed, by name.
    pub(super) deleting: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Header {
    format: u32,
    crc32c: u32,
    length: usize,
}

/// What stands where a manifest should be.
#[derive(Debug)]
pub(super) enum Found {
    Sound(Manifest),
    Nothing,
    Damaged(String),
    /// Its format.
    TooNew(u32),
}

/// The manifest in its folder.
pub(super) struct ManifestFile {
    files: Arc<dyn Files>,
    folder: PathBuf,
    current: Manifest,
    /// Whether `current` is what stands on disk.
    committed: bool,
    /// Whether the last commit survives a crash of the machine.
    synced: bool,
    /// Files that belong into quarantine, and could not be moved there yet.
    left: Vec<PathBuf>,
    quarantine: PathBuf,
}

impl ManifestFile {
    /// Goes on from a manifest that was read, or built.
    pub(super) fn new(files: Arc<dyn Files>, folder: &Path, current: Manifest) -> ManifestFile {
        let (folder, quarantine) = (folder.to_owned(), PathBuf::new());
        ManifestFile { files, folder, current, committed: true, synced: true, left: Vec::new(), quarantine }
    }

    /// The same, and these files are set aside as soon as that is possible.
    #[must_use]
    pub(super) fn leaving(self, left: Vec<PathBuf>, quarantine: &Path) -> ManifestFile {
        ManifestFile { left, quarantine: quarantine.to_owned(), ..self }
    }

    /// Goes on from a manifest that could not be written yet: [`ManifestFile::sync`] commits it first.
    pub(super) fn uncommitted(files: Arc<dyn Files>, folder: &Path, current: Manifest) -> ManifestFile {
        ManifestFile { committed: false, ..ManifestFile::new(files, folder, current) }
    }

    pub(super) fn current(&self) -> &Manifest {
        &self.current
    }

    /// Puts `next` in the place of the manifest.
    ///
    /// After an error nothing has changed. `Ok` means that it is committed for this process; for the machine it is once
    /// [`ManifestFile::sync`] succeeds.
    pub(super) fn commit(&mut self, next: Manifest) -> io::Result<()> {
        self.set_left_aside();
        if self.left.iter().any(|path| path.parent() == Some(&self.folder)) {
            // The new one would take its place, or push it into that of the previous one, which is whole.
            return Err(io::Error::other("a damaged manifest cannot be set aside"));
        }
        let body = serde_json::to_vec(&next)?;
        let unfinished = self.folder.join(NEXT);
        let file = self.files.create(&unfinished)?;
        file.write_at(&mut [IoSlice::new(&sealed(&body))], 0)?;
        file.sync()?;
        match self.files.rename(&self.folder.join(NAME), &self.folder.join(PREVIOUS)) {
            // There is none before the first commit, and after one whose second rename failed.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.files.rename(&unfinished, &self.folder.join(NAME))?,
        }
        self.current = next;
        self.committed = true;
        self.synced = false;
        Ok(())
    }

    /// Makes the current manifest survive a crash of the machine.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.set_left_aside();
        if !self.committed {
            self.commit(self.current.clone())?;
        }
        if !self.synced {
            self.files.sync_folder(&self.folder)?;
            self.synced = true;
        }
        Ok(())
    }

    /// Tries again to move what was left into quarantine.
    fn set_left_aside(&mut self) {
        let (files, quarantine) = (&self.files, &self.quarantine);
        self.left.retain(|path| match files.exists(path) {
            // An earlier try may have failed after the move itself.
            Ok(false) => false,
            Ok(true) => match files.set_aside(path, quarantine) {
                Ok(place) => {
                    log::info!(file:% = path.display(), place:% = place.display(); "a damaged file is set aside at last");
                    false
                }
                Err(_) => true,
            },
            Err(_) => true,
        });
    }
}

/// The bytes of a manifest: a header, and `body` behind it.
pub(super) fn sealed(body: &[u8]) -> Vec<u8> {
    let header = json!({ "format": FORMAT, "crc32c": checksum(body, FORMAT), "length": body.len() });
    [header.to_string().as_bytes(), b"\n", body, b"\n"].concat()
}

/// Reads the manifest of a folder, and the one before.
pub(super) fn read(files: &dyn Files, folder: &Path) -> io::Result<[(PathBuf, Found); 2]> {
    let find = |name: &str| {
        let path = folder.join(name);
        let found = match files.read(&path) {
            Ok(bytes) => parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
            Err(error) => return Err(error),
        };
        Ok((path, found))
    };
    Ok([find(NAME)?, find(PREVIOUS)?])
}

pub(super) fn parse(bytes: &[u8]) -> Found {
    let damaged = |what: &str| Found::Damaged(what.to_owned());
    let Some(end) = memchr::memchr(b'\n', bytes) else { return damaged("it has no first line") };
    let (header, body) = bytes.split_at(end);
    let header: Header = match serde_json::from_slice(header) {
        Ok(header) => header,
        Err(error) => return Found::Damaged(error.to_string()),
    };
    let body = body.get(1..=header.length);
    // Which format it is, its checksum says: a number that is damaged must not pass for a newer one.
    match body.filter(|body| (1..=FORMAT).any(|format| header.crc32c == checksum(body, format))) {
        Some(body) => match serde_json::from_slice(body) {
            Ok(manifest) => Found::Sound(manifest),
            Err(error) => Found::Damaged(error.to_string()),
        },
        None if header.format > FORMAT => Found::TooNew(header.format),
        None => damaged("its checksum is wrong"),
    }
}

fn checksum(body: &[u8], format: u32) -> u32 {
    match (crc32c::crc32c(body), format) {
        (checksum, 1) => checksum,
        (checksum, format) => crc32c::crc32c_append(checksum, &format.to_le_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use sluice_model::RunId;

    use super::*;
    use crate::batch::BlockId;
    use crate::files::Disk;

    fn manifest(rows: u32) -> Manifest {
        let mut covered = BlockSet::new();
        covered.insert(BlockId { run: RunId::from_bytes([3; RunId::BYTES]), first: 0, rows });
        Manifest { covered, ..Manifest::default() }
    }

    fn sound(found: &Found) -> Option<&Manifest> {
        if let Found::Sound(manifest) = found { Some(manifest) } else { None }
    }

    #[test]
    fn the_last_commit_and_the_one_before_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = ManifestFile::new(Arc::new(Disk), folder.path(), Manifest::default());
        for rows in 1..4 {
            file.commit(manifest(rows)).unwrap();
        }
        let [current, previous] = read(&Disk, folder.path()).unwrap();
        assert_eq!(sound(&current.1), Some(&manifest(3)));
        assert_eq!(sound(&previous.1), Some(&manifest(2)));
    }

    #[test]
    fn any_flipped_byte_and_any_cut_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        ManifestFile::new(Arc::new(Disk), folder.path(), Manifest::default()).commit(manifest(7)).unwrap();
        let bytes = std::fs::read(folder.path().join(NAME)).unwrap();
        for place in 0..bytes.len() - 1 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            assert_ne!(sound(&parse(&flipped)), Some(&Manifest::default()));
            assert!(sound(&parse(&flipped)).is_none_or(|read| *read == manifest(7)), "byte {place}");
            assert!(sound(&parse(&bytes[..place])).is_none(), "cut at {place}");
        }
        let newer = String::from_utf8(bytes).unwrap().replace("\"format\":2", "\"format\":6");
        assert_eq!(sound(&parse(newer.as_bytes())), Some(&manifest(7)), "the checksum knows that the number is wrong");
        assert!(matches!(parse(b"{\"format\":3,\"crc32c\":1,\"length\":0}\n\n"), Found::TooNew(3)));
    }
}
