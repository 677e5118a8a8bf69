//! The records that are sent: a file of NDJSON, in bodies of 4 MB, as often as days are wanted.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use memchr::memmem::Finder;
use producer::encode::Format;
use producer::generate::Choice;
use producer::pace::Pace;
use producer::source::{Plan, Source};
use producer::stop::Stop;
use sluice_model::Timestamp;

use crate::Result;

/// The size of a body.
const BODY_BYTES: u64 = 4_000_000;
/// What stands before a timestamp.
const TIMESTAMP: &[u8] = b"\"timestamp\":\"";
/// When the producer's records begin, and how long they take.
const START: &str = "2026-11-20T00:00:00Z";
const SPAN_NANOS: i64 = 12 * 3_600_000_000_000;
/// How far apart the producer's records are.
const NANOS_PER_RECORD: i64 = 1_000_000;
/// The length of a date.
const DATE: usize = 10;

/// A file of NDJSON.
#[derive(Debug)]
pub struct Data {
    pub path: PathBuf,
    /// Where the records come from, for people.
    pub origin: String,
    pub bytes: u64,
    /// The bodies, each of whole lines.
    bodies: Vec<Range<u64>>,
    file: File,
}

impl Data {
    /// Has the producer make `records` records, and spreads them over half a day.
    pub fn make(folder: &Path, records: u64) -> Result<Data> {
        let path = folder.join("records.ndjson");
        let start: Timestamp = START.parse()?;
        let plan = Plan {
            choice: Choice::default(),
            batch: 1000,
            count: Some(records),
            pace: Pace::default(),
            start: Some(start),
            format: Format::Json,
            run: None,
        };
        let mut out = BufWriter::new(File::create(&path)?);
        let (mut source, stop, mut batch) = (Source::new(plan)?, Stop::default(), Vec::new());
        let factor = SPAN_NANOS / (records as i64 * NANOS_PER_RECORD).max(1);
        while source.next_batch(&mut batch, &stop).is_some() {
            for_each_timestamp(&mut batch, Timestamp::TEXT_LENGTH, |text| {
                let time: Timestamp = std::str::from_utf8(text)?.parse()?;
                let since = (time.as_nanos() - start.as_nanos()) * factor.max(1);
                text.copy_from_slice(Timestamp::from_nanos(start.as_nanos() + since).to_string().as_bytes());
                Ok(())
            })?;
            out.write_all(&batch)?;
            batch.clear();
        }
        out.into_inner()?.sync_all()?;
        Data::of(path, "the producer's records".to_owned())
    }

    /// Takes a file, or the beginning of it if that has enough records.
    pub fn take(file: &Path, folder: &Path, records: u64) -> Result<Data> {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = folder.join("records.ndjson");
        let mut lines = BufReader::with_capacity(1 << 20, File::open(file)?);
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        let mut line = Vec::new();
        for _ in 0..records {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            out.write_all(&line)?;
        }
        out.into_inner()?.sync_all()?;
        Data::of(path, format!("`{name}`"))
    }

    /// Takes a file as it is.
    pub fn open(path: PathBuf) -> Result<Data> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let origin = format!("`{name}`");
        Data::of(path, origin)
    }

    fn of(path: PathBuf, origin: String) -> Result<Data> {
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        let mut bodies = Vec::new();
        let mut start = 0;
        while start < bytes {
            let end = end_of_line(&file, (start + BODY_BYTES).min(bytes), bytes)?;
            bodies.push(start..end);
            start = end;
        }
        Ok(Data { path, origin, bytes, bodies, file })
    }

    /// How many bodies there are.
    pub fn bodies(&self) -> usize {
        self.bodies.len()
    }

    /// Reads a body, with its timestamps moved `shift` days on.
    pub fn read(&self, number: usize, shift: u64, body: &mut Vec<u8>) -> Result<()> {
        let range = self.bodies.get(number).ok_or("there is no such body")?;
        body.resize((range.end - range.start) as usize, 0);
        self.file.read_exact_at(body, range.start)?;
        if shift > 0 { move_days(body, shift) } else { Ok(()) }
    }

    /// Gives each line to `look`.
    pub fn for_each_line(&self, mut look: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut body = Vec::new();
        for number in 0..self.bodies() {
            self.read(number, 0, &mut body)?;
            body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).try_for_each(&mut look)?;
        }
        Ok(())
    }
}

/// Where the line ends that holds the byte before `from`.
fn end_of_line(file: &File, from: u64, bytes: u64) -> Result<u64> {
    let mut at = from - 1;
    let mut block = [0; 4096];
    while at < bytes {
        let read = file.read_at(&mut block, at)?;
        let block = block.get(..read).unwrap_or_default();
        if let Some(found) = memchr::memchr(b'\n', block) {
            return Ok(at + found as u64 + 1);
        }
        at += read.max(1) as u64;
    }
    Ok(bytes)
}

/// Moves the dates of all timestamps by whole days, in place.
fn move_days(body: &mut [u8], days: u64) -> Result<()> {
    let mut known = None::<([u8; DATE], [u8; DATE])>;
    for_each_timestamp(body, DATE, |date| {
        let moved = match known {
            Some((before, after)) if before == *date => after,
            _ => later(date, days)?,
        };
        known = Some(((&*date).try_into()?, moved));
        date.copy_from_slice(&moved);
        Ok(())
    })
}

/// Gives the first `length` bytes of each timestamp to `change`.
fn for_each_timestamp(body: &mut [u8], length: usize, mut change: impl FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
    let finder = Finder::new(TIMESTAMP);
    let mut from = 0;
    while let Some(found) = body.get(from..).and_then(|rest| finder.find(rest)) {
        let start = from + found + TIMESTAMP.len();
        from = start + length;
        change(body.get_mut(start..from).ok_or("a body ends in a timestamp")?)?;
    }
    Ok(())
}

fn later(date: &[u8], days: u64) -> Result<[u8; DATE]> {
    let date: NaiveDate = std::str::from_utf8(date)?.parse()?;
    let moved = date.checked_add_days(chrono::Days::new(days)).ok_or("a date is out of range")?;
    Ok(moved.to_string().as_bytes().try_into()?)
}
