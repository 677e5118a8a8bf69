//! Which of a run's numbers were accepted, and which were found: three bits a record.

use std::ops::RangeInclusive;

use super::Report;

/// The books of one reading.
#[derive(Debug)]
pub(super) struct Ledger {
    made: u64,
    accepted: Bits,
    found: Bits,
    double: Bits,
    unknown: u64,
}

impl Ledger {
    /// Opens the books for the numbers below `made`.
    pub(super) fn new(made: u64) -> Ledger {
        let bits = || Bits::new(made);
        Ledger { made, accepted: bits(), found: bits(), double: bits(), unknown: 0 }
    }

    /// Books `records` numbers from `first` on as accepted.
    pub(super) fn accept(&mut self, first: u64, records: u64) {
        (first..first.saturating_add(records)).for_each(|number| {
            self.accepted.set(number);
        });
    }

    /// Books a number as found.
    pub(super) fn find(&mut self, number: u64) {
        if number >= self.made {
            self.unknown += 1;
        } else if self.found.set(number) {
            self.double.set(number);
        }
    }

    /// Closes the books.
    pub(super) fn report(&self, run: &str) -> Report {
        let numbers = || 0..self.made;
        Report {
            run: run.to_owned(),
            found: self.found.count(),
            missing: ranges(numbers().filter(|number| self.accepted.get(*number) && !self.found.get(*number))),
            double: ranges(numbers().filter(|number| self.double.get(*number))),
            unacknowledged: numbers().filter(|number| self.found.get(*number) && !self.accepted.get(*number)).count()
                as u64,
            unknown: self.unknown,
            ..Report::default()
        }
    }
}

/// A set of numbers, a bit each.
#[derive(Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(length: u64) -> Bits {
        Bits(vec![0; usize::try_from(length.div_ceil(64)).unwrap_or(usize::MAX)])
    }

    /// Adds a number; true if it was there before.
    fn set(&mut self, number: u64) -> bool {
        let bit = 1 << (number % 64);
        let Some(word) = self.0.get_mut((number / 64) as usize) else { return false };
        let was_there = *word & bit != 0;
        *word |= bit;
        was_there
    }

    fn get(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Joins rising numbers into ranges.
fn ranges(numbers: impl Iterator<Item = u64>) -> Vec<RangeInclusive<u64>> {
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end() + 1 == number => *last = *last.start()..=number,
            _ => ranges.push(number..=number),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_double_and_unknown_numbers_are_told_apart() {
        let mut ledger = Ledger::new(200);
        ledger.accept(0, 100);
        ledger.accept(150, 50);
        for number in (0..100).filter(|number| *number != 7 && !(63..=65).contains(number)).chain(150..199) {
            ledger.find(number);
        }
        for number in [12, 12, 160, 120, 200, u64::MAX] {
            ledger.find(number);
        }
        let report = ledger.report("r");
        assert_eq!(report.missing, [7..=7, 63..=65, 199..=199]);
        assert_eq!(report.double, [12..=12, 160..=160]);
        assert_eq!((report.found, report.unacknowledged, report.unknown), (146, 1, 2));
        assert_eq!((report.missing_count(), report.double_count()), (5, 2));
        assert!(!report.is_good());
    }

    #[test]
    fn a_full_ledger_is_good() {
        let mut ledger = Ledger::new(129);
        ledger.accept(0, 129);
        (0..129).rev().for_each(|number| ledger.find(number));
        assert!(ledger.report("r").is_good());
        assert!(Ledger::new(0).report("r").is_good());
    }
}
