//! From the spool to the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sluice_model::Severity;

use super::{FaultStore, Rig, settings, until, with_settings, with_workers};
use crate::worker::breaker::BreakerState;

fn run(test: impl FnOnce(&Rig) + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    with_workers(folder.path(), &Arc::default(), test);
}

/// How many blocks the spool still holds or waits for.
fn open_blocks(rig: &Rig) -> u64 {
    rig.spool.status().lanes.iter().map(|lane| lane.blocks).sum()
}

#[test]
fn what_is_accepted_is_written_and_settled() {
    run(|rig| {
        for number in 0..50 {
            rig.accept(Severity::Info, &[&format!("{number:02} a"), &format!("{number:02} b")]);
        }
        rig.drained();
        assert_eq!(rig.faults.messages().len(), 100);
        until("the end of all blocks", || open_blocks(rig) == 0);
        let status = rig.workers.status();
        assert!(status.dispatching && status.dead_letters == 0);
        assert_eq!((status.store.workers, status.store.breaker), (2, BreakerState::Closed));
    });
}

#[test]
fn refused_records_become_dead_letters_and_their_neighbours_are_written() {
    run(|rig| {
        rig.accept(Severity::Info, &["a", "refused 1", "b", "refused 2", "refused 3", "c"]);
        rig.drained();
        assert_eq!(rig.faults.messages(), ["a", "b", "c"]);
        let letters = rig.dead_letters();
        let mut messages: Vec<_> = letters.iter().map(|line| line["record"]["message"].as_str().unwrap()).collect();
        messages.sort_unstable();
        assert_eq!(messages, ["refused 1", "refused 2", "refused 3"]);
        assert!(letters[0]["reason"].as_str().unwrap().contains("not wanted"));
        assert_eq!(rig.workers.status().dead_letters, 3);
    });
}

#[test]
fn a_record_that_breaks_the_store_is_found_and_the_workers_live_on() {
    run(|rig| {
        let many: Vec<String> = (0..40).map(|number| format!("{number}")).collect();
        let mut messages: Vec<&str> = many.iter().map(String::as_str).collect();
        messages[17] = "panic 17";
        messages[31] = "mystery 31";
        rig.accept(Severity::Info, &messages);
        // Other writes prove that the store works.
        until("the dead letters", || {
            rig.accept(Severity::Error, &["other"]);
            rig.dead_letters().len() == 2
        });
        rig.drained();
        assert_eq!(rig.faults.messages().iter().filter(|message| *message != "other").count(), 38);
        let status = rig.workers.status();
        assert!(status.store.panics >= 2 && status.store.busy == 0, "{status:?}");
        assert_eq!(status.store.breaker, BreakerState::Closed, "a panic is no failure of the store");
    });
}

#[test]
fn blocks_that_wait_for_a_proof_do_not_keep_the_proof_away() {
    run(|rig| {
        for number in 0..20 {
            rig.accept(Severity::Info, &[&format!("mystery {number}")]);
        }
        assert!(rig.dead_letters().is_empty(), "nothing else was written in between");
        rig.accept(Severity::Info, &["good"]);
        rig.drained();
        assert_eq!(rig.faults.messages(), ["good"]);
        assert_eq!(rig.dead_letters().len(), 20);
    });
}

#[test]
fn clashing_records_are_accepted_again_under_new_ids() {
    run(|rig| {
        rig.faults.taken.lock().unwrap().extend([1, 3]);
        let receipt = rig.accept(Severity::Info, &["a", "b", "c", "d"]);
        assert_eq!(receipt.first.sequence, 0, "the test's clashes are those of the first block");
        until("all four", || rig.faults.messages().len() == 4);
        assert_eq!(rig.faults.messages(), ["a", "b", "c", "d"]);
        let moved = rig.faults.records.lock().unwrap().keys().filter(|id| id.run != receipt.first.run).count();
        assert_eq!(moved, 2, "under a fresh run");
        rig.drained();
        until("the end of all blocks", || open_blocks(rig) == 0);
    });
}

#[test]
fn while_the_store_is_down_records_are_kept_and_then_written_urgent_ones_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    // One at a time, so that the order of writes is the order in which they were sent.
    (settings.workers.store, settings.workers.inflight) = (1, 1);
    with_settings(folder.path(), &Arc::default(), settings, |rig| {
        rig.faults.set_down(true);
        rig.accept(Severity::Info, &["first"]);
        until("an open breaker", || rig.workers.status().store.breaker != BreakerState::Closed);
        for number in 0..20 {
            rig.accept(Severity::Info, &[&format!("bulk {number}")]);
        }
        rig.accept(Severity::Error, &["urgent"]);
        assert!(rig.faults.order.lock().unwrap().is_empty());
        rig.faults.set_down(false);
        rig.drained();
        let order = rig.faults.order.lock().unwrap().clone();
        assert_eq!(rig.faults.messages().len(), 22);
        let urgent = order.iter().position(|message| message == "urgent").unwrap();
        assert!(urgent <= 1, "{order:?}");
    });
}

#[test]
fn a_store_that_comes_and_goes_ends_with_every_record_once() {
    run(|rig| {
        let mut expected = Vec::new();
        for number in 0..120 {
            let severity = if number % 5 == 0 { Severity::Error } else { Severity::Info };
            let odd = if number % 10 == 7 { "refused" } else { "good" };
            let messages = [format!("{number:03} first"), format!("{odd} {number:03}"), format!("{number:03} last")];
            rig.accept(severity, &messages.each_ref().map(String::as_str));
            expected.extend(messages.into_iter().filter(|message| !message.starts_with("refused")));
            match number % 40 {
                10 => rig.faults.set_down(true),
                20 => rig.faults.full.store(2, Ordering::SeqCst),
                25 => until("an open breaker", || rig.workers.status().store.breaker != BreakerState::Closed),
                30 => rig.faults.set_down(false),
                _ => {}
            }
        }
        rig.drained();
        expected.sort();
        assert_eq!(rig.faults.messages(), expected);
        assert_eq!(rig.dead_letters().len(), 12);
        until("the end of all blocks", || open_blocks(rig) == 0);
        until("a rate", || rig.workers.status().written_per_second[1] > 0.0);
    });
}

#[test]
fn a_full_store_is_asked_to_flush_and_gets_the_block_again() {
    run(|rig| {
        rig.faults.full.store(3, Ordering::SeqCst);
        rig.accept(Severity::Info, &["a"]);
        rig.drained();
        assert_eq!(rig.faults.messages(), ["a"]);
        assert!(rig.faults.flushes.load(Ordering::SeqCst) >= 3);
        assert_eq!(rig.workers.status().store.breaker, BreakerState::Closed);
    });
}

#[test]
fn what_is_not_written_at_the_stop_is_delivered_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(FaultStore::default());
    faults.set_down(true);
    with_workers(folder.path(), &faults, |rig| {
        rig.accept(Severity::Info, &["a", "b"]);
        rig.accept(Severity::Error, &["c"]);
    });
    assert!(faults.messages().is_empty());
    faults.set_down(false);
    with_workers(folder.path(), &faults, |rig| {
        until("all three", || rig.faults.messages().len() == 3);
        rig.drained();
    });
}

#[test]
fn a_block_stays_in_the_spool_while_dead_letters_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("dead-letter/records.ndjson");
    with_workers(folder.path(), &Arc::default(), move |rig| {
        std::fs::create_dir_all(&in_the_way).unwrap();
        rig.accept(Severity::Info, &["a", "refused"]);
        until("the good record", || rig.faults.messages() == ["a"]);
        // Others are not held up by it.
        rig.accept(Severity::Info, &["b"]);
        until("the next block", || rig.faults.messages() == ["a", "b"]);
        until("the end of the other block only", || open_blocks(rig) == 1);
        std::fs::remove_dir(&in_the_way).unwrap();
        rig.drained();
        assert_eq!(rig.dead_letters().len(), 1);
    });
}

#[test]
fn many_blocks_without_room_for_their_dead_letters_come_again_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("dead-letter/records.ndjson");
    let faults = Arc::new(FaultStore::default());
    let path = in_the_way.clone();
    with_workers(folder.path(), &faults, move |rig| {
        std::fs::create_dir_all(&path).unwrap();
        for number in 0..12 {
            rig.accept(Severity::Info, &[&format!("refused {number}")]);
            rig.accept(Severity::Error, &["good"]);
        }
        until("the good records", || rig.faults.messages().len() == 12);
        // Refusals that came after the last good write need another to prove them.
        until("a few that still wait", || {
            rig.accept(Severity::Error, &["proof"]);
            std::thread::sleep(Duration::from_millis(20));
            open_blocks(rig) < 8
        });
    });
    std::fs::remove_dir(&in_the_way).unwrap();
    with_workers(folder.path(), &faults, |rig| {
        // The good ones are settled; a write must prove the refusals.
        until("the dead letters", || {
            rig.accept(Severity::Error, &["proof"]);
            rig.dead_letters().len() == 12
        });
        rig.drained();
        assert_eq!(rig.faults.messages().iter().filter(|message| *message == "good").count(), 12);
    });
}

#[test]
fn retention_asks_the_store_to_delete() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.retention.age = Some(Duration::from_secs(86_400));
    with_settings(folder.path(), &Arc::default(), settings, |rig| {
        until("a deletion", || !rig.faults.cutoffs.lock().unwrap().is_empty());
        let cutoff = rig.faults.cutoffs.lock().unwrap()[0].as_nanos();
        let age = sluice_model::Timestamp::now().as_nanos() - cutoff;
        assert!((86_400_000_000_000..86_460_000_000_000).contains(&age));
    });
}
