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
//! | the output of a compaction or salvage whose inputs are listed | it takes their place, and they are deleted, those of a salvage set aside |
//! | of blocks that nothing covers | it is adopted |
//! | anything else: its records are there already, or were deleted | quarantine |
//!
//! Nothing is deleted just because it is not listed. Files under a `.tmp` name never were complete; they are removed.
//! Other files are left alone. What cannot go to quarantine now, as the disk is full, stays where it is and goes there later
//! ([`ManifestFile::leaving`]): no segment that is not listed is ever read. `sluice fsck` takes the same steps, with or without touching anything.

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
use crate::finding::{Finding, Kind, Loss};

/// What the name of a segment ends with until it is complete.
pub(super) const UNFINISHED: &str = "tmp";

/// What mending does with a file that is no use where it stands.
pub(super) const SET_ASIDE: &str = "the file goes to quarantine";

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

    /// Whether a segment is gone for good: a power cut would not bring it back.
    pub(super) fn is_gone(&self, name: &str) -> bool {
        let path = self.segments.join(name);
        let is_synced = |folder: &Path| match self.files.sync_folder(folder) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(()) => true,
        };
        matches!(self.files.size(&path), Ok(None)) && path.parent().is_none_or(is_synced)
    }
}

/// Whether anything is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// What is wrong is mended.
    Mend,
    /// It is only told.
    Check,
}

/// A store as it is found, made whole, or as it would be.
pub(super) struct Recovered {
    pub(super) manifest: ManifestFile,
    /// The blocks that the manifest on disk covers: all that the current one does, unless that could not be written.
    pub(super) durable: BlockSet,
    pub(super) findings: Vec<Finding>,
}

/// Reads the manifest and brings the folder in line with it. Of blocks of other runs than `spooled_runs`, if these are
/// known, it is forgotten that the store had them.
pub(super) fn recover(folders: &Folders, spooled_runs: Option<&[RunId]>, mode: Mode) -> Result<Recovered, OpenError> {
    let files = &folders.files;
    if mode == Mode::Mend {
        files.create_folder_durably(&folders.root)?;
        files.create_folder_durably(&folders.segments)?;
    }
    let mut recovery = Recovery::new(folders, mode);
    let found = recovery.read_manifest()?;
    recovery.next = found.clone().unwrap_or_default();
    recovery.finish_deletions();
    recovery.check_listed()?;
    recovery.place_strays()?;
    let Recovery { mut next, mut findings, current, left, .. } = recovery;
    if found.is_none() && !next.segments.is_empty() {
        let what = format!("it is lost; it can be built anew from {} segments", next.segments.len());
        findings.push(Finding::new(&folders.root.join(manifest::NAME), Kind::Missing, what, "it is built anew"));
    }
    if let Some(runs) = spooled_runs {
        next.covered.retain_runs(|run| runs.contains(&run));
    }
    if mode == Mode::Check {
        let durable = next.covered.clone();
        return Ok(Recovered { manifest: ManifestFile::new(files.clone(), &folders.root, next), durable, findings });
    }
    // What was read from the previous manifest is put in the place of the last one again.
    findings.iter_mut().for_each(|finding| finding.mended = !finding.kind.is_note() && !left.contains(&finding.file));
    let (manifest, durable) = write_manifest(folders, (found, current), next, left);
    Ok(Recovered { manifest, durable, findings })
}

/// Makes the manifest what recovery has found. A disk that is full now is no reason not to start: searches need no
/// manifest on disk, and the next flush writes it.
fn write_manifest(
    folders: &Folders,
    (found, is_current): (Option<Manifest>, bool),
    next: Manifest,
    left: Vec<PathBuf>,
) -> (ManifestFile, BlockSet) {
    let (files, root) = (&folders.files, &folders.root);
    let durable = next.covered.clone();
    let manifest = if is_current && found.as_ref() == Some(&next) {
        ManifestFile::new(files.clone(), root, next)
    } else {
        ManifestFile::uncommitted(files.clone(), root, next)
    };
    let mut manifest = manifest.leaving(left, &folders.quarantine);
    if let Err(error) = manifest.sync() {
        log::error!(error:%; "the store's manifest cannot be written yet; it goes on with what it has found");
        return (manifest, found.unwrap_or_default().covered);
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
    mode: Mode,
    next: Manifest,
    /// Whether `next` is, word for word, the last manifest that was committed.
    current: bool,
    /// The segments whose records are in others.
    superseded: BTreeSet<String>,
    findings: Vec<Finding>,
    /// What could not be moved into quarantine.
    left: Vec<PathBuf>,
}

impl<'a> Recovery<'a> {
    fn new(folders: &'a Folders, mode: Mode) -> Recovery<'a> {
        let (next, superseded) = (Manifest::default(), BTreeSet::new());
        Recovery { folders, mode, next, current: false, superseded, findings: Vec::new(), left: Vec::new() }
    }

    /// The manifest to start from; `None`, if there is none that can be read.
    fn read_manifest(&mut self) -> Result<Option<Manifest>, OpenError> {
        let [(path, current), (previous_path, previous)] = manifest::read(&*self.folders.files, &self.folders.root)?;
        self.current = matches!(current, Found::Sound(_));
        let mut chosen = None;
        match current {
            Found::Sound(manifest) => chosen = Some(manifest),
            Found::TooNew(format) => return Err(OpenError::TooNew { path, format }),
            Found::Damaged(reason) => {
                self.set_aside(Finding::new(
                    &path,
                    Kind::Damaged,
                    reason,
                    "it goes to quarantine; the previous one is taken",
                ));
            }
            Found::Nothing if matches!(previous, Found::Sound(_)) => {
                let what = "it is missing; the previous one is whole";
                self.findings.push(Finding::new(&path, Kind::Missing, what, "the previous one is taken"));
            }
            Found::Nothing => {}
        }
        match previous {
            Found::TooNew(format) if chosen.is_none() => {
                return Err(OpenError::TooNew { path: previous_path, format });
            }
            Found::Damaged(reason) => self.set_aside(Finding::new(&previous_path, Kind::Damaged, reason, SET_ASIDE)),
            Found::Sound(manifest) => chosen = chosen.or(Some(manifest)),
            Found::TooNew(_) | Found::Nothing => {}
        }
        let unfinished = self.folders.root.join(manifest::NEXT);
        if self.folders.files.exists(&unfinished)? {
            self.remove_unfinished(&unfinished)?;
        }
        Ok(chosen)
    }

    /// Removes what was to be removed when the store stopped.
    fn finish_deletions(&mut self) {
        let Folders { files, segments, .. } = self.folders;
        for name in std::mem::take(&mut self.next.deleting) {
            let path = segments.join(&name);
            if files.exists(&path).unwrap_or(false) {
                let what = "it is no longer used, and was to be removed";
                self.findings.push(Finding::new(&path, Kind::Unfinished, what, "it is removed"));
            }
            if self.mode == Mode::Check {
                self.superseded.insert(name);
                continue;
            }
            if let Err(error) = files.remove(&path) {
                log::warn!(file:% = path.display(), error:%; "cannot remove a segment that is no longer used");
            }
            if !self.folders.is_gone(&name) {
                self.next.deleting.insert(name);
            }
        }
    }

    /// Drops listed segments that are not there as they were written.
    fn check_listed(&mut self) -> Result<(), OpenError> {
        let mut sound = Vec::with_capacity(self.next.segments.len());
        for info in std::mem::take(&mut self.next.segments) {
            let path = self.folders.segments.join(&info.name);
            match self.folders.files.size(&path)? {
                Some(bytes) if bytes != info.bytes => {
                    let what = format!("it has {bytes} bytes of {}", info.bytes);
                    let lost = Loss::among(&info.spans(), Some(info.rows));
                    let place = bytes.min(info.bytes);
                    let finding = Finding::new(&path, Kind::Damaged, what, SET_ASIDE).losing(lost);
                    self.set_aside(finding.at(place, info.bytes.abs_diff(bytes)));
                }
                // One that is missing may have been taken over by a compaction that the manifest does not know of.
                _ => sound.push(info),
            }
        }
        // A salvage's input is the damaged file itself, which is kept.
        let compactions = sound.iter().filter(|info| !info.salvage);
        self.superseded.extend(compactions.flat_map(|info| info.replaces.iter().cloned()));
        self.next.segments = sound;
        Ok(())
    }

    /// Finds a place for every segment that is not listed.
    fn place_strays(&mut self) -> Result<(), OpenError> {
        let listed: BTreeSet<String> = self.next.segments.iter().map(|info| info.name.clone()).collect();
        let removed: BTreeSet<PathBuf> = self.findings.iter().map(|finding| finding.file.clone()).collect();
        let mut strays = Vec::new();
        for path in self.list_files()? {
            let name = path.strip_prefix(&self.folders.segments).unwrap_or(&path).to_string_lossy().into_owned();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                self.remove_unfinished(&path)?;
            } else if !segment::is_segment(&path) {
                self.findings.push(Finding::new(&path, Kind::Foreign, "it is no segment", "it is left alone"));
            } else if !listed.contains(&name) && !self.next.deleting.contains(&name) && !removed.contains(&path) {
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
        let days = match files.list(segments) {
            // A look without mending makes no folders.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            days => days?,
        };
        for day in days.into_iter().filter(|entry| entry.is_folder) {
            let entries = files.list(&day.path)?.into_iter();
            found.extend(entries.filter(|entry| !entry.is_folder).map(|entry| entry.path));
        }
        Ok(found)
    }

    fn place(&mut self, name: String, path: &Path, covered: &mut BlockSet) -> Result<(), OpenError> {
        let read = OpenSegment::open(&*self.folders.files, path).and_then(|open| Ok((open.blocks()?, open)));
        let (blocks, open) = match read {
            Ok(read) => read,
            Err(ReadError::Damaged(reason)) => {
                // What was never in the manifest, the spool still has.
                let lost = if self.current { Loss::none() } else { Loss::unknown() };
                self.set_aside(Finding::new(path, Kind::Damaged, reason, SET_ASIDE).losing(lost));
                return Ok(());
            }
            Err(ReadError::TooNew(format)) => return Err(OpenError::TooNew { path: path.to_owned(), format }),
            Err(ReadError::Unreadable(error)) => {
                log::error!(file:% = path.display(), error:%; "a segment cannot be read; it is left for the next start");
                return Ok(());
            }
            Err(ReadError::Io(error)) => return Err(error.into()),
        };
        let info = SegmentInfo { name, bytes: open.bytes(), ..open.footer.segment.clone() };
        if self.superseded.contains(&info.name) {
            let what = "it was compacted into another segment";
            self.findings.push(Finding::new(path, Kind::Unfinished, what, "it is removed"));
            self.superseded.extend(info.replaces);
            return if self.mode == Mode::Mend { Ok(self.folders.files.remove(path)?) } else { Ok(()) };
        }
        if self.next.segments.iter().any(|listed| info.replaces.contains(&listed.name)) {
            let what = "it takes the place of others, and the manifest does not name it yet";
            self.findings.push(Finding::new(path, Kind::Orphan, what, "it takes their place"));
            self.replace_inputs(&info)?;
        } else if touches(covered, &blocks) {
            let what = "its records are in the store already, or were deleted";
            self.set_aside(Finding::new(path, Kind::Doubled, what, SET_ASIDE));
            return Ok(());
        } else {
            let what = format!("the manifest does not name it; it has {} records", info.rows);
            self.findings.push(Finding::new(path, Kind::Orphan, what, "it is adopted"));
        }
        covered.extend(&blocks);
        self.next.covered.extend(&blocks);
        if !info.salvage {
            self.superseded.extend(info.replaces.iter().cloned());
        }
        self.next.segments.push(info);
        Ok(())
    }

    /// Takes the inputs of a compaction or salvage out of the list. The files of a compaction's go once the manifest says
    /// so, and damaged ones are set aside.
    fn replace_inputs(&mut self, output: &SegmentInfo) -> Result<(), OpenError> {
        let (inputs, kept) = std::mem::take(&mut self.next.segments)
            .into_iter()
            .partition::<Vec<_>, _>(|info| output.replaces.contains(&info.name));
        self.next.segments = kept;
        for info in inputs {
            let path = self.folders.segments.join(&info.name);
            if !output.salvage {
                self.next.deleting.insert(info.name);
            } else if self.folders.files.exists(&path)? {
                let lost =
                    Loss::among(&info.spans().without(&output.spans()), Some(info.rows.saturating_sub(output.rows)));
                self.set_aside(
                    Finding::new(&path, Kind::Damaged, "what is whole of it is saved", SET_ASIDE).losing(lost),
                );
            }
        }
        Ok(())
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
                let lost = Loss::among(&info.spans(), Some(info.rows));
                let finding = Finding::new(&path, Kind::Missing, "the file is missing", "the manifest forgets it");
                self.findings.push(finding.losing(lost));
            }
        }
        self.next.segments = present;
        Ok(())
    }

    fn remove_unfinished(&mut self, path: &Path) -> Result<(), OpenError> {
        self.findings.push(Finding::new(path, Kind::Unfinished, "its making was not finished", "it is removed"));
        if self.mode == Mode::Mend { Ok(self.folders.files.remove(path)?) } else { Ok(()) }
    }

    /// Moves a file into quarantine. Where that cannot be done now, it stays where it is: that is no reason not to start.
    fn set_aside(&mut self, mut finding: Finding) {
        if self.mode == Mode::Mend {
            match self.folders.files.set_aside(&finding.file, &self.folders.quarantine) {
                Ok(place) => finding.remedy = format!("{} as {}", finding.remedy, place.display()),
                Err(error) => {
                    finding.remedy = format!("it cannot go to quarantine yet ({error}), and stays unused where it is");
                    self.left.push(finding.file.clone());
                }
            }
        }
        self.findings.push(finding);
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
