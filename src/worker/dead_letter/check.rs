//! A look at every dead letter, without a server, and the mending of what is wrong with them.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::line::{self, Letter};
use super::{EXTENSION, LINE_BYTES_MAX};
use crate::batch::{BlockId, BlockSet};
use crate::files::{Access, FileReader, FileWriter, Files, UNFINISHED, unfinished};
use crate::finding::{Checked, Finding, Kind, Loss};

const REMEDY: &str = "the line goes to quarantine";

/// Looks at all dead letters in `folder`, and mends them if it is asked to: lines that are damaged go to a file in
/// `quarantine`, the others stay. The server must not run.
///
/// # Errors
/// If a file cannot be read or mended.
pub fn check(files: &dyn Files, folder: &Path, quarantine: &Path, mend: bool) -> io::Result<Checked> {
    let mut checked = Checked::default();
    let entries = match files.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(checked),
        entries => entries?,
    };
    for path in entries.into_iter().map(|entry| entry.path) {
        match path.extension().and_then(|end| end.to_str()).unwrap_or_default() {
            EXTENSION => {
                let before = checked.findings.len();
                read(files, &path, &mut checked, &mut |_, _| Ok(()))?;
                if mend && checked.findings.len() > before {
                    rewrite(files, &path, quarantine)?;
                    checked.findings.iter_mut().skip(before).for_each(|finding| finding.mended = true);
                }
            }
            UNFINISHED => {
                let finding = Finding::new(&path, Kind::Unfinished, "its making was not finished", "it is removed");
                if mend {
                    files.remove(&path)?;
                }
                checked.findings.push(Finding { mended: mend, ..finding });
            }
            // What `sluice requeue` keeps beside the letters.
            "lock" | "progress" | "lines" => {}
            _ => checked.findings.push(Finding::new(&path, Kind::Foreign, "it is no dead letter", "it is left alone")),
        }
    }
    Ok(checked)
}

/// Reads a file; gives each line, and whether it is whole, to `each`.
fn read(
    files: &dyn Files,
    path: &Path,
    checked: &mut Checked,
    each: &mut dyn FnMut(&[u8], bool) -> io::Result<()>,
) -> io::Result<()> {
    checked.files += 1;
    let mut lines = BufReader::new(FileReader::new(files.open(path, Access::Read)?));
    let (mut line, mut position) = (Vec::new(), 0);
    loop {
        line.clear();
        if lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let finding = match Letter::parse(&line) {
            Ok(_) if line.ends_with(b"\n") => None,
            // Its records are settled only once the line is there whole.
            _ if !line.ends_with(b"\n") && (line.len() as u64) < LINE_BYTES_MAX => {
                Some(Finding::new(path, Kind::TornEnd, "the last line has no end", REMEDY))
            }
            Ok(_) => Some(Finding::new(path, Kind::Damaged, "the line is too long", REMEDY).losing(lost(&line))),
            Err(error) => Some(Finding::new(path, Kind::Damaged, error.to_string(), REMEDY).losing(lost(&line))),
        };
        each(&line, finding.is_none())?;
        checked.records += u64::from(finding.is_none());
        checked.findings.extend(finding.map(|finding| finding.at(position, line.len() as u64)));
        position += line.len() as u64;
    }
}

/// The record of a damaged line.
fn lost(line: &[u8]) -> Loss {
    let mut blocks = BlockSet::new();
    if let Some(id) = line::id(line) {
        blocks.insert(BlockId { run: id.run, first: id.sequence, rows: 1 });
    }
    Loss::among(&blocks, Some(1))
}

/// Writes the whole lines of a file anew, and the others to quarantine.
fn rewrite(files: &dyn Files, path: &Path, quarantine: &Path) -> io::Result<()> {
    files.create_folder_durably(quarantine)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut place: PathBuf = quarantine.join(format!("dead-letter_{name}.damaged"));
    for copy in 2..u32::MAX {
        if !files.exists(&place)? {
            break;
        }
        place = quarantine.join(format!("dead-letter_{name}.damaged.{copy}"));
    }
    let next = unfinished(path);
    let (kept, damaged) = (FileWriter::new(files.create(&next)?), FileWriter::new(files.create(&place)?));
    let (mut kept, mut damaged) = (BufWriter::new(kept), BufWriter::new(damaged));
    read(files, path, &mut Checked::default(), &mut |line, whole| {
        if whole { kept.write_all(line) } else { damaged.write_all(line) }
    })?;
    damaged.flush()?;
    damaged.get_ref().file().sync()?;
    files.sync_folder(quarantine)?;
    kept.flush()?;
    kept.get_ref().file().sync()?;
    files.rename_durably(&next, path)
}
