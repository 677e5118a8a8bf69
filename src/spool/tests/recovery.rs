//! Torn ends and damage.

use std::os::unix::fs::FileExt;

use super::super::segment::PAGE;
use super::*;
use crate::files::Operation;

/// A killed spool with one segment of blocks of one record each, and where each block stands.
fn killed(blocks: usize) -> (Fixture, Vec<(RecordId, String)>) {
    let fixture = Fixture::new();
    let spool = fixture.open();
    let mut expected = Vec::new();
    for block in 0..blocks {
        let message = format!("{block} {}", "x".repeat(4000));
        let receipt = append(&spool, batch_of(Severity::Info, std::slice::from_ref(&message)), None).unwrap();
        expected.push((receipt.first, message));
    }
    (fixture.killed(), expected)
}

fn only_segment(fixture: &Fixture) -> PathBuf {
    let segments = fixture.files(".log");
    assert_eq!(segments.len(), 1);
    segments[0].clone()
}

/// Each block of `killed` takes two pages.
const BLOCK: u64 = 2 * PAGE;

#[test]
fn truncated_anywhere_the_whole_blocks_survive_and_the_torn_one_is_kept_aside() {
    let (original, expected) = killed(3);
    let bytes = std::fs::read(only_segment(&original)).unwrap();
    let end = |offset: u64| {
        let header = segment::BlockHeader::decode(&bytes[offset as usize..]).unwrap();
        assert_eq!(header.length(), BLOCK);
        offset + segment::BLOCK_HEADER + header.body_bytes()
    };
    let ends = [0, 1, 2].map(|block| end(PAGE + block * BLOCK));
    let second = PAGE + BLOCK;
    let spots = (second..second + 130).chain((second + 130..second + 2 * BLOCK).step_by(97));
    let spots: Vec<u64> = spots.chain([second + BLOCK - 1, second + BLOCK, second + BLOCK + 1]).collect();
    for length in spots {
        let fixture = original.killed();
        let file = std::fs::OpenOptions::new().write(true).open(only_segment(&fixture)).unwrap();
        file.set_len(length).unwrap();
        let spool = fixture.open();
        let survivors = drain(&spool);
        assert_eq!(survivors.len(), ends.iter().filter(|end| **end <= length).count(), "{length}");
        assert_eq!(survivors, expected[..survivors.len()], "{length}");
        let torn = PAGE + survivors.len() as u64 * BLOCK < length;
        let copies = fixture.quarantine();
        assert_eq!(copies.len(), usize::from(torn), "{length}: {copies:?}");
        assert_eq!(spool.status().quarantined_files, copies.len() as u64);
        if let [copy] = &copies[..] {
            assert!(copy.to_str().unwrap().ends_with("torn"));
            let from = (PAGE + survivors.len() as u64 * BLOCK) as usize;
            assert_eq!(std::fs::read(copy).unwrap(), bytes[from..length as usize], "{length}");
        }
        // A second start finds nothing new.
        drop(spool);
        assert_eq!(drain(&fixture.open()), survivors);
        assert_eq!(fixture.quarantine(), copies);
    }
}

#[test]
fn every_byte_of_a_small_last_block_may_be_where_it_is_torn() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    let first = append(&spool, batch(1), None).unwrap();
    append(&spool, batch(1), None).unwrap();
    let original = fixture.killed();
    let bytes = std::fs::read(only_segment(&original)).unwrap();
    let length = |number: usize| {
        let header = segment::BlockHeader::decode(&bytes[number..]).unwrap();
        (header.length() as usize, (segment::BLOCK_HEADER + header.body_bytes()) as usize)
    };
    let start = PAGE as usize + length(PAGE as usize).0;
    let end = start + length(start).1;
    for cut in start..=end {
        // Zeros stand behind the cut, as in a preallocated file whose last pages never reached the disk.
        let mut torn = bytes.clone();
        torn[cut..].fill(0);
        let copy = Fixture::new();
        std::fs::create_dir(copy.folder()).unwrap();
        std::fs::write(copy.folder().join("00000000000000000001.log"), &torn).unwrap();
        let spool = copy.open();
        let survivors = drain(&spool);
        let whole = torn[start..end] == bytes[start..end];
        assert_eq!(survivors.len(), 1 + usize::from(whole), "{cut}");
        assert_eq!(survivors[0].0, first.first);
        let blank = torn[start..].iter().all(|byte| *byte == 0);
        assert_eq!(copy.quarantine().len(), usize::from(!whole && !blank), "{cut}");
    }
}

#[test]
fn damage_in_the_middle_is_set_aside_and_the_rest_recovered() {
    let (original, expected) = killed(4);
    for (offset, lost) in [
        (PAGE + BLOCK + 3, 1),       // the magic
        (PAGE + BLOCK + 50, 1),      // the rest of the header
        (PAGE + BLOCK + 128, 1),     // the payload
        (PAGE + BLOCK + 4500, 1),    // the payload, second page
        (PAGE + 2 * BLOCK + 200, 2), // another block
    ] {
        let fixture = original.killed();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(only_segment(&fixture)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
        let mut registry = Registry::default();
        let spool = fixture.open_with(&mut registry);
        let mut survivors = expected.clone();
        survivors.remove(lost);
        assert_eq!(drain(&spool), survivors, "{offset}");
        let copies = fixture.quarantine();
        assert_eq!(copies.len(), 1, "{offset}");
        assert!(copies[0].to_str().unwrap().ends_with("damaged"));
        assert_eq!(std::fs::metadata(&copies[0]).unwrap().len(), BLOCK);
        let mut metrics = String::new();
        prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
        assert!(metrics.contains("sluice_spool_quarantined_total 1\n"), "{metrics}");
        assert!(metrics.contains("sluice_spool_recovered_blocks_total 3\n"), "{metrics}");
        assert!(metrics.contains("sluice_spool_lane_blocks{lane=\"bulk\"} 3"), "{metrics}");
    }
}

#[test]
fn a_zeroed_page_before_a_whole_block_is_damage() {
    let (fixture, expected) = killed(3);
    let file = std::fs::OpenOptions::new().write(true).open(only_segment(&fixture)).unwrap();
    file.write_all_at(&[0; BLOCK as usize], PAGE + BLOCK).unwrap();
    assert_eq!(drain(&fixture.open()), [expected[0].clone(), expected[2].clone()]);
    assert_eq!(fixture.quarantine().len(), 1);
}

#[test]
fn a_damaged_segment_header_costs_no_block() {
    let (fixture, expected) = killed(3);
    let file = std::fs::OpenOptions::new().write(true).open(only_segment(&fixture)).unwrap();
    file.write_all_at(b"garbage", 0).unwrap();
    assert_eq!(drain(&fixture.open()), expected);
    assert_eq!(fixture.quarantine().len(), 1);
}

#[test]
fn the_end_of_a_segment_that_is_not_the_last_is_damaged_not_torn() {
    let (fixture, expected) = killed(2);
    let spool = fixture.open();
    let later = append(&spool, batch_of(Severity::Info, &["later".to_owned()]), None).unwrap();
    let fixture = fixture.killed();
    let [first, _] = &fixture.files(".log")[..] else { panic!("two segments") };
    std::fs::OpenOptions::new().write(true).open(first).unwrap().set_len(PAGE + BLOCK + 200).unwrap();
    let spool = fixture.open();
    assert_eq!(drain(&spool), [expected[0].clone(), (later.first, "later".to_owned())]);
    assert!(fixture.quarantine()[0].to_str().unwrap().ends_with("damaged"));
}

#[test]
fn of_several_damaged_groups_at_the_end_only_the_last_can_be_torn() {
    let (fixture, expected) = killed(3);
    let file = std::fs::OpenOptions::new().write(true).open(only_segment(&fixture)).unwrap();
    for block in 1..3 {
        file.write_all_at(b"garbage", PAGE + block * BLOCK + 200).unwrap();
    }
    let spool = fixture.open();
    assert_eq!(drain(&spool), expected[..1]);
    assert_eq!(spool.status().lost_records, 1, "the second was acknowledged before the third was begun");
    let endings: Vec<bool> = fixture.quarantine().iter().map(|copy| copy.to_str().unwrap().ends_with("torn")).collect();
    assert_eq!(endings, [false, true]);
}

#[test]
fn garbage_instead_of_any_file_is_never_fatal() {
    for ending in [".log", ".keys"] {
        let fixture = Fixture::new();
        let spool = fixture.open();
        let key = Some(IdempotencyKey { key: 1, request: 1 });
        append(&spool, batch(5), key).unwrap();
        let block = next(&spool).unwrap();
        drop(spool);
        let spool = fixture.open();
        settle(&spool, &[block.id]);
        append(&spool, batch(5), None).unwrap();
        let fixture = fixture.killed();
        drop(spool);
        let files = fixture.files(ending);
        assert!(!files.is_empty());
        for file in &files {
            let length = std::fs::metadata(file).unwrap().len() as usize;
            std::fs::write(file, "garbage!".repeat(length / 8)).unwrap();
        }
        let spool = fixture.open();
        assert!(!fixture.quarantine().is_empty());
        append(&spool, batch(5), None).unwrap();
    }
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let (fixture, _) = killed(1);
    let path = only_segment(&fixture);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[12] = 2;
    let checksum = crc32c::crc32c(&bytes[12..96]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let opened = Spool::open(
        &fixture.faults.over(Arc::new(Disk)),
        &fixture.folder(),
        &fixture.settings,
        &mut Registry::default(),
    );
    assert!(matches!(opened, Err(SpoolError::Open(why)) if why.contains("version 2")));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_block_that_is_damaged_later_is_set_aside_when_it_is_read_back() {
    let mut fixture = Fixture::new();
    fixture.settings.memory_bytes = 0;
    let spool = fixture.open();
    append(&spool, batch(5), None).unwrap();
    append(&spool, batch(6), None).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(only_segment(&fixture)).unwrap();
    file.write_all_at(b"garbage", PAGE + 300).unwrap();
    assert_eq!(drain(&spool).len(), 6);
    assert_eq!(spool.status().quarantined_files, 1);
    assert_eq!(spool.status().lanes[2].blocks, 1);
}

#[test]
fn the_copy_comes_before_the_cut() {
    let (fixture, expected) = killed(2);
    let path = only_segment(&fixture);
    let length = PAGE + BLOCK + 500;
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
    // The first sync is that of the copy.
    fixture.faults.fail(Operation::Sync, 1);
    let spool = fixture.open();
    assert_eq!(drain(&spool), expected[..1]);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    settle(&spool, &[BlockId { run: expected[0].0.run, first: 0, rows: 1 }]);
    assert!(path.exists(), "what could not be copied is not deleted");
    // The next segment says how much of it counts, so it is no damage at the next start.
    let fixture = fixture.killed();
    assert_eq!(drain(&fixture.open()), expected[..1]);
}
