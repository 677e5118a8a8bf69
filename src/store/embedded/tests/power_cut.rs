//! The power is cut at every step of a workload: writes, flushes, compactions, deletions. `SLUICE_POWER_CUTS` says how
//! many workloads are run.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::files::simulated::{Simulated, Snapshot, Totals};

/// How many records a block has.
const ROWS: u64 = 5;
/// How many blocks a workload writes; enough for compactions.
const BLOCKS: u64 = 14;

/// What is promised at some moment: sequences of records.
#[derive(Debug, Clone, Default)]
struct Promise {
    /// Those that the store said it holds for good.
    durable: BTreeSet<u64>,
    /// Those whose deletion has begun.
    deleting: BTreeSet<u64>,
}

fn open_on(disk: &Simulated) -> EmbeddedStore {
    open_in(&disk.files(), Path::new("/data/store"), &settings(), KEEP)
}

/// The block of this number; its records' times are their sequences.
fn numbered(block_number: u64) -> Block {
    let first = block_number * ROWS;
    block(first, &rows(first as i64, ROWS as i64))
}

/// Runs a workload; returns what was promised after each of its steps, which the disk's mark counts.
fn work(disk: &Simulated, random: &mut SmallRng) -> Vec<Promise> {
    let store = open_on(disk);
    let mut promises = vec![Promise::default()];
    let mut promise = |change: &dyn Fn(&mut Promise)| {
        let mut next = promises.last().cloned().unwrap_or_default();
        change(&mut next);
        promises.push(next);
        disk.mark.store(promises.len() - 1, Ordering::SeqCst);
    };
    for number in 0..BLOCKS {
        store.write(&numbered(number)).unwrap();
        if random.random_bool(0.8) {
            store.engine.flush().unwrap();
            promise(&|next| next.durable.extend(0..(number + 1) * ROWS));
        }
        if random.random_bool(0.2) {
            compaction::compact(&store.engine).unwrap();
        }
        if random.random_bool(0.1) {
            // Segments are deleted whole, so what goes is at most what is older.
            let cutoff = (number / 2) * ROWS;
            promise(&|next| next.deleting.extend(0..cutoff));
            store.delete_before(Timestamp::from_nanos(cutoff as i64)).unwrap();
        }
    }
    store.close().unwrap();
    promises
}

fn check(disk: &Simulated, promise: &Promise, totals: &mut Totals, what: &str) {
    let store = open_on(disk);
    let found = stored(&store);
    let distinct: BTreeSet<u64> = found.iter().copied().collect();
    totals.cuts += 1;
    totals.acknowledged += promise.durable.len();
    totals.double += found.len() - distinct.len();
    totals.missing += promise.durable.difference(&promise.deleting).filter(|id| !distinct.contains(id)).count();
    let quarantine = disk.files().list(Path::new("/data/store/quarantine")).unwrap_or_default();
    assert!(quarantine.is_empty(), "{what}: a power cut damages nothing, nor brings back what is gone: {quarantine:?}");
    let messages = search(&store, &everything()).json();
    totals.altered += messages.iter().filter(|json| !distinct.iter().any(|id| json.contains(&message(*id)))).count();
    assert!((totals.missing, totals.double, totals.altered) == (0, 0, 0), "{what}: {totals}");
    // The spool brings everything again; what it forgot it does not, as it was durable.
    (0..BLOCKS).for_each(|number| store.write(&numbered(number)).unwrap());
    let whole: Vec<u64> = stored(&store).into_iter().filter(|id| !promise.deleting.contains(id)).collect();
    let expected: Vec<u64> = (0..BLOCKS * ROWS).filter(|id| !promise.deleting.contains(id)).collect();
    assert_eq!(whole, expected, "{what}: each once after another delivery");
    let before = stored(&store);
    store.close().unwrap();
    assert_eq!(stored(&open_on(disk)), before, "{what}: another start gives the same");
}

fn message(id: u64) -> String {
    format!("\"message\":\"message {id}\"")
}

fn cut(snapshot: &Snapshot, promises: &[Promise], seed: u64, totals: &mut Totals) {
    let what = format!("seed {seed}, boundary {}", snapshot.boundary);
    // A promise is made after its last step, a deletion announced before its first.
    let promise = &promises[snapshot.mark];
    let disk = snapshot.after_cut(seed);
    check(&disk, promise, totals, &what);
    let recovery = disk.stop_recording();
    if let Some(again) = recovery.get(snapshot.boundary % recovery.len().max(1)) {
        let what = format!("{what}, then boundary {} of the recovery", again.boundary);
        check(&again.after_cut(seed), promise, totals, &what);
    }
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_durable() {
    let mut totals = Totals::default();
    for seed in Totals::seeds(1) {
        let disk = Simulated::new();
        let promises = work(&disk, &mut SmallRng::seed_from_u64(seed));
        for snapshot in disk.stop_recording() {
            cut(&snapshot, &promises, seed, &mut totals);
        }
    }
    totals.conclude("embedded store");
}
