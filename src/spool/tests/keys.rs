//! Idempotency keys through the whole spool.

use super::*;
use crate::files::Operation;

const KEY: Option<IdempotencyKey> = Some(IdempotencyKey { key: 42, request: 1 });

#[test]
fn a_key_is_remembered_after_a_kill_a_restart_and_the_end_of_its_segment() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    let first = append(&spool, batch(5), KEY).unwrap();
    let empty = append(&spool, batch(0), Some(IdempotencyKey { key: 43, request: 1 })).unwrap();
    let replay = |spool: &Spool| {
        let again = append(spool, batch(5), KEY).unwrap();
        assert_eq!((again.first, again.rows, again.replayed), (first.first, 5, true));
        let again = append(spool, batch(0), Some(IdempotencyKey { key: 43, request: 1 })).unwrap();
        assert_eq!((again.first, again.rows, again.replayed), (empty.first, 0, true));
        let other = Some(IdempotencyKey { key: 42, request: 2 });
        assert_eq!(append(spool, batch(5), other), Err(SpoolError::KeyReused));
    };
    replay(&spool);
    let fixture = fixture.killed();
    drop(spool);
    let spool = fixture.open();
    replay(&spool);
    assert_eq!(append(&spool, batch(5), KEY).unwrap().ordinal, 1);
    let block = next(&spool).unwrap();
    settle(&spool, &[block.id]);
    assert_eq!(fixture.files(".keys").len(), 1);
    assert_eq!(fixture.files(".log").len(), 1, "only the active one is left");
    replay(&spool);
    spool.close();
    drop(spool);
    assert!(fixture.files(".log").is_empty());
    for _ in 0..3 {
        replay(&fixture.open());
    }
}

#[test]
fn many_key_files_become_one_and_expired_ones_go() {
    let mut fixture = Fixture::new();
    for key in 0..40 {
        let spool = fixture.open();
        append(&spool, batch(1), Some(IdempotencyKey { key, request: 1 })).unwrap();
        let block = next(&spool).unwrap();
        settle(&spool, &[block.id]);
    }
    assert!(fixture.files(".keys").len() <= 17);
    let spool = fixture.open();
    for key in 0..40 {
        assert!(append(&spool, batch(1), Some(IdempotencyKey { key, request: 1 })).unwrap().replayed, "{key}");
    }
    drop(spool);
    fixture.settings.idempotency_window = Duration::from_nanos(1);
    let spool = fixture.open();
    assert!(fixture.files(".keys").is_empty());
    assert!(!append(&spool, batch(1), KEY).unwrap().replayed);
    assert!(!append(&spool, batch(1), KEY).unwrap().replayed);
}

#[test]
fn requests_with_one_key_at_a_time_are_one_request() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    let receipts = wait_for(futures_util::future::join_all((0..20).map(|_| {
        let (batch, reservation) = (batch(3), spool.reserve(100).unwrap());
        spool.append(Entry { batch, reservation, key: KEY })
    })));
    let receipts: Vec<Receipt> = receipts.into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts.iter().filter(|receipt| !receipt.replayed).count(), 1);
    assert!(receipts.iter().all(|receipt| receipt.first == receipts[0].first && receipt.rows == 3));
    assert_eq!(drain(&spool).len(), 3);
}

#[test]
fn the_key_of_a_failed_group_is_free_again() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    fixture.faults.fail(Operation::Sync, 1);
    assert!(matches!(append(&spool, batch(3), KEY), Err(SpoolError::Failed(_))));
    eventually("it writes again", || spool.status().refusing.is_none());
    let receipt = append(&spool, batch(3), KEY).unwrap();
    assert!(!receipt.replayed);
    assert_eq!(drain(&spool).len(), 3);
}

#[test]
fn a_full_disk_drains_although_keys_need_room() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    append(&spool, batch(3), KEY).unwrap();
    drop(spool);
    let spool = fixture.open();
    fixture.faults.fail(Operation::Create, 1);
    let block = next(&spool).unwrap();
    settle(&spool, &[block.id]);
    assert_eq!(fixture.files(".log").len(), 1, "only the active one is left");
    assert_eq!(fixture.files(".keys").len(), 1, "written when there was room again");
    drop(spool);
    assert!(append(&fixture.open(), batch(3), KEY).unwrap().replayed);
}
