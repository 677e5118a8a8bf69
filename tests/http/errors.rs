//! What is refused, and how it is said.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{ORIGINAL_BATCH, shown};
use crate::support::server::Server;

#[test]
fn every_refusal_says_what_is_wrong() {
    let server = Server::start(&[]);
    for (name, path) in [
        ("unknown_parameter", "/logs/retrieve?logLevl=error"),
        ("unknown_parameter_beside_q", "/logs?q=a&b=1"),
        ("bad_level", "/logs?logLevel=loud"),
        ("bad_limit", "/logs?limit=0"),
        ("bad_order", "/logs?order=up"),
        ("bad_time", "/logs?startTime=yesterday"),
        ("times_reversed", "/logs?startTime=2024-10-08T00:00:00Z&endTime=2024-10-07T00:00:00Z"),
        ("query_operator", "/logs?q=error%20OR"),
        ("query_field", "/logs?q=status:%3E500"),
        ("query_logql", "/logs?q=%7Bapp%3D%22x%22%7D"),
        ("unknown_path", "/nothing"),
        ("no_such_record", "/logs/01J9M2CN0000000000000000G7"),
        ("ready_for_what", "/ready?for=lunch"),
    ] {
        insta::assert_snapshot!(name, shown(&server.http.get(path)));
    }
    insta::assert_snapshot!("method_not_allowed", shown(&server.http.send("DELETE", "/logs")));
}

#[test]
fn every_bad_body_is_refused_whole() {
    let server = Server::start(&[
        "--limits-batch-records",
        "5",
        "--limits-body-bytes",
        "64KiB",
        "--limits-record-bytes",
        "8KiB",
    ]);
    let json = ("content-type", "application/json");
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (name, body, headers) in [
        ("empty_body", "", vec![json]),
        ("no_json", "hello", vec![json]),
        ("cut_short", "[{\"message\":\"a\"}", vec![json]),
        (
            "bad_records",
            r#"[{"level":"loud","message":"a"},{"timestamp":"soon","message":"b"},{},{"a":1,"a":2}]"#,
            vec![json],
        ),
        ("too_many_records", r#"[{"a":1},{"a":1},{"a":1},{"a":1},{"a":1},{"a":1}]"#, vec![json]),
        ("form_encoded", ORIGINAL_BATCH, vec![form]),
        ("unknown_encoding", ORIGINAL_BATCH, vec![json, ("content-encoding", "rot13")]),
        ("not_gzip", ORIGINAL_BATCH, vec![json, ("content-encoding", "gzip")]),
        ("bad_parameter", ORIGINAL_BATCH, vec![json]),
    ] {
        let path = if name == "bad_parameter" { "/logs/batch?ack=never" } else { "/logs/batch" };
        insta::assert_snapshot!(name, shown(&server.http.post_with(path, body.as_bytes(), &headers)));
    }
    assert_eq!(server.http.get("/logs").text(), "[]");
}

#[test]
fn a_decompression_bomb_stops_at_the_limit() {
    let server = Server::start(&["--limits-body-bytes", "1MiB"]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let spaces = vec![b' '; 1 << 20];
    (0..200).for_each(|_| encoder.write_all(&spaces).unwrap());
    let bomb = encoder.finish().unwrap();
    let answer = server.http.post_with("/logs/batch", &bomb, &[("content-encoding", "gzip")]);
    insta::assert_snapshot!("bomb", shown(&answer));
    let large = server.http.post_with("/logs/batch", &spaces.repeat(2), &[]);
    assert_eq!(large.status, 413, "{}", large.text());
    assert_eq!(server.http.post("/logs/batch", ORIGINAL_BATCH).status, 202);
}

#[test]
fn requests_are_answered_in_order_on_one_connection() {
    let server = Server::start(&[]);
    let mut connection = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    let record = r#"{"message":"pipelined"}"#;
    let post = format!(
        "POST /logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{record}",
        record.len()
    );
    let get = "GET /logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    connection.write_all(format!("{post}{post}{get}").as_bytes()).unwrap();
    let mut answers = String::new();
    connection.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 202").count(), 2, "{answers}");
    assert_eq!(answers.matches("\"message\":\"pipelined\"").count(), 2, "{answers}");
}

#[test]
fn a_body_that_stalls_is_timed_out() {
    let server = Server::start(&["--limits-client-timeout", "500ms"]);
    let mut connection = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("limits.client_timeout"), "{answer}");
}
