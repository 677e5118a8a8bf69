//! Group commit, delivery, budget, and a disk that fails.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::files::Operation;
use crate::files::faulty::{EIO, Fault};

#[test]
fn a_thousand_requests_make_few_blocks_and_few_syncs() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    // The disk takes as long as it takes for all requests to arrive.
    let gate = fixture.faults.gate.lock().unwrap();
    let appends = futures_util::future::join_all((0..1000).map(|_| {
        let (batch, reservation) = (batch(1), spool.reserve(100).unwrap());
        spool.append(Entry { batch, reservation, key: None })
    }));
    let (receipts, ()) = wait_for(futures_util::future::join(appends, async { drop(gate) }));
    let mut ids: Vec<RecordId> = receipts.into_iter().map(|receipt| receipt.unwrap().first).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1000);
    assert!(spool.shared.metrics.fsyncs.get() <= 2, "{} syncs", spool.shared.metrics.fsyncs.get());
    let blocks: Vec<Block> = std::iter::from_fn(|| next(&spool)).collect();
    assert!(blocks.len() <= 2, "{} blocks", blocks.len());
    let mut delivered: Vec<RecordId> = blocks.iter().flat_map(records).map(|(id, _)| id).collect();
    delivered.sort();
    assert_eq!(delivered, ids);
}

#[test]
fn batches_with_other_columns_share_a_block_only_if_it_stays_small() {
    let wide = |row: usize| {
        let mut builder = LogBatchBuilder::new();
        for record in 0..900 {
            for column in 0..if row == 0 { 128 } else { 0 } {
                builder.attribute(&format!("a{column}"), AttributeRef::Int(record)).unwrap();
            }
            builder.commit(Timestamp::default(), Severity::Info, "", "", "");
        }
        builder.finish()
    };
    let (fixture, batches) = (Fixture::new(), (0..40).map(wide).collect::<Vec<_>>());
    let spool = fixture.open();
    let appended = batches.iter().map(|batch| {
        let reservation = spool.reserve(0).unwrap();
        spool.append(Entry { batch: batch.clone(), reservation, key: None })
    });
    assert!(wait_for(futures_util::future::join_all(appended)).iter().all(Result::is_ok));
    assert_eq!(drain(&spool).len(), 40 * 900);
    let (sizes, bytes) = (batches.iter().map(LogBatch::size_bytes).sum::<usize>() as u64, spool.status().bytes);
    assert!(bytes < 2 * sizes + (1 << 20), "{bytes} bytes for {sizes}");
}

#[test]
fn urgent_blocks_overtake_and_retried_ones_come_first() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    for severity in [Severity::Info, Severity::Warn, Severity::Error] {
        append(&spool, batch_of(severity, &[format!("{severity:?}")]), None).unwrap();
    }
    let messages: Vec<String> = std::iter::from_fn(|| next(&spool)).map(|block| records(&block)[0].1.clone()).collect();
    assert_eq!(messages, ["Error", "Warn", "Info"]);
    assert_eq!(next(&spool).map(|block| block.id), None);
    let spool = {
        drop(spool);
        fixture.open()
    };
    let first = next(&spool).unwrap();
    assert_eq!(records(&first)[0].1, "Error");
    spool.retry(first.id);
    append(&spool, batch_of(Severity::Error, &["later".to_owned()]), None).unwrap();
    let urgent = std::iter::from_fn(|| next(&spool)).filter(|block| Lane::of(&block.batch) == Lane::Urgent);
    let urgent: Vec<String> = urgent.map(|block| records(&block)[0].1.clone()).collect();
    assert_eq!(urgent, ["Error", "later"]);
}

#[test]
fn readers_learn_what_is_not_in_the_store() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    assert_eq!(spool.behind(spool.committed()), None);
    let first = append(&spool, batch(3), None).unwrap();
    append(&spool, batch(2), None).unwrap();
    assert_eq!(spool.behind(first.ordinal).unwrap().records, 3);
    assert_eq!(spool.behind(spool.committed()).unwrap().records, 5);
    let block = next(&spool).unwrap();
    spool.written(block.id);
    wait_for(spool.stored(first.ordinal));
    assert_eq!(spool.behind(first.ordinal), None);
    assert_eq!(spool.behind(spool.committed()).unwrap().records, 2);
    let other = next(&spool).unwrap();
    settle(&spool, &[other.id]);
    wait_for(spool.stored(spool.committed()));
    assert_eq!(spool.behind(spool.committed()), None);
    assert_eq!(spool.open_runs(), [block.id.run]);
}

#[test]
fn the_budget_refuses_before_and_after_decoding() {
    let mut fixture = Fixture::new();
    fixture.settings.bytes_max = 128 << 10;
    let spool = fixture.open();
    let all = spool.reserve(100 << 10).unwrap();
    assert!(matches!(spool.reserve(100 << 10), Err(SpoolError::Full { .. })));
    drop(all);
    let guessed = spool.reserve(1).unwrap();
    let refused = wait_for(spool.append(Entry { batch: batch(10_000), reservation: guessed, key: None }));
    assert!(matches!(refused, Err(SpoolError::Full { .. })));
    assert!(append(&spool, batch(10), None).is_ok());
    let mut blocks = 1;
    while append(&spool, batch(100), None).is_ok() {
        blocks += 1;
    }
    assert!(blocks > 3);
    assert!(spool.status().refusing.is_none_or(|why| why.contains("spool.bytes_max")));
    assert!(!spool.wants_flush(), "nothing waits for a flush");
    let ids: Vec<BlockId> = std::iter::from_fn(|| next(&spool)).map(|block| block.id).collect();
    ids.iter().for_each(|id| spool.written(*id));
    assert!(spool.wants_flush());
    fixture.settings.bytes_max = 1 << 30;
    fixture.settings.free_disk_floor = Some(u64::MAX);
    drop(spool);
    let spool = fixture.open();
    assert!(matches!(spool.reserve(1), Err(SpoolError::DiskFull { .. })));
    assert_eq!(std::iter::from_fn(|| next(&spool)).count(), ids.len(), "a full spool still drains");
    assert_eq!(spool.accept_again(batch(3)).unwrap().rows, 3);
}

#[test]
fn a_clash_is_accepted_again_under_a_fresh_run() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    let before = append(&spool, batch(3), None).unwrap();
    let again = spool.accept_again(batch(3)).unwrap();
    assert!(again.first.run > before.first.run, "ids go on sorting by arrival");
    assert_eq!(append(&spool, batch(1), None).unwrap().first.run, again.first.run);
    assert!(spool.open_runs().contains(&before.first.run));
}

#[test]
fn a_failed_write_or_sync_fails_its_group_and_a_new_segment_takes_over() {
    for step in [Operation::Write, Operation::Sync] {
        let mut fixture = Fixture::new();
        fixture.settings.memory_bytes = 0;
        let spool = fixture.open();
        let before = append(&spool, batch(1), None).unwrap();
        fixture.faults.fail(step, 1);
        // Opening the next segment fails too, for a while: nothing is accepted.
        fixture.faults.fail(Operation::SyncFolder, usize::MAX);
        assert!(matches!(append(&spool, batch(2), None), Err(SpoolError::Failed(_))));
        eventually("it refuses", || spool.reserve(1).is_err());
        fixture.faults.heal();
        eventually("it writes again", || append(&spool, batch(3), None).is_ok());
        assert_eq!(drain(&spool).len(), 4);
        let killed = fixture.killed();
        drop(spool);
        let spool = killed.open();
        let recovered = drain(&spool);
        assert_eq!(recovered.len(), 4, "the failed group does not come back after {step:?}");
        assert!(killed.quarantine().is_empty());
        // Only its successor says how much of the abandoned segment counts, so it must stay as long.
        let rest: Vec<BlockId> =
            recovered[1..2].iter().map(|(id, _)| BlockId { run: id.run, first: id.sequence, rows: 3 }).collect();
        settle(&spool, &rest);
        let abandoned = &killed.files(".log")[0];
        assert!(abandoned.exists());
        settle(&spool, &[BlockId { run: before.first.run, first: before.first.sequence, rows: 1 }]);
        assert_eq!(killed.files(".log").len(), 1, "only the active one is left");
    }
}

#[test]
fn the_successor_of_an_abandoned_segment_outlives_it() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    append(&spool, batch(1), None).unwrap();
    fixture.faults.fail(Operation::Sync, 1);
    // What is in doubt stays in the file.
    fixture.faults.fail(Operation::Truncate, usize::MAX);
    append(&spool, batch(2), None).unwrap_err();
    eventually("it writes again", || spool.status().refusing.is_none());
    fixture.faults.heal();
    drop(spool);
    for _ in 0..3 {
        let spool = fixture.open();
        assert_eq!(drain(&spool).len(), 1);
        assert!(fixture.files(".log").len() >= 2);
        assert!(fixture.quarantine().is_empty());
    }
}

#[test]
fn segments_go_when_they_are_settled_and_the_idle_file_is_small() {
    let mut fixture = Fixture::new();
    fixture.settings.segment_bytes = 16 << 20;
    let spool = fixture.open();
    for _ in 0..8 {
        append(&spool, batch(50_000), None).unwrap();
    }
    assert!(fixture.files(".log").len() > 1);
    let ids: Vec<BlockId> = std::iter::from_fn(|| next(&spool)).map(|block| block.id).collect();
    assert_eq!(ids.len(), 8);
    settle(&spool, &ids);
    let length = |file: &PathBuf| std::fs::metadata(file).map_or(0, |file| file.len());
    let bytes = || fixture.files(".log").iter().map(length).sum::<u64>();
    eventually("the idle spool shrinks", || bytes() <= 4 << 20);
    eventually("the budget knows", || spool.status().bytes <= 4 << 20);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.folder()), 0o700);
    assert_eq!(mode(&fixture.files(".log")[0]), 0o600);
}

#[test]
fn a_closed_spool_accepts_nothing_and_keeps_everything() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    append(&spool, batch(3), None).unwrap();
    let reservation = spool.reserve(1).unwrap();
    spool.close();
    let refused = wait_for(spool.append(Entry { batch: batch(1), reservation, key: None }));
    assert_eq!(refused, Err(SpoolError::Closed));
    assert!(next(&spool).is_none());
    assert_eq!(drain(&fixture.open()).len(), 3);
}

#[test]
fn a_spool_that_cannot_write_still_opens_and_drains() {
    let fixture = Fixture::new();
    append(&fixture.open(), batch(3), None).unwrap();
    fixture.faults.fail(Operation::Create, usize::MAX);
    let spool = fixture.open();
    assert!(matches!(spool.reserve(1), Err(SpoolError::Failed(_))));
    assert!(spool.status().refusing.is_some());
    assert_eq!(drain(&spool).len(), 3);
    fixture.faults.heal();
    eventually("it writes again", || append(&spool, batch(4), None).is_ok());
    assert_eq!(drain(&spool).len(), 4);
}

#[test]
fn a_segment_that_only_the_store_holds_wants_a_flush() {
    let mut fixture = Fixture::new();
    fixture.settings.segment_bytes = 64 << 10;
    let spool = fixture.open();
    while fixture.files(".log").len() < 3 {
        append(&spool, batch(100), None).unwrap();
    }
    let ids: Vec<BlockId> = std::iter::from_fn(|| next(&spool)).map(|block| block.id).collect();
    assert!(!spool.wants_flush());
    spool.written(ids[0]);
    assert!(!spool.wants_flush(), "others of its segment are on their way");
    ids.iter().for_each(|id| spool.written(*id));
    assert!(spool.wants_flush());
    settle(&spool, &ids);
    assert!(!spool.wants_flush());
    assert_eq!(fixture.files(".log").len(), 1);
}

#[test]
fn what_stays_in_memory_is_bounded_and_the_rest_is_read_back() {
    let mut fixture = Fixture::new();
    let sent = batch(100);
    fixture.settings.memory_bytes = 3 * sent.size_bytes() as u64;
    let spool = fixture.open();
    for _ in 0..10 {
        append(&spool, sent.clone(), None).unwrap();
    }
    // Only what is in memory can still be read when the files are gone.
    for file in fixture.files(".log") {
        std::fs::write(file, "").unwrap();
    }
    assert_eq!(drain(&spool).len(), 300);
}

#[test]
fn a_panic_fails_its_group_alone() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    let key = Some(IdempotencyKey { key: 1, request: 1 });
    let before = append(&spool, batch(1), None).unwrap();
    fixture.faults.add(Fault { operation: Operation::Sync, within: "spool", after: 0, times: 1, error: 0 });
    assert!(matches!(append(&spool, batch(2), key), Err(SpoolError::Failed(_))));
    eventually("it writes again", || append(&spool, batch(3), key).is_ok());
    assert!(append(&spool, batch(3), key).unwrap().replayed);
    let runs: Vec<_> = drain(&spool).iter().map(|(id, _)| id.run).collect();
    assert_eq!(runs.len(), 4);
    assert!(runs[1..].iter().all(|run| *run != before.first.run), "no id is given twice");
    let killed = fixture.killed();
    assert_eq!(drain(&killed.open()).len(), 4, "what the panic left does not come back");
}

#[test]
fn a_block_that_cannot_be_read_for_a_while_waits() {
    let mut fixture = Fixture::new();
    fixture.settings.memory_bytes = 0;
    let spool = fixture.open();
    append(&spool, batch_of(Severity::Info, &["unreadable".to_owned()]), None).unwrap();
    fixture.faults.fail(Operation::Read, usize::MAX);
    assert_eq!(spool.next(Duration::from_millis(100)).map(|block| block.id), None);
    append(&spool, batch_of(Severity::Info, &["behind it".to_owned()]), None).unwrap();
    fixture.faults.heal();
    let found: Vec<_> = (0..2).flat_map(|_| records(&spool.next(Duration::from_secs(10)).unwrap())).collect();
    assert_eq!(found.len(), 2);
    assert!(fixture.quarantine().is_empty(), "a read error is no damage");
}

#[test]
fn a_segment_that_cannot_be_read_at_a_start_is_kept_for_the_next() {
    let fixture = Fixture::new();
    append(&fixture.open(), batch(3), None).unwrap();
    fixture.faults.add(Fault { operation: Operation::Read, within: ".log", after: 1, times: usize::MAX, error: EIO });
    let spool = fixture.open();
    assert_eq!(drain(&spool).len(), 0);
    fixture.faults.heal();
    drop(spool);
    assert_eq!(drain(&fixture.open()).len(), 3);
}
