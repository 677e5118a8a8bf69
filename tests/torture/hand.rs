//! What scenarios do by hand: a batch that must be accepted, a walk through all pages, a wait.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::context::Stop;
use crate::ledger::{Ledger, State};
use crate::support::http::Http;

/// How many pages a walk may have.
const PAGES_MAX: usize = 100_000;

/// Sends the next `count` records of a client as one batch, which must be accepted.
///
/// # Errors
/// If it is not.
pub fn send(http: &Http, ledger: &Ledger, client: usize, count: u64) -> Result<(), Stop> {
    let (place, first) = ledger.send(client, count);
    let records: Vec<Value> =
        (first..first + count).map(|number| ledger.run.record(client, number).to_json()).collect();
    let answer = http.post("/logs/batch", &serde_json::to_string(&records).unwrap());
    if answer.status != 202 {
        return Err(Stop::failed(format!("a batch was answered with {} {}", answer.status, answer.text())));
    }
    ledger.became(client, place, State::Acknowledged);
    Ok(())
}

/// Walks all pages of `limit` records in an order and calls `between` before each further one; returns the ids, which
/// must be in order and distinct.
///
/// # Errors
/// What is wrong with the walk.
pub fn walk(http: &Http, order: &str, limit: usize, mut between: impl FnMut(usize)) -> Result<Vec<String>, Stop> {
    let (mut ids, mut seen, mut last) = (Vec::new(), BTreeSet::new(), None::<(String, String)>);
    let mut target = format!("/logs/retrieve?order={order}&limit={limit}");
    for page in 0..PAGES_MAX {
        let answer = http.get(&target);
        if answer.status != 200 {
            return Err(Stop::failed(format!("page {page} in order {order}: {} {}", answer.status, answer.text())));
        }
        for record in answer.json().as_array().unwrap() {
            let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            let key = (text("timestamp"), text("id"));
            let follows = last.as_ref().is_none_or(|last| if order == "asc" { *last < key } else { *last > key });
            if !follows || !seen.insert(key.1.clone()) {
                return Err(Stop::failed(format!("page {page} in order {order}: {key:?} after {last:?}")));
            }
            ids.push(key.1.clone());
            last = Some(key);
        }
        match answer.next() {
            Some(next) => target = next,
            None => return Ok(ids),
        }
        between(page);
    }
    Err(Stop::failed("a walk without an end"))
}

/// The value of a metric without labels, as `/metrics` says it; 0, if it is not there.
pub fn metric(http: &Http, name: &str) -> f64 {
    let answer = http.get("/metrics");
    let line = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
}

/// Waits until `done`.
///
/// # Errors
/// If it takes longer than `limit`.
pub fn wait(what: &str, limit: Duration, mut done: impl FnMut() -> bool) -> Result<(), Stop> {
    let deadline = Instant::now() + limit;
    while !done() {
        if Instant::now() > deadline {
            return Err(Stop::failed(format!("waited {limit:?} for {what}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
