//! `POST /logs/query`, text lines and named fields.

use serde_json::{Value, json};

use super::{shown, with_original_batch};
use crate::support::http::{Answer, Http};
use crate::support::server::Server;

fn ask(http: &Http, body: &Value) -> Answer {
    http.post("/logs/query", &body.to_string())
}

#[test]
fn a_query_in_a_body_finds_what_the_same_url_finds() {
    let server = with_original_batch();
    for (body, url) in [
        (json!({}), "/logs"),
        (json!({"q": "disk usage"}), "/logs?q=disk%20usage"),
        (json!({"logLevel": ["warn", "error"], "order": "asc"}), "/logs?logLevel=warn&logLevel=error&order=asc"),
        (json!({"minLevel": "error", "limit": 1}), "/logs?minLevel=error&limit=1"),
        (
            json!({"start": 1_728_338_400, "endTime": "2024-10-07T23:00:00Z"}),
            "/logs?start=1728338400&endTime=2024-10-07T23:00:00Z",
        ),
        (json!({"service": ["", "nobody"]}), "/logs?service=&service=nobody"),
        (json!({"fields": ["message", "level"]}), "/logs?fields=message,level"),
        (json!({"q": "nothing"}), "/logs?q=nothing"),
    ] {
        let answer = ask(&server.http, &body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        assert_eq!(answer.json(), server.http.get(url).json(), "{body}");
    }
    for accept in ["application/x-ndjson", "text/csv", "text/plain"] {
        let answer = server.http.post_with("/logs/query", b"{\"order\":\"asc\"}", &[("accept", accept)]);
        let same = server.http.get_with("/logs?order=asc", &[("accept", accept)]);
        assert_eq!((answer.text(), &answer.headers["content-type"]), (same.text(), &same.headers["content-type"]));
        assert!(answer.text().contains("Disk usage at 91%"));
    }
}

#[test]
fn a_walk_goes_on_by_the_next_cursor() {
    let server = Server::start(&[]);
    let lines: String = (0..2500).map(|n| format!("{{\"message\":\"record {n}\"}}\n")).collect();
    let answer = server.http.post_with("/logs/batch", lines.as_bytes(), &[("content-type", "application/x-ndjson")]);
    assert_eq!(answer.status, 202);
    let mut body = json!({"q": "record", "limit": 700, "order": "asc"});
    let mut found = Vec::new();
    loop {
        let answer = ask(&server.http, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.next(), None, "a link would have no body");
        found.extend(answer.json().as_array().unwrap().iter().map(|record| record["message"].clone()));
        let Some(cursor) = answer.headers.get("sluice-next-cursor") else { break };
        body["cursor"] = json!(cursor);
    }
    assert_eq!(found, (0..2500).map(|n| json!(format!("record {n}"))).collect::<Vec<_>>());
    body["q"] = json!("other");
    assert!(ask(&server.http, &body).text().contains("another query"));
    // The same cursor is beside a link.
    let answer = server.http.get("/logs?limit=1&q=record");
    assert!(answer.next().unwrap().ends_with(&format!("cursor={}", answer.headers["sluice-next-cursor"])));
}

#[test]
fn every_bad_query_in_a_body_is_refused() {
    let server = Server::start(&[]);
    for (name, body) in [
        ("unknown_member", r#"{"logLevl":"error"}"#),
        ("double_member", r#"{"q":"a","limit":1,"q":"b"}"#),
        ("member_of_another_type", r#"{"q":true}"#),
        ("list_where_none_may_be", r#"{"limit":[1,2]}"#),
        ("list_of_lists", r#"{"service":[["a"]]}"#),
        ("bad_value", r#"{"limit":0}"#),
        ("bad_query", r#"{"q":"error OR"}"#),
        ("no_object", "[]"),
        ("no_json", "q=error"),
        ("nothing", ""),
    ] {
        insta::assert_snapshot!(name, shown(&server.http.post("/logs/query", body)));
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    insta::assert_snapshot!("form_encoded", shown(&server.http.post_with("/logs/query", b"{}", &form)));
    insta::assert_snapshot!("parameters_beside", shown(&server.http.post("/logs/query?limit=1", "{}")));
    let long = json!({"q": "x".repeat(300 << 10)}).to_string();
    insta::assert_snapshot!("too_long", shown(&server.http.post("/logs/query", &long)));
    assert_eq!(server.http.get("/logs/query").status, 405);
}

#[test]
fn fields_and_text_lines() {
    let server = Server::start(&[]);
    let records = r#"[
        {"timestamp":"2024-10-08T00:00:01Z","level":"warning","service":"shop","message":"line one\nline two \u001b[2J","user":{"id":7},"path":"/a b"},
        {"timestamp":"2024-10-08T00:00:02Z","message":"","tags":["x",1.0],"path":""}
    ]"#;
    assert_eq!(server.http.post("/logs/batch", records).status, 202);
    let get = |path: &str, accept: &str| {
        let answer = server.http.get_with(path, &[("accept", accept)]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().to_owned()
    };
    insta::assert_snapshot!("as_text", get("/logs?order=asc", "text/plain"));
    let mut fields = String::new();
    for accept in ["application/json", "application/x-ndjson", "text/csv", "text/plain"] {
        fields += &get("/logs/search?order=asc&fields=user.id,message,tags,severity,attributes.path", accept);
        fields += "\n--\n";
    }
    insta::assert_snapshot!("with_fields", fields);
}
