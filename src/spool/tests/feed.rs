//! Who follows the spool gets what is committed, once, and is never waited for.

use super::*;
use crate::files::Operation;

const PLENTY: usize = 1 << 30;

/// Everything that is handed over until the subscription is ended: the ids of committed records.
fn followed(subscription: &Subscription) -> Vec<RecordId> {
    subscription.end();
    let ids = |news| match news {
        News::Committed { first, batch } => {
            (0..batch.len() as u64).map(move |row| RecordId { sequence: first.sequence + row, ..first })
        }
        News::PassedOver { .. } => panic!("nothing is passed over here"),
    };
    std::iter::from_fn(|| subscription.next()).flat_map(ids).collect()
}

fn ids(receipt: Receipt) -> impl Iterator<Item = RecordId> {
    let first = receipt.first;
    (0..u64::from(receipt.rows)).map(move |row| RecordId { sequence: first.sequence + row, ..first })
}

#[test]
fn a_follower_gets_every_record_that_is_acknowledged_after_it_began_and_no_other() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    let before = append(&spool, batch(5), None).unwrap();
    let subscription = spool.subscribe(PLENTY);
    let mark = subscription.mark();
    assert!(ids(before).all(|id| id < mark));
    let key = Some(IdempotencyKey { key: 1, request: 1 });
    let mut expected: Vec<RecordId> = Vec::new();
    for receipt in [append(&spool, batch(3), key), append(&spool, batch(2000), None)] {
        expected.extend(ids(receipt.unwrap()));
    }
    assert!(append(&spool, batch(3), key).unwrap().replayed);
    assert!(append(&spool, batch(0), Some(IdempotencyKey { key: 2, request: 1 })).is_ok());
    fixture.faults.fail(Operation::Sync, 1);
    assert!(append(&spool, batch(7), None).is_err());
    fixture.faults.heal();
    eventually("it writes again", || spool.reserve(1).is_ok());
    expected.extend(ids(append(&spool, batch(1), None).unwrap()));
    assert!(expected.iter().all(|id| *id >= mark));
    assert_eq!(followed(&subscription), expected);

    let late = spool.subscribe(PLENTY);
    assert!(expected.iter().all(|id| *id < late.mark()));
    assert_eq!(followed(&late), [], "what is over is no news");
}

#[test]
fn what_is_accepted_again_is_no_news_whatever_comes_with_it() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    let subscription = spool.subscribe(PLENTY);
    let first = append(&spool, batch(3), None).unwrap();
    // The disk takes a while, so that others wait and become one group.
    let gate = fixture.faults.gate.lock().unwrap();
    let (before, again, beside) = std::thread::scope(|scope| {
        let before = scope.spawn(|| append(&spool, batch(2), None).unwrap());
        let again = scope.spawn(|| spool.accept_again(batch(3)).unwrap());
        let beside = scope.spawn(|| append(&spool, batch(4), None).unwrap());
        drop(gate);
        (before.join().unwrap(), again.join().unwrap(), beside.join().unwrap())
    });
    let mut expected: Vec<RecordId> = [first, before, beside].into_iter().flat_map(ids).collect();
    expected.sort();
    assert_eq!(followed(&subscription), expected);
    assert_eq!(drain(&spool).len(), 12, "the store gets it");
    assert!(ids(again).all(|id| !expected.contains(&id)));
}

#[test]
fn what_a_start_recovers_is_no_news() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    append(&spool, batch(10), None).unwrap();
    let fixture = fixture.killed();
    let spool = fixture.open();
    let subscription = spool.subscribe(PLENTY);
    let new = append(&spool, batch(1), None).unwrap();
    assert_eq!(followed(&subscription), ids(new).collect::<Vec<_>>());
    assert_eq!(drain(&spool).len(), 11);
}

#[test]
fn a_full_backlog_passes_over_exactly_what_it_has_no_room_for() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    let block = batch(100).size_bytes();
    let subscription = spool.subscribe(2 * block);
    for _ in 0..5 {
        append(&spool, batch(100), None).unwrap();
    }
    let mark = subscription.mark();
    append(&spool, batch(40), None).unwrap();
    append(&spool, batch(2), None).unwrap();
    assert_eq!(subscription.backlog_bytes(), (2 * block, 2 * block));
    assert!(matches!(subscription.next(), Some(News::Committed { batch, .. }) if batch.len() == 100));
    append(&spool, batch(3), None).unwrap();
    let shown: Vec<(bool, u64, bool)> = {
        subscription.end();
        let show = |news| match news {
            News::Committed { first, batch } => (true, batch.len() as u64, first >= mark),
            News::PassedOver { first, records } => (false, records, first >= mark),
        };
        std::iter::from_fn(|| subscription.next()).map(show).collect()
    };
    let expected = [(true, 100, false), (false, 300, false), (false, 42, true), (true, 3, true)];
    assert_eq!(shown, expected, "what was passed over before the mark is kept apart from what was after it");
}

#[test]
fn many_who_begin_while_records_arrive_miss_none_and_see_none_twice() {
    let fixture = Fixture::new();
    let spool = fixture.open();
    let (all, parts) = std::thread::scope(|scope| {
        let appended: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| (0..200).flat_map(|_| ids(append(&spool, batch(3), None).unwrap())).collect::<Vec<_>>())
            })
            .collect();
        let subscriptions: Vec<Subscription> = (0..50)
            .map(|_| {
                std::thread::yield_now();
                spool.subscribe(PLENTY)
            })
            .collect();
        let mut all: Vec<RecordId> = appended.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        all.sort();
        (all, subscriptions)
    });
    for subscription in &parts {
        let followed = followed(subscription);
        let later = &all[all.len() - followed.len()..];
        assert_eq!(followed, later, "each has all that came after it, in order");
    }
}
