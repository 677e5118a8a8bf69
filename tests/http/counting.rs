//! Counting, grouping, and what fields there are.

use serde_json::{Value, json};

use super::shown;
use crate::support::server::Server;

const README: &str = include_str!("../../README.md");

/// The section of that name.
fn section(name: &str) -> &'static str {
    let from = README.split_once(&format!("\n## {name}\n")).expect("the section").1;
    from.split("\n## ").next().expect("a text")
}

/// A server with the records of the README's page on asking.
fn with_examples() -> Server {
    let records = section("Asking").split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let server = Server::start(&[]);
    let answer = server.http.post_with("/logs/batch", records.as_bytes(), &[("content-type", "application/x-ndjson")]);
    assert_eq!(answer.status, 202, "{}", answer.text());
    server
}

/// The words of a shell's command line, as far as the README uses its quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_readme_shows_what_is_answered() {
    let server = with_examples();
    let blocks: Vec<&str> = section("Counting and grouping").split("```console\n").skip(1).collect();
    let mut asked = 0;
    for block in blocks {
        let block = block.split("```").next().unwrap().replace(" \\\n    ", " ");
        for example in block.split("$ curl ").skip(1) {
            let (command, expected) = example.split_once('\n').unwrap();
            let (mut path, mut parameters, mut accept) = (String::new(), Vec::new(), "*/*".to_owned());
            let mut words = words(command).into_iter();
            while let Some(word) = words.next() {
                match word.as_str() {
                    "-G" => {}
                    "-d" | "--data-urlencode" => parameters.push(words.next().unwrap()),
                    "-H" => accept = words.next().unwrap().strip_prefix("Accept: ").unwrap().to_owned(),
                    url => path = url.strip_prefix("http://127.0.0.1:8005").expect(url).to_owned(),
                }
            }
            let encode = |pair: &String| {
                let (name, value) = pair.split_once('=').unwrap();
                let hex = |byte: u8| format!("%{byte:02X}");
                format!("{name}={}", value.bytes().map(hex).collect::<String>())
            };
            let query = parameters.iter().map(encode).collect::<Vec<_>>().join("&");
            let answer = server.http.get_with(&format!("{path}?{query}"), &[("accept", &accept)]);
            assert_eq!(answer.text().replace("\r\n", "\n").trim_end(), expected.trim_end(), "{command}");
            asked += 1;
        }
    }
    assert!(asked >= 5, "{asked} examples");
}

#[test]
fn a_count_is_the_number_that_is_retrieved() {
    let server = with_examples();
    for (parameters, count) in [
        (vec![], 6),
        (vec![("q", "timeout")], 1),
        (vec![("minLevel", "error")], 3),
        (vec![("service", "web"), ("endTime", "2024-10-08")], 1),
        (vec![("q", "user.id:*"), ("level", "error,fatal")], 3),
        (vec![("q", "nothing")], 0),
    ] {
        assert_eq!(server.http.ask("/logs/count", &parameters).json(), json!({ "count": count }), "{parameters:?}");
        let found = server.http.ask("/logs/retrieve", &parameters).json();
        assert_eq!(found.as_array().map(Vec::len), Some(count), "{parameters:?}");
    }
}

#[test]
fn a_table_comes_in_every_form_and_tells_what_it_leaves_out() {
    let server = with_examples();
    let path = "/logs/stats?agg=count,p50(duration_ms),max(timestamp)&by=service,user.id&step=1d&top=2";
    for (name, accept) in
        [("stats_json", "application/json"), ("stats_ndjson", "application/x-ndjson"), ("stats_csv", "text/csv")]
    {
        let answer = server.http.get_with(path, &[("accept", accept)]);
        assert_eq!(answer.headers.get("sluice-others").map(String::as_str), Some("groups=4, records=4"), "{name}");
        insta::assert_snapshot!(name, shown(&answer));
    }
    let answer = server.http.get_with("/logs/stats", &[("accept", "image/png")]);
    assert_eq!(answer.status, 406);
    let filled = server.http.get("/logs/stats?step=6h&fill=zero&start=2024-10-08&end=2024-10-08&level=warn").json();
    let counts: Vec<&Value> = filled["rows"].as_array().unwrap().iter().map(|row| &row[1]).collect();
    assert_eq!(counts, [0, 1, 0, 0]);
}

#[test]
fn what_is_asked_wrongly_is_told_with_the_place() {
    let server = Server::start(&[]);
    for (name, path) in [
        ("stats_unknown_aggregate", "/logs/stats?agg=count,avgg(x)"),
        ("stats_unknown_zone", "/logs/stats?step=1d&tz=berlin"),
        ("stats_unknown_parameter", "/logs/stats?group=service"),
        ("count_bad_query", "/logs/count?q=a+OR"),
        ("values_bad_top", "/logs/fields/x/values?top=0"),
        ("fields_unknown_parameter", "/logs/fields?top=3"),
    ] {
        insta::assert_snapshot!(name, shown(&server.http.get(path)));
    }
    for path in ["/logs/count", "/logs/stats", "/logs/fields", "/logs/fields/x/values"] {
        assert_eq!(server.http.post(path, "").status, 405, "{path}");
    }
}

#[test]
fn fields_and_their_values_are_listed() {
    let server = with_examples();
    let fields = server.http.get("/logs/fields").json();
    let field = |name: &str| {
        let found = fields["fields"].as_array().unwrap().iter().find(|field| field["name"] == name);
        found.cloned().unwrap_or_default()
    };
    assert_eq!(field("service"), json!({"name": "service", "types": {"string": 6}, "records": 6}));
    assert_eq!(field("user.id"), json!({"name": "user.id", "types": {"integer": 3, "string": 1}, "records": 4}));
    assert_eq!(field("retry"), json!({"name": "retry", "types": {"null": 1}, "records": 1}));
    assert_eq!(field("tags"), json!({"name": "tags", "types": {"array": 2}, "records": 2}));
    let values = |path: &str| server.http.get(&format!("/logs/fields/{path}")).json();
    let value = |value: Value, count: u64| json!({"value": value, "count": count});
    assert_eq!(
        values("service/values?top=2"),
        json!({"values": [value(json!("auth"), 2), value(json!("payment"), 2)], "others": {"values": 1, "records": 2}})
    );
    assert_eq!(values("host%20name/values"), json!({"values": [value(json!("a-1"), 1)]}));
    assert_eq!(
        values("attributes.http.status/values?q=GET"),
        json!({"values": [value(json!(200), 1), value(json!(502), 1)]})
    );
    assert_eq!(values("retry/values"), json!({"values": [value(Value::Null, 1)]}));
    assert_eq!(values("severity/values?q=payment")["values"], json!([value(json!("ERROR"), 1)]));
    assert_eq!(values("nobody/values"), json!({"values": []}));
    assert_eq!(values("a%2Fb/values"), json!({"values": []}));
}

#[test]
fn a_query_past_its_memory_is_refused_and_nobody_else_feels_it() {
    let server = Server::start(&["--query-memory-bytes", "64KiB"]);
    let lines: String = (0..5_000).map(|n| format!("{{\"message\":\"m\",\"n\":{n},\"k{n}\":1}}\n")).collect();
    let answer = server.http.post_with("/logs/batch", lines.as_bytes(), &[("content-type", "application/x-ndjson")]);
    assert_eq!(answer.status, 202, "{}", answer.text());
    for _ in 0..5 {
        for path in ["/logs/stats?by=n", "/logs/stats?agg=count_distinct(n)", "/logs/fields", "/logs/fields/n/values"] {
            let answer = server.http.get(path);
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
            let problem = answer.json();
            assert_eq!(problem["type"], "urn:sluice:problem:query-limit");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("query.memory_bytes") && detail.contains("65536"), "{detail}");
        }
    }
    assert_eq!(server.http.get("/logs/count").json(), json!({ "count": 5_000 }));
    assert_eq!(server.http.get("/logs/stats?agg=max(n)").json()["rows"], json!([[4_999]]));
    let ready = server.http.get("/ready?for=read");
    assert_eq!((ready.status, &ready.json()["breakers"]["query"]["state"]), (200, &json!("closed")));
}
