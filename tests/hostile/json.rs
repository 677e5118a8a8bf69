//! JSON that is valid, or nearly so, and meant to hurt.

use std::time::Instant;

use serde_json::{Value, json};

use super::{PATIENCE, RECORD, assert_serves};
use crate::support::server::Server;

fn bad(server: &Server, what: &str, body: &[u8]) {
    let begin = Instant::now();
    let answer = server.http.post_with("/logs/batch", body, &[]);
    assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    assert!(answer.body.len() < 64 << 10, "{what}: an answer of {} bytes", answer.body.len());
    assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", begin.elapsed());
}

#[test]
fn depth_and_width_are_refused_in_bounded_time_and_memory() {
    const MANY: usize = 1_000_000;
    let server = Server::start(&[]);
    let deep = 100_000;
    let names =
        |from: usize, count: usize| (from..from + count).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(",");
    for (what, body) in [
        ("arrays", "[".repeat(deep)),
        ("arrays that end", "[".repeat(deep) + &"]".repeat(deep)),
        ("objects", "{\"a\":".repeat(deep) + "1" + &"}".repeat(deep)),
        ("objects without end", "{\"a\":".repeat(deep)),
        ("an attribute", format!("{{\"a\":{}{}}}", "[".repeat(deep), "]".repeat(deep))),
        ("both", format!("{{\"a\":{}1{}}}", "[{\"b\":".repeat(deep), "}]".repeat(deep))),
        ("one name a level", format!("{}1{}", "{\"\":".repeat(deep), "}".repeat(deep))),
        ("a million names in a record", format!("{{{}}}", names(0, MANY))),
        (
            "a million names in a batch",
            (0..MANY / 200).map(|n| format!("{{{}}}\n", names(n * 200, 200))).collect::<String>(),
        ),
        ("one name a million times", format!("{{{}\"message\":1}}", "\"a\":1,".repeat(MANY))),
        ("an absent level a million times", format!("{{{}\"message\":1}}", "\"level\":\"\",".repeat(MANY))),
        (
            "an absent level in a million spellings",
            format!("{{{}\"message\":1}}", "\"lvl\":null,\"level\":\"\",".repeat(MANY)),
        ),
        ("quotes without end", "{\"message\":\"".repeat(MANY)),
        ("lines without sense", "{\"level\":\"x\"}\n".repeat(90_000)),
        ("commas", format!("[{}]", ",".repeat(MANY))),
        ("a line that is not closed, over and over", "{\"a\":[\n".repeat(MANY / 16)),
    ] {
        bad(&server, what, body.as_bytes());
    }
    assert_serves(&server, 0);
    assert!(server.peak_memory_mib() < 600, "{} MiB", server.peak_memory_mib());
}

#[test]
fn text_that_is_no_unicode_is_refused() {
    let server = Server::start(&[]);
    let invalid: [&[u8]; 13] = [
        b"\x80", // a continuation alone
        b"\xbf",
        b"\xc3",     // a lead byte alone
        b"\xe6\x97", // cut short
        b"\xf0\x9f\x98",
        b"\xc0\xaf", // longer than need be
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xed\xa0\x80", // half a surrogate pair
        b"\xed\xb0\x80",
        b"\xf4\x90\x80\x80", // past the last character
        b"\xfe",             // no byte of UTF-8
        b"\xff",
    ];
    for bytes in invalid {
        let [message, name, value, outside] = [
            [b"{\"message\":\"a", bytes, b"z\"}"].concat(),
            [b"{\"message\":\"m\",\"a", bytes, b"\":1}"].concat(),
            [b"{\"message\":\"m\",\"a\":[\"", bytes, b"\"]}"].concat(),
            [b"{\"message\":\"m\"}", bytes].concat(),
        ];
        for body in [message, name, value, outside] {
            bad(&server, &format!("{bytes:x?}"), &body);
        }
    }
    for escape in
        ["\\ud800", "\\udc00", "\\ud800\\ud800", "\\ud800x", "\\udbff\\u0041", "\\u12g4", "\\u123", "\\x41", "\\u+123"]
    {
        bad(&server, escape, format!("{{\"message\":\"{escape}\"}}").as_bytes());
        bad(&server, escape, format!("{{\"message\":\"m\",\"{escape}\":1}}").as_bytes());
    }
    for control in (0..0x20).map(char::from) {
        bad(&server, "a control character", format!("{{\"message\":\"a{control}z\"}}").as_bytes());
    }
    for body in ["\0{\"message\":\"m\"}", "{\"message\":\"m\"}\0", "{\0\"message\":\"m\"}"] {
        bad(&server, "NUL outside of strings", body.as_bytes());
    }
    assert_serves(&server, 0);
}

#[test]
fn odd_values_come_back_as_they_were() {
    let server = Server::start(&[]);
    let digits = "9".repeat(100_000);
    let odd: Vec<String> = vec![
        digits.clone(),
        format!("-0.{digits}"),
        format!("1e{digits}"),
        "-0".to_owned(),
        "1E+400".to_owned(),
        "5e-324".to_owned(),
        "9223372036854775808".to_owned(),
        r#""\u0000\u001b[31m\u2028\ufffe\ufeff""#.to_owned(),
        r#""\u202e\ud83d\ude00""#.to_owned(),
        "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]".to_owned(),
    ];
    for (n, value) in odd.iter().enumerate() {
        let answer =
            server.http.post("/logs", &format!("{{\"message\":\"m\",\"timestamp\":{n},\"a\\u0000b\":{value}}}"));
        assert_eq!(answer.status, 202, "{value:.60}: {}", answer.text());
    }
    let lines = server.http.get_with("/logs?order=asc", &[("accept", "application/x-ndjson")]);
    for (line, value) in lines.text().lines().zip(&odd) {
        let (_, attributes) = line.split_once("\"attributes\":").unwrap();
        let sent = format!("{{\"a\\u0000b\":{value}}}}}");
        let same = attributes == sent
            || serde_json::from_str::<Value>(line).unwrap()["attributes"]["a\0b"]
                == json!(serde_json::from_str::<Value>(value).unwrap());
        assert!(same, "{value:.60} came back as {attributes:.80}");
    }
    for time in ["1e400", &digits, "-1e400", "\"9999-12-31T00:00:00Z\"", "\"\\u0000\"", "[]", "true"] {
        bad(&server, time, format!("{{\"message\":\"m\",\"timestamp\":{time}}}").as_bytes());
    }
    let two =
        server.http.post("/logs/batch?invalid=skip", &format!("[{RECORD},{{\"a\":1,\"a\":2}},{{\"a\":1,\"a\":1}}]"));
    assert_eq!((two.json()["accepted"].clone(), two.json()["refused"].clone()), (json!(2), json!(1)));
    assert_serves(&server, odd.len() + 2);
}
