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
    let mut shown = Shown::default();
    let mut tail = client.tail(query, last).map_err(|error| Failure::reading(url, text, error))?;
    loop {
        let reason = match show(&mut tail, &mut writer, &mut shown)? {
            Some(error) => error.to_string(),
            None => "the server has ended the answer".to_owned(),
        };
        writer.flush()?;
        eprintln!("sluice: {url}: {reason}; trying again");
        tail = again(client, url, text, query)?;
        shown.before = shown.newest.clone();
        eprintln!("sluice: {url}: connected again");
    }
}

/// Shows what comes, up to the end of the answer, and says why it ended.
fn show(tail: &mut Tail, writer: &mut Writer, shown: &mut Shown) -> Result<Option<ReadError>, Failure> {
    loop {
        match tail.next_event() {
            Ok(Some(TailEvent::Record(record))) => {
                if shown.is_new(record) {
                    writer.line(record)?;
                }
            }
            Ok(Some(TailEvent::Missed { matches, passed_over })) => {
                writer.flush()?;
                eprintln!("sluice: {}", missed(matches, passed_over));
            }
            Ok(None) => return Ok(None),
            Err(error) => return Ok(Some(error)),
        }
        if !tail.has_buffered() {
            writer.flush()?;
        }
    }
}

/// What a gap is, in words.
fn missed(matches: u64, passed_over: u64) -> String {
    let s = |count: u64| if count == 1 { "" } else { "s" };
    let mut parts = Vec::new();
    if matches > 0 {
        parts.push(format!("{matches} record{} missed", s(matches)));
    }
    if passed_over > 0 {
        parts.push(format!("{passed_over} record{} passed over, matching or not", s(passed_over)));
    }
    format!("{}: they came faster than they could be shown", parts.join(", "))
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

/// What has been shown, by its ids: texts of one length, whose order is that of their arrival.
#[derive(Default)]
struct Shown {
    /// The greatest of all.
    newest: String,
    /// The greatest when the connection was made: what is above it is new, in whatever order it comes.
    before: String,
}

impl Shown {
    /// True for a record that has not been shown yet.
    fn is_new(&mut self, record: &[u8]) -> bool {
        let id = Entry::parse(record).ok().and_then(|entry| entry.text("id").map(|id| id.into_owned()));
        let Some(id) = id else { return true };
        let is_new = id > self.before;
        self.newest = id.max(std::mem::take(&mut self.newest));
        is_new
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_reconnection_only_what_is_new_is_shown() {
        let mut shown = Shown::default();
        let is_new = |shown: &mut Shown, id: &str| shown.is_new(format!("{{\"id\":\"{id}\"}}").as_bytes());
        // Those from before are in the order of their times.
        assert!(["B", "A", "C"].into_iter().all(|id| is_new(&mut shown, id)));
        shown.before = shown.newest.clone();
        let again: Vec<bool> = ["E", "A", "B", "C", "D"].into_iter().map(|id| is_new(&mut shown, id)).collect();
        assert_eq!(again, [true, false, false, false, true]);
        assert_eq!(shown.newest, "E");
    }

    #[test]
    fn gaps_are_told() {
        assert_eq!(missed(1, 0), "1 record missed: they came faster than they could be shown");
        assert!(missed(2, 3).starts_with("2 records missed, 3 records passed over, matching or not: "));
    }

    #[test]
    fn selected_fields_are_an_object_in_their_order() {
        let record = br#"{"id":"1","message":"m","attributes":{"n":1.0}}"#;
        let fields = select(record, &["n".to_owned(), "message".to_owned(), "absent".to_owned()]).unwrap();
        assert_eq!(to_json(&fields), r#"{"n":1.0,"message":"m"}"#);
        assert!(select(b"[]", &[]).is_none());
    }
}
