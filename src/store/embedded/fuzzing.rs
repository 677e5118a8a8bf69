//! What must hold for any bytes in the engine's files, for the fuzzers.

use std::path::Path;

use arrow_buffer::BooleanBuffer;

use super::manifest::{self, Found};
use super::reader::OpenSegment;
use super::seal;
use super::tokens;
use crate::batch::{Records, RowWriter};
use crate::files::Disk;
use crate::query::Columns;

/// How many row groups of a segment are read.
const GROUPS_MAX: usize = 4;

/// A manifest, as it stands or, with a first byte of 1, behind a header whose checksum is put right. What is read is
/// written and read again as the same.
pub fn manifest(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let sealed;
    let bytes = if *choice == 1 {
        sealed = manifest::sealed(bytes);
        &sealed
    } else {
        bytes
    };
    if let Found::Sound(read) = manifest::parse(bytes) {
        let Ok(body) = serde_json::to_vec(&read) else { unreachable!("what was read cannot be written") };
        match manifest::parse(&manifest::sealed(&body)) {
            Found::Sound(again) => assert_eq!(again, read),
            other => unreachable!("a manifest that was written cannot be read: {other:?}"),
        }
        let starts: Vec<_> = read.covered.intervals().collect();
        assert!(starts.iter().all(|(_, start, end)| start < end), "an interval without a block: {starts:?}");
        assert!(
            starts.is_sorted_by(|one, next| one.0 != next.0 || one.2 < next.1),
            "intervals that should be one: {starts:?}"
        );
    }
}

/// A segment, written to `file`, as it stands and, where it has a seal, with its checksums put right: each part of it is
/// read, or is damage.
pub fn segment(data: &[u8], file: &Path) {
    read_segment(data, file);
    if let Some(data) = seal::put_right(data) {
        read_segment(&data, file);
    }
}

fn read_segment(data: &[u8], file: &Path) {
    if std::fs::write(file, data).is_err() {
        return;
    }
    let Ok(segment) = OpenSegment::open(&Disk, file) else { return };
    assert_eq!(segment.bytes(), data.len() as u64);
    drop(segment.blocks());
    let wanted = Columns { timestamp: true, severity: true, service: true, message: true, ..Columns::default() };
    for (group, told) in segment.footer.row_groups.iter().enumerate().take(GROUPS_MAX) {
        if let Some(region) = told.tokens {
            drop(tokens::absent(&segment, region, &["timeout".to_owned()]));
        }
        let rows = told.rows as usize;
        if let Ok(records) = segment.columns(group, None, &segment.places(&wanted)) {
            assert_eq!(records.len(), rows);
        }
        if rows <= data.len().saturating_mul(1024) {
            let every_other = BooleanBuffer::collect_bool(rows, |row| row % 2 == 0);
            if let Ok(records) = segment.rows(group, every_other) {
                assert_eq!(records.len(), rows.div_ceil(2));
                show(&records);
            }
        }
    }
}

/// Writes the records as an answer has them.
fn show(records: &Records) {
    const ROWS_MAX: usize = 100;
    let writer = RowWriter::new(records);
    let mut out = Vec::new();
    (0..records.len().min(ROWS_MAX)).for_each(|row| writer.write(row, &mut out));
}
