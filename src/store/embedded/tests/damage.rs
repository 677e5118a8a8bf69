//! Damage of segments: never an altered record, and what is whole is saved.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::files::Disk;
use crate::finding::Kind;
use crate::store::embedded::reader::{OpenSegment, ReadError};
use crate::store::embedded::{salvage, tokens};

fn segments(folder: &Path) -> Vec<PathBuf> {
    let days = disk().list(&folder.join("segments")).unwrap().into_iter();
    let mut files: Vec<_> = days.flat_map(|day| disk().list(&day.path).unwrap()).map(|entry| entry.path).collect();
    files.sort();
    files
}

fn quarantined(folder: &Path) -> usize {
    disk().list(&folder.join("quarantine")).map_or(0, |entries| entries.len())
}

/// A store with one segment of these rows.
fn filled(folder: &Path, rows: &[Row]) -> PathBuf {
    let store = open(folder);
    store.write(&block(0, rows)).unwrap();
    store.engine.flush().unwrap();
    segments(folder).remove(0)
}

/// A store with one segment of 70,000 rows, of whose two row groups the first is damaged: the segment and its bytes.
fn half_damaged(folder: &Path) -> (PathBuf, Vec<u8>) {
    let path = filled(folder, &rows(0, 70_000));
    let mut bytes = fs::read(&path).unwrap();
    // The second row group begins far behind it.
    bytes[20_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

fn read_all(path: &Path) -> Result<Vec<String>, ReadError> {
    let open = OpenSegment::open(&Disk, path)?;
    open.blocks()?;
    let mut records = Vec::new();
    for group in 0..open.footer.row_groups.len() {
        records.extend(json_rows(&open.all_rows(group)?));
    }
    Ok(records)
}

#[test]
fn no_flipped_bit_of_a_segment_alters_a_record_and_the_inspection_sees_each() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = rows(0, 40);
    rows.iter_mut().zip(0..).for_each(|(row, n)| row.attribute = Some(n * 77));
    let path = filled(folder.path(), &rows);
    let (bytes, whole) = (fs::read(&path).unwrap(), read_all(&path).unwrap());
    assert!(salvage::inspect(&Disk, &path, None, &mut drop).unwrap().damage.is_none());
    let copy = folder.path().join("copy.parquet");
    for place in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        fs::write(&copy, flipped).unwrap();
        match read_all(&copy) {
            Ok(records) => assert_eq!(records, whole, "byte {place}"),
            Err(error) => assert!(matches!(error, ReadError::Damaged(_)), "byte {place}: {error}"),
        }
        let inspection = salvage::inspect(&Disk, &copy, None, &mut drop).unwrap();
        assert!(inspection.damage.is_some(), "byte {place} of {}", bytes.len());
    }
    for length in (0..bytes.len()).step_by(13) {
        fs::write(&copy, &bytes[..length]).unwrap();
        assert!(matches!(OpenSegment::open(&Disk, &copy), Err(ReadError::Damaged(_))), "cut at {length}");
    }
}

#[test]
fn the_whole_row_groups_of_a_damaged_segment_are_saved() {
    let folder = tempfile::tempdir().unwrap();
    half_damaged(folder.path());
    let store = open(folder.path());
    assert!(stored(&store).len() < 70_000, "the search goes on without the segment");
    store.engine.set_damage_aside().unwrap();
    assert_eq!(stored(&store), (65_536..70_000).collect::<Vec<_>>());
    let damage = store.damage();
    assert_eq!((damage.quarantined_files, damage.lost_records), (1, 65_536));
    assert_eq!((quarantined(folder.path()), segments(folder.path()).len()), (1, 1));

    // The spool may bring all of it again before it hears: what was durable stays settled.
    store.write(&block(0, &rows(0, 70_000))).unwrap();
    assert_eq!(stored(&store).len(), 4_464);
    drop(store);
    let store = open(folder.path());
    assert_eq!(stored(&store), (65_536..70_000).collect::<Vec<_>>());
    assert_eq!((quarantined(folder.path()), segments(folder.path()).len()), (1, 1));
}

#[test]
fn a_salvage_that_a_crash_cut_short_is_completed_and_its_input_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = half_damaged(folder.path());
    let store = open(folder.path());
    let info = store.engine.segments()[0].info.clone();
    let saved = salvage::salvage(&store.engine.folders, &info).unwrap();
    assert_eq!((saved.finding.kind, saved.finding.lost.records), (Kind::Damaged, Some(65_536)));
    assert_eq!(saved.finding.offset, Some(20_000 / 4096 * 4096));
    drop(store);

    let store = open(folder.path());
    assert_eq!(stored(&store), (65_536..70_000).collect::<Vec<_>>());
    assert_eq!(segments(folder.path()).len(), 1);
    let kept: Vec<_> = fs::read_dir(folder.path().join("quarantine")).unwrap().collect();
    assert_eq!(fs::read(kept[0].as_ref().unwrap().path()).unwrap(), bytes);
    drop(store);

    // After the commit, but before the file was set aside.
    fs::write(&path, &bytes).unwrap();
    let store = open(folder.path());
    assert_eq!(stored(&store), (65_536..70_000).collect::<Vec<_>>());
    assert_eq!((quarantined(folder.path()), segments(folder.path()).len()), (2, 1));
}

#[test]
fn a_segment_in_the_place_of_another_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for first in [10, 20] {
        store.write(&block(first, &rows(first as i64 + 100, 10))).unwrap();
        store.engine.flush().unwrap();
    }
    drop(store);
    let files = segments(folder.path());
    // Of equal length, as a rule: then it is the first search that notices, else the start.
    fs::copy(&files[0], &files[1]).unwrap();
    let store = open(folder.path());
    assert_eq!(stored(&store), (10..20).collect::<Vec<_>>(), "no record twice");
    store.engine.set_damage_aside().unwrap();
    assert_eq!(stored(&store), (10..20).collect::<Vec<_>>());
    assert_eq!(quarantined(folder.path()), 1);
}

#[test]
fn a_segment_of_a_newer_format_is_refused_and_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(folder.path(), &rows(0, 10));
    super::super::testing::make_newer(&path);
    fs::remove_file(folder.path().join("manifest")).unwrap();
    let refused = EmbeddedStore::open(&disk(), folder.path(), &settings(), KEEP, &[run()], &mut Registry::default());
    assert!(matches!(refused, Err(crate::store::embedded::OpenError::TooNew { format: 6, .. })));
    assert!(path.exists());
}

#[test]
fn what_is_read_of_a_large_token_filter_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    // So many tokens that looking one up reads less than all of the filter.
    let words = |n: usize| (n..n + 40).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
    let rows: Vec<Row> = (0..1000).map(|n| row(n, "web", &words(n as usize * 40))).collect();
    let path = filled(folder.path(), &rows);
    let token = ["w20017".to_owned()];
    let absent = || {
        let open = OpenSegment::open(&Disk, &path).unwrap();
        let region = open.footer.row_groups[0].tokens.unwrap();
        (region, tokens::absent(&open, region, &token))
    };
    let (region, none) = absent();
    assert!(none.unwrap().is_empty());
    let mut bytes = fs::read(&path).unwrap();
    bytes[region.offset as usize] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(absent().1, Err(ReadError::Damaged(_))));
}

#[test]
fn stores_of_older_formats_are_read_as_they_are() {
    for format in [1, 2, 3, 4] {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}"));
        let old = copy(&fixture.join("store"), folder.path());
        let expected = fs::read_to_string(fixture.join("records.ndjson")).unwrap();
        let store = open(folder.path());
        assert_eq!(search(&store, &everything()).json(), expected.lines().collect::<Vec<_>>());
        store.write(&block(0, &rows(0, 10))).unwrap();
        store.engine.flush().unwrap();
        drop(store);
        assert_eq!(stored(&open(folder.path())).len(), expected.lines().count() + 10);
        for path in old.iter().filter(|path| path.extension().is_some()) {
            let inspection = salvage::inspect(&Disk, path, None, &mut drop).unwrap();
            let fault = inspection.damage.map(|damage| damage.finding(path).what);
            assert_eq!((fault, inspection.format), (None, Some(format)));
        }
    }
}

/// Copies the files of a folder and those below it, but for the manifest before the last; gives their new paths.
fn copy(from: &Path, to: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(to).unwrap();
    let mut copied = Vec::new();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied.extend(copy(&entry.path(), &target));
        } else if entry.file_name() != "manifest.previous" {
            fs::copy(entry.path(), &target).unwrap();
            copied.push(target);
        }
    }
    copied
}

#[test]
fn what_is_damaged_on_a_full_disk_stays_in_its_place_until_there_is_room() {
    let second = |folder: &Path| segments(folder).remove(1);
    for (file, rows_left, shown) in [
        ("manifest", 20, "a damaged manifest"),
        ("manifest.previous", 20, "a damaged previous one"),
        ("listed", 10, "a listed segment that is cut short"),
        ("stray", 20, "a segment that no manifest names"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        drop(with_two_segments(folder.path()));
        let path = match file {
            "listed" => second(folder.path()),
            "stray" => second(folder.path()).with_file_name("0123456789abcdef0123.parquet"),
            name => folder.path().join(name),
        };
        let bytes = fs::read(if file == "stray" { second(folder.path()) } else { path.clone() }).unwrap();
        let damaged = &bytes[..bytes.len() - 9];
        fs::write(&path, damaged).unwrap();

        let faults = Faults::default();
        faults.add(Fault { operation: Operation::Create, within: "", after: 0, times: usize::MAX, error: ENOSPC });
        let store = open_in(&faults.over(disk()), folder.path(), &settings(), KEEP);
        assert_eq!(stored(&store).len(), rows_left, "{shown}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "{shown} stays");
        store.write(&block(20, &rows(20, 10))).unwrap();
        assert!(store.engine.flush().is_err());
        assert_eq!((stored(&store).len(), quarantined(folder.path())), (rows_left + 10, 0), "{shown}");
        faults.heal();
        store.engine.flush().unwrap();
        assert_eq!(quarantined(folder.path()), 1, "{shown}");
        let kept = fs::read_dir(folder.path().join("quarantine")).unwrap().next().unwrap().unwrap().path();
        assert_eq!(fs::read(kept).unwrap(), damaged, "{shown} is kept");
        drop(store);
        let store = open(folder.path());
        assert_eq!((stored(&store).len(), quarantined(folder.path())), (rows_left + 10, 1), "{shown}");
    }
}
