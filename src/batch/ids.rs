//! The ids of records: one after the other from the first, as the spool gives them, or each as it is.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, UInt64Array};
use arrow_schema::ArrowError;
use sluice_model::{RecordId, RunId};

use super::Place;

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

    /// Those at `places` of `parts`.
    pub(super) fn gather(parts: &[&Ids], places: &[Place]) -> Result<Ids, ArrowError> {
        let of_run = |run: RunId| {
            let first = |ids: &&Ids| match ids {
                Ids::From(first, _) if first.run == run => Some(first.sequence),
                _ => None,
            };
            parts.iter().map(first).collect::<Option<Vec<u64>>>()
        };
        let run = parts.first().and_then(|ids| if let Ids::From(first, _) = ids { Some(first.run) } else { None });
        // Nearly always: what is gathered was accepted by one process, and comes from the memory tier.
        if let Some((run, firsts)) = run.and_then(|run| Some((run, of_run(run)?))) {
            let sequence = |(part, row): &Place| firsts.get(*part as usize).map(|first| first + u64::from(*row));
            let sequences: Vec<u64> = places.iter().filter_map(sequence).collect();
            let runs = run.to_bytes().repeat(sequences.len());
            let runs = FixedSizeBinaryArray::try_new(RunId::BYTES as i32, runs.into(), None)?;
            return Ok(Ids::Each(runs, UInt64Array::from(sequences)));
        }
        let ids = places.iter().filter_map(|(part, row)| parts.get(*part as usize).map(|ids| ids.get(*row as usize)));
        Ids::of(places.len(), ids)
    }

    /// The least sequence and the greatest; nothing, if there are no records.
    pub(super) fn sequences(&self) -> Option<(u64, u64)> {
        match self {
            Ids::From(_, 0) => None,
            Ids::From(first, rows) => Some((first.sequence, first.sequence + *rows as u64 - 1)),
            Ids::Each(_, sequences) => {
                let sequences = sequences.values().iter().copied();
                sequences.clone().min().zip(sequences.max())
            }
        }
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

#[cfg(test)]
mod tests {
    use sluice_model::{Severity, Timestamp};

    use super::*;
    use crate::batch::{Gatherer, LogBatchBuilder, Records};

    fn records(sequences: std::ops::Range<u64>) -> Records {
        let mut builder = LogBatchBuilder::new();
        for sequence in sequences.clone() {
            builder.commit(Timestamp::from_nanos(sequence as i64), Severity::Info, "INFO", "", "m");
        }
        let first = RecordId { run: RunId::from_bytes([7; RunId::BYTES]), sequence: sequences.start };
        Records::numbered(first, builder.finish())
    }

    fn sequences(records: &Records) -> Vec<u64> {
        (0..records.len()).map(|row| records.id(row).sequence).collect()
    }

    #[test]
    fn ids_are_the_same_whether_they_are_counted_or_kept() {
        let counted = records(40..45);
        let kept = Records::try_from_arrow(&counted.to_arrow().unwrap()).unwrap();
        assert_eq!(counted, kept);
        assert_eq!(counted.slice(2, 3), kept.slice(2, 3));
        assert_ne!(counted.slice(0, 3), kept.slice(1, 3));
        assert_eq!(sequences(&counted.slice(2, 3)), [42, 43, 44]);
        assert!(counted.size_bytes() < kept.size_bytes());
    }

    #[test]
    fn records_from_several_parts_bring_their_ids() {
        let parts = [records(40..43), records(7..9)];
        let gathered = Gatherer::new(&parts).unwrap().gather(&[(1, 1), (0, 0), (1, 0), (0, 2)]).unwrap();
        assert_eq!(sequences(&gathered), [8, 40, 7, 42]);
        assert_eq!(gathered.logs.timestamps(), [8, 40, 7, 42]);
        assert_eq!(sequences(&Records::concat(&parts).unwrap()), [40, 41, 42, 7, 8]);
        assert_eq!(sequences(&parts[0].reversed().unwrap()), [42, 41, 40]);
        let kept = parts.each_ref().map(|part| Records::try_from_arrow(&part.to_arrow().unwrap()).unwrap());
        for parts in [kept.clone(), [parts[0].clone(), kept[1].clone()], [kept[0].clone(), parts[1].clone()]] {
            assert_eq!(Gatherer::new(&parts).unwrap().gather(&[(1, 1), (0, 0), (1, 0), (0, 2)]).unwrap(), gathered);
        }
        assert_eq!(
            [gathered.sequences(), parts[1].sequences(), records(5..5).sequences()],
            [Some((7, 42)), Some((7, 8)), None]
        );
    }

    #[test]
    #[should_panic(expected = "row 5 of 5")]
    fn there_is_no_id_behind_the_last() {
        records(0..5).id(5);
    }
}
