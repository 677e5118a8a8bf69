//! The spool against a model: whatever is done to it, and whenever it is killed.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::files::Operation;

#[derive(Debug, Clone)]
enum Action {
    /// Appends while a step of the disk fails.
    Append {
        rows: usize,
        severity: Severity,
        key: Option<u8>,
        fault: Option<Operation>,
    },
    /// Takes a block, and says what came of it.
    Deliver {
        written: bool,
    },
    /// Settles every so manieth block that is written.
    Settle {
        every: usize,
    },
    Reopen,
    Kill,
}

fn action() -> impl Strategy<Value = Action> {
    let severity = prop::sample::select(vec![Severity::Info, Severity::Warn, Severity::Error]);
    let key = prop::option::weighted(0.3, 0_u8..6);
    let rows = prop_oneof![4 => 0_usize..20, 1 => 990_usize..1010];
    let fault =
        prop::option::weighted(0.1, prop::sample::select(vec![Operation::Write, Operation::Sync, Operation::Rename]));
    prop_oneof![
        8 => (rows, severity, key, fault)
            .prop_map(|(rows, severity, key, fault)| Action::Append { rows, severity, key, fault }),
        6 => prop::bool::weighted(0.7).prop_map(|written| Action::Deliver { written }),
        2 => (1_usize..4).prop_map(|every| Action::Settle { every }),
        1 => Just(Action::Reopen),
        1 => Just(Action::Kill),
    ]
}

#[derive(Default)]
struct Model {
    /// Everything acknowledged.
    records: BTreeMap<RecordId, String>,
    keys: BTreeMap<u8, Receipt>,
    settled: BTreeSet<RecordId>,
    /// What is in the store since the last start, by block.
    written: Vec<BlockId>,
    delivered: BTreeSet<RecordId>,
    messages: usize,
}

impl Model {
    fn append(&mut self, spool: &Spool, rows: usize, severity: Severity, key: Option<u8>, fault: bool) {
        let messages: Vec<String> = (0..rows).map(|row| format!("message {}", self.messages + row)).collect();
        self.messages += rows;
        let idempotency = key.map(|key| IdempotencyKey { key: u128::from(key), request: 7 });
        let receipt = match append(spool, batch_of(severity, &messages), idempotency) {
            Ok(receipt) => receipt,
            // Nothing of it may ever be seen, once the spool writes again.
            Err(SpoolError::Failed(_)) if fault => {
                return eventually("it writes again", || spool.status().refusing.is_none());
            }
            Err(error) => panic!("{error}"),
        };
        if let Some(before) = key.and_then(|key| self.keys.get(&key)) {
            assert_eq!((receipt.first, receipt.rows, receipt.replayed), (before.first, before.rows, true));
            return;
        }
        assert_eq!((receipt.rows as usize, receipt.replayed), (rows, false));
        self.keys.extend(key.map(|key| (key, receipt)));
        for (sequence, message) in (receipt.first.sequence..).zip(messages) {
            let known = self.records.insert(RecordId { run: receipt.first.run, sequence }, message);
            assert_eq!(known, None, "an id was given twice");
        }
    }

    fn deliver(&mut self, spool: &Spool, written: bool) -> bool {
        let Some(block) = next(spool) else { return false };
        for (id, message) in records(&block) {
            assert_eq!(self.records.get(&id), Some(&message), "a record changed, or was never acknowledged");
            assert!(!written || self.delivered.insert(id), "a record was delivered again");
        }
        if written {
            spool.written(block.id);
            self.written.push(block.id);
        } else {
            spool.retry(block.id);
        }
        true
    }

    fn settle(&mut self, spool: &Spool, every: usize) {
        let chosen: Vec<BlockId> = self.written.iter().step_by(every).copied().collect();
        self.written.retain(|block| !chosen.contains(block));
        for block in &chosen {
            self.settled.extend((block.first..block.end()).map(|sequence| RecordId { run: block.run, sequence }));
        }
        settle(spool, &chosen);
    }

    /// What is written but not settled is delivered again; so may be what is settled.
    fn restart(&mut self) {
        self.written.clear();
        self.delivered.clear();
    }

    fn check(mut self, spool: &Spool) {
        while self.deliver(spool, true) {}
        for (id, message) in &self.records {
            assert!(self.delivered.contains(id) || self.settled.contains(id), "{message} is lost");
        }
        assert_eq!(spool.behind(spool.committed()), None);
        self.settle(spool, 1);
        assert_eq!(spool.status().lanes, [LaneStatus::default(); 3]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn nothing_acknowledged_is_missing_or_double(
        actions in prop::collection::vec(action(), 1..60),
        memory_bytes in prop::sample::select(vec![0, 20_000, 1 << 30]),
        segment_bytes in prop::sample::select(vec![64 << 10, 1 << 20]),
    ) {
        let mut fixture = Fixture::new();
        fixture.settings.memory_bytes = memory_bytes;
        fixture.settings.segment_bytes = segment_bytes;
        let mut spool = fixture.open();
        let mut model = Model::default();
        for action in actions {
            match action {
                Action::Append { rows, severity, key, fault } => {
                    fault.into_iter().for_each(|step| fixture.faults.fail(step, 1));
                    model.append(&spool, rows, severity, key, fault.is_some());
                    fixture.faults.heal();
                }
                Action::Deliver { written } => drop(model.deliver(&spool, written)),
                Action::Settle { every } => model.settle(&spool, every),
                Action::Reopen => {
                    spool.close();
                    spool = fixture.open();
                    model.restart();
                }
                Action::Kill => {
                    let killed = fixture.killed();
                    drop(spool);
                    fixture = killed;
                    spool = fixture.open();
                    model.restart();
                }
            }
        }
        prop_assert!(fixture.quarantine().is_empty());
        model.check(&spool);
    }
}
