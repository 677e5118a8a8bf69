//! A look at every byte of the store, without a server, and the mending of what is wrong with it.
//!
//! The steps are those of a start ([`super::recovery`]), and then each listed segment is read whole. What is damaged is
//! mended as a running store does it ([`super::salvage`]).

use super::OpenError;
use super::manifest::{self, ManifestFile};
use super::reader::ReadError;
use super::recovery::{self, Folders, Mode, Recovered, SET_ASIDE};
use super::salvage::{self, SalvageError, Salvaged};
use super::segment::{FORMAT, SegmentInfo};
use crate::batch::BlockSet;
use crate::finding::{Checked, Finding, Kind, Loss};

/// Looks at all files of a store.
pub(super) fn check(folders: &Folders, mode: Mode) -> Result<Checked, OpenError> {
    let Ok(entries) = folders.files.list(&folders.root) else {
        return Ok(Checked::default());
    };
    let Recovered { mut manifest, findings, .. } = recovery::recover(folders, None, mode)?;
    // A server goes on without a manifest on a full disk; what says that it mends must have written it.
    manifest.sync()?;
    let mut check = Check { folders, mode, manifest, seen: BlockSet::new(), checked: Checked::default() };
    check.checked.findings = findings;
    for entry in entries {
        let name = entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.as_str() {
            manifest::NAME | manifest::PREVIOUS => check.checked.files += 1,
            manifest::NEXT | "segments" | "quarantine" => {}
            _ => check.add(Finding::new(&entry.path, Kind::Foreign, "it is not the store's", "it is left alone")),
        }
    }
    for info in check.manifest.current().segments.clone() {
        check.segment(&info)?;
    }
    Ok(check.checked)
}

struct Check<'a> {
    folders: &'a Folders,
    mode: Mode,
    manifest: ManifestFile,
    /// The records of the segments so far.
    seen: BlockSet,
    checked: Checked,
}

impl Check<'_> {
    fn add(&mut self, finding: Finding) {
        self.checked.findings.push(finding);
    }

    fn segment(&mut self, info: &SegmentInfo) -> Result<(), OpenError> {
        self.checked.files += 1;
        let path = self.folders.segments.join(&info.name);
        let inspection = match salvage::inspect(&*self.folders.files, &path, Some(info), &mut drop) {
            Ok(inspection) => inspection,
            Err(ReadError::TooNew(format)) => return Err(OpenError::TooNew { path, format }),
            Err(error) => {
                self.add(Finding::new(&path, Kind::Unreadable, error.to_string(), "none").losing(Loss::unknown()));
                return Ok(());
            }
        };
        let doubled = inspection.rows.saturating_sub(inspection.kept.without(&self.seen).records());
        self.seen.extend(&inspection.kept);
        self.checked.records += inspection.rows - doubled;
        if let Some(format) = inspection.format.filter(|format| *format < FORMAT) {
            let what = format!("it has format {format}, which has fewer checksums");
            self.add(Finding::new(&path, Kind::OlderFormat, what, "it is left as it is"));
        }
        if doubled > 0 {
            let what = format!("{doubled} of its {} records are in other segments too", info.rows);
            return self.doubled(info, doubled == inspection.rows, what);
        }
        match inspection.damage {
            Some(_) if self.mode == Mode::Mend => self.mend(info),
            Some(damage) => {
                self.add(damage.finding(&path));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A segment of which some records are in others: it is set aside, if all are.
    fn doubled(&mut self, info: &SegmentInfo, all: bool, what: String) -> Result<(), OpenError> {
        let path = self.folders.segments.join(&info.name);
        let mut finding = Finding::new(&path, Kind::Doubled, what, if all { SET_ASIDE } else { "none" });
        if all && self.mode == Mode::Mend {
            self.replace(info, None)?;
            finding.mended = true;
        }
        self.add(finding);
        Ok(())
    }

    fn mend(&mut self, info: &SegmentInfo) -> Result<(), OpenError> {
        let Salvaged { segment, mut finding } = salvage::salvage(self.folders, info).map_err(|error| match error {
            SalvageError::Read(ReadError::Io(error)) => OpenError::Io(error),
            error => OpenError::Io(std::io::Error::other(error.to_string())),
        })?;
        self.replace(info, segment)?;
        finding.mended = true;
        self.add(finding);
        Ok(())
    }

    /// Puts what was saved of a segment in its place, and sets its file aside.
    fn replace(&mut self, info: &SegmentInfo, saved: Option<SegmentInfo>) -> Result<(), OpenError> {
        let mut next = self.manifest.current().clone();
        next.segments.retain(|listed| listed.name != info.name);
        next.segments.extend(saved);
        self.manifest.commit(next)?;
        self.manifest.sync()?;
        let Folders { files, segments, quarantine, .. } = self.folders;
        files.set_aside(&segments.join(&info.name), quarantine)?;
        Ok(())
    }
}
