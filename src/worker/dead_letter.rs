//! Dead letters: records that the store refuses for good. They are kept for people to look at, never thrown away.
//!
//! `dead-letter/records.ndjson` has a line for each record, in the order in which they came:
//!
//! `{"id":"…","time":"…","reason":"…","record":{…}}`
//!
//! `id` comes first and is the record's id, `time` is when it was put here, `reason` is what the store said, and
//! `record` is the record as every answer shows it, so that it can be sent in again.
//!
//! - The lines of one call are written in one go and synced (`fsync`, and of the folder where the file is new) before
//!   the call returns; only then may the spool forget the records.
//! - All files of the folder together are at most [`BYTES_MAX`]; what does not fit stays in the spool.
//! - The file may be moved away or deleted at any time: it is opened anew for each call.
//! - After a crash the spool may deliver records that lie here already. The ids of those whose run the spool still
//!   holds are read back at start, so that they are not written twice. A last line without an end is left as it is, and
//!   the next call begins a new one.

use std::io::{self, BufRead, BufReader, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_model::{RecordId, RunId, Timestamp};

use crate::batch::{Block, BlockId, BlockSet, RowWriter};
use crate::files::{Access, File, FileReader, Files};

/// How many bytes the folder may hold.
pub const BYTES_MAX: u64 = 1 << 30;

const FILE_NAME: &str = "records.ndjson";
const ID_PREFIX: &[u8] = b"{\"id\":\"";

/// Why a record could not be put away.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The folder is full.
    #[error("dead-letter/ holds {bytes} bytes, and may hold {BYTES_MAX}: move its files away")]
    Full {
        /// What it holds.
        bytes: u64,
    },
    /// The file system failed.
    #[error("dead-letter/ cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// The folder of dead letters.
pub(super) struct DeadLetters {
    files: Arc<dyn Files>,
    folder: PathBuf,
    bytes_max: u64,
    records: u64,
    /// Those of runs that the spool still holds.
    known: BlockSet,
}

impl DeadLetters {
    /// Opens the folder, and makes it if it is not there. Of the records in it those of `open_runs` are remembered.
    pub(super) fn open(
        files: Arc<dyn Files>,
        folder: &Path,
        open_runs: &[RunId],
    ) -> Result<DeadLetters, DeadLetterError> {
        files.create_folder_durably(folder)?;
        let opened = files.open(&folder.join(FILE_NAME), Access::Read);
        let (folder, known) = (folder.to_owned(), BlockSet::new());
        let mut letters = DeadLetters { files, folder, bytes_max: BYTES_MAX, records: 0, known };
        match opened {
            Ok(file) => letters.read_back(BufReader::new(FileReader::new(file)), open_runs)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(letters)
    }

    /// How many records were found at start and put here since.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// The records that lie here, of the runs that the spool still holds.
    pub(super) fn known(&self) -> &BlockSet {
        &self.known
    }

    /// Forgets the records of all other runs; the file keeps them.
    pub(super) fn retain_runs(&mut self, open_runs: &[RunId]) {
        self.known.retain_runs(|run| open_runs.contains(&run));
    }

    /// Puts the records of `block` at `rows` here, durably; returns how many were not here before.
    pub(super) fn put(&mut self, block: &Block, rows: &[u32], reason: &str) -> Result<u64, DeadLetterError> {
        let ids = rows.iter().map(|row| BlockId { first: block.id.first + u64::from(*row), rows: 1, ..block.id });
        let fresh: Vec<(u32, BlockId)> = rows
            .iter()
            .copied()
            .zip(ids)
            .filter(|(row, id)| *row < block.id.rows && !self.known.contains(*id))
            .collect();
        if fresh.is_empty() {
            return Ok(0);
        }
        self.append(&lines(block, fresh.iter().map(|(row, _)| *row), reason))?;
        fresh.iter().for_each(|(_, id)| self.known.insert(*id));
        self.records += fresh.len() as u64;
        Ok(fresh.len() as u64)
    }

    fn append(&self, lines: &[u8]) -> Result<(), DeadLetterError> {
        let held: u64 = self.files.list(&self.folder)?.iter().map(|entry| entry.bytes).sum();
        if held.saturating_add(lines.len() as u64) > self.bytes_max {
            return Err(DeadLetterError::Full { bytes: held });
        }
        let path = self.folder.join(FILE_NAME);
        let (file, is_new) = match self.files.open(&path, Access::Write) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (self.files.create(&path)?, true),
            Err(error) => return Err(error.into()),
        };
        let end = file.size()?;
        let written = line_end(&*file, end).and_then(|line_end| {
            file.write_at(&mut [line_end, lines].map(IoSlice::new), end)?;
            file.sync()
        });
        if let Err(error) = written {
            // The records stay in the spool; half a line of them would only confuse.
            let _ = file.truncate(end);
            return Err(error.into());
        }
        if is_new {
            self.files.sync_folder(&self.folder)?;
        }
        Ok(())
    }

    fn read_back(&mut self, mut file: impl BufRead, open_runs: &[RunId]) -> io::Result<()> {
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line)? > 0 {
            if line.ends_with(b"\n") {
                self.records += 1;
                let id = line_id(&line).filter(|id| open_runs.contains(&id.run));
                if let Some(RecordId { run, sequence }) = id {
                    self.known.insert(BlockId { run, first: sequence, rows: 1 });
                }
            }
            line.clear();
        }
        Ok(())
    }
}

fn line_id(line: &[u8]) -> Option<RecordId> {
    let text = line.strip_prefix(ID_PREFIX)?.get(..RecordId::TEXT_LENGTH)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What ends a line that a crash has left without an end.
fn line_end(file: &dyn File, end: u64) -> io::Result<&'static [u8]> {
    let mut last = *b"\n";
    if end > 0 {
        file.read_exact_at(&mut last, end - 1)?;
    }
    Ok(if last == *b"\n" { b"" } else { b"\n" })
}

fn lines(block: &Block, rows: impl Iterator<Item = u32>, reason: &str) -> Vec<u8> {
    let records = block.records();
    let writer = RowWriter::new(&records);
    let reason = serde_json::Value::from(reason).to_string();
    let now = Timestamp::now().to_string();
    let mut out = Vec::new();
    for row in rows.map(|row| row as usize) {
        out.extend_from_slice(ID_PREFIX);
        out.extend_from_slice(records.id(row).encode(&mut [0; RecordId::TEXT_LENGTH]).as_bytes());
        for text in ["\",\"time\":\"", &now, "\",\"reason\":", &reason, ",\"record\":"] {
            out.extend_from_slice(text.as_bytes());
        }
        writer.write(row, &mut out);
        out.extend_from_slice(b"}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use sluice_model::Severity;

    use std::fs;

    use super::*;
    use crate::batch::LogBatchBuilder;
    use crate::files::Disk;

    fn block(run: u8, first: u64, rows: u32) -> Block {
        let mut builder = LogBatchBuilder::new();
        for row in 0..rows {
            builder.commit(Timestamp::from_nanos(5), Severity::Warn, "warning", "s", &format!("message {row}"));
        }
        let id = BlockId { run: RunId::from_bytes([run; RunId::BYTES]), first, rows };
        Block { id, arrival: Timestamp::from_nanos(7), batch: builder.finish() }
    }

    fn read(folder: &Path) -> String {
        fs::read_to_string(folder.join(FILE_NAME)).unwrap()
    }

    #[test]
    fn letters_are_lines_and_come_back_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (block(1, 100, 5), block(2, 0, 2));
        let mut letters = DeadLetters::open(Arc::new(Disk), folder.path(), &[]).unwrap();
        assert_eq!(letters.put(&one, &[3, 1], "too \"odd\"").unwrap(), 2);
        assert_eq!(letters.put(&one, &[1, 4], "again").unwrap(), 1, "row 1 is here already");
        assert_eq!(letters.put(&other, &[0], "other").unwrap(), 1);
        let text = read(folder.path());
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let id = one.records().id(3).to_string();
        assert_eq!((&line["id"], &line["reason"]), (&id.clone().into(), &"too \"odd\"".into()));
        assert_eq!((&line["record"]["id"], &line["record"]["message"]), (&id.into(), &"message 3".into()));

        let again = DeadLetters::open(Arc::new(Disk), folder.path(), &[one.id.run]).unwrap();
        assert_eq!(again.records(), 4);
        let mut expected = BlockSet::new();
        for row in [1, 3, 4] {
            expected.insert(BlockId { first: 100 + row, rows: 1, ..one.id });
        }
        assert_eq!(*again.known(), expected, "of the runs that the spool still holds");
    }

    #[test]
    fn a_torn_line_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE_NAME), "{\"id\":\"torn").unwrap();
        let mut letters = DeadLetters::open(Arc::new(Disk), folder.path(), &[]).unwrap();
        assert_eq!(letters.records(), 0);
        letters.put(&block(1, 0, 1), &[0], "r").unwrap();
        let text = read(folder.path());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, "{\"id\":\"torn"));
        assert!(serde_json::from_str::<serde_json::Value>(lines[1]).is_ok());
    }

    #[test]
    fn a_full_folder_takes_nothing_and_a_cleared_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut letters = DeadLetters::open(Arc::new(Disk), folder.path(), &[]).unwrap();
        letters.bytes_max = 400;
        let block = block(1, 0, 9);
        letters.put(&block, &[0], "r").unwrap();
        let before = read(folder.path());
        assert!(matches!(letters.put(&block, &[1, 2, 3], "r"), Err(DeadLetterError::Full { .. })));
        assert_eq!((read(folder.path()), letters.records()), (before, 1));
        fs::remove_file(folder.path().join(FILE_NAME)).unwrap();
        assert_eq!(letters.put(&block, &[1], "r").unwrap(), 1);
        assert_eq!(read(folder.path()).lines().count(), 1);
    }
}
