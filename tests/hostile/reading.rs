//! Questions that are meant to hurt, and records that are meant to hurt who reads them.

use serde_json::json;

use super::{assert_serves, exchange, status};
use crate::support::server::Server;

#[test]
fn questions_of_any_shape_are_refused_in_bounded_time() {
    let server = Server::start(&[]);
    let deep = "(".repeat(5000) + "a" + &")".repeat(5000);
    for (name, value) in [
        ("q", deep.as_str()),
        ("q", &"NOT ".repeat(4000)),
        ("q", &"\"".repeat(9999)),
        ("q", &"a ".repeat(8000)),
        ("q", &"x".repeat(20_000)),
        ("q", &"\\".repeat(16_001)),
        ("q", "\u{0}\u{1b}[31m(\n"),
        ("cursor", &"A".repeat(40_000)),
        ("cursor", "%00"),
        ("limit", &"9".repeat(30_000)),
        ("limit", "-1"),
        ("startTime", &"9".repeat(30_000)),
        ("startTime", &"-1d".repeat(9000)),
        ("logLevel", &"warn,".repeat(9000)),
        ("order", &"desc".repeat(9000)),
        (&"z".repeat(30_000), "1"),
    ] {
        let answer = server.http.ask("/logs", &[(name, value)]);
        assert_eq!(answer.status, 400, "{name:.20}={value:.40}: {}", answer.text());
        assert!(answer.body.len() < 64 << 10, "{name:.20}={value:.40}: an answer of {} bytes", answer.body.len());
    }
    let many = format!("/logs?{}", "service=a&".repeat(3000));
    assert_eq!(server.http.get(&many).status, 400);
    assert_serves(&server, 0);
}

#[test]
fn no_service_or_question_adds_to_a_head() {
    let server = Server::start(&[]);
    let services =
        ["a\r\nSet-Cookie: a=b", "a\nX: y", "a>; rel=\"next\", <b", "\u{0}\u{7f}", "é\u{2028}", "=cmd|' /C calc'!A0"];
    for service in services {
        for _ in 0..2 {
            let record = json!({ "service": service, "message": service, service: service });
            assert_eq!(server.http.post("/logs", &record.to_string()).status, 202);
        }
    }
    let known = [
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "link",
        "sluice-hint",
        "sluice-incomplete",
        "sluice-next-cursor",
        "transfer-encoding",
        "vary",
    ];
    for service in services {
        let encoded: String = service.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for accept in ["application/json", "application/x-ndjson", "text/csv"] {
            let fields = if accept == "text/csv" { format!("&fields=service,{encoded}") } else { String::new() };
            let head = format!(
                "GET /logs?service={encoded}&limit=1{fields} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
            );
            let answer = exchange(&server, head.as_bytes());
            assert_eq!(status(&answer), 200, "{service:?}: {answer}");
            let (head, _) = answer.split_once("\r\n\r\n").unwrap();
            for line in head.split("\r\n").skip(1) {
                let (name, value) = line.split_once(": ").unwrap();
                assert!(known.contains(&name), "{service:?}: {line}");
                assert!(!value.contains(|c: char| c.is_control()), "{service:?}: {line:?}");
            }
            let link = head.split("\r\n").find_map(|line| line.strip_prefix("link: ")).unwrap();
            assert_eq!(link.matches(['<', '>']).count(), 2, "{service:?}: {link}");
        }
    }
    let raw = "GET /logs?q=a>;rel=\"x\" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!([200, 400].contains(&status(&exchange(&server, raw.as_bytes()))));
    assert_serves(&server, 2 * services.len());
}

#[test]
fn no_text_breaks_out_of_its_cell() {
    let server = Server::start(&[]);
    let texts = ["a,b", "a\"b", "\"", "a\r\nb", "a\nb", "", " a ", "\u{0}", "é,\"日\"\r"];
    for (n, text) in texts.iter().enumerate() {
        let record = json!({ "timestamp": n, "service": text, "message": text, "a": text });
        assert_eq!(server.http.post("/logs", &record.to_string()).status, 202);
    }
    let csv = server.http.get_with("/logs?order=asc&fields=service,message,a", &[("accept", "text/csv")]);
    let rows = parse(csv.text());
    assert_eq!(rows.len(), texts.len() + 1, "{rows:?}");
    for (row, text) in rows[1..].iter().zip(texts) {
        assert_eq!(row, &[text, text, text]);
    }
    let lines = server.http.get_with("/logs?order=asc", &[("accept", "application/x-ndjson")]);
    assert_eq!(lines.text().lines().count(), texts.len());
}

/// Takes CSV apart by RFC 4180.
fn parse(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quoted) {
            ('"', true) if characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', false) => row.push(std::mem::take(&mut cell)),
            ('\r', false) if characters.peek() == Some(&'\n') => {
                characters.next();
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            _ => cell.push(character),
        }
    }
    rows
}
