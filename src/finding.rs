//! Findings: what is wrong with a file of the data folder, for the log of a start and for `sluice fsck`.

use std::fmt;
use std::path::{Path, PathBuf};

use sluice_model::RecordId;

use crate::batch::BlockSet;

/// How many spans of ids a finding names.
const SPANS_MAX: usize = 16;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The end of what was being written when the process or the machine stopped.
    TornEnd,
    /// Bytes that are not what was written.
    Damaged,
    /// A file that should be there.
    Missing,
    /// A file whose records are in another one too.
    Doubled,
    /// A file that nothing names yet.
    Orphan,
    /// A file whose making, or whose removal, was not finished.
    Unfinished,
    /// A newer Sluice wrote it.
    NewerFormat,
    /// The operating system does not give its bytes.
    Unreadable,
    /// An older Sluice wrote it; it is read as it is.
    OlderFormat,
    /// It is not Sluice's.
    Foreign,
}

impl Kind {
    /// The name, as in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::TornEnd => "torn_end",
            Kind::Damaged => "damaged",
            Kind::Missing => "missing",
            Kind::Doubled => "doubled",
            Kind::Orphan => "orphan",
            Kind::Unfinished => "unfinished",
            Kind::NewerFormat => "newer_format",
            Kind::Unreadable => "unreadable",
            Kind::OlderFormat => "older_format",
            Kind::Foreign => "foreign",
        }
    }

    /// Whether it only deserves a word: nothing is wrong.
    pub fn is_note(self) -> bool {
        matches!(self, Kind::OlderFormat | Kind::Foreign)
    }
}

/// Records that are lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loss {
    /// How many; `None`, if that cannot be known.
    pub records: Option<u64>,
    /// The ids among which they are: first and last of each span, as far as they are known.
    pub ids: Vec<(RecordId, RecordId)>,
}

impl Loss {
    /// No records.
    pub fn none() -> Loss {
        Loss { records: Some(0), ids: Vec::new() }
    }

    /// Records of which nothing is known.
    pub fn unknown() -> Loss {
        Loss::default()
    }

    /// Just the records of `blocks`.
    pub fn of(blocks: &BlockSet) -> Loss {
        Loss { records: Some(blocks.records()), ids: spans(blocks) }
    }

    /// So many records, which are among `blocks`.
    pub fn among(blocks: &BlockSet, records: Option<u64>) -> Loss {
        Loss { records, ids: spans(blocks) }
    }

    /// Whether a record is, or may be, lost.
    pub fn is_some(&self) -> bool {
        self.records != Some(0)
    }
}

fn spans(blocks: &BlockSet) -> Vec<(RecordId, RecordId)> {
    let span = |(run, first, end): (_, u64, u64)| {
        (RecordId { run, sequence: first }, RecordId { run, sequence: end.saturating_sub(1) })
    };
    blocks.intervals().map(span).collect()
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.records {
            Some(records) => write!(f, "{records} records")?,
            None => f.write_str("an unknown number of records")?,
        }
        for (index, (first, last)) in self.ids.iter().take(SPANS_MAX).enumerate() {
            let word = if index == 0 { " of" } else { "," };
            match first == last {
                true => write!(f, "{word} {first}")?,
                false => write!(f, "{word} {first} to {last}")?,
            }
        }
        match self.ids.len().saturating_sub(SPANS_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} spans more"),
        }
    }
}

/// Something that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: Option<u64>,
    /// How many bytes are concerned.
    pub bytes: Option<u64>,
    /// What it is.
    pub kind: Kind,
    /// The same in words.
    pub what: String,
    /// The records that are lost by it.
    pub lost: Loss,
    /// What mending it does.
    pub remedy: String,
    /// Whether it is mended.
    pub mended: bool,
}

impl Finding {
    /// A finding about a whole file, by which nothing is lost.
    pub fn new(file: &Path, kind: Kind, what: impl Into<String>, remedy: &str) -> Finding {
        Finding {
            file: file.to_owned(),
            offset: None,
            bytes: None,
            kind,
            what: what.into(),
            lost: Loss::none(),
            remedy: remedy.to_owned(),
            mended: false,
        }
    }

    /// The same of bytes from `offset` on.
    #[must_use]
    pub fn at(self, offset: u64, bytes: u64) -> Finding {
        Finding { offset: Some(offset), bytes: Some(bytes), ..self }
    }

    /// Logs it: an error where records are lost.
    pub fn log(&self) {
        let Finding { file, offset, bytes, kind, what, lost, remedy, .. } = self;
        let level = match kind {
            _ if lost.is_some() => log::Level::Error,
            Kind::Damaged | Kind::Doubled | Kind::Missing | Kind::NewerFormat | Kind::Unreadable => log::Level::Warn,
            _ => log::Level::Info,
        };
        let (offset, bytes) = (offset.unwrap_or(0), bytes.unwrap_or(0));
        log::log!(
            level, file:% = file.display(), offset, bytes, kind = kind.name(), lost:% = lost, remedy = remedy.as_str();
            "{what}"
        );
    }

    /// The same with a loss.
    #[must_use]
    pub fn losing(self, lost: Loss) -> Finding {
        Finding { lost, ..self }
    }
}

/// What a look at a part of the data folder has found.
#[derive(Debug, Default)]
pub struct Checked {
    /// How many files were read.
    pub files: u64,
    /// How many records in them are whole.
    pub records: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use sluice_model::RunId;

    use super::*;
    use crate::batch::BlockId;

    #[test]
    fn a_loss_names_the_ids_but_not_without_end() {
        let run = RunId::from_bytes([0; RunId::BYTES]);
        let mut blocks = BlockSet::new();
        blocks.insert(BlockId { run, first: 0, rows: 1 });
        blocks.insert(BlockId { run, first: 5, rows: 3 });
        let text = Loss::of(&blocks).to_string();
        assert_eq!(
            text,
            "4 records of 00000000000000000000000000, 00000000000000000000000005 to 00000000000000000000000007"
        );
        (10..50).for_each(|n| blocks.insert(BlockId { run, first: n * 2, rows: 1 }));
        assert!(Loss::of(&blocks).to_string().ends_with(" and 26 spans more"));
        assert_eq!(Loss::unknown().to_string(), "an unknown number of records");
    }
}
