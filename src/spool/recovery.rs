//! What happens at a start: every segment and key file is read, what is whole is taken up again, and what is not is set
//! aside. The rules stand in [`super::segment`].

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use log::{info, warn};
use sluice_model::Timestamp;

use super::delivery::{NewBlock, Place};
use super::key_file::{self, KeyFileState, KeyRecord};
use super::quarantine::{CopyError, Reason};
use super::scan::{self, Found};
use super::segment::{BlockHeader, PAGE, Predecessor, SegmentHeader};
use super::segments::Segment;
use super::sweep::KeyFile;
use super::{Shared, SpoolError, locked};
use crate::batch::BlockId;
use crate::files::{Access, Files, UNFINISHED};

/// The ending of a segment's name.
pub(super) const SEGMENT: &str = "log";
/// The ending of a key file's name.
pub(super) const KEY_FILE: &str = "keys";

/// What the writer must know of what was there.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// The highest number that any segment has.
    pub last_number: u64,
    /// The last segment.
    pub last: Option<Predecessor>,
}

#[derive(Debug, Default)]
struct Totals {
    blocks: u64,
    records: u64,
    bytes: u64,
}

/// The path of a segment.
pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.{SEGMENT}"))
}

/// The path of a key file.
pub(super) fn key_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.{KEY_FILE}"))
}

/// Reads all files and fills the index and the keys.
pub(super) fn recover(shared: &Shared) -> Result<Recovered, SpoolError> {
    let folder = &shared.folder;
    let files = list(folder, &*shared.files).map_err(|error| open_error(folder, &error))?;
    let Listing { segments: numbers, key_files, unfinished, foreign } = files;
    for path in unfinished {
        shared.files.remove(&path).map_err(|error| open_error(&path, &error))?;
    }
    for path in foreign {
        warn!(file:? = path; "the spool's folder holds a file that is not the spool's; it is left alone");
    }
    recover_key_files(shared, &key_files)?;
    let mut headers = BTreeMap::new();
    for number in &numbers {
        let path = segment_path(folder, *number);
        headers
            .insert(*number, scan::header(&*shared.files, &path, *number).map_err(|error| open_error(&path, &error))?);
    }
    let claims: BTreeMap<u64, Predecessor> =
        headers.values().flatten().filter_map(|header| header.predecessor).map(|claim| (claim.number, claim)).collect();
    let newest = numbers.last().copied().unwrap_or(0);
    let mut recovered = Recovered { last_number: newest, last: None };
    let mut totals = Totals::default();
    for (number, header) in headers {
        let mut reader = Reader { shared, number, path: segment_path(folder, number), totals: &mut totals };
        let last = number == newest;
        let end = reader.recover(header, claims.get(&number), last)?;
        recovered.last = Some(end);
    }
    if totals.blocks > 0 {
        let Totals { blocks, records, bytes } = totals;
        info!(blocks, records, bytes, segments = numbers.len(); "recovered what the store had not confirmed");
    }
    shared.metrics.recovered_blocks.inc_by(totals.blocks);
    Ok(recovered)
}

/// What stands in the spool's folder, in order.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub segments: Vec<u64>,
    pub key_files: Vec<u64>,
    pub unfinished: Vec<PathBuf>,
    /// Files that are not the spool's.
    pub foreign: Vec<PathBuf>,
}

/// Lists the folder.
pub(super) fn list(folder: &Path, on: &dyn Files) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in on.list(folder)? {
        let path = entry.path;
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let number = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 20);
        match (ending, number.and_then(|stem| stem.parse().ok())) {
            _ if entry.is_folder => listing.foreign.push(path),
            (SEGMENT, Some(number)) => listing.segments.push(number),
            (KEY_FILE, Some(number)) => listing.key_files.push(number),
            (UNFINISHED, _) => listing.unfinished.push(path),
            _ => listing.foreign.push(path),
        }
    }
    listing.segments.sort_unstable();
    listing.key_files.sort_unstable();
    Ok(listing)
}

fn recover_key_files(shared: &Shared, numbers: &[u64]) -> Result<(), SpoolError> {
    let now = shared.clock.now();
    for number in numbers {
        let path = key_path(&shared.folder, *number);
        let records = match key_file::state(&*shared.files, &path) {
            Ok(KeyFileState::Whole(records)) => records,
            Ok(KeyFileState::Newer(version)) => return Err(open_error(&path, &scan::newer(version))),
            Ok(KeyFileState::Damaged) => {
                set_key_file_aside(shared, &path);
                locked(&shared.keys).lost(now);
                Vec::new()
            }
            Err(error) => {
                warn!(file:? = path, error:%; "a key file cannot be read; it is kept for the next start");
                locked(&shared.keys).lost(now);
                shared.sweeper.adopt(KeyFile { number: *number, newest: now });
                continue;
            }
        };
        let newest = records.iter().map(|record| record.at).max().unwrap_or(Timestamp::MIN);
        shared.sweeper.adopt(KeyFile { number: *number, newest });
        let mut keys = locked(&shared.keys);
        records.iter().for_each(|record| drop(keys.commit(record, 0, 0, record.at.min(now))));
    }
    Ok(())
}

fn set_key_file_aside(shared: &Shared, path: &Path) {
    let length = shared.files.size(path).ok().flatten().unwrap_or(0);
    let copy = shared.quarantine.copy(path, 0..length, 0, Reason::Damaged);
    shared.metrics.quarantined.inc();
    warn!(file:? = path, bytes = length, copy:? = copy;
        "a key file is damaged: retries of requests whose keys it held are taken for new ones");
}

/// Reads one segment.
struct Reader<'a> {
    shared: &'a Shared,
    number: u64,
    path: PathBuf,
    totals: &'a mut Totals,
}

impl Reader<'_> {
    /// Takes up what is whole and sets aside the rest; returns how far the segment is valid.
    fn recover(
        &mut self,
        header: Option<SegmentHeader>,
        claim: Option<&Predecessor>,
        last: bool,
    ) -> Result<Predecessor, SpoolError> {
        let outlives = header.as_ref().and_then(|header| header.predecessor).filter(|claim| claim.abandoned);
        let nonce = header.as_ref().map_or(0, |header| header.nonce);
        let limit = claim.map(|claim| claim.valid);
        let scanned = scan::scan(&*self.shared.files, &self.path, self.number, header.as_ref(), limit);
        let mut found = scanned.map_err(|error| open_error(&self.path, &error))?;
        let segment = Segment { outlives: outlives.map(|claim| claim.number), ..Segment::default() };
        self.shared.index.segments(|segments| segments.add(self.number, segment));
        let torn = if last && limit.is_none() { self.cut_torn_end(&mut found, nonce) } else { None };
        if last {
            self.make_durable();
        }
        let mut end = PAGE;
        for found in found {
            end = match &found {
                Found::Block(header, _) => header.offset + header.length(),
                Found::Bad(range, _) => range.end,
            };
            match found {
                Found::Block(header, keys) => self.take_up(header, &keys),
                Found::Bad(range, known) => drop(self.set_aside(range, known.as_ref(), nonce, Reason::Damaged)),
            }
        }
        let bytes = torn.map_or(end, |torn| torn.start).max(PAGE);
        let abandoned = torn.is_some_and(|torn| torn.stays) || claim.is_some_and(|claim| claim.abandoned);
        self.shared.budget.add_used(bytes);
        self.shared.index.segments(|segments| segments.resize(self.number, bytes));
        Ok(Predecessor { number: self.number, valid: bytes, abandoned })
    }

    /// Cuts off the end that is torn, once a copy of it is safe.
    fn cut_torn_end(&mut self, found: &mut Vec<Found>, nonce: u64) -> Option<Torn> {
        let whole = scan::torn_from(found);
        // A damaged header alone is not what was being written: segments get their names when their headers are safe.
        let whole = whole + usize::from(matches!(found.get(whole), Some(Found::Bad(range, _)) if range.start == 0));
        let mut torn = found.drain(whole.min(found.len())..);
        let Some(Found::Bad(first, known)) = torn.next() else { return None };
        let end = torn.fold(first.end, |end, found| if let Found::Bad(range, _) = found { range.end } else { end });
        let range = first.start..end;
        let start = range.start;
        let copied = self.set_aside(range, known.as_ref(), nonce, Reason::Torn);
        if matches!(copied, Err(CopyError::Unreadable(_))) {
            // It may be whole: the segment is kept, and its successor's header leaves it to the next start to read.
            return Some(Torn { start: end, stays: false });
        }
        let cut = copied.and_then(|()| {
            let file = self.shared.files.open(&self.path, Access::Write)?;
            file.truncate(start)?;
            Ok(file.sync()?)
        });
        if let Err(error) = &cut {
            warn!(file:? = self.path, offset = start, error:%; "the torn end of a segment stays where it is");
        }
        Some(Torn { start, stays: cut.is_err() })
    }

    /// Syncs what a killed process may have written but not synced: from now on it counts as accepted, and a key in it
    /// answers a retry.
    fn make_durable(&self) {
        let synced = self.shared.files.open(&self.path, Access::Write).and_then(|file| file.sync());
        if let Err(error) = synced {
            warn!(file:? = self.path, error:%; "the last segment cannot be synced; it is delivered all the same");
        }
    }

    fn take_up(&mut self, header: BlockHeader, keys: &[KeyRecord]) {
        let place = Place { segment: self.number, offset: header.offset, length: header.length() };
        self.totals.blocks += u64::from(header.id.rows > 0);
        self.totals.records += u64::from(header.id.rows);
        self.totals.bytes += place.length;
        let BlockHeader { id, lane, arrival, .. } = header;
        let block = NewBlock { id, lane, arrival, place, batch: None, committed: None };
        let ordinals = self.shared.index.publish(if id.rows > 0 { vec![block] } else { Vec::new() });
        let ordinal = ordinals.last().copied().unwrap_or(0);
        let now = self.shared.clock.now();
        let mut known = locked(&self.shared.keys);
        keys.iter().for_each(|record| drop(known.commit(record, ordinal, self.number, record.at.min(now))));
    }

    /// Copies bytes to quarantine and reports it.
    fn set_aside(
        &self,
        range: Range<u64>,
        known: Option<&BlockHeader>,
        nonce: u64,
        reason: Reason,
    ) -> Result<(), CopyError> {
        let known = known.map(|header| header.id);
        report(self.shared, &self.path, self.number, range, known, nonce, reason)
    }
}

#[derive(Debug, Clone, Copy)]
struct Torn {
    start: u64,
    /// Whether it could not be cut off.
    stays: bool,
}

/// Copies bytes of a segment to quarantine, logs and counts it. A segment whose bytes could not be copied is kept.
pub(super) fn report(
    shared: &Shared,
    path: &Path,
    number: u64,
    range: Range<u64>,
    known: Option<BlockId>,
    nonce: u64,
    reason: Reason,
) -> Result<(), CopyError> {
    let (offset, bytes) = (range.start, range.end - range.start);
    let copy = shared.quarantine.copy(path, range, nonce, reason);
    if copy.is_err() {
        shared.index.segments(|segments| segments.hold(number));
    }
    let records = known.map_or_else(
        || "unknown records".to_owned(),
        |id| format!("{} records from {} on", id.rows, id.first_record()),
    );
    shared.metrics.quarantined.inc();
    // What is torn was never acknowledged.
    if reason == Reason::Damaged {
        shared.metrics.lost_records.inc_by(known.map_or(0, |id| u64::from(id.rows)));
    }
    let reason = reason.name();
    match &copy {
        Ok(copy) => warn!(file:? = path, offset, bytes, reason, copy:? = copy; "set aside from the spool: {records}"),
        Err(error) => warn!(file:? = path, offset, bytes, reason, error:%;
            "not readable in the spool, and not copied to quarantine: {records}; the segment is kept"),
    }
    copy.map(drop)
}

fn open_error(path: &Path, error: &dyn std::fmt::Display) -> SpoolError {
    SpoolError::Open(format!("the spool cannot read {}: {error}", path.display()))
}
