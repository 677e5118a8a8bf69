//! Finding records.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{shown, with_original_batch};
use crate::support::http::Http;
use crate::support::server::Server;

fn messages(answer: &Value) -> Vec<&str> {
    answer.as_array().unwrap().iter().map(|record| record["message"].as_str().unwrap()).collect()
}

#[test]
fn records_are_found_by_time_level_service_and_text() {
    let server = with_original_batch();
    let (disk, timeout, backup) = ("Disk usage at 91%", "Connection timeout to db-1", "Backup finished");
    for (parameters, expected) in [
        (vec![], vec![backup, timeout, disk]),
        (vec![("order", "asc")], vec![disk, timeout, backup]),
        (vec![("startTime", "2024-10-07T22:00:00Z")], vec![backup, timeout]),
        (vec![("end", "2024-10-07T22:00:00Z")], vec![timeout, disk]),
        (vec![("start", "1728338400"), ("endTime", "2024-10-07 22:00:00+00:00")], vec![timeout]),
        (vec![("logLevel", "warn")], vec![disk]),
        (vec![("level", "err,warning")], vec![timeout, disk]),
        (vec![("minLevel", "warn")], vec![timeout, disk]),
        (vec![("q", "TIMEOUT")], vec![timeout]),
        (vec![("q", "\"timeout to\"")], vec![timeout]),
        (vec![("q", "db-1 connection")], vec![timeout]),
        (vec![("q", "time")], vec![]),
        (vec![("service", "nobody")], vec![]),
        (vec![("startTime", "-1m")], vec![]),
        (vec![("limit", "1")], vec![backup]),
    ] {
        let answer = server.http.ask("/logs/retrieve", &parameters);
        assert_eq!(answer.status, 200, "{parameters:?}: {}", answer.text());
        assert_eq!(messages(&answer.json()), expected, "{parameters:?}");
    }
}

#[test]
fn answers_come_as_json_lines_or_csv() {
    let server = with_original_batch();
    insta::assert_snapshot!("empty", shown(&server.http.get("/logs?q=nothing")));
    for (name, accept) in
        [("as_json", "application/json"), ("as_ndjson", "application/x-ndjson"), ("as_csv", "text/csv")]
    {
        let answer = server.http.get_with("/logs/retrieve?order=asc", &[("accept", accept)]);
        let shown = shown(&answer);
        let csv = |text: &str| {
            text.lines()
                .map(|line| {
                    line.split_once(',')
                        .filter(|(id, _)| id.len() == 26)
                        .map_or(line.to_owned(), |(_, rest)| format!("ID,{rest}"))
                })
                .collect::<Vec<_>>()
                .join("\n")
        };
        insta::assert_snapshot!(name, if accept == "text/csv" { csv(&shown) } else { shown });
    }
    let answer = server.http.get_with("/logs", &[("accept", "image/png")]);
    insta::assert_snapshot!("not_acceptable", shown(&answer));
}

/// Sends `count` records that share three timestamps.
fn fill(http: &Http, count: usize) {
    let lines: String = (0..count)
        .map(|n| format!("{{\"timestamp\":\"2024-10-08T00:00:0{}Z\",\"message\":\"record {n}\",\"n\":{n}}}\n", n % 3))
        .collect();
    let answer = http.post_with("/logs/batch", lines.as_bytes(), &[("content-type", "application/x-ndjson")]);
    assert_eq!(answer.status, 202, "{}", answer.text());
}

#[test]
fn a_walk_by_cursor_sees_every_match_once_while_others_arrive() {
    let server = Server::start(&[]);
    fill(&server.http, 5000);
    for order in ["desc", "asc"] {
        let mut seen = BTreeSet::new();
        let mut keys = Vec::new();
        let mut next = Some(format!("/logs/retrieve?limit=700&order={order}&q=record"));
        while let Some(path) = next {
            let answer = server.http.get(&path);
            assert_eq!(answer.status, 200, "{}", answer.text());
            for record in answer.json().as_array().unwrap() {
                let key = (record["timestamp"].as_str().unwrap().to_owned(), record["id"].as_str().unwrap().to_owned());
                if record["n"].is_null() && record["attributes"]["n"].as_u64().is_some_and(|n| n < 5000) {
                    assert!(seen.insert(key.1.clone()), "twice: {key:?}");
                }
                keys.push(key);
            }
            next = answer.next();
            let late = r#"{"timestamp":"2024-10-08T00:00:01Z","message":"record late","n":99999}"#;
            assert_eq!(server.http.post("/logs", late).status, 202);
        }
        assert_eq!(seen.len(), 5000, "{order}");
        assert!(if order == "asc" { keys.is_sorted() } else { keys.is_sorted_by(|a, b| a >= b) });
    }
}

#[test]
fn streams_give_every_match_and_cut_short_nothing() {
    let server = Server::start(&[]);
    fill(&server.http, 25_000);
    let answer = server.http.get_with("/logs", &[("accept", "application/x-ndjson")]);
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 25_000);
    let ids: BTreeSet<_> = lines.iter().map(|record| record["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 25_000);
    let csv = server.http.get_with("/logs?fields=n,message", &[("accept", "text/csv")]);
    assert_eq!(csv.text().lines().count(), 25_001);
    assert_eq!(csv.text().lines().next(), Some("n,message"));
}

#[test]
fn a_cursor_belongs_to_its_query() {
    let server = Server::start(&[]);
    fill(&server.http, 10);
    let next = server.http.get("/logs?limit=3").next().unwrap();
    let cursor = next.split_once("cursor=").unwrap().1.split('&').next().unwrap().to_owned();
    let other = server.http.get(&format!("/logs?limit=3&q=other&cursor={cursor}"));
    insta::assert_snapshot!("cursor_of_another_query", shown(&other));
    insta::assert_snapshot!("no_cursor", shown(&server.http.get("/logs?cursor=abc")));
}

#[test]
fn what_was_read_can_be_sent_in_again() {
    let server = with_original_batch();
    let first = server.http.get("/logs").json();
    let answer = server.http.post("/logs/batch", &first.to_string());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let all = server.http.get("/logs").json();
    let without_ids = |records: &Value| -> Vec<Value> {
        records
            .as_array()
            .unwrap()
            .iter()
            .cloned()
            .map(|mut record| {
                record["id"] = json!("");
                record
            })
            .collect()
    };
    let doubled: Vec<Value> = without_ids(&first).into_iter().flat_map(|record| [record.clone(), record]).collect();
    assert_eq!(without_ids(&all), doubled);
}

#[test]
fn a_query_is_answered_page_by_page_and_unknown_fields_are_told() {
    let server = Server::start(&[]);
    fill(&server.http, 100);
    let found = |path: &str| {
        let answer = server.http.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        (answer.json().as_array().unwrap().len(), answer.headers.get("sluice-hint").cloned())
    };
    assert_eq!(found("/logs?q=n%3E=90"), (10, None));
    assert_eq!(found("/logs?q=n%20in%20(1,%202)%20OR%20n%3E97"), (4, None));
    assert_eq!(found("/logs?q=NOT%20n:*"), (0, None));
    let hint = "no record has the field \"msg\" (did you mean message?)".to_owned();
    assert_eq!(found("/logs?q=msg:x%20OR%20n=5"), (1, Some(hint)));

    let mut next = Some("/logs?limit=7&q=n%3E=50".to_owned());
    let mut walked = 0;
    while let Some(path) = next {
        let answer = server.http.get(&path);
        walked += answer.json().as_array().unwrap().len();
        next = answer.next();
    }
    assert_eq!(walked, 50);
}
