//! What happens at the limits: refused before it is acknowledged, with the limit's name, and to be tried again.

use serde_json::json;

use crate::support::http::Answer;
use crate::support::server::{Server, wait_for};

/// A store that is never there: nothing listens on this port.
const NO_STORE: [&str; 2] = ["--store", "mongodb://127.0.0.1:1/"];

/// Sends a record of so many bytes until one is refused; returns how many were accepted, and the refusal.
fn fill(server: &Server, bytes: usize) -> (usize, Answer) {
    let record = format!("{{\"message\":\"{}\"}}", "x".repeat(bytes));
    for accepted in 0..1000 {
        let answer = server.http.post("/logs/batch", &record);
        if answer.status != 202 {
            return (accepted, answer);
        }
    }
    panic!("the spool is never full");
}

#[test]
fn a_full_spool_refuses_by_name_and_loses_nothing() {
    let limits = ["--spool-bytes-max", "2MiB", "--spool-segment-bytes", "1MiB"];
    let server = Server::start(&[&NO_STORE[..], &limits].concat());
    let (large, refusal) = fill(&server, 100 << 10);
    assert!((5..=20).contains(&large), "{large} of 100 KiB each");
    assert_eq!(refusal.status, 503, "{}", refusal.text());
    assert!(refusal.headers.contains_key("retry-after"));
    let detail = refusal.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("spool.bytes_max") && detail.contains("2097152"), "{detail}");
    assert_eq!(server.http.get("/ready").status, 200, "small records still fit");
    let (small, _) = fill(&server, 10);
    let accepted = large + small;
    let ready = server.http.get("/ready");
    assert_eq!(ready.status, 503, "a node that accepts nothing is not ready");
    let ready = ready.json();
    assert_eq!((&ready["writable"], &ready["queue_records"]), (&json!(false), &json!(accepted)), "{ready}");

    let server = server.start_again();
    assert_eq!(server.http.get("/ready").json()["queue_records"], json!(accepted), "all are there after a kill");
}

#[test]
fn reads_of_a_store_that_is_away_are_refused_at_once() {
    let server = Server::start(&[&NO_STORE[..], &["--breaker-failures", "1"]].concat());
    assert_eq!(server.http.post("/logs", "{\"message\":\"kept\"}").status, 202);
    let refused = wait_for("the breaker to open", || {
        let answer = server.http.get("/logs");
        assert_eq!(answer.status, 503, "{}", answer.text());
        answer.text().contains("breaker").then_some(answer)
    });
    insta::assert_snapshot!("breaker_open", super::shown(&refused));
    assert_eq!((server.http.get("/ready").status, server.http.get("/ready?for=read").status), (200, 503));
}

#[test]
fn bodies_in_hand_are_bounded() {
    use std::io::Write;
    let limits = ["--limits-body-bytes", "1MiB", "--limits-record-bytes", "8KiB", "--limits-inflight-bytes", "2MiB"];
    let server = Server::start(&limits);
    let address = server.url().strip_prefix("http://").unwrap();
    let stalled: Vec<_> = (0..2)
        .map(|_| {
            let mut connection = std::net::TcpStream::connect(address).unwrap();
            let head =
                "POST /logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 700000\r\n\r\n{";
            connection.write_all(head.as_bytes()).unwrap();
            connection
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let large = server.http.post("/logs/batch", &format!("[{}]", " ".repeat(900_000)));
    assert_eq!(large.status, 503, "{}", large.text());
    assert!(large.text().contains("limits.inflight_bytes") && large.headers.contains_key("retry-after"));
    assert_eq!(server.http.post("/logs", "{\"message\":\"small\"}").status, 202, "small bodies have room of their own");
    drop(stalled);
    wait_for("room for a large body", || {
        let again = server.http.post("/logs/batch", &format!("[{}]", " ".repeat(900_000)));
        (again.status == 202).then_some(())
    });
}

#[test]
fn a_connection_past_the_limit_is_told_so() {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    let server = Server::start(&["--limits-connections", "2"]);
    let address = server.url().strip_prefix("http://").unwrap();
    let ask = |connection: &mut TcpStream, path: &str| {
        connection.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let length = connection.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let mut within: Vec<_> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    for connection in &mut within {
        assert!(ask(connection, "/health").starts_with("HTTP/1.1 200"));
    }
    let mut past = TcpStream::connect(address).unwrap();
    assert!(ask(&mut past, "/health").starts_with("HTTP/1.1 200"), "the process lives");
    let refused = ask(&mut past, "/logs").to_lowercase();
    assert!(refused.starts_with("http/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("limits.connections is reached: 3 of 2 connections are open"), "{refused}");
    assert!(refused.contains("connection: close"), "{refused}");
    assert!(ask(&mut within[0], "/logs").starts_with("HTTP/1.1 200"));
    drop(within);
    wait_for("a place", || {
        let mut next = TcpStream::connect(address).ok()?;
        ask(&mut next, "/logs").starts_with("HTTP/1.1 200").then_some(())
    });
}
