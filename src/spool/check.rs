//! A look at every byte of the spool, without a server, and the mending of what is wrong with it.
//!
//! What a start would set aside is set aside, and more: bytes that are no whole block are *fenced*, once a copy of them is
//! in `quarantine/`: a block of no records is written over them, so that no later look stumbles over them again.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_model::{RunId, Timestamp};

use super::delivery::Place;
use super::key_file::{self, KeyFileState};
use super::lane::Lane;
use super::quarantine::{Quarantine, Reason};
use super::recovery::{self, key_path, segment_path};
use super::scan::{self, Found, HeaderState, ReadError};
use super::segment::{BLOCK_HEADER, BlockHeader, PAGE, Predecessor, SegmentHeader};
use crate::batch::{BlockId, BlockSet};
use crate::files::{Access, Files};
use crate::finding::{Checked, Finding, Kind, Loss};

const SET_ASIDE: &str = "the file goes to quarantine";
const FENCE: &str = "a copy goes to quarantine, and an empty block in its place";

/// How much one empty block covers at most.
const FENCE_BYTES_MAX: u64 = 1 << 30;

/// Looks at all files of the spool in `folder`, and mends them if it is asked to. The server must not run.
///
/// # Errors
/// If the folder cannot be read, or a file not be mended.
pub fn check(files: &Arc<dyn Files>, folder: &Path, mend: bool) -> io::Result<Checked> {
    let quarantine = Quarantine::beside(files.clone(), folder);
    let mut check = Check { files, folder, mend, quarantine, checked: Checked::default() };
    let listing = match recovery::list(folder, &**files) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(check.checked),
        listing => listing?,
    };
    for path in &listing.unfinished {
        check.note(
            Finding::new(path, Kind::Unfinished, "its making was not finished", "it is removed"),
            |files, _| files.remove(path),
        )?;
    }
    for path in &listing.foreign {
        check.checked.findings.push(Finding::new(path, Kind::Foreign, "it is not the spool's", "it is left alone"));
    }
    for number in &listing.key_files {
        check.key_file(&key_path(folder, *number))?;
    }
    check.segments(&listing.segments)?;
    Ok(check.checked)
}

struct Check<'a> {
    files: &'a Arc<dyn Files>,
    folder: &'a Path,
    mend: bool,
    quarantine: Quarantine,
    checked: Checked,
}

/// A segment in hand.
struct InHand {
    path: PathBuf,
    number: u64,
    header: Option<SegmentHeader>,
    /// That of its blocks; nothing, if it has none that is whole.
    nonce: Option<u64>,
}

impl Check<'_> {
    /// Notes a finding, after `mend` has dealt with it, where that is asked for.
    fn note(
        &mut self,
        mut finding: Finding,
        mend: impl FnOnce(&dyn Files, &Quarantine) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.mend {
            mend(&**self.files, &self.quarantine)?;
            finding.mended = true;
        }
        self.checked.findings.push(finding);
        Ok(())
    }

    fn set_aside(&mut self, finding: Finding) -> io::Result<()> {
        let (path, quarantine) = (finding.file.clone(), self.folder.with_file_name("quarantine"));
        self.note(finding, |files, _| files.set_aside(&path, &quarantine).map(drop))
    }

    fn key_file(&mut self, path: &Path) -> io::Result<()> {
        self.checked.files += 1;
        match key_file::state(&**self.files, path)? {
            KeyFileState::Whole(_) => {}
            KeyFileState::Newer(version) => self.newer(path, version),
            KeyFileState::Damaged => {
                let what = "a key file is damaged: retries of requests whose keys it held are taken for new ones";
                self.set_aside(Finding::new(path, Kind::Damaged, what, SET_ASIDE))?;
            }
        }
        Ok(())
    }

    fn newer(&mut self, path: &Path, version: u32) {
        let what = format!("it has version {version} of the format");
        self.checked.findings.push(Finding::new(path, Kind::NewerFormat, what, "none: use the newer Sluice"));
    }

    fn segments(&mut self, numbers: &[u64]) -> io::Result<()> {
        let mut headers = BTreeMap::new();
        let (mut misplaced, mut newer) = (Vec::new(), Vec::new());
        for number in numbers {
            self.checked.files += 1;
            let path = segment_path(self.folder, *number);
            match scan::header_state(&**self.files, &path, *number)? {
                HeaderState::Whole(header) => drop(headers.insert(*number, Some(header))),
                HeaderState::Damaged => drop(headers.insert(*number, None)),
                HeaderState::Newer(version) => newer.push((path, version)),
                HeaderState::Other(other) => misplaced.push((path, other)),
            }
        }
        newer.iter().for_each(|(path, version)| self.newer(path, *version));
        for (path, other) in misplaced {
            let doubled = headers.contains_key(&other);
            let (kind, lost) = if doubled { (Kind::Doubled, Loss::none()) } else { (Kind::Damaged, Loss::unknown()) };
            let what = format!("it says that it is segment {other}");
            self.set_aside(Finding::new(&path, kind, what, SET_ASIDE).losing(lost))?;
        }
        let claims: BTreeMap<u64, Predecessor> = headers
            .values()
            .flatten()
            .filter_map(|header| header.predecessor)
            .map(|claim| (claim.number, claim))
            .collect();
        let newest = headers.keys().next_back().copied();
        for (number, header) in headers {
            let limit = claims.get(&number).map(|claim| claim.valid);
            let segment = InHand { path: segment_path(self.folder, number), number, header, nonce: None };
            self.segment(segment, limit, Some(number) == newest)?;
        }
        Ok(())
    }

    fn segment(&mut self, mut segment: InHand, limit: Option<u64>, last: bool) -> io::Result<()> {
        let found = scan::scan(&**self.files, &segment.path, segment.number, segment.header.as_ref(), limit)?;
        let nonce_of = |found: &Found| if let Found::Block(header, _) = found { Some(header.nonce) } else { None };
        segment.nonce = segment.header.as_ref().map(|header| header.nonce).or_else(|| found.iter().find_map(nonce_of));
        let torn_from = scan::torn_from(&found);
        for (place, found) in found.into_iter().enumerate() {
            match found {
                Found::Block(header, _) if header.id.rows == 0 => {}
                Found::Block(header, _) => self.block(&segment, &header)?,
                Found::Bad(range, _) if range.start == 0 => {
                    self.damaged_header(&segment)?;
                    if segment.nonce.is_none() {
                        return Ok(());
                    }
                }
                Found::Bad(range, _) if last && limit.is_none() && place >= torn_from => self.torn(&segment, range)?,
                Found::Bad(range, known) => {
                    let lost = known.as_ref().map_or_else(Loss::unknown, |header| loss(header.id));
                    self.damaged(&segment, range, "no whole block stands here", lost)?;
                }
            }
        }
        Ok(())
    }

    /// Decodes a block whose checksums are right.
    fn block(&mut self, segment: &InHand, header: &BlockHeader) -> io::Result<()> {
        let place = Place { segment: segment.number, offset: header.offset, length: header.length() };
        match scan::read_block(&**self.files, &segment.path, place) {
            Ok(_) => {
                self.checked.records += u64::from(header.id.rows);
                Ok(())
            }
            Err(ReadError::Io(error)) => Err(error),
            Err(error) => {
                let range = place.offset..place.offset + place.length;
                self.damaged(segment, range, &error.to_string(), loss(header.id))
            }
        }
    }

    fn damaged(&mut self, segment: &InHand, range: Range<u64>, what: &str, lost: Loss) -> io::Result<()> {
        let finding = Finding::new(&segment.path, Kind::Damaged, what, FENCE).losing(lost);
        let finding = finding.at(range.start, range.end.saturating_sub(range.start));
        self.note(finding, |files, quarantine| {
            let nonce = segment.nonce.unwrap_or(0);
            quarantine.copy(&segment.path, range.clone(), nonce, Reason::Damaged)?;
            fence(files, segment, nonce, range)
        })
    }

    fn torn(&mut self, segment: &InHand, range: Range<u64>) -> io::Result<()> {
        let what = "the end of what was being written";
        let finding = Finding::new(&segment.path, Kind::TornEnd, what, "a copy goes to quarantine, and it is cut off");
        let finding = finding.at(range.start, range.end.saturating_sub(range.start));
        self.note(finding, |files, quarantine| {
            quarantine.copy(&segment.path, range.clone(), segment.nonce.unwrap_or(0), Reason::Torn)?;
            let file = files.open(&segment.path, Access::Write)?;
            if file.size()? > range.start {
                file.truncate(range.start)?;
            }
            file.sync()
        })
    }

    /// A segment whose header is damaged: what blocks it has are whole all the same.
    fn damaged_header(&mut self, segment: &InHand) -> io::Result<()> {
        let what = "the header of the segment is damaged";
        let Some(nonce) = segment.nonce else {
            return self.set_aside(Finding::new(&segment.path, Kind::Damaged, what, SET_ASIDE).losing(Loss::unknown()));
        };
        let remedy = "a copy goes to quarantine, and a new header in its place";
        let finding = Finding::new(&segment.path, Kind::Damaged, what, remedy).at(0, PAGE);
        self.note(finding, |files, quarantine| {
            quarantine.copy(&segment.path, 0..PAGE, nonce, Reason::Damaged)?;
            let header = SegmentHeader {
                number: segment.number,
                nonce,
                run: RunId::new(Timestamp::now(), rand::random()),
                created: Timestamp::now(),
                predecessor: None,
            };
            let file = files.open(&segment.path, Access::Write)?;
            file.write_at(&mut [IoSlice::new(&header.encode())], 0)?;
            file.sync()
        })
    }
}

fn loss(id: BlockId) -> Loss {
    let mut blocks = BlockSet::new();
    blocks.insert(id);
    Loss::of(&blocks)
}

/// Writes empty blocks over a range, whose start is that of a page.
fn fence(files: &dyn Files, segment: &InHand, nonce: u64, range: Range<u64>) -> io::Result<()> {
    let file = files.open(&segment.path, Access::Write)?;
    let run = segment.header.as_ref().map_or_else(|| RunId::from_bytes([0; RunId::BYTES]), |header| header.run);
    let mut start = range.start;
    while start < range.end {
        let length = (range.end - start).min(FENCE_BYTES_MAX);
        let Some(payload_bytes) = length.checked_sub(BLOCK_HEADER) else {
            // Too little for a block is the end of the file.
            file.truncate(start)?;
            break;
        };
        let body_checksum = write_zeros(&*file, start + BLOCK_HEADER, payload_bytes)?;
        let header = BlockHeader {
            body_checksum,
            segment: segment.number,
            offset: start,
            nonce,
            id: BlockId { run, first: 0, rows: 0 },
            lane: Lane::Bulk,
            arrival: Timestamp::now(),
            group: 0,
            payload_bytes,
            keys: 0,
        };
        file.write_at(&mut [IoSlice::new(&header.encode())], start)?;
        start += length;
    }
    file.sync()
}

/// Writes zeros, and gives their checksum.
fn write_zeros(file: &dyn crate::files::File, start: u64, bytes: u64) -> io::Result<u32> {
    let zeros = vec![0; bytes.min(1 << 20) as usize];
    let (mut written, mut checksum) = (0, 0);
    while written < bytes {
        let part = zeros.get(..(bytes - written).min(zeros.len() as u64) as usize).unwrap_or_default();
        file.write_at(&mut [IoSlice::new(part)], start + written)?;
        checksum = crc32c::crc32c_append(checksum, part);
        written += part.len() as u64;
    }
    Ok(checksum)
}
