//! Exports: every form has every record, once and in order, and whoever hangs up leaves nothing behind.

mod leaving;
mod tables;

use std::time::Duration;

use serde_json::Value;

use self::tables::Table;
use super::with_original_batch;
use crate::mongodb::Database;
use crate::support::http::{Answer, Http};
use crate::support::mongo::{MongoServer, poll};
use crate::support::server::Server;

/// Every format, with the ending of its file.
const FORMATS: [(&str, &str); 6] = [
    ("ndjson", "ndjson"),
    ("csv", "csv"),
    ("text", "txt"),
    ("parquet", "parquet"),
    ("arrow", "arrows"),
    ("sqlite", "sqlite"),
];

/// Sends `count` records of `size` bytes and more, of all levels and five services, with attributes of all types.
fn fill(http: &Http, count: usize, size: usize) {
    // A slow server of MongoDB's protocol stores that many within the timeout of a write.
    const BATCH: usize = 1000;
    const LEVELS: [&str; 6] = ["trace", "debug", "INFO", "WARNING", "error", "FATAL"];
    let padding = "x".repeat(size);
    for start in (0..count).step_by(BATCH) {
        let lines: String = (start..count.min(start + BATCH))
            .map(|n| {
                let odd = ["7", "\"a,\\\"b\\\"\\n\"", "null", "[1,{\"k\":1.10}]", "1.5", "true"][n % 6];
                let sometimes = if n % 7 == 0 { ",\"rare key\":\"ü\"" } else { "" };
                format!(
                    "{{\"timestamp\":{},\"level\":\"{}\",\"service\":\"s{}\",\"message\":\"m {n}\\t{padding}\",\"n\":{n},\"odd\":{odd}{sometimes}}}\n",
                    1_728_345_600_000_000_000_i64 + (n as i64 % 1000) * 1_000_000_007,
                    LEVELS[n % 6],
                    n % 5,
                )
            })
            .collect();
        let answer = http.post_with("/logs/batch", lines.as_bytes(), &[("content-type", "application/x-ndjson")]);
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

fn export(http: &Http, parameters: &str) -> Answer {
    let answer = http.get(&format!("/logs/export?{parameters}"));
    assert_eq!(answer.status, 200, "{parameters}: {}", String::from_utf8_lossy(&answer.body));
    answer
}

/// Waits until the store has all that was sent.
fn until_searchable(server: &Server) {
    let searchable = || {
        let answer = server.http.get("/logs?limit=1");
        answer.status == 200 && !answer.headers.contains_key("sluice-incomplete")
    };
    assert!(poll(Duration::from_secs(120), searchable), "waited too long for the records");
}

/// All records, page by page.
fn walk(http: &Http, parameters: &str) -> Vec<Value> {
    let mut records = Vec::new();
    let mut next = Some(format!("/logs/retrieve?limit=997&{parameters}"));
    while let Some(path) = next {
        let answer = http.get(&path);
        assert_eq!(answer.status, 200, "{}", answer.text());
        records.extend(answer.json().as_array().unwrap().iter().cloned());
        next = answer.next();
    }
    records
}

fn lines(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Checks all forms against a walk by pages.
fn every_form_equals_a_walk(http: &Http, count: usize, selections: &[&str]) {
    for selection in selections {
        let walked = walk(http, selection);
        let expected = if selection.contains("nothing") { 0 } else { walked.len().max(1) };
        assert_eq!(walked.len(), if selection.len() < 12 { count } else { expected }, "{selection}");
        assert_eq!(lines(&export(http, &format!("format=ndjson&{selection}"))), walked, "{selection}");
        let ids: Vec<&str> = walked.iter().map(|record| record["id"].as_str().unwrap()).collect();
        for format in ["csv", "text"] {
            let answer = export(http, &format!("format={format}&fields=id&{selection}"));
            let found: Vec<&str> = answer.text().lines().skip(usize::from(format == "csv")).collect();
            assert_eq!(found, ids, "{format} {selection}");
        }
        for format in ["parquet", "arrow", "sqlite"] {
            let table = Table::read(format, &export(http, &format!("format={format}&{selection}")).body);
            table.check(&walked, &format!("{format} {selection}"));
        }
    }
}

#[test]
fn every_form_has_every_record() {
    let server = Server::start(&[]);
    fill(&server.http, 15_000, 10);
    // Half of them on disk, half in memory.
    let server = server.start_again();
    fill(&server.http, 15_000, 10);
    let selections = ["order=asc", "order=desc", "order=asc&minLevel=warn&q=n%3E100", "order=asc&q=nothing"];
    every_form_equals_a_walk(&server.http, 30_000, &selections);
}

#[test]
fn every_form_has_every_record_with_mongodb() {
    let Some(mongo) = MongoServer::shared("every_form_has_every_record_with_mongodb") else { return };
    let database = Database::new(mongo.uri());
    let server = Server::start(&["--store", &database.uri]);
    fill(&server.http, 12_000, 10);
    until_searchable(&server);
    every_form_equals_a_walk(&server.http, 12_000, &["order=desc", "order=asc&minLevel=warn&q=n%3E9000"]);
}

#[test]
fn an_export_is_a_file_to_save() {
    let server = with_original_batch();
    for (format, ending) in FORMATS {
        let path = format!("/logs/export?format={format}");
        let answer = server.http.get(&path);
        assert_eq!(answer.headers["content-disposition"], format!("attachment; filename=\"logs.{ending}\""));
        let head = server.http.send("HEAD", &path);
        assert_eq!((head.status, head.body.len()), (200, 0), "{format}");
        assert_eq!(head.headers["content-type"], answer.headers["content-type"]);
        let zipped = server.http.get_with(&path, &[("accept-encoding", "gzip")]);
        let encoding = zipped.headers.get("content-encoding").map(String::as_str);
        // Parquet is compressed within.
        assert_eq!(encoding, Some(if format == "parquet" { "identity" } else { "gzip" }), "{format}");
    }
    assert_eq!(server.http.get("/logs/export").headers["content-type"], "application/x-ndjson");
    assert_eq!(server.http.get("/logs/export?limit=2").text().lines().count(), 2);
    assert_eq!(server.http.get("/logs/export?format=parquet&q=nothing").body[..4], *b"PAR1");
    let refused = server.http.get("/logs/export?format=xlsx");
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("parquet or arrow or sqlite"), "{}", refused.text());
    assert_eq!(server.http.send("POST", "/logs/export").status, 405);
}

#[test]
fn a_limit_may_be_larger_than_a_window() {
    let server = Server::start(&[]);
    fill(&server.http, 25_000, 1);
    for limit in [1, 9_999, 10_000, 10_001, 20_000, 24_999, 25_000, 99_999_999] {
        let answer = export(&server.http, &format!("format=csv&fields=n&limit={limit}"));
        assert_eq!(answer.text().lines().count() - 1, limit.min(25_000), "{limit}");
    }
}

#[test]
fn named_fields_are_the_columns_of_every_form() {
    let server = Server::start(&[]);
    let record = r#"{"timestamp":"2024-10-08T00:00:00Z","level":"WARNING","service":"shop","message":"a\nb","n":7,"t":"x y","o":{"k":[1]}}"#;
    assert_eq!(server.http.post("/logs", record).status, 202);
    let get = |format: &str, fields: &str| export(&server.http, &format!("format={format}&fields={fields}"));
    assert_eq!(
        get("ndjson", "n,none,t,o.k,severity").text(),
        "{\"n\":7,\"t\":\"x y\",\"o.k\":[1],\"severity\":\"WARN\"}\n"
    );
    assert_eq!(get("csv", "n,none,t,o.k").text(), "n,none,t,o.k\r\n7,,x y,[1]\r\n");
    assert_eq!(get("text", "message,n,none,t,level").text(), "a\\nb n=7 t=\"x y\" WARNING\n");
    assert_eq!(
        export(&server.http, "format=text").text(),
        "2024-10-08T00:00:00.000000000Z WARN shop a\\nb n=7 o.k=[1] t=\"x y\"\n"
    );
    for format in ["parquet", "arrow", "sqlite"] {
        let table = Table::read(format, &get(format, "none,o.k,t,attributes.n,message").body);
        assert_eq!(table.columns, ["none", "o.k", "t", "attributes.n", "message"], "{format}");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(table.rows, [vec![None, text("[1]"), text("x y"), text("7"), text("a\nb")]], "{format}");
    }
}
