use std::sync::Arc;
use std::time::Instant;

use prometheus_client::registry::Registry;
use sluice_model::{Severity, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::batch::LogBatchBuilder;
use crate::config::Settings;
use crate::files::{Disk, Files};
use crate::query::parse;
use crate::spool::Entry;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A spool that nothing is taken from, and its tails.
struct Rig {
    _data: TempDir,
    spool: Arc<Spool>,
    tails: Tails,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    fn new(change: impl FnOnce(&mut TailSettings)) -> Rig {
        let memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let data = memory.unwrap();
        let mut settings = Settings::default();
        settings.spool.free_disk_floor = Some(0);
        change(&mut settings.tail);
        let (files, mut registry): (Arc<dyn Files>, _) = (Arc::new(Disk), Registry::default());
        let spool = Spool::open(&files, &data.path().join("spool"), &settings.spool, &mut registry).unwrap();
        let tails = Tails::start(spool.clone(), &settings.tail, &mut registry).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Rig { _data: data, spool, tails, runtime }
    }

    fn open(&self, q: &str) -> Tail {
        self.tails.open(Filter::default().and(&parse(q).unwrap())).unwrap()
    }

    /// Accepts records with these messages.
    fn accept(&self, messages: impl IntoIterator<Item = String>) {
        let mut builder = LogBatchBuilder::new();
        for message in messages {
            builder.commit(Timestamp::default(), Severity::Info, "INFO", "s", &message);
        }
        let (batch, reservation) = (builder.finish(), self.spool.reserve(1).unwrap());
        self.runtime.block_on(self.spool.append(Entry { batch, reservation, key: None })).unwrap();
    }

    fn next(&self, tail: &Tail) -> Event {
        self.runtime.block_on(tail.next(PATIENCE)).expect("there is an event")
    }

    /// Takes events until there are `count` records, told or missed.
    fn take(&self, tail: &Tail, count: u64) -> (Vec<String>, Gap) {
        let (mut messages, mut gaps) = (Vec::new(), Gap::default());
        while messages.len() as u64 + gaps.missed + gaps.passed_over < count {
            match self.next(tail) {
                Event::Matches(records) => messages.extend(records.logs.messages().iter().flatten().map(str::to_owned)),
                Event::Gap(gap) => {
                    gaps.missed += gap.missed;
                    gaps.passed_over += gap.passed_over;
                }
                Event::End => panic!("it ended"),
            }
        }
        (messages, gaps)
    }
}

fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_tail_gets_its_matches_in_order_and_nothing_from_before() {
    let rig = Rig::new(|_| {});
    rig.accept(["even before".to_owned()]);
    let (all, even) = (rig.open(""), rig.open("even"));
    let message = |number: u32| format!("{} {number}", if number.is_multiple_of(2) { "even" } else { "odd" });
    for first in (0..100).step_by(10) {
        rig.accept((first..first + 10).map(message));
    }
    let late = rig.open("");
    rig.accept(["odd last".to_owned()]);
    let everything: Vec<String> = (0..100).map(message).chain(["odd last".to_owned()]).collect();
    assert_eq!(rig.take(&all, 101), (everything.clone(), Gap::default()));
    let evens: Vec<String> = everything.into_iter().filter(|message| message.starts_with("even")).collect();
    assert_eq!(rig.take(&even, 50), (evens, Gap::default()));
    assert_eq!(rig.take(&late, 1).0, ["odd last"]);
    assert!([all, even, late].iter().all(|tail| tail.try_next().is_none()));
}

#[test]
fn what_a_slow_reader_misses_is_counted_where_it_stood() {
    let rig = Rig::new(|settings| settings.queue_bytes = 64 << 10);
    let (slow, other) = (rig.open("wanted"), rig.open("last"));
    let text = |kind: &str, number: usize| format!("{kind} {number} {}", "x".repeat(500));
    for round in 0..40 {
        rig.accept((0..10).flat_map(|n| [text("wanted", round * 10 + n), text("other", n)]));
    }
    rig.accept(["last".to_owned()]);
    // The other tail is not held up, and by then all has been looked at.
    assert_eq!(rig.take(&other, 1).0, ["last"]);
    let (messages, gaps) = rig.take(&slow, 400);
    assert_eq!((messages.len() as u64 + gaps.missed, gaps.passed_over), (400, 0));
    assert!((50..150).contains(&messages.len()), "the queue was full: {}", messages.len());
    let expected: Vec<String> = (0..messages.len()).map(|number| text("wanted", number)).collect();
    assert_eq!(messages, expected, "the gap stands behind what found room");
    rig.accept(["wanted again".to_owned()]);
    assert_eq!(rig.take(&slow, 1).0, ["wanted again"]);
    assert_eq!(rig.tails.0.metrics.missed.get(), gaps.missed);
}

#[test]
fn a_reader_that_keeps_up_misses_nothing_although_its_queue_is_small() {
    let rig = Rig::new(|settings| settings.queue_bytes = 1 << 20);
    let tail = rig.open("");
    for round in 0..50 {
        rig.accept((0..100).map(|n| format!("{round} {n} {}", "x".repeat(1000))));
        let (messages, gaps) = rig.take(&tail, 100);
        assert_eq!((messages.len(), gaps), (100, Gap::default()));
    }
}

#[test]
fn what_was_passed_over_is_told_to_those_who_were_there() {
    let rig = Rig::new(|settings| settings.backlog_bytes = 64 << 10);
    let tail = rig.open("");
    // While this is held the thread can look at nothing.
    let state = rig.tails.0.locked();
    for round in 0..30 {
        rig.accept((0..10).map(|n| format!("{round} {n} {}", "x".repeat(1000))));
    }
    drop(state);
    let late = rig.open("");
    let (messages, gaps) = rig.take(&tail, 300);
    assert_eq!((messages.len() as u64 + gaps.passed_over, gaps.missed), (300, 0));
    assert!(gaps.passed_over > 100, "{gaps:?}");
    rig.accept(["new".to_owned()]);
    assert_eq!(rig.take(&late, 1), (vec!["new".to_owned()], Gap::default()));
    assert_eq!(rig.take(&tail, 1).0, ["new"]);
}

#[test]
fn tails_are_few_and_their_places_are_given_back() {
    let rig = Rig::new(|settings| settings.connections = 2);
    let open = || rig.tails.open(Filter::default());
    let (first, _second) = (open().unwrap(), open().unwrap());
    assert_eq!(open().unwrap_err(), TailError::TooMany { open: 2 });
    drop(first);
    assert!(open().is_ok());
}

#[test]
fn without_a_tail_nothing_is_handed_over() {
    let rig = Rig::new(|_| {});
    let followed = || rig.tails.0.locked().subscription.is_some();
    assert!(!followed());
    let (first, second) = (rig.open(""), rig.open("x"));
    assert!(followed());
    drop(first);
    assert!(followed());
    drop(second);
    assert!(!followed());
    rig.accept(["unseen".to_owned()]);
    let again = rig.open("");
    rig.accept(["seen".to_owned()]);
    assert_eq!(rig.take(&again, 1).0, ["seen"]);
}

#[test]
fn at_the_end_what_was_accepted_is_given_out_yet() {
    let rig = Rig::new(|_| {});
    let tail = rig.open("");
    rig.accept(["last".to_owned()]);
    rig.tails.close();
    assert_eq!(rig.take(&tail, 1).0, ["last"]);
    assert_eq!(rig.next(&tail), Event::End);
    assert_eq!(rig.tails.open(Filter::default()).unwrap_err(), TailError::Closed);
    rig.accept(["later".to_owned()]);
    assert_eq!(rig.next(&tail), Event::End);
}

#[test]
fn history_has_a_bound_for_all_tails_together() {
    let rig = Rig::new(|_| {});
    let (first, second) = (rig.open(""), rig.open(""));
    first.hold_history(100 << 20).unwrap();
    assert!(matches!(second.hold_history(29 << 20), Err(TailError::TooMuchHistory { .. })));
    second.hold_history(28 << 20).unwrap();
    first.hold_history(99 << 20).unwrap();
    drop(first);
    second.hold_history(128 << 20).unwrap();
    drop(second);
    assert_eq!(rig.tails.0.history_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn a_tail_that_goes_away_ends_the_wait_for_its_reader() {
    let rig = Rig::new(|settings| settings.queue_bytes = 64 << 10);
    let (stuck, other) = (rig.open(""), rig.open(""));
    rig.accept((0..100).map(|n| format!("{n} {}", "x".repeat(1000))));
    eventually("the queue is full", || stuck.follower.queue.bytes() > 50 << 10);
    drop(stuck);
    let (messages, gaps) = rig.take(&other, 100);
    assert_eq!(messages.len() as u64 + gaps.missed, 100);
}
