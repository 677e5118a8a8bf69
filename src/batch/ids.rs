//! The ids of records: one after the other from the first, as the spool gives them, or each as it is.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, UInt64Array};
use arrow_schema::ArrowError;
use sluice_model::{RecordId, RunId};

/// The ids of some records, in the order of these.
#[derive(Debug, Clone)]
pub(super) enum Ids {
    /// So many from this one on: they take no memory of their own.
    From(RecordId, usize),
    /// The run and the sequence of each.
    Each(FixedSizeBinaryArray, UInt64Array),
}

impl Ids {
    /// Those of `ids`, of which there are about so many.
    pub(super) fn of(rows: usize, ids: impl Iterator<Item = RecordId>) -> Result<Ids, ArrowError> {
        let mut runs = Vec::with_capacity(rows * RunId::BYTES);
        let mut sequences = Vec::with_capacity(rows);
        for id in ids {
            runs.extend_from_slice(&id.run.to_bytes());
            sequences.push(id.sequence);
        }
        let runs = FixedSizeBinaryArray::try_new(RunId::BYTES as i32, runs.into(), None)?;
        Ok(Ids::Each(runs, UInt64Array::from(sequences)))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Ids::From(_, rows) => *rows,
            Ids::Each(_, sequences) => sequences.len(),
        }
    }

    /// The id in `row`, which must be there.
    #[inline]
    pub(super) fn get(&self, row: usize) -> RecordId {
        match self {
            Ids::From(first, rows) => {
                assert!(row < *rows, "row {row} of {rows}");
                RecordId { run: first.run, sequence: first.sequence + row as u64 }
            }
            Ids::Each(runs, sequences) => {
                let mut run = [0; RunId::BYTES];
                run.copy_from_slice(runs.value(row));
                RecordId { run: RunId::from_bytes(run), sequence: sequences.value(row) }
            }
        }
    }

    pub(super) fn slice(&self, offset: usize, length: usize) -> Ids {
        match self {
            Ids::From(first, rows) => {
                assert!(offset + length <= *rows, "rows {offset} to {} of {rows}", offset + length);
                Ids::From(RecordId { run: first.run, sequence: first.sequence + offset as u64 }, length)
            }
            Ids::Each(runs, sequences) => Ids::Each(runs.slice(offset, length), sequences.slice(offset, length)),
        }
    }

    /// The columns `run` and `sequence`.
    pub(super) fn columns(&self) -> [ArrayRef; 2] {
        match self {
            Ids::From(first, rows) => {
                let runs = first.run.to_bytes().repeat(*rows);
                let runs = FixedSizeBinaryArray::new(RunId::BYTES as i32, runs.into(), None);
                let sequences = (first.sequence..).take(*rows);
                [Arc::new(runs), Arc::new(UInt64Array::from_iter_values(sequences))]
            }
            Ids::Each(runs, sequences) => [Arc::new(runs.clone()), Arc::new(sequences.clone())],
        }
    }

    /// About how many bytes of memory they take.
    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Ids::From(..) => 0,
            Ids::Each(_, sequences) => sequences.len() * (RunId::BYTES + size_of::<u64>()),
        }
    }
}

/// Equal by what they say, not by how.
impl PartialEq for Ids {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && (0..self.len()).all(|row| self.get(row) == other.get(row))
    }
}
