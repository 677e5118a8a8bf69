//! The HTTP API of the real server: every body once, word for word.

mod context;
mod counting;
mod errors;
mod explain;
mod export;
mod limits;
mod query;
mod reading;
mod status;
mod tail;
mod writing;

use crate::support::http::Answer;
use crate::support::server::Server;

/// The original aggregator's batch, word for word.
pub const ORIGINAL_BATCH: &str = r#"[
  {"timestamp": "2024-10-07T21:15:00Z", "level": "WARNING", "message": "Disk usage at 91%"},
  {"timestamp": "2024-10-07T22:00:00Z", "level": "ERROR", "message": "Connection timeout to db-1"},
  {"timestamp": "2024-10-07T23:30:00Z", "level": "INFO", "message": "Backup finished"}
]"#;

/// The answer as a snapshot shows it: status, the headers that matter, and the body with its ids replaced.
pub fn shown(answer: &Answer) -> String {
    let mut shown = format!("{}\n", answer.status);
    for name in ["content-type", "allow", "accept", "link", "sluice-incomplete", "sluice-hint"] {
        if let Some(value) = answer.headers.get(name) {
            shown += &format!("{name}: {value}\n");
        }
    }
    if answer.headers.contains_key("retry-after") {
        shown += "retry-after: set\n";
    }
    shown + "\n" + &without_ids(answer.text())
}

/// The text with every record id replaced by `ID`.
pub fn without_ids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\"id\":\"") {
        let (before, after) = rest.split_at(at + 6);
        out += before;
        out += "ID";
        rest = &after[26..];
    }
    out + rest
}

/// A server with the original batch in it.
pub fn with_original_batch() -> Server {
    let server = Server::start(&[]);
    assert_eq!(server.http.post("/logs/batch", ORIGINAL_BATCH).status, 202);
    server
}
