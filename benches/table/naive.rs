//! The answers as a naive scan of the records gives them.

use std::collections::BTreeMap;

use crate::Result;
use crate::data::Data;
use crate::record::Record;
use crate::terms::Terms;
use crate::text;

/// A day.
const DAY_NANOS: i64 = 86_400_000_000_000;
const HOUR_NANOS: i64 = DAY_NANOS / 24;
/// How many of the newest are asked for: errors, and those of a service in an hour.
pub const NEWEST_ERRORS: usize = 100;
pub const NEWEST_OF_SERVICE: usize = 1000;

/// What the queries must answer.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub records: u64,
    pub word: u64,
    pub regex: u64,
    pub nowhere: u64,
    /// By the beginning of the hour.
    pub by_hour: BTreeMap<i64, u64>,
    /// By service and severity.
    pub by_service: BTreeMap<Vec<String>, u64>,
    /// By the attribute's value, of those with the phrase.
    pub by_attribute: BTreeMap<Vec<String>, u64>,
    pub errors: Newest,
    pub of_service: Newest,
    earliest: i64,
    latest: i64,
}

/// The newest records of a kind, and those as old as the last of them.
#[derive(Debug, Clone, Default)]
pub struct Newest {
    pub limit: usize,
    /// Timestamp, service and message.
    rows: Vec<Row>,
}

/// What is compared of a record.
pub type Row = (i64, String, String);

impl Truth {
    /// Reads every record.
    pub fn scan(data: &Data, terms: &Terms) -> Result<Truth> {
        let mut truth = Truth {
            errors: Newest { limit: NEWEST_ERRORS, rows: Vec::new() },
            of_service: Newest { limit: NEWEST_OF_SERVICE, rows: Vec::new() },
            earliest: i64::MAX,
            latest: i64::MIN,
            ..Truth::default()
        };
        data.for_each_line(|line| {
            truth.add(&Record::parse(line)?, terms);
            Ok(())
        })?;
        truth.errors.prune();
        truth.of_service.prune();
        Ok(truth)
    }

    /// The days that the records span, at least one.
    pub fn days(&self) -> u64 {
        ((self.latest - self.earliest) / DAY_NANOS).unsigned_abs() + 1
    }

    /// The answers, if the same records come again and again, each time `stride` days later.
    pub fn repeated(&self, times: u64, stride: u64) -> Truth {
        let shift = |day: u64| (day * stride) as i64 * DAY_NANOS;
        let mut by_hour = BTreeMap::new();
        for day in 0..times {
            for (hour, count) in &self.by_hour {
                *by_hour.entry(hour + shift(day)).or_default() += count;
            }
        }
        let many = |counts: &BTreeMap<Vec<String>, u64>| {
            counts.iter().map(|(group, count)| (group.clone(), count * times)).collect()
        };
        let later = |newest: &Newest| {
            let rows =
                newest.rows.iter().cloned().map(|(time, service, text)| (time + shift(times - 1), service, text));
            Newest { limit: newest.limit, rows: rows.collect() }
        };
        Truth {
            records: self.records * times,
            word: self.word * times,
            regex: self.regex * times,
            nowhere: self.nowhere * times,
            by_hour,
            by_service: many(&self.by_service),
            by_attribute: many(&self.by_attribute),
            errors: later(&self.errors),
            of_service: later(&self.of_service),
            earliest: self.earliest,
            latest: self.latest + shift(times - 1),
        }
    }

    fn add(&mut self, record: &Record<'_>, terms: &Terms) {
        let (nanos, message) = (record.nanos, &record.message);
        self.records += 1;
        self.earliest = self.earliest.min(nanos);
        self.latest = self.latest.max(nanos);
        self.word += u64::from(text::has_words(message, &terms.word));
        self.regex += u64::from(text::has_in_order(message, &terms.regex.0, &terms.regex.1));
        self.nowhere += u64::from(text::has_words(message, terms.nowhere));
        *self.by_hour.entry(nanos.div_euclid(HOUR_NANOS) * HOUR_NANOS).or_default() += 1;
        increment(&mut self.by_service, [&record.service, record.severity]);
        if text::has_words(message, &terms.phrase) {
            increment(&mut self.by_attribute, [record.attribute(&terms.attribute).as_deref().unwrap_or("null")]);
        }
        if record.severity == "ERROR" {
            self.errors.add(record);
        }
        let (start, end) = terms.hour;
        if record.service == terms.service && record.severity == terms.severity && nanos >= start && nanos <= end {
            self.of_service.add(record);
        }
    }
}

fn increment<const N: usize>(counts: &mut BTreeMap<Vec<String>, u64>, group: [&str; N]) {
    *counts.entry(group.map(str::to_owned).to_vec()).or_default() += 1;
}

impl Newest {
    /// How many there are to be found.
    pub fn len(&self) -> usize {
        self.rows.len().min(self.limit)
    }

    /// Whether `answer` is these records, newest first. Of those that are equally old, any may be in.
    pub fn is(&self, answer: &[Row]) -> bool {
        let times = self.rows.iter().map(|row| row.0).take(self.limit);
        let mut left = self.rows.clone();
        let known = |row: &Row| left.iter().position(|other| other == row).map(|at| left.swap_remove(at)).is_some();
        times.eq(answer.iter().map(|row| row.0)) && answer.iter().all(known)
    }

    fn add(&mut self, record: &Record<'_>) {
        self.rows.push((record.nanos, record.service.clone().into_owned(), record.message.clone().into_owned()));
        if self.rows.len() > 8 * self.limit {
            self.prune();
        }
    }

    fn prune(&mut self) {
        self.rows.sort_by_key(|row| std::cmp::Reverse(row.0));
        let oldest = self.rows.get(self.limit.saturating_sub(1)).map(|row| row.0);
        self.rows.retain(|row| oldest.is_none_or(|oldest| row.0 >= oldest));
    }
}
