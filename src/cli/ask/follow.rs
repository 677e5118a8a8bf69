//! `sluice query --follow`: shows what is accepted, as long as somebody looks.
//!
//! When the server goes away, it is asked again, with growing pauses. What was accepted meanwhile is then among the newest
//! records; those that have been shown are known by their ids, which grow.

use std::thread;
use std::time::Duration;

use sluice_client::{Client, Query, ReadError, Tail, TailEvent};

use super::query::{QueryFormat, Writer};
use crate::cli::failure::Failure;
use crate::cli::terminal::Entry;

/// How many of the newest records are looked at after the server has been away.
const CATCH_UP: usize = 1_000;
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Follows a query until it is interrupted or nobody reads any more.
pub(super) fn run(
    client: &Client,
    url: &str,
    text: &str,
    query: &Query,
    last: usize,
    mut writer: Writer,
) -> Result<(), Failure> {
    if matches!(writer.format(), QueryFormat::Csv | QueryFormat::Text) {
        return Err(Failure::usage("--follow: use --format pretty or json"));
    }
    let mut newest = String::new();
    let mut tail = client.tail(query, last).map_err(|error| Failure::reading(url, text, error))?;
    loop {
        let reason = match show(&mut tail, &mut writer, &mut newest)? {
            Some(error) => error.to_string(),
            None => "the server has ended the answer".to_owned(),
        };
        writer.flush()?;
        eprintln!("sluice: {url}: {reason}; trying again");
        tail = again(client, url, text, query)?;
        eprintln!("sluice: {url}: connected again");
    }
}

/// Shows what comes, up to the end of the answer, and says why it ended.
fn show(tail: &mut Tail, writer: &mut Writer, newest: &mut String) -> Result<Option<ReadError>, Failure> {
    loop {
        match tail.next_event() {
            Ok(Some(TailEvent::Record(record))) => {
                if is_newer(record, newest) {
                    writer.line(record)?;
                }
            }
            Ok(Some(TailEvent::Missed(count))) => {
                writer.flush()?;
                let noun = if count == 1 { "record" } else { "records" };
                eprintln!("sluice: {count} {noun} missed: they came faster than they could be shown");
            }
            Ok(None) => return Ok(None),
            Err(error) => return Ok(Some(error)),
        }
        if !tail.has_buffered() {
            writer.flush()?;
        }
    }
}

/// Asks until the server answers, or refuses.
fn again(client: &Client, url: &str, text: &str, query: &Query) -> Result<Tail, Failure> {
    let mut pause = PAUSE_MIN;
    loop {
        thread::sleep(pause);
        match client.tail(query, CATCH_UP) {
            Ok(tail) => return Ok(tail),
            Err(error @ ReadError::Refused(_)) => return Err(Failure::reading(url, text, error)),
            Err(_) => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
}

/// True for a record that has not been shown yet. `newest` is the greatest id so far: ids are texts of one length whose
/// order is that of their arrival.
fn is_newer(record: &[u8], newest: &mut String) -> bool {
    let id = Entry::parse(record).ok().and_then(|entry| entry.text("id").map(|id| id.into_owned()));
    let Some(id) = id else { return true };
    if id <= *newest {
        return false;
    }
    *newest = id;
    true
}

/// Some fields of a record, each with its exact JSON.
pub(super) fn select(record: &[u8], fields: &[String]) -> Option<Vec<(String, String)>> {
    Some(Entry::parse(record).ok()?.select(fields))
}

/// The fields as an object.
pub(super) fn to_json(fields: &[(String, String)]) -> String {
    let members: Vec<String> =
        fields.iter().map(|(name, json)| format!("{}:{json}", serde_json::Value::from(name.as_str()))).collect();
    format!("{{{}}}", members.join(","))
}
