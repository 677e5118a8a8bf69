//! Hostile input against the real server: whatever is sent, it is answered or cut in bounded time and memory, nothing of
//! it is kept that should not be, and the next request is served.

mod bodies;
mod framing;
mod json;
mod logs;
mod reading;
mod slow;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::server::Server;

/// A sound record.
pub const RECORD: &str = r#"{"message":"sound"}"#;

/// How long an answer may take here; nothing that is sent needs a second, but other tests run beside these.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Opens a connection.
pub fn connect(server: &Server) -> TcpStream {
    let connection = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection
}

/// Sends bytes as they are on a connection of their own, and gives all that comes back until the server closes it.
pub fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut connection = connect(server);
    // A server that has read enough closes its side while the rest is still on its way.
    let _ = connection.write_all(bytes);
    until_closed(connection)
}

/// What comes until the server closes the connection.
pub fn until_closed(mut connection: TcpStream) -> String {
    let begin = Instant::now();
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    assert!(begin.elapsed() < PATIENCE, "still open: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request to accept records, with further header lines, after which the server closes the connection.
pub fn post(headers: &str, body: &str) -> Vec<u8> {
    let head = "POST /logs/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n";
    format!("{head}{headers}\r\n{body}").into_bytes()
}

/// The status of the first answer in what came back.
pub fn status(answer: &str) -> u16 {
    let line = answer.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    line[..3].parse().unwrap()
}

/// Checks that the server goes on serving, and that it has `count` records and the one that is sent now.
pub fn assert_serves(server: &Server, count: usize) {
    assert_eq!(server.http.post("/logs", RECORD).status, 202);
    let found = server.http.get_with("/logs", &[("accept", "application/x-ndjson")]);
    assert_eq!(found.text().lines().count(), count + 1, "{}", found.text());
}
