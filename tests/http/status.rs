//! How the server says it is.

use serde_json::json;

use super::{shown, with_original_batch};
use crate::support::server::{Server, wait_for};

#[test]
fn health_readiness_and_configuration_are_told() {
    let server = with_original_batch();
    insta::assert_snapshot!("health", shown(&server.http.get("/health")));
    for path in ["/ready", "/ready?for=read"] {
        let answer = server.http.get(path);
        assert_eq!(answer.status, 200);
        let ready = answer.json();
        assert_eq!((&ready["writable"], &ready["readable"]), (&json!(true), &json!(true)), "{ready}");
        assert_eq!(ready["breakers"]["store"]["state"], "closed");
        assert!(ready["spool"]["bytes_max"].as_u64().unwrap() > 0);
        assert!(ready["rates"]["records_per_second_60s"].is_number());
    }
    insta::assert_snapshot!("index", shown(&server.http.get("/")));
    assert_eq!(server.http.send("HEAD", "/health").status, 200);
}

#[test]
fn the_configuration_is_told_whole() {
    let server = Server::start(&["--spool-durability", "os"]);
    let mut config = server.http.get("/config").json();
    config["listen"] = json!("ADDRESS");
    config["data_dir"] = json!("FOLDER");
    insta::assert_snapshot!("config", serde_json::to_string_pretty(&config).unwrap());
}

#[test]
fn readiness_is_told_whole() {
    let server = Server::start(&["--workers-store", "2", "--workers-query", "3"]);
    let ready = server.http.get("/ready").json();
    insta::assert_snapshot!("ready", serde_json::to_string_pretty(&ready).unwrap());
}

#[test]
fn metrics_count_what_happened() {
    let server = with_original_batch();
    server.http.post("/logs/batch", "[{\"level\":\"loud\",\"message\":\"x\"}]");
    server.http.get("/logs");
    let expected = [
        "sluice_accepted_records_total 3",
        "sluice_accepted_batches_total 1",
        "sluice_accepted_bytes_total ",
        "sluice_refused_batches_total{reason=\"invalid-records\"} 1",
        "sluice_build_info{version=",
        "process_resident_memory_bytes ",
        "sluice_spool_bytes",
        "sluice_spool_fsyncs_total",
        "sluice_spool_fsync_seconds_bucket",
        "sluice_store_write_duration_seconds_bucket",
        "sluice_query_duration_seconds_bucket",
        "sluice_breaker_state",
        "sluice_workers",
    ];
    let text = wait_for("the metrics", || {
        let text = server.http.get("/metrics").text().to_owned();
        text.contains("sluice_accepted_records_total 3").then_some(text)
    });
    for line in expected {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line} is not in:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn the_api_describes_itself() {
    let server = Server::start(&[]);
    let api = server.http.get("/openapi.json").json();
    insta::assert_snapshot!("openapi", serde_json::to_string_pretty(&api).unwrap());
    assert_eq!(api["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    for path in [
        "/logs/batch",
        "/logs",
        "/log",
        "/logs/retrieve",
        "/logs/search",
        "/logs/query",
        "/logs/export",
        "/logs/count",
        "/logs/stats",
        "/logs/fields",
        "/logs/fields/{name}/values",
        "/logs/{id}",
        "/health",
        "/ready",
        "/metrics",
        "/config",
    ] {
        assert!(api["paths"][path].is_object(), "{path}");
    }
}
