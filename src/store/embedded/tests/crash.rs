//! A crash between any two steps, and damage: what the next start makes of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A copy of the store's folder as it is now: what a crash would leave.
fn crash(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder, copy.path());
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn copy_manifests(from: &Path, to: &Path) {
    for name in ["manifest", "manifest.previous"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

fn quarantined(folder: &Path) -> usize {
    fs::read_dir(folder.join("quarantine")).map_or(0, Iterator::count)
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let days = disk().list(&folder.join("segments")).unwrap().into_iter();
    let entries = days.flat_map(|day| disk().list(&day.path).unwrap());
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path).collect();
    files.sort();
    files
}

/// A store of `count` segments of ten records each.
fn filled(folder: &Path, count: u64) -> EmbeddedStore {
    let store = open(folder);
    for n in 0..count {
        store.write(&block(n * 10, &rows(n as i64 * 10, 10))).unwrap();
        store.engine.flush().unwrap();
    }
    store
}

/// That the records up to `count` are there once, also after the spool has brought them again.
fn assert_whole(folder: &Path, count: u64) {
    let store = open(folder);
    assert_eq!(stored(&store), (0..count).collect::<Vec<_>>());
    for first in (0..count).step_by(10) {
        store.write(&block(first, &rows(first as i64, 10))).unwrap();
    }
    assert_eq!(stored(&store), (0..count).collect::<Vec<_>>());
    store.close().unwrap();
    assert_eq!(stored(&open(folder)), (0..count).collect::<Vec<_>>());
}

#[test]
fn segments_that_the_manifest_does_not_know_yet_are_adopted() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 2);
    let before = crash(folder.path());
    store.write(&block(20, &rows(20, 10))).unwrap();
    store.engine.flush().unwrap();
    let after = crash(folder.path());
    copy_manifests(before.path(), after.path());
    assert_whole(after.path(), 30);
    assert_eq!(quarantined(after.path()), 0);
}

#[test]
fn one_of_the_segments_of_a_flush_covers_its_own_records_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let rows: Vec<Row> = (0..40).map(|n| row((n % 2) * DAY_NS + n, "svc", "")).collect();
    let block = block(0, &rows);
    store.write(&block).unwrap();
    store.engine.flush().unwrap();
    let after = crash(folder.path());
    copy_manifests(Path::new("/nowhere"), after.path());
    fs::remove_file(&segments(after.path())[0]).unwrap();
    let store = open(after.path());
    assert_eq!(stored(&store), (1..40).step_by(2).collect::<Vec<_>>());
    assert!(!store.durable().contains(block.id));
    store.write(&block).unwrap();
    assert_eq!(stored(&store), (0..40).collect::<Vec<_>>());
}

#[test]
fn unfinished_files_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 1));
    let unfinished = segments(folder.path())[0].with_extension("tmp");
    fs::write(&unfinished, b"PAR1 and so on").unwrap();
    fs::write(folder.path().join("manifest.tmp"), b"{").unwrap();
    assert_whole(folder.path(), 10);
    assert!(!unfinished.exists());
}

/// A compaction of eight segments: the folder before it, and after it with the inputs still there.
fn compacted() -> (tempfile::TempDir, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 8);
    let before = crash(folder.path());
    let reader = store.engine.snapshot();
    compaction::compact(&store.engine).unwrap();
    let after = crash(folder.path());
    assert_eq!(segments(after.path()).len(), 9);
    drop(reader);
    assert_eq!(segments(folder.path()).len(), 1);
    (before, after)
}

#[test]
fn a_compaction_that_is_not_committed_is_completed() {
    let (before, after) = compacted();
    copy_manifests(before.path(), after.path());
    assert_whole(after.path(), 80);
    assert_eq!((segments(after.path()).len(), quarantined(after.path())), (1, 0));
}

#[test]
fn the_inputs_of_a_committed_compaction_are_removed() {
    let (_, after) = compacted();
    assert_whole(after.path(), 80);
    assert_eq!((segments(after.path()).len(), quarantined(after.path())), (1, 0));
}

#[test]
fn a_compaction_survives_the_loss_of_its_manifest() {
    let (before, after) = compacted();
    let inputs = segments(before.path());
    let names = inputs.iter().map(|path| path.strip_prefix(before.path()).unwrap());
    names.for_each(|name| fs::remove_file(after.path().join(name)).unwrap());
    fs::remove_file(after.path().join("manifest")).unwrap();
    assert_whole(after.path(), 80);
    assert_eq!(quarantined(after.path()), 0);
}

#[test]
fn two_lost_manifests_are_rebuilt_from_the_footers() {
    let (_, after) = compacted();
    copy_manifests(Path::new("/nowhere"), after.path());
    assert_whole(after.path(), 80);
    assert_eq!((segments(after.path()).len(), quarantined(after.path())), (1, 0));
}

#[test]
fn a_damaged_manifest_gives_way_to_the_previous_one() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 3));
    let path = folder.path().join("manifest");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(&path, bytes).unwrap();
    assert_whole(folder.path(), 30);
    assert_eq!(quarantined(folder.path()), 1, "the manifest is kept for a look");
}

#[test]
fn a_manifest_of_a_newer_format_is_not_passed_by() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 2));
    let newer = b"{\"format\":99,\"crc32c\":0,\"length\":2}\n{}\n";
    fs::write(folder.path().join("manifest"), newer).unwrap();
    let registry = &mut Registry::default();
    let refused = EmbeddedStore::open(&disk(), folder.path(), &settings(), KEEP, &[run()], registry);
    assert!(matches!(refused, Err(crate::store::embedded::OpenError::TooNew { format: 99, .. })));
}

#[test]
fn a_copy_of_a_segment_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 2));
    let original = segments(folder.path())[0].clone();
    fs::copy(&original, original.with_file_name("ffffffffffffffffffff.parquet")).unwrap();
    assert_whole(folder.path(), 20);
    assert_eq!(quarantined(folder.path()), 1);
}

#[test]
fn a_deletion_by_retention_is_completed_and_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 2);
    let reader = store.engine.snapshot();
    assert_eq!(store.delete_before(Timestamp::from_nanos(10)).unwrap(), 10);
    let after = crash(folder.path());
    assert_eq!(segments(after.path()).len(), 2);
    drop(reader);
    let store = open(after.path());
    store.write(&block(0, &rows(0, 10))).unwrap();
    assert_eq!(stored(&store), (10..20).collect::<Vec<_>>());
    assert_eq!((segments(after.path()).len(), quarantined(after.path())), (1, 0));
}

#[test]
fn a_shortened_segment_is_set_aside_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 3));
    let path = segments(folder.path())[1].clone();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
    let store = open(folder.path());
    assert_eq!(stored(&store).len(), 20);
    assert_eq!(quarantined(folder.path()), 1);
}

#[test]
fn a_segment_that_turns_out_damaged_never_fails_a_search() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 3);
    drop(store);
    let path = segments(folder.path())[1].clone();
    let bytes = fs::read(&path).unwrap();
    for place in (4..bytes.len()).step_by(17) {
        let copy = crash(folder.path());
        let mut damaged = bytes.clone();
        damaged[place..(place + 5).min(bytes.len())].fill(0xff);
        fs::write(copy.path().join(path.strip_prefix(folder.path()).unwrap()), damaged).unwrap();
        let store = open(copy.path());
        let found = stored(&store);
        let others = |sequence: &&u64| !(10..20).contains(*sequence);
        assert_eq!(found.iter().filter(others).count(), 20, "bytes at {place}");
        if found.len() == 20 {
            store.engine.set_damage_aside().unwrap();
            assert_eq!((quarantined(copy.path()), segments(copy.path()).len()), (1, 2));
        }
    }
}

#[test]
fn a_full_disk_is_no_reason_not_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 1);
    let crashed = crash(folder.path());
    store.write(&block(10, &rows(10, 10))).unwrap();
    store.engine.flush().unwrap();
    drop(store);
    // A flush whose segment is there and whose commit is not.
    copy_manifests(crashed.path(), folder.path());

    let faults = Faults::default();
    faults.add(Fault { operation: Operation::Create, within: "manifest", after: 0, times: 2, error: ENOSPC });
    let store = open_in(&faults.over(disk()), folder.path(), &settings(), KEEP);
    assert_eq!(stored(&store), (0..20).collect::<Vec<_>>(), "searches see what recovery found");
    store.write(&block(10, &rows(10, 10))).unwrap();
    assert_eq!(stored(&store).len(), 20, "the spool brings nothing twice");
    assert!(!store.durable().contains(block(10, &rows(10, 10)).id), "what no manifest covers is not durable");
    assert!(store.engine.settle(&mut store.engine.disk()).is_err());
    store.engine.settle(&mut store.engine.disk()).unwrap();
    assert!(store.durable().contains(block(10, &rows(10, 10)).id));
    drop(store);
    assert_whole(folder.path(), 20);
}
