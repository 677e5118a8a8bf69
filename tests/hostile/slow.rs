//! Clients that take their time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{RECORD, assert_serves, connect, status, until_closed};
use crate::support::server::Server;

/// A server that waits for a client for half a second.
fn impatient() -> Server {
    Server::start(&["--limits-client-timeout", "500ms"])
}

/// Sends `piece` again and again until there is an answer; gives that, and how long it took.
fn drip(mut connection: TcpStream, piece: &[u8]) -> (String, Duration) {
    let begin = Instant::now();
    connection.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = [0; 1000];
    while begin.elapsed() < super::PATIENCE {
        match connection.read(&mut answer) {
            Ok(length) => return (String::from_utf8_lossy(&answer[..length]).into_owned(), begin.elapsed()),
            Err(_) => drop(connection.write_all(piece)),
        }
    }
    panic!("no answer to a client that drips");
}

#[test]
fn slow_heads_are_cut_and_hold_up_nobody() {
    let server = impatient();
    let heads = ["", "G", "PRI * HTT", "GET /health HTTP/1.1\r\nHost: x\r\nX: "];
    let connections: Vec<TcpStream> = heads
        .into_iter()
        .cycle()
        .take(200)
        .map(|head| {
            let mut connection = connect(&server);
            connection.write_all(head.as_bytes()).unwrap();
            connection
        })
        .collect();
    assert_serves(&server, 0);
    for connection in connections {
        let answer = until_closed(connection);
        assert_eq!(status(&answer), 408, "{answer}");
    }
    let mut dripping = connect(&server);
    dripping.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX: ").unwrap();
    let (answer, took) = drip(dripping, b"y");
    assert_eq!(status(&answer), 408, "{answer}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn slow_bodies_are_cut_and_give_back_their_room() {
    let limits = ["--limits-body-bytes", "1MiB", "--limits-record-bytes", "8KiB", "--limits-inflight-bytes", "2MiB"];
    let server = Server::start(&[&limits[..], &["--limits-client-timeout", "500ms"]].concat());
    let head = "POST /logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let open = |framing: &str| {
        let mut connection = connect(&server);
        connection.write_all(format!("{head}{framing}").as_bytes()).unwrap();
        connection
    };
    // Each of these asks for most of the room there is, so that the next comes after it is given back.
    for framing in ["Content-Length: 900000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"] {
        let (answer, took) = drip(open(framing), b" ");
        assert_eq!(status(&answer), 408, "{framing:?}: {answer}");
        assert!(took < Duration::from_secs(10), "{framing:?}: {took:?}");
        let large = format!("[{RECORD}{}]", " ".repeat(900_000));
        let answer = server.http.post("/logs/batch", &large);
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let stalled: Vec<_> = (0..50).map(|_| open("Content-Length: 100\r\n\r\n{")).collect();
    for connection in stalled {
        assert_eq!(status(&until_closed(connection)), 408);
    }
    assert_serves(&server, 2);
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let server = Server::start(&[]);
    for length in 0..RECORD.len() {
        let mut connection = connect(&server);
        let request = format!("POST /logs HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", RECORD.len());
        connection.write_all(request.as_bytes()).unwrap();
        connection.write_all(&RECORD.as_bytes()[..length]).unwrap();
        connection.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = until_closed(connection);
        assert!(answer.is_empty() || status(&answer) == 400, "{length}: {answer}");
    }
    assert_serves(&server, 0);
}
