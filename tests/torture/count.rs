//! Records whose account is a number: for floods that are too much for a ledger's records, and for shapes that it has not.

use std::io::{BufRead, BufReader};

use crate::ledger::Verdict;
use crate::support::http::Http;

/// How many records of a service were acknowledged, and of how many nobody knows.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sent {
    /// Acknowledged.
    pub acknowledged: u64,
    /// Nobody knows.
    pub in_doubt: u64,
}

impl Sent {
    /// Acknowledged, all of them.
    pub fn acknowledged(acknowledged: u64) -> Sent {
        Sent { acknowledged, in_doubt: 0 }
    }

    /// Compares with how many were found.
    pub fn judge(self, found: u64) -> Verdict {
        let double = found.saturating_sub(self.acknowledged + self.in_doubt);
        Verdict {
            acknowledged: self.acknowledged,
            in_doubt: self.in_doubt,
            found,
            missing: self.acknowledged.saturating_sub(found),
            double,
            ..Verdict::default()
        }
    }
}

/// Reads the records that match `query` as NDJSON, a line at a time; returns how many there are.
///
/// # Errors
/// If the answer is not whole.
pub fn read(http: &Http, query: &str, mut line: impl FnMut(&str)) -> Result<u64, String> {
    let request = ureq::get(format!("{}/logs/retrieve?{query}", http.url()));
    let response = request.header("accept", "application/x-ndjson").call().map_err(|error| error.to_string())?;
    if let Some(incomplete) = response.headers().get("sluice-incomplete") {
        return Err(format!("the answer is incomplete: {incomplete:?}"));
    }
    let mut count = 0;
    for text in BufReader::with_capacity(1 << 18, response.into_body().into_reader()).lines() {
        line(&text.map_err(|error| error.to_string())?);
        count += 1;
    }
    Ok(count)
}

/// How many records match `query`.
///
/// # Errors
/// If the answer is not whole.
pub fn count(http: &Http, query: &str) -> Result<u64, String> {
    let request = ureq::get(format!("{}/logs/retrieve?{query}&fields=severity", http.url()));
    let response = request.header("accept", "text/csv").call().map_err(|error| error.to_string())?;
    if let Some(incomplete) = response.headers().get("sluice-incomplete") {
        return Err(format!("the answer is incomplete: {incomplete:?}"));
    }
    let mut lines = 0_u64;
    for line in BufReader::with_capacity(1 << 18, response.into_body().into_reader()).lines() {
        line.map_err(|error| error.to_string())?;
        lines += 1;
    }
    // The first line names the column.
    Ok(lines.saturating_sub(1))
}
