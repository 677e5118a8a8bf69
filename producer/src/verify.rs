//! Reading a run back: every accepted record must be there, once.

mod ledger;

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_client::{Client, Query, ReadError};

use crate::send::Outcome;
use ledger::Ledger;

/// What was found of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The run.
    pub run: String,
    /// How many different records of it were found.
    pub found: u64,
    /// The numbers that were accepted, but not found.
    pub missing: Vec<RangeInclusive<u64>>,
    /// The numbers that were found more than once.
    pub double: Vec<RangeInclusive<u64>>,
    /// Records that were found though nobody was told that they were accepted: their answer got lost.
    pub unacknowledged: u64,
    /// Records with the run's mark whose numbers were never made.
    pub unknown: u64,
    /// What the server says of records that it cannot show yet.
    pub incomplete: Option<String>,
    /// How long the last reading took.
    pub elapsed: Duration,
}

/// How long the server may take until it answers, and answers completely.
pub const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the run's records back and counts them.
///
/// A server whose store is out of reach, or has not caught up, is asked again for up to `patience`; `tell` is told each
/// time what is waited for.
///
/// # Errors
/// [`ReadError`], if no reading came to its end.
pub fn verify(
    client: &Client,
    run: &str,
    outcome: &Outcome,
    patience: Duration,
    mut tell: impl FnMut(&str),
) -> Result<Report, ReadError> {
    let begun = Instant::now();
    loop {
        let may_repeat = begun.elapsed() + PAUSE < patience;
        match read_back(client, run, outcome) {
            Ok(report) if report.is_good() || report.incomplete.is_none() || !may_repeat => return Ok(report),
            Err(error @ (ReadError::Refused(_) | ReadError::Transport(_) | ReadError::Unframed)) => return Err(error),
            Err(error) if !may_repeat => return Err(error),
            Ok(report) => {
                let behind = report.incomplete.unwrap_or_default();
                tell(&format!("{} of {} found, the server is behind: {behind}", report.found, outcome.accepted));
            }
            Err(error) => tell(&error.to_string()),
        }
        std::thread::sleep(PAUSE);
    }
}

fn read_back(client: &Client, run: &str, outcome: &Outcome) -> Result<Report, ReadError> {
    let begun = Instant::now();
    let mut ledger = Ledger::new(outcome.made);
    let mut incomplete = None;
    if let Some((earliest, latest)) = outcome.times {
        let mut stream = client.stream(&Query::new().start_time(earliest).end_time(latest))?;
        incomplete = stream.incomplete().map(str::to_owned);
        let mark = format!("\"{run}\"");
        while let Some(line) = stream.next_line()? {
            let number = marked_number(line, &mark)?;
            number.into_iter().for_each(|number| ledger.find(number));
        }
    }
    outcome.accepted_batches.iter().for_each(|batch| ledger.accept(batch.first, batch.records));
    Ok(Report { incomplete, elapsed: begun.elapsed(), ..ledger.report(run) })
}

/// The number of a record, if it carries our mark: the run as it is written in JSON.
fn marked_number(line: &[u8], mark: &str) -> Result<Option<u64>, ReadError> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow, default)]
        attributes: Attributes<'a>,
    }
    // Raw, because other people's records may hold anything under these names.
    #[derive(Deserialize, Default)]
    struct Attributes<'a> {
        #[serde(borrow, rename = "producer.run")]
        run: Option<&'a RawValue>,
        #[serde(borrow, rename = "producer.number")]
        number: Option<&'a RawValue>,
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(ReadError::Record)?;
    let Attributes { run, number } = line.attributes;
    if run.is_none_or(|run| run.get() != mark) {
        return Ok(None);
    }
    // A number of ours that has come back as something else is none that was made.
    Ok(Some(number.and_then(|number| number.get().parse().ok()).unwrap_or(u64::MAX)))
}

impl Report {
    /// True if everything accepted was found, and nothing twice.
    pub fn is_good(&self) -> bool {
        self.missing.is_empty() && self.double.is_empty() && self.unknown == 0
    }

    /// How many records are missing.
    pub fn missing_count(&self) -> u64 {
        self.missing.iter().map(length).sum()
    }

    /// How many records are there more than once.
    pub fn double_count(&self) -> u64 {
        self.double.iter().map(length).sum()
    }
}

fn length(range: &RangeInclusive<u64>) -> u64 {
    range.end() - range.start() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_marks_count() {
        let number = |attributes: &str| {
            let line = format!(r#"{{"id":"x","timestamp":"t","level":"INFO","message":"m"{attributes}}}"#);
            marked_number(line.as_bytes(), "\"r1\"").unwrap()
        };
        assert_eq!(number(r#","attributes":{"producer.run":"r1","http.status":200,"producer.number":17}"#), Some(17));
        assert_eq!(number(r#","attributes":{"producer.run":"r2","producer.number":17}"#), None);
        assert_eq!(number(r#","attributes":{"producer.run":["r1"],"producer.number":17}"#), None);
        assert_eq!(number(r#","attributes":{"producer.run":"r1","producer.number":"x"}"#), Some(u64::MAX));
        assert_eq!(number(r#","attributes":{"producer.run":null}"#), None);
        assert_eq!(number(r#","attributes":{}"#), None);
        assert_eq!(number(""), None);
    }
}
