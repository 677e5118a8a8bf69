//! The one flow of records that all clients take their batches from.

use std::time::{Duration, Instant};

use sluice_model::Timestamp;

use crate::encode::{Format, Mark, TimeText};
use crate::generate::{Choice, Event, Generator};
use crate::pace::Pace;
use crate::stop::Stop;
use crate::template::UnknownValue;

/// What to make, how much of it, and how fast.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What records are made of.
    pub choice: Choice,
    /// Records a batch.
    pub batch: u64,
    /// Records in all; `None` is no end.
    pub count: Option<u64>,
    /// How fast.
    pub pace: Pace,
    /// The first record's time; `None` is the time at which each is made.
    pub start: Option<Timestamp>,
    /// How records are written down.
    pub format: Format,
    /// The run that each record carries, with its number; `None` leaves both out.
    pub run: Option<String>,
}

/// The flow of records: numbered from 0, whoever takes them.
#[derive(Debug)]
pub struct Source {
    plan: Plan,
    generator: Generator,
    event: Event,
    time: TimeText,
    next: u64,
    began: Instant,
}

/// Which records a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// The number of the first one.
    pub first: u64,
    /// How many.
    pub records: u64,
    /// The earliest of their times.
    pub earliest: Timestamp,
    /// The latest of their times.
    pub latest: Timestamp,
}

/// With a fixed start, the log's own clock runs at 1,000 records a second, however fast they are sent.
const NANOS_PER_RECORD: i64 = 1_000_000;
/// Without a pace, records made together are a microsecond apart.
const UNPACED_NANOS: i64 = 1_000;

impl Source {
    /// Begins the flow; its pace counts from now.
    ///
    /// # Errors
    /// [`UnknownValue`], if a profile is written wrongly.
    pub fn new(plan: Plan) -> Result<Source, UnknownValue> {
        let generator = Generator::new(&plan.choice)?;
        let (event, time) = (Event::new(), TimeText::new());
        Ok(Source { plan, generator, event, time, next: 0, began: Instant::now() })
    }

    /// How many records have been made.
    pub fn made(&self) -> u64 {
        self.next
    }

    /// Waits until the next batch is due and appends it to `out`; `None` at the end.
    pub fn next_batch(&mut self, out: &mut Vec<u8>, stop: &Stop) -> Option<Batch> {
        let left = self.plan.count.map_or(u64::MAX, |count| count.saturating_sub(self.next));
        let records = self.plan.batch.min(left);
        if let Some(due) = self.plan.pace.due(self.next) {
            stop.wait(due.saturating_sub(self.began.elapsed()));
        }
        if records == 0 || stop.may_not_begin() {
            return None;
        }
        Some(self.write(records, out))
    }

    fn write(&mut self, records: u64, out: &mut Vec<u8>) -> Batch {
        let first = self.next;
        let clock = self.clock(records);
        let (mut earliest, mut latest) = (Timestamp::MAX, Timestamp::MIN);
        for number in first..first + records {
            self.generator.next(&mut self.event);
            let time = clock.at(number, self.event.bits);
            earliest = earliest.min(time);
            latest = latest.max(time);
            let mark = self.plan.run.as_deref().map(|run| Mark { run, number });
            self.plan.format.write(&self.event, self.time.write(time), mark, out);
        }
        self.next += records;
        Batch { first, records, earliest, latest }
    }

    fn clock(&self, records: u64) -> Clock {
        if let Some(start) = self.plan.start {
            return Clock { origin: start.as_nanos(), first: 0, step: NANOS_PER_RECORD };
        }
        // The records of a batch are those of the time since the last one.
        let span = self.plan.pace.due(self.next + records).zip(self.plan.pace.due(self.next));
        let span = span.map_or(Duration::ZERO, |(end, start)| end.saturating_sub(start));
        let step = i64::try_from(span.as_nanos() / u128::from(records.max(1))).unwrap_or(i64::MAX).max(UNPACED_NANOS);
        let back = step.saturating_mul(i64::try_from(records).unwrap_or(i64::MAX));
        Clock { origin: Timestamp::now().as_nanos().saturating_sub(back), first: self.next, step }
    }
}

/// The times of numbered records.
struct Clock {
    origin: i64,
    first: u64,
    step: i64,
}

impl Clock {
    /// Within its step, a record's time is random, but order is kept.
    fn at(&self, number: u64, bits: u64) -> Timestamp {
        let steps = i64::try_from(number - self.first).unwrap_or(i64::MAX);
        let jitter = (bits >> 1) as i64 % self.step.max(1);
        Timestamp::from_nanos(self.origin.saturating_add(steps.saturating_mul(self.step)).saturating_add(jitter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(batch: u64, count: u64) -> Plan {
        Plan {
            choice: Choice { seed: 5, ..Choice::default() },
            batch,
            count: Some(count),
            pace: Pace::default(),
            start: Some(Timestamp::from_nanos(1_728_345_600_000_000_000)),
            format: Format::Json,
            run: None,
        }
    }

    fn all(plan: Plan) -> (Vec<Batch>, String) {
        let mut source = Source::new(plan).unwrap();
        let mut out = Vec::new();
        let batches = std::iter::from_fn(|| source.next_batch(&mut out, &Stop::default())).collect();
        (batches, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_same_seed_and_start_make_the_same_records_in_batches_of_any_size() {
        let (batches, records) = all(plan(100, 1_050));
        assert_eq!(batches.len(), 11);
        assert_eq!((batches[10].first, batches[10].records), (1_000, 50));
        assert_eq!(records.lines().count(), 1_050);
        for batch in [1, 7, 5_000] {
            assert_eq!(all(plan(batch, 1_050)).1, records);
        }
        let paced = Plan { pace: Pace { rate: Some(1e7), burst: None }, ..plan(10, 1_050) };
        assert_eq!(all(paced).1, records);
    }

    #[test]
    fn times_rise_and_a_batch_knows_their_range() {
        for start in [plan(100, 1).start, None] {
            let (batches, records) = all(Plan { start, ..plan(100, 1_000) });
            let times: Vec<&str> = records.lines().map(|line| &line[14..44]).collect();
            assert_eq!(batches[0].earliest.to_string(), times[0]);
            assert_eq!(batches[0].latest.to_string(), times[99]);
            assert!(times[..100].is_sorted());
        }
    }

    #[test]
    fn without_a_start_records_carry_the_time_they_are_made_at() {
        let before = Timestamp::now().as_nanos();
        let (batches, _) = all(Plan { start: None, ..plan(100, 100) });
        let after = Timestamp::now().as_nanos();
        assert!(batches[0].latest.as_nanos() <= after);
        assert!(batches[0].earliest.as_nanos() >= before - 100 * UNPACED_NANOS);
    }

    #[test]
    fn a_verified_record_carries_its_run_and_number() {
        let (_, records) = all(Plan { run: Some("r1".to_owned()), ..plan(10, 25) });
        for (number, line) in records.lines().enumerate() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(
                (value["producer.run"].as_str(), value["producer.number"].as_u64()),
                (Some("r1"), Some(number as u64))
            );
        }
    }

    #[test]
    fn a_stop_is_the_end() {
        let stop = Stop::default();
        stop.end();
        let mut source = Source::new(plan(10, 100)).unwrap();
        assert_eq!(source.next_batch(&mut Vec::new(), &stop), None);
        assert_eq!(source.made(), 0);
    }
}
