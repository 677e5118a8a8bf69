//! Where one request ends and the next begins: a client and a proxy before us must never see it differently.

use super::{RECORD, assert_serves, exchange, post, status};
use crate::support::server::Server;

/// A second request, as it would be hidden in the body of a first.
const HIDDEN: &str = "POST /logs HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"message\":\"hidden\"}";

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let server = Server::start(&[]);
    let length = RECORD.len();
    let chunked = format!("{length:x}\r\n{RECORD}\r\n0\r\n\r\n");
    let cases: Vec<(String, String)> = [
        (format!("Content-Length: {length}\r\nContent-Length: 3\r\n"), RECORD),
        (format!("Content-Length: {length}\r\nContent-Length: {length}\r\n"), RECORD),
        (format!("Content-Length: {length}, {length}\r\n"), RECORD),
        ("Content-Length: -1\r\n".to_owned(), RECORD),
        (format!("Content-Length: +{length}\r\n"), RECORD),
        (format!("Content-Length: {length:#x}\r\n"), RECORD),
        ("Content-Length: 99999999999999999999\r\n".to_owned(), RECORD),
        ("Content-Length: \r\n".to_owned(), RECORD),
        (format!("Content-Length : {length}\r\n"), RECORD),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: xchunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: \u{b}chunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding : chunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: gzip, chunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: chunked, gzip\r\n".to_owned(), &chunked),
        (format!("Transfer-Encoding: identity\r\nContent-Length: {length}\r\n"), RECORD),
        (format!("X: a\r\n folded: b\r\nContent-Length: {length}\r\n"), RECORD),
        (format!("X: a\rContent-Length: 3\r\nContent-Length: {length}\r\n"), RECORD),
        (format!("X: a\0b\r\nContent-Length: {length}\r\n"), RECORD),
    ]
    .into_iter()
    .map(|(headers, body)| (headers, body.to_owned()))
    .collect();
    for (headers, body) in cases {
        let answer = exchange(&server, &post(&headers, &(body + HIDDEN)));
        assert_eq!(status(&answer), 400, "{headers:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one answer, then the end: {headers:?}: {answer}");
    }
    for head in [
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /health HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{1b}[31m HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /logs HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\r\n\r\n",
    ] {
        let answer = exchange(&server, head.as_bytes());
        assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), (400, 1), "{head:?}: {answer}");
    }
    assert_serves(&server, 0);
}

#[test]
fn chunks_that_lie_are_refused() {
    let server = Server::start(&[]);
    let length = RECORD.len();
    for body in [
        format!("{length:x}\n{RECORD}\n0\n\n"),
        format!("{length:x};a\n{RECORD}\r\n0\r\n\r\n"),
        format!("{length:x}\r\n{RECORD}0\r\n\r\n"),
        format!("5\r\n{RECORD}\r\n0\r\n\r\n"),
        format!("-{length:x}\r\n{RECORD}\r\n0\r\n\r\n"),
        format!("0x{length:x}\r\n{RECORD}\r\n0\r\n\r\n"),
        format!("1000000000000000{length:x}\r\n{RECORD}\r\n0\r\n\r\n"),
        format!("\r\n{RECORD}\r\n0\r\n\r\n"),
    ] {
        let answer = exchange(&server, &post("Transfer-Encoding: chunked\r\n", &(body.clone() + HIDDEN)));
        assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), (400, 1), "{body:?}: {answer}");
    }
    let answer = exchange(&server, &post("Content-Length: 18446744073709551615\r\n", RECORD));
    assert_eq!(status(&answer), 413, "{answer}");
    let cut = exchange(&server, &post("Content-Length: 5\r\n", RECORD));
    // What is left of the body is no request.
    assert!(status(&cut) == 400 && !cut.contains("HTTP/1.1 2"), "{cut}");
    assert_serves(&server, 0);
}

#[test]
fn odd_framing_that_is_sound_is_understood() {
    let server = Server::start(&[]);
    let length = RECORD.len();
    let chunked = format!("{length:x}\r\n{RECORD}\r\n0\r\n\r\n");
    let extended = format!("{length:x};a=b;c=\"d\"\r\n{RECORD}\r\n0;x\r\n\r\n");
    let long = format!("{length:x};{}\r\n{RECORD}\r\n0\r\n\r\n", "a".repeat(20_000));
    let trailers = format!("{length:x}\r\n{RECORD}\r\n0\r\nContent-Length: 3\r\nX: y\r\n\r\n");
    let zeros = format!("{length:0>100x}\r\n{RECORD}\r\n0\r\n\r\n");
    let requests = [
        post("Transfer-Encoding: cHuNkEd\r\n", &chunked),
        post("Transfer-Encoding: chunked\r\n", &extended),
        post("Transfer-Encoding: chunked\r\n", &long),
        post("Transfer-Encoding: chunked\r\n", &trailers),
        post("Transfer-Encoding: chunked\r\n", &zeros),
        format!("POST /logs HTTP/1.1\nHost: x\nConnection: close\nContent-Length: {length}\n\n{RECORD}").into_bytes(),
    ];
    for request in &requests {
        let answer = exchange(&server, request);
        assert_eq!(status(&answer), 202, "{}: {answer}", String::from_utf8_lossy(request));
    }
    assert_serves(&server, requests.len());
}

#[test]
fn heads_of_any_size_are_refused_in_little_memory() {
    let server = Server::start(&[]);
    let many: String = (0..200).map(|n| format!("X{n}: y\r\n")).collect();
    let long: String = (0..1000).map(|n| format!("X{n}: {}\r\n", "y".repeat(1000))).collect();
    for (request, expected) in [
        (format!("GET /logs?q={} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000)), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1_000_000)), 431),
        (format!("GET /health HTTP/1.1\r\nHost: x\r\n{many}\r\n"), 431),
        (format!("GET /health HTTP/1.1\r\nHost: x\r\n{long}\r\n"), 431),
        (format!("GET /health HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(1_000_000)), 431),
    ] {
        // The rest of what was sent may meet a closed connection, whose reset takes the answer with it.
        let answer = exchange(&server, request.as_bytes());
        assert!(answer.is_empty() || status(&answer) == expected, "{}: {answer}", &request[..60]);
    }
    assert_serves(&server, 0);
    assert!(server.peak_memory_mib() < 200, "{} MiB", server.peak_memory_mib());
}

#[test]
fn a_flood_on_one_connection_is_answered_in_order() {
    const REQUESTS: usize = 3000;
    let server = Server::start(&[]);
    let get = "GET /logs/00000000000000000000000000 HTTP/1.1\r\nHost: x\r\n\r\n";
    let close = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = exchange(&server, (get.repeat(REQUESTS) + close).as_bytes());
    assert_eq!(answers.matches("HTTP/1.1 404").count(), REQUESTS);
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1);
    assert!(server.peak_memory_mib() < 200, "{} MiB", server.peak_memory_mib());
}

#[test]
fn no_path_leads_out() {
    let server = Server::start(&[]);
    let close = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for path in [
        "/../../etc/passwd",
        "/logs/../../../etc/passwd",
        "/logs/..%2f..%2fetc%2fpasswd",
        "/logs/%2e%2e/%2e%2e/lock",
        "/logs/%00",
        "/logs/....//....//lock",
        "//etc/passwd",
        "/logs/batch/../../lock",
        "/x%0d%0aSet-Cookie:%20a=b",
        "*",
    ] {
        let answer = exchange(&server, format!("GET {path} {close}").as_bytes());
        assert_eq!(status(&answer), 404, "{path}: {answer}");
        assert!(!answer.contains("root:") && !answer.to_lowercase().contains("\r\nset-cookie"), "{path}: {answer}");
    }
}
