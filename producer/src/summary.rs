//! The last lines: what came of the run.

use std::fmt;
use std::time::Duration;

use crate::send::Outcome;
use crate::verify::Report;

/// How many ranges of numbers are written out.
const RANGES_SHOWN: usize = 1_000;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 { self.accepted as f64 / seconds } else { 0.0 };
        writeln!(f, "sent      {} records in {seconds:.2} s", self.sent)?;
        writeln!(f, "accepted  {} ({rate:.0} records/s)", self.accepted)?;
        writeln!(f, "refused   {}", self.refused)?;
        writeln!(f, "failed    {}", self.failed)?;
        writeln!(f, "retries   {}", self.retries)?;
        write!(f, "latency  ")?;
        for (name, share) in [("p50", 0.50), ("p95", 0.95), ("p99", 0.99)] {
            match self.latencies.quantile(share) {
                Some(latency) => write!(f, " {name} {}", Millis(latency))?,
                None => write!(f, " {name} -")?,
            }
        }
        write!(f, " max {}", Millis(self.latencies.max()))
    }
}

struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ms", self.0.as_secs_f64() * 1000.0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (missing, double) = (self.missing_count(), self.double_count());
        let seconds = self.elapsed.as_secs_f64();
        write!(f, "verified  {} records of run {} found in {seconds:.2} s: ", self.found, self.run)?;
        write!(f, "{missing} missing, {double} double")?;
        if self.unacknowledged > 0 {
            write!(f, "\nfound     {} more that were not known to be accepted", self.unacknowledged)?;
        }
        if self.unknown > 0 {
            write!(f, "\nfound     {} records with numbers that were never made", self.unknown)?;
        }
        if let Some(incomplete) = &self.incomplete {
            write!(f, "\nthe server still says that its answer is incomplete: {incomplete}")?;
        }
        for (name, ranges) in [("missing ", &self.missing), ("double  ", &self.double)] {
            if !ranges.is_empty() {
                write!(f, "\n{name}  {}", Ranges(ranges))?;
            }
        }
        Ok(())
    }
}

struct Ranges<'a>(&'a [std::ops::RangeInclusive<u64>]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().take(RANGES_SHOWN).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match (range.start(), range.end()) {
                (start, end) if start == end => write!(f, "{comma}{start}")?,
                (start, end) => write!(f, "{comma}{start}-{end}")?,
            }
        }
        match self.0.len().saturating_sub(RANGES_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more ranges"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_summed_up() {
        let mut outcome = Outcome { sent: 300, accepted: 200, refused: 100, retries: 2, ..Outcome::default() };
        outcome.elapsed = Duration::from_secs(2);
        outcome.latencies.record(Duration::from_micros(1_500));
        assert_eq!(
            outcome.to_string(),
            "sent      300 records in 2.00 s\naccepted  200 (100 records/s)\nrefused   100\nfailed    0\nretries   2\n\
             latency   p50 1.50 ms p95 1.50 ms p99 1.50 ms max 1.50 ms"
        );
        assert!(!outcome.is_good());
    }

    #[test]
    fn a_report_names_every_number() {
        let report = Report {
            run: "r1".to_owned(),
            found: 7,
            missing: vec![3..=3, 5..=9],
            double: vec![1..=1],
            elapsed: Duration::from_secs(1),
            ..Report::default()
        };
        assert_eq!(
            report.to_string(),
            "verified  7 records of run r1 found in 1.00 s: 6 missing, 1 double\nmissing   3, 5-9\ndouble    1"
        );
    }
}
