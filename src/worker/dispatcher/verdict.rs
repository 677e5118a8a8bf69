//! What the outcome of one write means for the rows that were sent: pure decisions, no state.

use std::time::Duration;

use crate::store::StoreError;
use crate::worker::store_worker::WriteOutcome;

/// After so many failures without any other success the rows are tried in halves.
const HALVE_AFTER: u32 = 3;
/// Into so many pieces at most a block is cut while nothing else succeeds.
const BLIND_PIECES_MAX: usize = 64;
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Some rows of a block, sent to the store as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// The first row.
    pub(super) offset: u32,
    /// How many rows.
    pub(super) rows: u32,
    /// How many writes had succeeded when these rows were first refused; `None`, if they never were.
    pub(super) struck: Option<u64>,
    /// How often they were refused since then without a success in between.
    pub(super) attempts: u32,
    /// Whether the store has named each of these rows as being at fault.
    pub(super) named: bool,
}

impl Piece {
    /// Rows that the store has not refused yet.
    pub(super) fn fresh(offset: u32, rows: u32) -> Piece {
        Piece { offset, rows, struck: None, attempts: 0, named: false }
    }

    /// How long to wait with these rows, unless another write succeeds before.
    pub(super) fn backoff(&self) -> Duration {
        BACKOFF_MIN.saturating_mul(1 << self.attempts.min(10)).min(BACKOFF_MAX)
    }

    /// The rows of the piece but for `rows`, which are in order; as pieces that were never refused.
    pub(super) fn without(&self, rows: &[u32]) -> Vec<Piece> {
        let mut rest = Vec::new();
        let mut next = self.offset;
        for (start, count) in runs(rows).chain([(self.end(), 0)]) {
            if start > next {
                rest.push(Piece::fresh(next, start - next));
            }
            next = start + count;
        }
        rest
    }

    fn end(&self) -> u32 {
        self.offset + self.rows
    }

    fn halves(&self) -> [Piece; 2] {
        let first = self.rows / 2;
        [Piece { rows: first, ..*self }, Piece { offset: self.offset + first, rows: self.rows - first, ..*self }]
    }
}

/// What is to be done after a write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Nothing: the rows are in the store.
    Written,
    /// The block goes back to the spool.
    GiveBack(Cause),
    /// The rows are at fault, are partly at fault, or have clashed.
    Sort(Sorted),
}

/// Why a block goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The store cannot be reached.
    Unavailable,
    /// The store has no room.
    Full,
    /// The breaker is not closed.
    Refused,
    /// There was no worker.
    Lost,
}

/// The rows of a piece, by what is to be done with each. Rows are counted from the block's first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sorted {
    /// To be sent now.
    pub(super) now: Vec<Piece>,
    /// To be sent when another write has succeeded, or after their back-off.
    pub(super) later: Vec<Piece>,
    /// At fault: dead letters.
    pub(super) dead: Vec<u32>,
    /// To be accepted again under new ids.
    pub(super) clashing: Vec<u32>,
}

/// Decides. `successes` counts the writes that have succeeded so far, `pieces` those of the block.
///
/// Rows become dead letters only when they were refused twice and another write has succeeded in between; so a store
/// that refuses everything never makes any. Where the store cannot say which rows are at fault they are halved, until
/// one is left. Rows beside the ones at fault are sent at once.
pub(super) fn judge(piece: Piece, outcome: &WriteOutcome, successes: u64, pieces: usize) -> Verdict {
    match outcome {
        WriteOutcome::Written => Verdict::Written,
        WriteOutcome::Refused => Verdict::GiveBack(Cause::Refused),
        WriteOutcome::Lost => Verdict::GiveBack(Cause::Lost),
        WriteOutcome::Failed(StoreError::Unavailable(_)) => Verdict::GiveBack(Cause::Unavailable),
        WriteOutcome::Failed(StoreError::Full(_)) => Verdict::GiveBack(Cause::Full),
        WriteOutcome::Failed(StoreError::Conflict { rows }) => Verdict::Sort(clash(piece, &in_block(piece, rows))),
        WriteOutcome::Failed(StoreError::Rejected { rows, .. }) => {
            Verdict::Sort(refuse(piece, &in_block(piece, rows), successes, pieces))
        }
        WriteOutcome::Failed(StoreError::Bug(_)) => Verdict::Sort(refuse(piece, &[], successes, pieces)),
    }
}

fn clash(piece: Piece, rows: &[u32]) -> Sorted {
    if rows.is_empty() {
        // A clash of no rows says nothing; it is tried again.
        let again = Piece { attempts: piece.attempts + 1, ..piece };
        return Sorted { later: vec![again], ..Sorted::default() };
    }
    Sorted { now: piece.without(rows), clashing: rows.to_vec(), ..Sorted::default() }
}

fn refuse(piece: Piece, named: &[u32], successes: u64, pieces: usize) -> Sorted {
    let proven = piece.struck.is_some_and(|before| successes > before);
    let some_named = !named.is_empty() && named.len() < piece.rows as usize;
    let all_named = named.len() == piece.rows as usize && piece.named;
    let struck = if proven { Some(successes) } else { piece.struck.or(Some(successes)) };
    let suspect = Piece { struck, attempts: if proven { 0 } else { piece.attempts + 1 }, ..piece };
    match (proven, some_named) {
        (true, true) => Sorted { now: piece.without(named), dead: named.to_vec(), ..Sorted::default() },
        (true, false) if piece.rows <= 1 || all_named => {
            Sorted { dead: (piece.offset..piece.end()).collect(), ..Sorted::default() }
        }
        (true, false) => Sorted { now: suspect.halves().to_vec(), ..Sorted::default() },
        (false, true) => {
            let suspects = runs(named).map(|(offset, rows)| Piece { offset, rows, named: true, ..suspect });
            Sorted { now: piece.without(named), later: suspects.collect(), ..Sorted::default() }
        }
        (false, false) => {
            let blind = suspect.attempts >= HALVE_AFTER && piece.rows > 1 && pieces < BLIND_PIECES_MAX;
            Sorted { later: if blind { suspect.halves().to_vec() } else { vec![suspect] }, ..Sorted::default() }
        }
    }
}

/// The rows that the store has named, counted from the block's first, in order; those that were not sent are left out.
fn in_block(piece: Piece, rows: &[u32]) -> Vec<u32> {
    let mut rows: Vec<u32> = rows.iter().filter(|row| **row < piece.rows).map(|row| row + piece.offset).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// The runs (first, how many) of neighbours in `rows`, which are in order.
fn runs(rows: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    rows.chunk_by(|row, next| row + 1 == *next).filter_map(|run| Some((*run.first()?, u32::try_from(run.len()).ok()?)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn bug() -> WriteOutcome {
        WriteOutcome::Failed(StoreError::Bug("b".to_owned()))
    }

    fn rejected(rows: &[u32]) -> WriteOutcome {
        WriteOutcome::Failed(StoreError::Rejected { rows: rows.to_vec(), reason: "r".to_owned() })
    }

    fn sorted(piece: Piece, outcome: &WriteOutcome, successes: u64) -> Sorted {
        match judge(piece, outcome, successes, 1) {
            Verdict::Sort(sorted) => sorted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn trouble_of_the_store_gives_the_block_back() {
        let failed = |error| WriteOutcome::Failed(error);
        for (outcome, verdict) in [
            (WriteOutcome::Written, Verdict::Written),
            (failed(StoreError::Unavailable("u".to_owned())), Verdict::GiveBack(Cause::Unavailable)),
            (failed(StoreError::Full("f".to_owned())), Verdict::GiveBack(Cause::Full)),
            (WriteOutcome::Refused, Verdict::GiveBack(Cause::Refused)),
            (WriteOutcome::Lost, Verdict::GiveBack(Cause::Lost)),
        ] {
            assert_eq!(judge(Piece::fresh(0, 9), &outcome, 3, 1), verdict);
        }
    }

    #[test]
    fn a_refusal_needs_a_second_one_and_a_success_in_between() {
        let one = Piece::fresh(4, 1);
        let first = sorted(one, &bug(), 7);
        assert_eq!(first.later, [Piece { struck: Some(7), attempts: 1, ..one }]);
        // Without a success in between nothing is proven, however often it fails.
        let second = sorted(first.later[0], &bug(), 7);
        assert_eq!((second.dead, second.later[0].struck, second.later[0].attempts), (vec![], Some(7), 2));
        assert_eq!(sorted(second.later[0], &bug(), 8).dead, [4]);
    }

    #[test]
    fn unnamed_rows_are_halved_and_each_half_needs_a_proof_of_its_own() {
        let piece = Piece { struck: Some(1), ..Piece::fresh(10, 5) };
        let halved = sorted(piece, &bug(), 2);
        let spans: Vec<_> = halved.now.iter().map(|piece| (piece.offset, piece.rows, piece.struck)).collect();
        assert_eq!(spans, [(10, 2, Some(2)), (12, 3, Some(2))]);
        assert!(halved.dead.is_empty() && halved.later.is_empty());
        let all = sorted(piece, &rejected(&[0, 1, 2, 3, 4]), 2);
        assert_eq!(all, halved, "all rows named means that the store cannot tell");
    }

    #[test]
    fn named_rows_are_set_apart_and_the_rest_is_sent_at_once() {
        let first = sorted(Piece::fresh(100, 10), &rejected(&[7, 2, 3, 99, 3]), 5);
        let span = |pieces: &[Piece]| pieces.iter().map(|piece| (piece.offset, piece.rows)).collect::<Vec<_>>();
        assert_eq!(span(&first.now), [(100, 2), (104, 3), (108, 2)]);
        assert_eq!(span(&first.later), [(102, 2), (107, 1)]);
        assert!(first.dead.is_empty());
        assert_eq!(sorted(first.later[0], &rejected(&[0, 1]), 6).dead, [102, 103], "named twice");
        let partly = sorted(first.later[0], &rejected(&[1]), 6);
        assert_eq!((partly.dead, span(&partly.now)), (vec![103], vec![(102, 1)]));
    }

    #[test]
    fn clashing_rows_are_accepted_again_and_the_rest_is_written() {
        let outcome = WriteOutcome::Failed(StoreError::Conflict { rows: vec![0, 4] });
        let clash = sorted(Piece::fresh(20, 5), &outcome, 0);
        assert_eq!((clash.clashing, clash.now), (vec![20, 24], vec![Piece::fresh(21, 3)]));
    }

    #[test]
    fn waits_grow_to_half_a_minute() {
        let waits: Vec<u64> =
            (0..8).map(|attempts| Piece { attempts, ..Piece::fresh(0, 1) }.backoff().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    /// Runs one block against a store that refuses the rows in `bad`; returns what it made of the rows.
    fn settle(rows: u32, bad: &BTreeSet<u32>, names: bool, others: bool) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let (mut written, mut dead) = (BTreeSet::new(), BTreeSet::new());
        let (mut now, mut later) = (vec![Piece::fresh(0, rows)], Vec::<Piece>::new());
        let mut successes = 0;
        for _ in 0..100_000 {
            let Some(piece) = now.pop().or_else(|| (!later.is_empty()).then(|| later.remove(0))) else { break };
            let within: Vec<u32> = bad.range(piece.offset..piece.end()).map(|row| row - piece.offset).collect();
            let outcome = match (within.is_empty(), names) {
                (true, _) => WriteOutcome::Written,
                (false, true) => rejected(&within),
                (false, false) => bug(),
            };
            match judge(piece, &outcome, successes, now.len() + later.len() + 1) {
                Verdict::Written => {
                    successes += 1;
                    written.extend(piece.offset..piece.end());
                }
                Verdict::Sort(sorted) => {
                    now.extend(sorted.now);
                    later.extend(sorted.later);
                    dead.extend(sorted.dead);
                }
                Verdict::GiveBack(_) => unreachable!(),
            }
            successes += u64::from(others);
        }
        (written, dead)
    }

    proptest! {
        #[test]
        fn just_the_rows_at_fault_become_dead_letters(
            rows in 1_u32..300, bad in prop::collection::btree_set(0_u32..300, 0..20), names: bool,
        ) {
            let bad: BTreeSet<u32> = bad.into_iter().filter(|row| *row < rows).collect();
            let (written, dead) = settle(rows, &bad, names, true);
            prop_assert_eq!(&dead, &bad);
            prop_assert_eq!(written, (0..rows).filter(|row| !bad.contains(row)).collect::<BTreeSet<_>>());
        }

        #[test]
        fn a_lone_block_proves_its_own_rows_where_some_are_good(rows in 2_u32..64, bad in 0_u32..64, names: bool) {
            let bad = BTreeSet::from([bad % rows]);
            let (written, dead) = settle(rows, &bad, names, false);
            prop_assert_eq!(dead, bad);
            prop_assert_eq!(written.len() as u32, rows - 1);
        }
    }

    #[test]
    fn a_store_that_refuses_everything_makes_no_dead_letters() {
        for names in [false, true] {
            let (written, dead) = settle(200, &(0..200).collect(), names, false);
            assert!(written.is_empty() && dead.is_empty());
        }
    }
}
