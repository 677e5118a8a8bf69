//! `sluice fsck`: reads everything that a data folder has, reports what is wrong, and mends it if it is asked to.
//!
//! It takes the folder's lock, so no server runs meanwhile. Each part is read by the code that reads it in the server:
//! [`crate::spool::check`], [`EmbeddedStore::check`], [`crate::worker::dead_letter::check`]. Nothing that may hold records
//! is ever deleted: it goes to `quarantine/`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::app::{FolderLock, LockError};
use crate::files::{Disk, Files};
use crate::finding::{Checked, Finding, Kind, Loss};
use crate::store::embedded::{EmbeddedStore, OpenError};
use crate::{spool, worker};

/// What stands in a data folder beside the lock.
const PARTS: [&str; 6] = ["spool", "store", "dead-letter", "quarantine", "lock", "tmp"];

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    folder: PathBuf,
    findings: Vec<Finding>,
    spool: Counts,
    store: Counts,
    dead_letters: Counts,
    quarantined_files: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    files: u64,
    records: u64,
}

/// Looks at the data folder, and mends what is wrong with it, if `mend` says so.
///
/// # Errors
/// [`LockError`], if a server has the folder, or it cannot be used. Whatever else cannot be read is a finding.
pub fn fsck(folder: &Path, mend: bool) -> Result<Report, LockError> {
    let unreadable = |error| LockError::Io { folder: folder.display().to_string(), error };
    let files: Arc<dyn Files> = Arc::new(Disk);
    let entries = files.list(folder).map_err(unreadable)?;
    let _lock = FolderLock::take(folder)?;
    let mut report = Report { folder: folder.to_owned(), ..Report::default() };
    let [spool, store, letters, quarantine, ..] = PARTS.map(|part| folder.join(part));
    report.spool = report.take(&spool, spool::check(&files, &spool, mend).map_err(OpenError::Io));
    report.store = report.take(&store, EmbeddedStore::check(&files, &store, mend));
    let checked = worker::dead_letter::check(&*files, &letters, &quarantine, mend);
    report.dead_letters = report.take(&letters, checked.map_err(OpenError::Io));
    for entry in entries {
        if !PARTS.iter().any(|part| entry.path.ends_with(part)) {
            let finding = Finding::new(&entry.path, Kind::Foreign, "it is not Sluice's", "it is left alone");
            report.findings.push(finding);
        }
    }
    let count = |folder: &Path| files.list(folder).map_or(0, |entries| entries.len() as u64);
    report.quarantined_files = count(&quarantine) + count(&store.join("quarantine"));
    Ok(report)
}

impl Report {
    fn take(&mut self, part: &Path, checked: Result<Checked, OpenError>) -> Counts {
        let Checked { files, records, findings } = checked.unwrap_or_else(|error| {
            let finding = match &error {
                OpenError::TooNew { path, .. } => {
                    Finding::new(path, Kind::NewerFormat, error.to_string(), "none: use the newer Sluice")
                }
                error => Finding::new(part, Kind::Unreadable, error.to_string(), "none").losing(Loss::unknown()),
            };
            Checked { findings: vec![finding], ..Checked::default() }
        });
        self.findings.extend(findings);
        Counts { files, records }
    }

    /// The exit code, a sum as of fsck(8): 1 something was mended, 2 records are lost, 4 something is left as it is, 8
    /// something cannot be read.
    pub fn exit_code(&self) -> u8 {
        let of = |finding: &Finding| match finding.kind {
            kind if kind.is_note() => 0,
            Kind::Unreadable => 8,
            _ => (if finding.mended { 1 } else { 4 }) | (if finding.lost.is_some() { 2 } else { 0 }),
        };
        self.findings.iter().map(of).fold(0, |code, bits| code | bits)
    }

    /// Writes a line for each finding, and a summary.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for finding in &self.findings {
            write!(out, "{}: {}", self.relative(&finding.file), finding.kind.name())?;
            if let (Some(offset), Some(bytes)) = (finding.offset, finding.bytes) {
                write!(out, " at byte {offset} ({bytes} bytes)")?;
            }
            write!(out, ": {}", finding.what)?;
            if finding.lost.is_some() {
                write!(out, "; lost: {}", finding.lost)?;
            }
            let word = if finding.mended { "mended" } else { "to mend it" };
            writeln!(out, "; {word}: {}", finding.remedy)?;
        }
        let (lost, unknown) = self.lost();
        let unknown = if unknown { ", and an unknown number more" } else { "" };
        let mended = self.findings.iter().filter(|finding| finding.mended).count();
        writeln!(
            out,
            "{} files read; records whole: {} in the store, {} in the spool, {} dead letters; lost: {lost}{unknown}; {} \
             findings, {mended} mended; {} files in quarantine",
            self.files(),
            self.store.records,
            self.spool.records,
            self.dead_letters.records,
            self.findings.len(),
            self.quarantined_files,
        )
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        let ids = |finding: &Finding| -> Vec<Value> {
            finding.lost.ids.iter().map(|(first, last)| json!([first.to_string(), last.to_string()])).collect()
        };
        let finding = |finding: &Finding| {
            json!({
                "file": self.relative(&finding.file), "offset": finding.offset, "bytes": finding.bytes,
                "kind": finding.kind.name(), "what": finding.what, "remedy": finding.remedy, "mended": finding.mended,
                "lost_records": finding.lost.records, "lost_ids": ids(finding),
            })
        };
        let (lost, unknown) = self.lost();
        json!({
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "files": self.files(),
            "records": {
                "store": self.store.records, "spool": self.spool.records, "dead_letters": self.dead_letters.records,
            },
            "lost_records": lost, "lost_unknown": unknown,
            "quarantined_files": self.quarantined_files, "exit_code": self.exit_code(),
        })
    }

    fn files(&self) -> u64 {
        self.spool.files + self.store.files + self.dead_letters.files
    }

    /// How many records are lost as far as is known, and whether there may be more.
    fn lost(&self) -> (u64, bool) {
        let known = self.findings.iter().filter_map(|finding| finding.lost.records).sum();
        (known, self.findings.iter().any(|finding| finding.lost.records.is_none()))
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).display().to_string()
    }
}
