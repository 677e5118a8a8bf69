//! Many of everything: connections, services, attribute names, bytes of a body and of a record, segments. It works, or is
//! refused by the name of a limit.

use std::collections::HashMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::context::{Context, Outcome, Stop};
use crate::count::{self, Sent};
use crate::ledger;
use crate::support::http::{Answer, Http};
use crate::target::{Bed, Target};
use crate::volume::Volume;
use crate::wire::Connection;

/// How many files a process may open by default on most systems: the server must do with it, or raise it itself.
const COMMON_NOFILE: u64 = 1024;

/// How many files the server may have open beside its connections.
const OPEN_FILES_MAX: usize = 400;

const PATIENCE: Duration = Duration::from_secs(60);

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// Runs the scenario.
pub fn run(context: &mut Context) -> Result<Outcome, Stop> {
    timed("connections", || connections(context))?;
    timed("services and attribute names", || names(context))?;
    timed("bodies", || bodies(context))?;
    timed("records", || records(context))?;
    timed("segments", || segments(context))?;
    Ok(std::mem::take(&mut context.outcome))
}

fn timed(what: &str, part: impl FnOnce() -> Result<(), Stop>) -> Result<(), Stop> {
    let started = Instant::now();
    part()?;
    println!("  {what}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Starts a server that may open as few files as is common, until it raises that itself.
fn start(bed: &Bed) -> Result<Target, Stop> {
    let ours = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(COMMON_NOFILE), ..ours };
    setrlimit(Resource::Nofile, few).unwrap();
    let target = bed.spawn();
    setrlimit(Resource::Nofile, ours).unwrap();
    let mut target = target;
    target.wait_ready()?;
    Ok(target)
}

/// All that `limits.connections` allows, each of use, and some more.
fn connections(context: &mut Context) -> Result<(), Stop> {
    let max = context.pick(1_200, 10_000);
    let ours = getrlimit(Resource::Nofile);
    let raised = ours.maximum.unwrap_or(u64::MAX).min(max as u64 + 1_000);
    if raised < max as u64 + 500 {
        context.complain(format!("only {raised} files may be open here, too few for {max} connections"));
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..ours }).unwrap();
    let bed = context.bed(&["--limits-connections", &max.to_string()])?;
    let server = start(&bed)?;
    let open = || Connection::open(server.address(), PATIENCE).map_err(|lost| Stop::failed(format!("{lost:?}")));
    let mut within = Vec::with_capacity(max);
    let body = br#"{"service":"crowd","message":"one of many"}"#;
    for _ in 0..max {
        let mut connection = open()?;
        match connection.post("/logs", JSON, body) {
            Ok(reply) if reply.status == 202 => within.push(connection),
            Ok(reply) => return Err(Stop::failed(format!("connection {}: {}", within.len(), reply.text()))),
            Err(lost) => return Err(Stop::failed(format!("connection {}: {lost:?}", within.len()))),
        }
    }
    for _ in 0..20 {
        let reply =
            open()?.post("/logs", JSON, body).map_err(|lost| Stop::failed(format!("past the limit: {lost:?}")))?;
        let named = reply.text().contains("limits.connections") && reply.text().contains(&max.to_string());
        context.expect(reply.status == 503 && named && reply.header("retry-after").is_some(), || reply.text());
    }
    // Those that are in are of use still, and so are files.
    let mut accepted = within.len() as u64;
    for connection in within.iter_mut().step_by(7) {
        match connection.post("/logs", JSON, body) {
            Ok(reply) if reply.status == 202 => accepted += 1,
            other => context.complain(format!("a connection of many: {other:?}")),
        }
    }
    let read = within[0].get("/logs?limit=1", &[]);
    context.expect(read.as_ref().is_ok_and(|reply| reply.status == 200), || format!("{read:?}"));
    println!("  {max} connections: RSS {} MiB", crate::rss::now(server.id()).unwrap_or(0) >> 20);
    drop(within);
    context.outcome.rounds += 1;
    judge(context, &bed, &server, "service=crowd", Sent::acknowledged(accepted))
}

/// Many services, and attribute names that hardly ever come twice.
fn names(context: &mut Context) -> Result<(), Stop> {
    const NAMES_EACH: usize = 10;
    let services: usize = context.pick(1_000, 10_000);
    let flushes = ["--embedded-flush-rows", "2500"];
    let bed = context.bed(&flushes)?;
    let server = start(&bed)?;
    let http = server.http();
    let sent = |n: usize| {
        let names = (0..NAMES_EACH).map(|k| (format!("name.{}", n * NAMES_EACH + k), json!(n + k)));
        let mut record: serde_json::Map<String, Value> = names.collect();
        record.insert("service".into(), json!(format!("service-{n}")));
        record.insert("message".into(), json!(format!("record {n}")));
        Value::Object(record)
    };
    let mut slowest = Duration::ZERO;
    for batch in (0..services).collect::<Vec<_>>().chunks(1000) {
        let records: Vec<Value> = batch.iter().map(|n| sent(*n)).collect();
        let asked = Instant::now();
        let answer = http.post("/logs/batch", &Value::Array(records).to_string());
        slowest = slowest.max(asked.elapsed());
        context.expect(answer.status == 202, || answer.text().to_owned());
    }
    let many: HashMap<String, usize> = (0..20_000).map(|n| (format!("n{n}"), n)).collect();
    let split: Vec<Value> = many
        .iter()
        .collect::<Vec<_>>()
        .chunks(200)
        .map(|few| json!(few.iter().copied().collect::<HashMap<_, _>>()))
        .collect();
    let refused = http.post("/logs/batch", &Value::Array(split).to_string());
    expect_limit(context, &refused, &[400, 413], "limits.batch_attribute_names");
    ledger::drained(&http)?;
    let (mut found, mut altered) = (vec![0_u64; services], 0);
    let count = count::read(&http, "order=asc", |line| {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        let text = record["service"].as_str().unwrap_or_default();
        let n = text.strip_prefix("service-").and_then(|n| n.parse::<usize>().ok()).filter(|n| *n < services);
        let Some(n) = n else { return altered += 1 };
        found[n] += 1;
        let Value::Object(mut attributes) = sent(n) else { return };
        attributes.remove("service");
        let message = attributes.remove("message");
        let same =
            record["attributes"].as_object() == Some(&attributes) && Some(&record["message"]) == message.as_ref();
        altered += u64::from(!same);
    });
    let count = count.map_err(Stop::failed)?;
    let mut verdict = Sent::acknowledged(services as u64).judge(count);
    verdict.missing = found.iter().filter(|count| **count == 0).count() as u64;
    verdict.double = found.iter().map(|count| count.saturating_sub(1)).sum();
    verdict.altered = altered;
    let asked = Instant::now();
    for n in [0, services / 2, services - 1] {
        let one = http.get(&format!("/logs?service=service-{n}"));
        context.expect(one.json().as_array().is_some_and(|list| list.len() == 1), || one.text().to_owned());
    }
    println!(
        "  {services} services, {} attribute names: slowest batch of 1,000 {:.1} s, a service found in {:.0} ms",
        services * NAMES_EACH,
        slowest.as_secs_f64(),
        asked.elapsed().as_secs_f64() * 1e3 / 3.0
    );
    context.outcome.rounds += 1;
    context.settle(&bed, verdict);
    Ok(())
}

/// A body just below, at and just above the limit, and as many records as a batch may have.
fn bodies(context: &mut Context) -> Result<(), Stop> {
    let limit: usize = context.pick(4 << 20, 32 << 20);
    let batch = context.pick(20_000, 100_000_u64);
    let bed =
        context.bed(&["--limits-body-bytes", &limit.to_string(), "--limits-batch-records", &batch.to_string()])?;
    let server = start(&bed)?;
    let http = server.http();
    let record = format!("{{\"service\":\"body\",\"message\":\"{}\"}},", "0123456789".repeat(100));
    let count = (limit - 100) / record.len();
    let records = record.repeat(count);
    let body = |bytes: usize| format!("[{}{}]", &records[..records.len() - 1], " ".repeat(bytes - records.len() - 1));
    let mut accepted = 0;
    for bytes in [limit - 1, limit] {
        let answer = http.post("/logs/batch", &body(bytes));
        context.expect(answer.status == 202, || format!("{bytes} bytes: {}", answer.text()));
        accepted += count as u64;
    }
    let above = body(limit + 1);
    expect_limit(context, &http.post("/logs/batch", &above), &[413], "limits.body_bytes");
    let packed = zstd::bulk::compress(above.as_bytes(), 1).unwrap();
    let headers = [("content-type", "application/json"), ("content-encoding", "zstd")];
    expect_limit(context, &http.post_with("/logs/batch", &packed, &headers), &[413], "limits.body_bytes");
    let lines = |count: u64| "{\"service\":\"body\"}\n".repeat(usize::try_from(count).unwrap());
    let answer = http.post("/logs/batch", &lines(batch));
    context.expect(answer.status == 202, || format!("{batch} records: {}", answer.text()));
    accepted += batch;
    expect_limit(context, &http.post("/logs/batch", &lines(batch + 1)), &[413], "limits.batch_records");
    context.outcome.rounds += 1;
    judge(context, &bed, &server, "service=body", Sent::acknowledged(accepted))
}

/// A record just below, at and just above the limit.
fn records(context: &mut Context) -> Result<(), Stop> {
    const LIMIT: usize = 1 << 20;
    let bed = context.bed(&[])?;
    let server = start(&bed)?;
    let http = server.http();
    let frame = r#"{"service":"record","message":""}"#.len();
    let record = |bytes: usize| format!("{{\"service\":\"record\",\"message\":\"{}\"}}", "m".repeat(bytes - frame));
    for bytes in [LIMIT - 1, LIMIT] {
        let answer = http.post("/logs", &record(bytes));
        context.expect(answer.status == 202, || format!("{bytes} bytes: {}", answer.text()));
    }
    expect_limit(context, &http.post("/logs", &record(LIMIT + 1)), &[400], "limits.record_bytes");
    let lengths = http.get("/logs?service=record").json();
    let longest = lengths.as_array().into_iter().flatten().filter_map(|found| found["message"].as_str());
    let longest = longest.map(str::len).max();
    context.expect(longest == Some(LIMIT - frame), || format!("the longest message has {longest:?} bytes"));
    context.outcome.rounds += 1;
    judge(context, &bed, &server, "service=record", Sent::acknowledged(2))
}

/// Segments by the thousand: one for each day of a long time. Start, memory, open files and searches must stay sane.
fn segments(context: &mut Context) -> Result<(), Stop> {
    const DAYS_EACH: u64 = 8;
    let target: u64 = context.pick(320, 10_000);
    let volume = Volume::mount(context.scratch(), 2 << 30).ok();
    let mut bed = context.bed(&["--embedded-flush-rows", &DAYS_EACH.to_string()])?;
    if let Some(volume) = &volume {
        bed.data = volume.path().join("data");
    }
    let server = start(&bed)?;
    let http = server.http();
    for first in (0..target).step_by(DAYS_EACH as usize) {
        let line =
            |day: u64| format!("{{\"service\":\"day\",\"ts\":{},\"message\":\"day {day}\"}}\n", (day + 1) * 86_400 + 7);
        let lines: String = (first..first + DAYS_EACH).map(line).collect();
        let answer = http.post("/logs/batch?ack=stored", &lines);
        context.expect(answer.status == 202, || answer.text().to_owned());
        let flushed = Instant::now();
        while metric(&http, "sluice_store_memory_rows") > 0 && flushed.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let segments = metric(&http, "sluice_store_segments");
    context.expect(segments * 10 >= target * 9, || format!("{segments} segments instead of {target}"));
    let before = look(context, &server, target)?;
    server.stop()?;
    let started = Instant::now();
    let server = start(&bed)?;
    let start_took = started.elapsed();
    context.expect(start_took < Duration::from_secs(20), || format!("a start takes {start_took:?}"));
    let after = look(context, &server, target)?;
    println!("  {segments} segments: start {:.1} s; {before}; after a start: {after}", start_took.as_secs_f64());
    context.outcome.rounds += 1;
    judge(context, &bed, &server, "service=day", Sent::acknowledged(target))
}

/// Searches of every kind, and what they take.
fn look(context: &mut Context, server: &Target, days: u64) -> Result<String, Stop> {
    let http = server.http();
    let mut searches = Vec::new();
    for (what, path, expected) in [
        ("newest", "/logs?limit=10".to_owned(), 10),
        ("oldest", "/logs?limit=10&order=asc".to_owned(), 10),
        ("one day", "/logs?startTime=1970-01-05&endTime=1970-01-05".to_owned(), 1),
        ("no match", "/logs?q=nowhere".to_owned(), 0),
    ] {
        let asked = Instant::now();
        let answer = http.get(&path);
        let found = if answer.status == 200 { answer.json().as_array().map_or(0, Vec::len) } else { usize::MAX };
        context.expect(found == expected, || format!("{what}: {found} instead of {expected}, {}", answer.status));
        searches.push(format!("{what} {:.0} ms", asked.elapsed().as_secs_f64() * 1e3));
    }
    let asked = Instant::now();
    let all = count::count(&http, "order=asc").map_err(Stop::failed)?;
    context.expect(all == days, || format!("{all} records instead of {days}"));
    searches.push(format!("all {:.1} s", asked.elapsed().as_secs_f64()));
    let files = fs::read_dir(format!("/proc/{}/fd", server.id())).map_or(0, Iterator::count);
    context.expect(files < OPEN_FILES_MAX, || format!("{files} files are open"));
    let rss = crate::rss::now(server.id()).unwrap_or(0) >> 20;
    Ok(format!("{}; {files} files open; RSS {rss} MiB", searches.join(", ")))
}

fn metric(http: &Http, name: &str) -> u64 {
    let text = http.get("/metrics").text().to_owned();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
    value.unwrap_or_else(|| panic!("no metric {name}")) as u64
}

/// Counts what is there, and compares.
fn judge(context: &mut Context, bed: &Bed, server: &Target, query: &str, sent: Sent) -> Result<(), Stop> {
    ledger::drained(&server.http())?;
    let found = count::count(&server.http(), query).map_err(Stop::failed)?;
    context.settle(bed, sent.judge(found));
    Ok(())
}

/// A refusal for good, with the name of the limit.
fn expect_limit(context: &mut Context, answer: &Answer, statuses: &[u16], name: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    context.expect(statuses.contains(&answer.status) && text.contains(name), || {
        format!("{} instead of {statuses:?} with {name}: {}", answer.status, text.chars().take(300).collect::<String>())
    });
}
