//! Lanes: which batches go first when the store is behind.

use sluice_model::Severity;

use crate::batch::LogBatch;

/// How urgent a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lane {
    /// At most 1,000 records of which any is an error or worse, or any number of which half are.
    Urgent,
    /// What is neither urgent nor bulk.
    Normal,
    /// Nothing above informational.
    Bulk,
}

/// Up to how many records one error makes a batch urgent.
const URGENT_ROWS: usize = 1000;

impl Lane {
    pub const ALL: [Lane; 3] = [Lane::Urgent, Lane::Normal, Lane::Bulk];

    /// The lane of a batch.
    pub fn of(batch: &LogBatch) -> Lane {
        let (mut errors, mut warnings) = (0, 0);
        for severity in batch.severities() {
            errors += usize::from(*severity >= Severity::Error.number());
            warnings += usize::from(*severity > Severity::Info.number());
        }
        if errors > 0 && (batch.len() <= URGENT_ROWS || 2 * errors >= batch.len()) {
            Lane::Urgent
        } else if warnings == 0 {
            Lane::Bulk
        } else {
            Lane::Normal
        }
    }

    /// Its number in a block's header.
    pub fn number(self) -> u8 {
        match self {
            Lane::Urgent => 0,
            Lane::Normal => 1,
            Lane::Bulk => 2,
        }
    }

    pub fn from_number(number: u8) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.number() == number)
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Urgent => "urgent",
            Lane::Normal => "normal",
            Lane::Bulk => "bulk",
        }
    }

    /// What a byte of this lane costs, so that bytes are drained 8 : 2 : 1.
    fn cost(self) -> u64 {
        match self {
            Lane::Urgent => 1,
            Lane::Normal => 4,
            Lane::Bulk => 8,
        }
    }
}

/// One `T` for each lane.
#[derive(Debug, Clone, Default)]
pub(super) struct PerLane<T> {
    urgent: T,
    normal: T,
    bulk: T,
}

impl<T> PerLane<T> {
    pub fn get(&self, lane: Lane) -> &T {
        match lane {
            Lane::Urgent => &self.urgent,
            Lane::Normal => &self.normal,
            Lane::Bulk => &self.bulk,
        }
    }

    pub fn get_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Urgent => &mut self.urgent,
            Lane::Normal => &mut self.normal,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

/// Decides which lane is next: the one that has had least, by cost.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// What each lane has cost so far.
    spent: PerLane<u64>,
    /// What the lane that was chosen last had cost until then.
    clock: u64,
}

impl Schedule {
    /// Chooses among the lanes that have something.
    pub fn choose(&self, ready: impl Fn(Lane) -> bool) -> Option<Lane> {
        // Lanes that have had the same go in the order of urgency: min_by_key takes the first.
        Lane::ALL.into_iter().filter(|lane| ready(*lane)).min_by_key(|lane| *self.spent.get(*lane))
    }

    /// Notes that the chosen lane gave `bytes`.
    pub fn charge(&mut self, lane: Lane, bytes: u64) {
        let spent = self.spent.get_mut(lane);
        self.clock = *spent;
        *spent += bytes.max(1) * lane.cost();
    }

    /// Notes that a lane has something again: what it left unused while it had nothing is not made up for.
    pub fn wake(&mut self, lane: Lane) {
        let spent = self.spent.get_mut(lane);
        *spent = (*spent).max(self.clock);
    }
}

#[cfg(test)]
mod tests {
    use sluice_model::Timestamp;

    use super::*;
    use crate::batch::LogBatchBuilder;

    fn batch(severities: &[(Severity, usize)]) -> LogBatch {
        let mut builder = LogBatchBuilder::new();
        for severity in severities.iter().flat_map(|(severity, rows)| std::iter::repeat_n(*severity, *rows)) {
            builder.commit(Timestamp::default(), severity, "", "", "");
        }
        builder.finish()
    }

    #[test]
    fn a_lane_goes_by_the_share_of_errors() {
        for (severities, lane) in [
            (vec![], Lane::Bulk),
            (vec![(Severity::Info, 5), (Severity::Trace, 5)], Lane::Bulk),
            (vec![(Severity::Info, 5), (Severity::Warn, 1)], Lane::Normal),
            (vec![(Severity::Info, 999), (Severity::Error, 1)], Lane::Urgent),
            (vec![(Severity::Info, 1000), (Severity::Error, 1)], Lane::Normal),
            (vec![(Severity::Info, 1000), (Severity::Fatal, 1000)], Lane::Urgent),
            (vec![(Severity::Info, 1001), (Severity::Fatal, 1000)], Lane::Normal),
        ] {
            assert_eq!(Lane::of(&batch(&severities)), lane, "{severities:?}");
        }
    }

    #[test]
    fn bytes_are_drained_eight_to_two_to_one_and_idle_lanes_save_nothing_up() {
        let mut schedule = Schedule::default();
        let mut drained = PerLane::<u64>::default();
        let mut drain = |schedule: &mut Schedule, turns: usize, ready: &[Lane]| {
            for _ in 0..turns {
                let lane = schedule.choose(|lane| ready.contains(&lane)).unwrap();
                schedule.charge(lane, 100);
                *drained.get_mut(lane) += 100;
            }
            Lane::ALL.map(|lane| std::mem::take(drained.get_mut(lane)))
        };
        assert_eq!(drain(&mut schedule, 110, &Lane::ALL), [8000, 2000, 1000]);
        assert_eq!(drain(&mut schedule, 110, &[Lane::Bulk]), [0, 0, 11_000]);
        schedule.wake(Lane::Urgent);
        schedule.wake(Lane::Normal);
        // But for the turn with which the bulk lane is ahead.
        let again = drain(&mut schedule, 110, &Lane::ALL);
        assert!(again.iter().zip([8000_u64, 2000, 1000]).all(|(is, due)| is.abs_diff(due) <= 100), "{again:?}");
        assert_eq!(schedule.choose(|_| false), None);
    }
}
