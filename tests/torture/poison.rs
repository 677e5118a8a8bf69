//! Records that the store refuses for ever: they never hold up those behind them, end in `dead-letter/` once each with the
//! reason, and everything else is found. The server is killed in the middle of it. Once the cause
//! is gone, `sluice requeue` brings them into the store.
//!
//! Whatever is accepted fits into a document of MongoDB, so a proxy before the real server refuses some as a
//! collection's validator or a smaller limit would. The embedded store refuses nothing: there the oddest records that
//! are accepted at all must be found again.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mongodb::bson::RawDocument;
use rand::Rng;
use serde_json::{Value, json};

use crate::context::{Context, Outcome, Stop, Store, words};
use crate::hand::{metric, send, wait};
use crate::ledger::{Ages, Ledger, Verdict, drained};
use crate::load::{Client, Load};
use crate::mongo_fault::{self, Fault};
use crate::proxy::Proxy;
use crate::support::http::Http;
use crate::support::mongo::MongoServer;
use crate::target::Bed;

const ARGS: &str = "--spool-segment-bytes 256KiB --spool-memory-bytes 256KiB";

/// The client whose records are refused, one in [`ONE_IN`].
const POISONED: usize = 9;
const ONE_IN: u64 = 7;

/// Runs the scenario.
pub fn run(context: &mut Context) -> Result<Outcome, Stop> {
    if context.store == Store::Embedded {
        odd(context)?;
        return Ok(std::mem::take(&mut context.outcome));
    }
    let server = MongoServer::shared("torture").ok_or_else(|| Stop::skipped("no MongoDB-protocol server"))?;
    for round in 0..context.rounds(1, 20) {
        let whole = if context.full { round % 2 == 1 } else { context.rng.random() };
        poisoned(context, &server.uri(), whole)?;
        context.outcome.rounds += 1;
    }
    Ok(std::mem::take(&mut context.outcome))
}

/// Load with poison in it; with `whole`, the server does not say which documents are at fault.
fn poisoned(context: &mut Context, uri: &str, whole: bool) -> Result<(), Stop> {
    let host = uri.split("//").nth(1).and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
    let upstream = host.parse().map_err(|_| Stop::skipped("the MongoDB server has no plain address"))?;
    let fault = Arc::new(Fault { refuses, on: AtomicBool::new(true), whole: AtomicBool::new(whole) });
    let of_links = fault.clone();
    let proxy = Proxy::start(move || Some(upstream), move || mongo_fault::link(&of_links));
    let bed = context.bed_on(&uri.replace(host, &proxy.address().to_string()), &words(ARGS));
    let ledger = context.ledger(Ages::Recent);
    let clients: Vec<Client> = (0..4).map(|_| Client { records: 1..40, keyed_of_4: 2, pause_ms: 40..120 }).collect();
    let load = Load::start(&bed.route, &ledger, &clients, &mut context.rng);
    let mut server = bed.start()?;
    let batches = context.pick(3, 12);
    for _ in 0..batches {
        send(&server.http(), &ledger, POISONED, 1 + context.rng.random_range(0..30))?;
    }
    let total = (0..ledger.sent(POISONED)).filter(|number| is_poison(*number)).count();
    // Some are dead letters by now, and others on their way to be.
    wait("a dead letter", Duration::from_secs(60), || !letters(&bed).is_empty())?;
    server.kill();
    server = bed.start()?;
    let http = server.http();
    wait("all dead letters", Duration::from_secs(120), || dead(&http) >= total as u64)?;
    load.finish();
    drained(&http)?;
    check_letters(context, &bed, &ledger, total);
    let in_metrics = metric(&http, "sluice_dead_letter_records");
    context.expect(dead(&http) == total as u64 && in_metrics == total as f64, || {
        format!("{total} dead letters, but {} in /ready and {in_metrics} in /metrics", dead(&http))
    });
    let verdict = ledger.verify_with(&http, |client, number| client == POISONED && is_poison(number))?;
    context.expect(verdict.expired == total as u64, || format!("{} of {total} are not in the store", verdict.expired));
    // Without its cause the poison is none.
    fault.on.store(false, Ordering::Relaxed);
    requeue(context, &bed, &http);
    let verdict = ledger.verify(&http)?;
    context.settle(&bed, verdict);
    Ok(())
}

/// Offers the dead letters again, all of which are accepted.
fn requeue(context: &mut Context, bed: &Bed, http: &Http) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(["requeue", "--url", http.url(), "--data-dir"]).arg(&bed.data);
    let output = command.output().unwrap();
    context.expect(output.status.success(), || {
        format!("requeue ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
    });
    context.expect(letters(bed).is_empty(), || "requeue has left dead letters".to_owned());
}

fn refuses(document: &RawDocument) -> bool {
    let Ok(attributes) = document.get_document("attributes") else { return false };
    let (client, number) = (attributes.get_i64("client"), attributes.get_i64("number"));
    client.is_ok_and(|client| client == POISONED as i64) && number.is_ok_and(|number| is_poison(number as u64))
}

fn is_poison(number: u64) -> bool {
    number % ONE_IN == 3
}

fn dead(http: &Http) -> u64 {
    http.get("/ready").json()["dead_letter_records"].as_u64().unwrap_or(0)
}

fn letters(bed: &Bed) -> String {
    fs::read_to_string(bed.data.join("dead-letter/records.ndjson")).unwrap_or_default()
}

/// Each poisoned record is there, once, as it was sent, with a reason; and nothing else is.
fn check_letters(context: &mut Context, bed: &Bed, ledger: &Ledger, total: usize) {
    let (mut numbers, mut complaints) = (BTreeSet::new(), Vec::new());
    for line in letters(bed).lines() {
        let Ok(letter) = serde_json::from_str::<Value>(line) else {
            complaints.push(format!("not a dead letter: {line}"));
            continue;
        };
        let record = &letter["record"];
        let number = record["attributes"]["number"].as_u64().unwrap_or(u64::MAX);
        let ours = record["attributes"]["client"] == POISONED && is_poison(number) && letter["id"] == record["id"];
        if !ours || letter["reason"].as_str().is_none_or(str::is_empty) {
            complaints.push(format!("not a poisoned record, or without a reason: {line}"));
        } else if let Some(difference) = ledger.run.record(POISONED, number).differs(record) {
            complaints.push(format!("a dead letter is altered: {difference}"));
        }
        if !numbers.insert(number) {
            complaints.push(format!("a dead letter twice: number {number}"));
        }
    }
    context.expect(numbers.len() == total, || format!("{} dead letters of {total}", numbers.len()));
    complaints.into_iter().for_each(|complaint| context.complain(complaint));
}

/// Sends what is odd, each batch of one alone; whatever is accepted is found, and nothing is held up.
fn odd(context: &mut Context) -> Result<(), Stop> {
    let bed = context.bed(&["--embedded-flush-age", "100ms"])?;
    let server = bed.start()?;
    let http = server.http();
    let mut accepted = Vec::new();
    for (number, mut record) in oddities(context).into_iter().enumerate() {
        record["service"] = json!(format!("odd-{number}"));
        let answer = http.post("/logs", &record.to_string());
        context.expect([202, 400, 413].contains(&answer.status), || format!("odd {number}: {}", answer.status));
        if answer.status == 202 {
            accepted.push((number, record, answer.json()["id"].clone()));
        }
        context.outcome.rounds += 1;
    }
    drained(&http)?;
    wait("a flush", Duration::from_secs(30), || metric(&http, "sluice_store_memory_rows") == 0.0)?;
    let mut verdict = Verdict { acknowledged: accepted.len() as u64, ..Verdict::default() };
    for (number, sent, id) in accepted {
        let found = http.ask("/logs", &[("service", &format!("odd-{number}"))]).json();
        let found = found.as_array().unwrap();
        verdict.found += found.len() as u64;
        match found.as_slice() {
            [] => {
                verdict.missing += 1;
                verdict.complain(format!("odd {number} is missing"));
            }
            [one] => {
                let same =
                    one["id"] == id && one["message"] == sent["message"] && one["attributes"] == sent["attributes"];
                verdict.altered += u64::from(!same);
                if !same {
                    verdict.complain(format!("odd {number} is altered"));
                }
            }
            more => verdict.double += more.len() as u64 - 1,
        }
    }
    context.expect(verdict.acknowledged > 10 && dead(&http) == 0, || "hardly anything odd is accepted".to_owned());
    context.settle(&bed, verdict);
    Ok(())
}

/// Records at the limits of everything.
fn oddities(context: &mut Context) -> Vec<Value> {
    let record = |message: Value, attributes: Value| json!({"message": message, "attributes": attributes});
    let at = |time: &str| json!({"timestamp": time, "message": time, "attributes": {"a": 1}});
    let many = |count: usize, length: usize| {
        let name = |number: usize| (format!("{}{number}", "n".repeat(length)), json!(number));
        Value::Object((0..count).map(name).collect())
    };
    let nested = (0..60).fold(json!([]), |inner, _| json!([inner]));
    let noise: String = (0..50_000).map(|_| context.rng.random::<char>()).collect();
    vec![
        at("1677-09-21T00:12:43.145224193Z"),
        at("1970-01-01T00:00:00.000000000Z"),
        at("2262-04-11T23:47:16.854775807Z"),
        at("2263-01-01T00:00:00.000000000Z"),
        record(json!("m".repeat(1_000_000)), json!({"a": 1})),
        record(json!("m".repeat(2_000_000)), json!({"a": 1})),
        record(json!("\u{0}".repeat(100_000)), json!({"a": "\u{0}"})),
        record(json!(noise), json!({"a": noise})),
        record(json!("many"), many(256, 10)),
        record(json!("many"), many(257, 10)),
        record(json!("long names"), many(200, 4_000)),
        record(json!("a long name"), many(1, 900_000)),
        record(json!("nested"), json!({"deep": nested})),
        record(json!("array"), json!({"a": vec![1; 300_000]})),
        record(
            json!("names"),
            json!({"$where": 1, "..": 2, "a..b": 3, "\u{0}": 4, " ": 5, "é": 6, "run": 7, "sequence": 8}),
        ),
        record(json!("columns"), json!({"timestamp": 1, "severity": "x", "level": [], "id": 9, "service": null})),
        record(json!(""), json!({"empty": "", "null": null, "none": {}, "list": []})),
        record(json!("numbers"), json!({"max": u64::MAX, "min": i64::MIN, "tiny": 5e-324, "huge": 1.7e308})),
    ]
}
