//! What clients send, in our own log and metrics.

use serde_json::json;

use super::{PATIENCE, connect, exchange, until_closed};
use crate::support::server::{Server, wait_for};

/// Would be a line of its own, in red.
const FORGED: &str = "\u{1b}[31mx\r\n2026-01-01T00:00:00.000000000Z ERROR FORGED\n";

/// Sends the forged line in all places that take text.
fn forge_everywhere(server: &Server) {
    let encoded: String = FORGED.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let record = json!({ "service": FORGED, "level": FORGED, "message": FORGED, FORGED: FORGED, "timestamp": FORGED });
    assert_eq!(server.http.post("/logs", &record.to_string()).status, 400);
    let record = json!({ "service": FORGED, "level": "error", "message": FORGED, FORGED: FORGED });
    assert_eq!(server.http.post("/logs", &record.to_string()).status, 202);
    for path in [
        format!("/{encoded}"),
        format!("/logs?q={encoded}"),
        format!("/logs?{encoded}=1"),
        format!("/logs?service={encoded}"),
        format!("/logs?cursor={encoded}"),
        format!("/logs?startTime={encoded}"),
        format!("/logs/batch?message_field={encoded}"),
    ] {
        server.http.get(&path);
        server.http.post(&path, &record.to_string());
    }
    for head in [
        format!("GET /{FORGED} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {FORGED}\r\n\r\n"),
        format!("{FORGED} / HTTP/1.1\r\nHost: x\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: \u{1b}[31mFORGED\r\nConnection: close\r\n\r\n".to_owned(),
        "POST /logs HTTP/1.1\r\nHost: x\r\nContent-Type: \u{1b}FORGED\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
        "POST /logs HTTP/1.1\r\nHost: x\r\nContent-Encoding: \u{9b}FORGED\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
        "POST /logs HTTP/1.1\r\nHost: x\r\nIdempotency-Key: \u{9b}FORGED\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]".to_owned(),
    ] {
        exchange(server, head.as_bytes());
    }
}

#[test]
fn no_client_writes_a_log_line() {
    for format in ["text", "json"] {
        let mut server = Server::start(&["--log-format", format]);
        let before = server.log().lines().count();
        forge_everywhere(&server);
        server.signal("TERM");
        server.wait();
        let log = wait_for("the end of the log", || Some(server.log()).filter(|log| log.contains("stopped")));
        assert!(!log.contains(['\u{1b}', '\u{9b}', '\r']), "{format}: {log:?}");
        let forged = log.lines().any(|line| line.contains("FORGED"));
        assert!(!forged, "{format}: {log}");
        assert!(log.lines().count() < before + 10, "no client fills the log: {log}");
    }
}

/// The lines of `/metrics`, without their values.
fn series(server: &Server) -> Vec<String> {
    let text = server.http.get("/metrics").text().to_owned();
    text.lines().map(|line| line.rsplit_once(' ').map_or(line, |(name, _)| name).to_owned()).collect()
}

#[test]
fn no_client_grows_the_metrics() {
    const MANY: usize = 10_000;
    let server = Server::start(&[]);
    forge_everywhere(&server);
    let before = series(&server);
    let batch: String =
        (0..MANY).map(|n| format!("{{\"service\":\"s{n}\",\"message\":\"m\",\"a{}\":{n}}}\n", n % 5000)).collect();
    assert_eq!(server.http.post("/logs/batch", &batch).status, 202);
    for kind in ["path", "key", "method", "agent"] {
        let requests: String = (0..MANY / 4)
            .map(|n| match kind {
                "path" => format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n"),
                "key" => {
                    format!("POST /logs HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {n}\r\nContent-Length: 2\r\n\r\n[]")
                }
                "method" => format!("M{n} /logs HTTP/1.1\r\nHost: x\r\n\r\n"),
                _ => format!("GET /logs?unknown{n}=1 HTTP/1.1\r\nHost: h{n}\r\nUser-Agent: {n}\r\n\r\n"),
            })
            .collect();
        flood(&server, requests, MANY / 4);
    }
    let after = series(&server);
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(new.len() < 20, "{} new series: {:?}", new.len(), &new[..20]);
    assert!(after.len() < 2000, "{} series", after.len());
}

/// Sends requests on one connection while their answers are read.
fn flood(server: &Server, requests: String, count: usize) {
    use std::io::Write;
    let connection = connect(server);
    let mut writing = connection.try_clone().unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let sender = std::thread::spawn(move || {
        writing.write_all(requests.as_bytes()).unwrap();
        writing.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    });
    let answers = until_closed(connection);
    sender.join().unwrap();
    assert_eq!(answers.matches("HTTP/1.1 ").count(), count + 1);
}
