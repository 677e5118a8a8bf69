//! What happens at a start, so that a crash between any two steps leaves nothing to be done by hand.
//!
//! The manifest is read, or the previous one, or an empty one is taken and all is rebuilt from the segments' footers.
//! What the manifest wants removed is removed. A listed segment that is missing or shorter than it was is reported and
//! dropped. Then each segment that is not listed is looked at, the newest first:
//!
//! | what it is | what happens |
//! |---|---|
//! | unreadable | quarantine |
//! | an input of a segment that is listed | it is deleted: its records are all in that one |
//! | the output of a compaction whose inputs are listed | it takes their place, and they are deleted |
//! | of blocks that nothing covers | it is adopted |
//! | anything else: its records are there already, or were deleted | quarantine |
//!
//! Nothing is deleted just because it is not listed. Files under a `.tmp` name never were complete; they are removed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_model::RunId;

use super::OpenError;
use super::manifest::{self, Found, Manifest, ManifestFile};
use super::reader::{OpenSegment, ReadError};
use super::segment::{self, SegmentInfo};
use crate::batch::{BlockId, BlockSet};
use crate::files::Files;

/// What the name of a segment ends with until it is complete.
pub(super) const UNFINISHED: &str = "tmp";

/// The folders of a store.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    pub(super) files: Arc<dyn Files>,
    pub(super) root: PathBuf,
    pub(super) segments: PathBuf,
    pub(super) quarantine: PathBuf,
}

impl Folders {
    pub(super) fn below(root: &Path, files: &Arc<dyn Files>) -> Folders {
        let (segments, quarantine) = (root.join("segments"), root.join("quarantine"));
        Folders { files: files.clone(), root: root.to_owned(), segments, quarantine }
    }
}

/// A store as it is found, made whole.
pub(super) struct Recovered {
    pub(super) manifest: ManifestFile,
    /// The blocks that the manifest on disk covers: all that the current one does, unless that could not be written.
    pub(super) durable: BlockSet,
    /// How many files were set aside.
    pub(super) quarantined: u64,
}

/// Reads the manifest and brings the folder in line with it.
pub(super) fn recover(folders: &Folders, spooled_runs: &[RunId]) -> Result<Recovered, OpenError> {
    let files = &folders.files;
    files.create_folder_durably(&folders.root)?;
    files.create_folder_durably(&folders.segments)?;
    let mut recovery = Recovery { folders, next: Manifest::default(), superseded: BTreeSet::new(), quarantined: 0 };
    let found = recovery.read_manifest()?;
    recovery.next = found.clone().unwrap_or_default();
    recovery.finish_deletions();
    recovery.check_listed()?;
    recovery.place_strays()?;
    recovery.next.covered.retain_runs(|run| spooled_runs.contains(&run));
    let Recovery { next, quarantined, .. } = recovery;
    if found.is_none() && !next.segments.is_empty() {
        log::warn!(segments = next.segments.len(); "the manifest is lost; it is built anew from the segments");
    }
    let (manifest, durable) = write_manifest(folders, found, next);
    Ok(Recovered { manifest, durable, quarantined })
}

/// Makes the manifest what recovery has found. A disk that is full now is no reason not to start: searches need no
/// manifest on disk, and the next flush writes it.
fn write_manifest(folders: &Folders, found: Option<Manifest>, next: Manifest) -> (ManifestFile, BlockSet) {
    let (files, root) = (&folders.files, &folders.root);
    let mut durable = next.covered.clone();
    let mut manifest = if found.as_ref() == Some(&next) {
        ManifestFile::new(files.clone(), root, next)
    } else {
        ManifestFile::uncommitted(files.clone(), root, next)
    };
    if let Err(error) = manifest.sync() {
        log::error!(error:%; "the store's manifest cannot be written yet; it goes on with what it has found");
        durable = found.unwrap_or_default().covered;
        return (manifest, durable);
    }
    // Nobody reads yet, so what the manifest wants removed can go; what cannot is left to the next start.
    for name in &manifest.current().deleting {
        let path = folders.segments.join(name);
        if let Err(error) = files.remove(&path) {
            log::warn!(file:% = path.display(), error:%; "cannot remove a segment that is no longer used");
        }
    }
    (manifest, durable)
}

struct Recovery<'a> {
    folders: &'a Folders,
    next: Manifest,
    /// The segments whose records are in others.
    superseded: BTreeSet<String>,
    quarantined: u64,
}

impl Recovery<'_> {
    /// The manifest to start from; `None`, if there is none that can be read.
    fn read_manifest(&mut self) -> Result<Option<Manifest>, OpenError> {
        let candidates = manifest::read(&*self.folders.files, &self.folders.root)?;
        let mut damaged = false;
        for (path, found) in candidates {
            match found {
                Found::Sound(manifest) => {
                    if damaged {
                        log::warn!(file:% = path.display(); "the store goes on from its previous manifest");
                    }
                    return Ok(Some(manifest));
                }
                Found::TooNew(format) => return Err(OpenError::TooNew { path, format }),
                Found::Damaged(reason) => {
                    damaged = true;
                    self.quarantine(&path, 0, &reason)?;
                }
                Found::Nothing => {}
            }
        }
        Ok(None)
    }

    /// Removes what was to be removed when the store stopped.
    fn finish_deletions(&mut self) {
        let Folders { files, segments, .. } = self.folders;
        self.next.deleting.retain(|name| {
            let path = segments.join(name);
            let removed = files.remove(&path);
            if let Err(error) = &removed {
                log::warn!(file:% = path.display(), error:%; "cannot remove a segment that is no longer used");
            }
            removed.is_err()
        });
    }

    /// Drops listed segments that are not there as they were written.
    fn check_listed(&mut self) -> Result<(), OpenError> {
        let mut sound = Vec::with_capacity(self.next.segments.len());
        for info in std::mem::take(&mut self.next.segments) {
            let path = self.folders.segments.join(&info.name);
            match self.folders.files.size(&path)? {
                Some(bytes) if bytes == info.bytes => sound.push(info),
                Some(bytes) => {
                    let reason = format!("it has {bytes} bytes of {}", info.bytes);
                    self.quarantine(&path, info.rows, &reason)?;
                }
                // A compaction that the manifest does not know of may have taken it over; see below.
                None => sound.push(info),
            }
        }
        self.superseded = sound.iter().flat_map(|info| info.replaces.iter().cloned()).collect();
        self.next.segments = sound;
        Ok(())
    }

    /// Finds a place for every segment that is not listed.
    fn place_strays(&mut self) -> Result<(), OpenError> {
        let listed: BTreeSet<String> = self.next.segments.iter().map(|info| info.name.clone()).collect();
        let mut strays = Vec::new();
        for path in self.list_files()? {
            let name = path.strip_prefix(&self.folders.segments).unwrap_or(&path).to_string_lossy().into_owned();
            if !segment::is_segment(&path) {
                self.folders.files.remove(&path)?;
            } else if !listed.contains(&name) && !self.next.deleting.contains(&name) {
                strays.push((path.file_name().map(ToOwned::to_owned), name, path));
            }
        }
        strays.sort_unstable();
        let mut covered = if strays.is_empty() { BlockSet::new() } else { self.covered() };
        for (_, name, path) in strays.into_iter().rev() {
            self.place(name, &path, &mut covered)?;
        }
        self.drop_missing()
    }

    /// The files in the folders of days, in no order.
    fn list_files(&self) -> io::Result<Vec<PathBuf>> {
        let Folders { files, segments, .. } = self.folders;
        let mut found = Vec::new();
        for day in files.list(segments)?.into_iter().filter(|entry| entry.is_folder) {
            let entries = files.list(&day.path)?.into_iter();
            found.extend(entries.filter(|entry| !entry.is_folder).map(|entry| entry.path));
        }
        Ok(found)
    }

    fn place(&mut self, name: String, path: &Path, covered: &mut BlockSet) -> Result<(), OpenError> {
        let read = OpenSegment::open(&*self.folders.files, path).and_then(|open| Ok((open.blocks()?, open)));
        let (blocks, open) = match read {
            Ok(read) => read,
            Err(ReadError::Damaged(reason)) => return self.quarantine(path, 0, &reason),
            Err(ReadError::TooNew(format)) => return Err(OpenError::TooNew { path: path.to_owned(), format }),
            Err(ReadError::Io(error)) => return Err(error.into()),
        };
        let info = SegmentInfo { name, bytes: open.bytes(), ..open.footer.segment };
        if self.superseded.contains(&info.name) {
            log::info!(file:% = path.display(); "a segment that was compacted into another is removed");
            self.superseded.extend(info.replaces);
            return Ok(self.folders.files.remove(path)?);
        }
        if self.next.segments.iter().any(|listed| info.replaces.contains(&listed.name)) {
            log::info!(file:% = path.display(); "a compaction that a crash cut short is completed");
            self.replace_inputs(&info);
        } else if touches(covered, &blocks) {
            return self.quarantine(path, info.rows, "its records are in the store already, or were deleted");
        } else {
            log::info!(file:% = path.display(), records = info.rows; "a segment that a crash kept from the manifest is adopted");
        }
        covered.extend(&blocks);
        self.next.covered.extend(&blocks);
        self.superseded.extend(info.replaces.iter().cloned());
        self.next.segments.push(info);
        Ok(())
    }

    /// Takes the inputs of a compaction out of the list. Their files go once the manifest says so.
    fn replace_inputs(&mut self, output: &SegmentInfo) {
        let inputs = |info: &SegmentInfo| output.replaces.contains(&info.name);
        let names = self.next.segments.iter().filter(|info| inputs(info)).map(|info| info.name.clone());
        self.next.deleting.extend(names.collect::<Vec<_>>());
        self.next.segments.retain(|info| !inputs(info));
    }

    /// Everything that is in the store, or was.
    fn covered(&self) -> BlockSet {
        let mut covered = self.next.covered.clone();
        for info in &self.next.segments {
            let path = self.folders.segments.join(&info.name);
            // One that cannot be read now is found out by the first search; its blocks are in the manifest's set, if the
            // spool can still bring them.
            if let Ok(blocks) = OpenSegment::open(&*self.folders.files, &path).and_then(|open| open.blocks()) {
                covered.extend(&blocks);
            }
        }
        covered
    }

    fn drop_missing(&mut self) -> Result<(), OpenError> {
        let mut present = Vec::with_capacity(self.next.segments.len());
        for info in std::mem::take(&mut self.next.segments) {
            let path = self.folders.segments.join(&info.name);
            if self.folders.files.exists(&path)? {
                present.push(info);
            } else {
                self.quarantined += 1;
                log::error!(file:% = path.display(), records = info.rows; "a segment is missing; its records are lost");
            }
        }
        self.next.segments = present;
        Ok(())
    }

    fn quarantine(&mut self, path: &Path, rows: u64, reason: &str) -> Result<(), OpenError> {
        let place = self.folders.files.set_aside(path, &self.folders.quarantine)?;
        self.quarantined += 1;
        log::error!(
            file:% = path.display(), quarantined_as:% = place.display(), records = rows, reason;
            "a file of the store is set aside"
        );
        Ok(())
    }
}

/// Whether any record is in both sets.
fn touches(covered: &BlockSet, blocks: &BlockSet) -> bool {
    blocks.intervals().any(|(run, first, end)| {
        // No segment has more rows than u32 can count, so no interval of one is longer.
        let rows = u32::try_from(end - first).unwrap_or(u32::MAX);
        covered.touches(BlockId { run, first, rows })
    })
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Io(error)
    }
}
