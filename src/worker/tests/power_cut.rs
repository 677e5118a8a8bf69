//! The power is cut at every step of a workload over the real spool and the real embedded store, joined as the workers
//! join them: spool, store, durable, settled. Then it is cut again at steps of the recovery.
//!
//! `SLUICE_POWER_CUTS` says how many workloads are run.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sluice_model::RecordId;

use super::*;
use crate::batch::{AttributeRef, BlockId, Records, json_rows};
use crate::config::RetentionSettings;
use crate::files::simulated::{Simulated, Snapshot, Totals};
use crate::query::{Filter, Order, Query};
use crate::spool::IdempotencyKey;
use crate::store::Sink;
use crate::store::embedded::EmbeddedStore;

/// How many steps a workload has.
const STEPS: usize = 16;
/// Of how many recoveries one is cut itself.
const CUT_RECOVERIES: usize = 3;

/// A batch of the workload.
#[derive(Clone)]
struct Sent {
    batch: LogBatch,
    key: Option<IdempotencyKey>,
    /// What it was answered; nothing, if it was not.
    receipt: Option<Receipt>,
}

/// Spool and store on a simulated disk.
struct Node {
    spool: Arc<Spool>,
    store: Arc<EmbeddedStore>,
    /// What is in the store but not settled.
    written: Vec<BlockId>,
}

impl Node {
    fn open(files: &Arc<dyn Files>) -> Node {
        let mut settings = settings();
        settings.spool.segment_bytes = 64 << 10;
        settings.spool.memory_bytes = 20 << 10;
        let registry = &mut Registry::default();
        let spool = Spool::open(files, Path::new("/data/spool"), &settings.spool, registry).unwrap();
        let (runs, keep) = (spool.open_runs(), RetentionSettings { age: None, bytes: None });
        let store = EmbeddedStore::open(files, Path::new("/data/store"), &settings.embedded, keep, &runs, registry);
        Node { spool, store: store.unwrap(), written: Vec::new() }
    }

    fn append(&self, sent: &Sent) -> impl Future<Output = Receipt> {
        let (batch, key) = (sent.batch.clone(), sent.key);
        let reservation = self.spool.reserve(batch.size_bytes()).unwrap();
        let spool = self.spool.clone();
        async move { spool.append(Entry { batch, reservation, key }).await.unwrap() }
    }

    /// Moves up to so many blocks into the store.
    fn deliver(&mut self, blocks: usize) {
        for block in std::iter::from_fn(|| self.spool.next(Duration::ZERO)).take(blocks) {
            self.store.write(&block).unwrap();
            self.spool.written(block.id);
            self.written.push(block.id);
        }
    }

    /// Makes what is in the store durable, and settles it.
    fn flush(&mut self) {
        self.store.request_flush();
        let written = std::mem::take(&mut self.written);
        until("durable", || {
            let durable = self.store.durable();
            written.iter().all(|block| durable.contains(*block))
        });
        self.spool.settle(&self.store.durable());
    }

    /// Every record in the store, by its id.
    fn records(&self) -> Stored {
        let query = Query { filter: Filter::default(), order: Order::Ascending, after: None, limit: None };
        let mut found = Found::default();
        self.store.search(&query, &mut found).unwrap();
        found.0
    }

    fn close(self) {
        self.store.close().unwrap();
        self.spool.settle(&self.store.durable());
        self.spool.close();
    }
}

/// Each record as JSON, and its message, by its id.
type Stored = BTreeMap<RecordId, Vec<(String, String)>>;

#[derive(Default)]
struct Found(Stored);

impl Sink for Found {
    fn push(&mut self, records: Records) -> ControlFlow<()> {
        for (row, json) in json_rows(&records).into_iter().enumerate() {
            let message = records.logs.messages().value(row).to_owned();
            self.0.entry(records.id(row)).or_default().push((json, message));
        }
        ControlFlow::Continue(())
    }
}

/// A batch whose messages are its own.
fn draw(random: &mut SmallRng, number: usize) -> Sent {
    let severity = *[Severity::Info, Severity::Info, Severity::Warn, Severity::Error].choose(random).unwrap();
    let rows = if random.random_bool(0.02) { 1100 } else { random.random_range(1..10) };
    let mut builder = LogBatchBuilder::new();
    for row in 0..rows {
        builder.attribute("row", AttributeRef::Int(row)).unwrap();
        let message = format!("{number}/{row} {}", "x".repeat(random.random_range(0..60)));
        builder.commit(Timestamp::from_nanos(row), severity, severity.name(), "test", &message);
    }
    let key = random.random_bool(0.5).then_some(IdempotencyKey { key: number as u128, request: 7 });
    Sent { batch: builder.finish(), key, receipt: None }
}

/// Runs a workload; the disk's mark counts the batches that were answered.
fn work(disk: &Simulated, random: &mut SmallRng) -> Vec<Sent> {
    let mut node = Node::open(&disk.files());
    let mut sent: Vec<Sent> = Vec::new();
    for _ in 0..STEPS {
        match random.random_range(0..10) {
            0..6 => {
                let count = random.random_range(1..4);
                let mut batches: Vec<Sent> = (0..count).map(|more| draw(random, sent.len() + more)).collect();
                let answers = wait_for(futures_util::future::join_all(batches.iter().map(|sent| node.append(sent))));
                for (batch, answer) in batches.iter_mut().zip(answers) {
                    batch.receipt = Some(answer);
                }
                sent.append(&mut batches);
                disk.mark.store(sent.len(), Ordering::SeqCst);
            }
            6..9 => node.deliver(random.random_range(1..6)),
            _ => node.flush(),
        }
    }
    node.close();
    sent
}

/// Recovers the disk after a cut and compares it with what was sent, of which the first `answered` were answered.
fn check(disk: &Simulated, sent: &[Sent], answered: usize, totals: &mut Totals, what: &str) {
    let mut node = Node::open(&disk.files());
    node.deliver(usize::MAX);
    let records = node.records();
    totals.cuts += 1;
    for Sent { batch, receipt, .. } in &sent[..answered] {
        let expected = Records::numbered(receipt.unwrap().first, batch.clone());
        for (row, json) in json_rows(&expected).into_iter().enumerate() {
            totals.acknowledged += 1;
            match records.get(&expected.id(row)).map(Vec::as_slice) {
                None | Some([]) => totals.missing += 1,
                Some([(found, _)]) if *found != json => totals.altered += 1,
                Some([_]) => {}
                Some(_) => totals.double += 1,
            }
        }
    }
    assert!((totals.missing, totals.double, totals.altered) == (0, 0, 0), "{what}: {totals}");
    once(&records, sent, what);
    retry(&mut node, sent, answered, what);
    let before = node.records();
    node.close();
    let mut again = Node::open(&disk.files());
    again.deliver(usize::MAX);
    assert!(again.records() == before, "{what}: another recovery gives something else");
}

/// That no record is there that was never sent, and none under two ids.
fn once(records: &Stored, sent: &[Sent], what: &str) {
    let mut left: HashMap<String, usize> = HashMap::new();
    for Sent { batch, .. } in sent {
        (0..batch.len()).for_each(|row| *left.entry(batch.messages().value(row).to_owned()).or_default() += 1);
    }
    for (json, message) in records.values().flatten() {
        let count = left.get_mut(message);
        let count = count.unwrap_or_else(|| panic!("{what}: never sent: {json}"));
        assert!(*count > 0, "{what}: stored twice: {json}");
        *count -= 1;
    }
}

/// Sends batches with keys again: those that were answered get the same answer, and nothing is stored twice.
fn retry(node: &mut Node, sent: &[Sent], answered: usize, what: &str) {
    let tried = &sent[..sent.len().min(answered + 4)];
    for (number, batch) in tried.iter().enumerate().filter(|(_, batch)| batch.key.is_some()) {
        let receipt = wait_for(node.append(batch));
        let before = batch.receipt.filter(|_| number < answered);
        if let Some(before) = before {
            let same = (receipt.first, receipt.rows, receipt.replayed) == (before.first, before.rows, true);
            assert!(same, "{what}: the key of batch {number} is forgotten: {receipt:?}, {before:?}");
        }
    }
    node.deliver(usize::MAX);
    let records = node.records();
    once(&records, sent, what);
    let keyed: usize = tried.iter().filter(|batch| batch.key.is_some()).map(|batch| batch.batch.len()).sum();
    assert!(records.len() >= keyed, "{what}: retried batches are missing");
}

/// Cuts the power at a boundary, and again while that is recovered from.
fn cut(snapshot: &Snapshot, sent: &[Sent], seed: u64, totals: &mut Totals) {
    let what = format!("seed {seed}, boundary {}", snapshot.boundary);
    let disk = snapshot.after_cut(seed);
    check(&disk, sent, snapshot.mark, totals, &what);
    let recovery = disk.stop_recording();
    let random = &mut SmallRng::seed_from_u64(seed + snapshot.boundary as u64);
    if let Some(again) = recovery.choose(random).filter(|_| snapshot.boundary.is_multiple_of(CUT_RECOVERIES)) {
        let what = format!("{what}, then boundary {} of the recovery", again.boundary);
        check(&again.after_cut(seed), sent, snapshot.mark, totals, &what);
    }
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_answered() {
    let mut totals = Totals::default();
    for seed in Totals::seeds(1) {
        let disk = Simulated::new();
        let sent = work(&disk, &mut SmallRng::seed_from_u64(seed));
        for snapshot in disk.stop_recording() {
            cut(&snapshot, &sent, seed, &mut totals);
        }
    }
    totals.conclude("spool and embedded store");
}
