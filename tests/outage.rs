//! A store that goes away and comes back: the breaker on a real server that is stopped and started.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::mongo::MongoServer;
use crate::support::server::{Server, wait_for};

fn send(server: &Server, number: usize) {
    let record = format!("{{\"message\":\"during the outage\",\"number\":{number}}}");
    assert_eq!(server.http.post("/logs", &record).status, 202);
}

fn state(server: &Server, pool: &str) -> String {
    server.http.get("/ready").json()["breakers"][pool]["state"].as_str().unwrap().to_owned()
}

/// How long the breaker before the writing workers is still open; nothing, if it is not.
fn retry_after_ms(server: &Server) -> Option<u64> {
    server.http.get("/ready").json()["breakers"]["store"]["retry_after_ms"].as_u64()
}

#[test]
fn the_breaker_opens_waits_longer_and_closes() {
    let Some(mut mongo) = MongoServer::start("the_breaker_opens_waits_longer_and_closes") else { return };
    let server = Server::start(&["--store", &mongo.uri(), "--breaker-backoff-max", "8s"]);
    send(&server, 0);
    wait_for("the first record", || (records(&server).len() == 1).then_some(()));
    assert_eq!(state(&server, "store"), "closed");

    mongo.stop();
    (1..20).for_each(|number| send(&server, number));
    let first = wait_for("the breaker to open", || retry_after_ms(&server));
    assert!(first <= 1000, "it waits {first} ms at first");
    let ready = server.http.get("/ready");
    assert_eq!((ready.status, &ready.json()["writable"]), (200, &Value::Bool(true)));
    wait_for("reads to be refused", || (server.http.get("/logs").status == 503).then_some(()));
    assert_eq!(server.http.get("/ready?for=read").status, 503);
    let asked = Instant::now();
    let refused = server.http.get("/logs");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.headers.contains_key("retry-after"));
    assert!(asked.elapsed() < Duration::from_millis(250), "{:?}", asked.elapsed());
    wait_for("a failed probe and a longer wait", || retry_after_ms(&server).filter(|wait| *wait > 1000));
    // The log may come a little behind the answers.
    wait_for("the log to tell of both", || {
        let log = server.log();
        (log.contains("breaker half open") && log.contains("breaker opened from=\"half_open\"")).then_some(())
    });

    mongo.start_again();
    wait_for("the breaker to close", || (state(&server, "store") == "closed").then_some(()));
    wait_for("every record", || (server.http.get("/logs").status == 200 && records(&server).len() == 20).then_some(()));
}

fn records(server: &Server) -> Vec<Value> {
    let answer = server.http.get("/logs?limit=1000");
    if answer.status == 200 { answer.json().as_array().unwrap().clone() } else { Vec::new() }
}

#[test]
fn a_server_starts_while_its_store_is_down() {
    let Some(mut mongo) = MongoServer::start("a_server_starts_while_its_store_is_down") else { return };
    let uri = mongo.uri();
    mongo.stop();
    let server = Server::start(&["--store", &uri, "--breaker-backoff-max", "1s"]);
    send(&server, 1);
    mongo.start_again();
    wait_for("the record", || (records(&server).len() == 1).then_some(()));
}

#[test]
fn a_frozen_store_holds_up_neither_writers_nor_readers() {
    let Some(mongo) = MongoServer::start("a_frozen_store_holds_up_neither_writers_nor_readers") else { return };
    let args = ["--store", &mongo.uri(), "--breaker-backoff-max", "1s", "--mongodb-write-timeout", "2s"];
    let server = Server::start(&[&args[..], &["--mongodb-read-timeout", "2s"]].concat());
    send(&server, 0);
    wait_for("the first record", || (records(&server).len() == 1).then_some(()));
    mongo.freeze();
    (1..20).for_each(|number| send(&server, number));
    wait_for("the breaker to open", || (state(&server, "store") != "closed").then_some(()));
    mongo.thaw();
    wait_for("every record", || (records(&server).len() == 20).then_some(()));
}
