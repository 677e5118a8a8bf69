//! A look at every byte of a segment, and what is saved of a damaged one.
//!
//! A row group is whole if all its bytes have the right checksums, it decodes, and it agrees with the footer. The whole
//! row groups of a damaged segment become a segment of their own, which takes its place in the manifest by one commit; the
//! damaged file goes to `quarantine/` after that. The new one names the old one as its input, so that a start that finds
//! it unlisted completes the step, and says that it is a *salvage*: the input is set aside then, never deleted.

use std::ops::Range;
use std::path::Path;

use super::counts;
use super::extent::Extent;
use super::order::{self, OrderCheck};
use super::reader::{OpenSegment, ReadError};
use super::recovery::Folders;
use super::segment::{Age, RowGroup, SegmentInfo, id_ranges};
use super::templates::{Found, TemplateBuilder};
use super::writer::{self, Draft, WriteError};
use crate::batch::{BlockId, BlockSet, Records};
use crate::files::Files;
use crate::finding::{Finding, Kind, Loss};

/// What mending a damaged segment does.
pub(super) const REMEDY: &str = "the file goes to quarantine, its whole row groups to a segment of their own";

/// What a look at every byte of a segment has found.
pub(super) struct Inspection {
    /// What is wrong; `None`, if nothing is.
    pub(super) damage: Option<Damage>,
    /// How many records can be read.
    pub(super) rows: u64,
    /// Which they are.
    pub(super) kept: BlockSet,
    /// The footer's, if it can be read.
    age: Option<Age>,
    /// The number of the format, if that is known.
    pub(super) format: Option<u32>,
}

/// What is wrong with a segment.
pub(super) struct Damage {
    reason: String,
    /// The bytes that do not fit their checksums; empty, where that is not how it was noticed.
    ranges: Vec<Range<u64>>,
    pub(super) lost: Loss,
}

impl Damage {
    /// The same as a finding about the file at `path`.
    pub(super) fn finding(&self, path: &Path) -> Finding {
        let finding = Finding::new(path, Kind::Damaged, self.reason.clone(), REMEDY).losing(self.lost.clone());
        let bytes = self.ranges.iter().map(|range| range.end - range.start).sum();
        match self.ranges.first() {
            Some(range) => finding.at(range.start, bytes),
            None => finding,
        }
    }
}

/// Reads every byte of the segment at `path`, of which the manifest says `listed`; gives each whole row group to `keep`.
///
/// # Errors
/// [`ReadError`], but never that it is damaged.
pub(super) fn inspect(
    files: &dyn Files,
    path: &Path,
    listed: Option<&SegmentInfo>,
    keep: &mut dyn FnMut(Records),
) -> Result<Inspection, ReadError> {
    let mut inspection = Inspection { damage: None, rows: 0, kept: BlockSet::new(), age: None, format: None };
    let open = match OpenSegment::open(files, path) {
        Ok(open) => open,
        Err(ReadError::Damaged(reason)) => {
            let lost = listed.map_or_else(Loss::unknown, |info| Loss::among(&info.spans(), Some(info.rows)));
            inspection.damage = Some(Damage { reason, ranges: Vec::new(), lost });
            return Ok(inspection);
        }
        Err(error) => return Err(error),
    };
    let info = &open.footer.segment;
    inspection.age = Some(info.age);
    inspection.format = Some(open.footer.format);
    let mut faults = Vec::new();
    if let Some(listed) = listed.filter(|listed| !listed.is_same(info)) {
        let reason = "it is another segment than the manifest says".to_owned();
        if listed.ids != info.ids {
            // A copy, it seems: its records are where they belong already.
            let lost = Loss::among(&listed.spans(), Some(listed.rows));
            inspection.damage = Some(Damage { reason, ranges: Vec::new(), lost });
            return Ok(inspection);
        }
        faults.push(reason);
    }
    let ranges = open.damaged_ranges()?;
    let blocks = fault_of(open.blocks(), &mut faults)?;
    let mut order = OrderCheck::new(open.footer.format);
    let mut builder = TemplateBuilder::default();
    for (index, group) in open.footer.row_groups.iter().enumerate() {
        if let Some(region) = group.tokens {
            fault_of(open.region(region), &mut faults)?;
        }
        let read = fault_of(open.templates(index), &mut faults)?.flatten();
        let Some(records) = fault_of(open.all_rows(index), &mut faults)? else { continue };
        let found = ids_of(&records);
        match check(&records, group, &found, &inspection.kept, blocks.as_ref()) {
            Err(fault) => faults.push(format!("row group {index}: {fault}")),
            Ok(()) => {
                let Found { templates, of_rows, .. } = builder.find(records.logs.messages().iter().flatten());
                if !order.passes(&records, &of_rows) {
                    faults.push(format!("row group {index}: its records are not in order"));
                }
                if read.is_some_and(|read| read != templates.with_runs(&of_rows)) {
                    faults.push(format!("row group {index}: its templates are not those of its messages"));
                }
                inspection.rows += records.len() as u64;
                inspection.kept.extend(&found);
                keep(records);
            }
        }
    }
    if inspection.rows != info.rows || blocks.as_ref().is_some_and(|blocks| id_ranges(blocks) != info.ids) {
        faults.push(format!("{} of {} records can be read", inspection.rows, info.rows));
    }
    if faults.is_empty() && !ranges.is_empty() {
        faults.push("bytes that no record needs are damaged".to_owned());
    }
    if !faults.is_empty() {
        let all = blocks.unwrap_or_else(|| info.spans());
        let lost = Loss::among(&all.without(&inspection.kept), Some(info.rows.saturating_sub(inspection.rows)));
        faults.truncate(FAULTS_MAX);
        inspection.damage = Some(Damage { reason: faults.join("; "), ranges, lost });
    }
    Ok(inspection)
}

/// How many faults are told.
const FAULTS_MAX: usize = 4;

/// What was read; damage is a fault, another error is one of the inspection.
fn fault_of<T>(read: Result<T, ReadError>, faults: &mut Vec<String>) -> Result<Option<T>, ReadError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(ReadError::Damaged(reason)) => {
            faults.push(reason);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn ids_of(records: &Records) -> BlockSet {
    let mut ids = BlockSet::new();
    (0..records.len()).for_each(|row| {
        let id = records.id(row);
        ids.insert(BlockId { run: id.run, first: id.sequence, rows: 1 });
    });
    ids
}

/// Whether the records of a row group are what the footer says of them.
fn check(
    records: &Records,
    group: &RowGroup,
    found: &BlockSet,
    before: &BlockSet,
    blocks: Option<&BlockSet>,
) -> Result<(), &'static str> {
    let doubled = found.without(before).records() != records.len() as u64;
    let strange = blocks.is_some_and(|blocks| !found.without(blocks).is_empty());
    let sequences = (0..records.len()).map(|row| records.id(row).sequence);
    let bounds = sequences.fold((u64::MAX, 0), |(min, max), sequence| (sequence.min(min), sequence.max(max)));
    match () {
        () if doubled => Err("a record is in it twice"),
        () if strange => Err("a record is in it that the segment does not have"),
        () if bounds != group.sequences => Err("its sequences are not those of the footer"),
        () if Extent::of(&records.logs).as_ref() != Some(&group.extent) => {
            Err("its bounds are not those of the footer")
        }
        () if group.counts.as_ref().is_some_and(|said| !counts::agree(said, &records.logs)) => {
            Err("its counts are not those of the footer")
        }
        () => Ok(()),
    }
}

/// What was saved of a damaged segment.
pub(super) struct Salvaged {
    /// The segment of its whole row groups, which is not in the manifest yet.
    pub(super) segment: Option<SegmentInfo>,
    pub(super) finding: Finding,
}

/// Why nothing could be saved for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum SalvageError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the whole row groups of a damaged segment of the manifest to a segment of their own.
pub(super) fn salvage(folders: &Folders, info: &SegmentInfo) -> Result<Salvaged, SalvageError> {
    let path = folders.segments.join(&info.name);
    let mut parts = Vec::new();
    let inspection = inspect(&*folders.files, &path, Some(info), &mut |records| parts.push(records))?;
    let finding = match &inspection.damage {
        Some(damage) => damage.finding(&path),
        // Bytes that were not read right the first time.
        None => Finding::new(&path, Kind::Damaged, "it could not be read once, and is copied", REMEDY),
    };
    if parts.is_empty() {
        return Ok(Salvaged { segment: None, finding });
    }
    let parts = Records::unify(&parts).map_err(WriteError::from)?;
    let draft = Draft {
        day: info.day(),
        parts: &parts,
        rows: order::sort(&parts, order::all(&parts)),
        age: inspection.age.unwrap_or(info.age),
        blocks: inspection.kept,
        replaces: vec![info.name.clone()],
        salvage: true,
    };
    Ok(Salvaged { segment: Some(writer::write(folders, draft)?), finding })
}
