//! The budget: at each limit a refusal that names it and its present value, flat memory, and a way for small senders.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::context::{Context, Outcome, Stop, Store};
use crate::flood;
use crate::ledger::Ages;
use crate::load::{self, Load};
use crate::support::http::Answer;
use crate::support::mongo::MongoServer;
use crate::target::Target;
use crate::volume::Volume;
use crate::wire::Connection;

/// How long a limit may take to be reached, or to be left.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the scenario.
pub fn run(context: &mut Context) -> Result<Outcome, Stop> {
    match context.store {
        Store::Embedded => {
            free_disk_floor(context)?;
            inflight_bytes(context)?;
            connections(context)?;
            queries(context)?;
            flood::run(context)?;
            full_store(context)?;
        }
        Store::Mongodb => frozen_store(context)?,
    }
    Ok(std::mem::take(&mut context.outcome))
}

/// A refusal: to be tried again, with the name of the limit and `values` in its body.
fn expect_refusal(context: &mut Context, answer: &Answer, status: u16, name: &str, values: &[&str]) {
    context.outcome.rounds += 1;
    let text = String::from_utf8_lossy(&answer.body);
    let named = text.contains(name) && values.iter().all(|value| text.contains(value));
    let problem = answer.headers.get("content-type").is_some_and(|kind| kind == "application/problem+json");
    let retry = answer.headers.contains_key("retry-after");
    context.expect(answer.status == status && named && problem && retry, || {
        format!("{} instead of {status} with {name} {values:?}: {text} {:?}", answer.status, answer.headers)
    });
}

/// The floor of free disk: no disk has so much.
fn free_disk_floor(context: &mut Context) -> Result<(), Stop> {
    let bed = context.bed(&["--spool-free-disk-floor", "1000TiB"])?;
    let server = bed.start()?;
    let http = server.http();
    let answer = http.post("/logs", "{\"message\":\"x\"}");
    expect_refusal(context, &answer, 503, "spool.free_disk_floor", &["bytes"]);
    let ready = http.get("/ready");
    context.expect(ready.status == 503 && ready.text().contains("spool.free_disk_floor"), || ready.text().to_owned());
    context.expect(http.get("/logs").status == 200, || "reads fail below the floor".to_owned());
    Ok(())
}

/// The bytes of bodies in hand: large ones are refused, small ones have room of their own.
fn inflight_bytes(context: &mut Context) -> Result<(), Stop> {
    let limits = ["--limits-inflight-bytes", "4MiB", "--limits-body-bytes", "2MiB", "--limits-record-bytes", "64KiB"];
    let bed = context.bed(&limits)?;
    let server = bed.start()?;
    let http = server.http();
    let head = "POST /logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1500000\r\n\r\n[";
    let stalled: Vec<Connection> = (0..2)
        .map(|_| {
            let mut connection = Connection::open(server.address(), PATIENCE).expect("it listens");
            connection.write(head.as_bytes()).unwrap();
            connection
        })
        .collect();
    thread::sleep(Duration::from_millis(200));
    let large = format!("[{}]", " ".repeat(1_200_000));
    let answer = http.post("/logs/batch", &large);
    expect_refusal(context, &answer, 503, "limits.inflight_bytes", &["4194304"]);
    let asked = Instant::now();
    let small = http.post("/logs", "{\"message\":\"small\"}");
    context.expect(small.status == 202, || format!("a small body beside large ones: {}", small.status));
    context.expect(asked.elapsed() < Duration::from_secs(2), || format!("it took {:?}", asked.elapsed()));
    drop(stalled);
    until("room for a large body", || http.post("/logs/batch", &large).status == 202)
}

/// Open connections: those past the limit are told so, and closed; whoever is in stays in.
fn connections(context: &mut Context) -> Result<(), Stop> {
    const MAX: usize = 40;
    let bed = context.bed(&["--limits-connections", "40"])?;
    let server = bed.start()?;
    let open = || Connection::open(server.address(), Duration::from_secs(20)).expect("it listens");
    let mut within: Vec<Connection> = (0..MAX).map(|_| open()).collect();
    for connection in &mut within {
        let reply = connection.get("/health", &[]);
        context.expect(reply.is_ok_and(|reply| reply.status == 200), || "refused within the limit".to_owned());
    }
    for _ in 0..5 {
        let mut past = open();
        let reply = past.post("/logs", &[("content-type", "application/json")], b"{\"message\":\"x\"}");
        let reply = reply.map_err(|lost| Stop::failed(format!("past limits.connections: {lost:?}")))?;
        let closes = reply.closes();
        let headers = reply.headers.iter().cloned().collect();
        let answer = Answer { status: reply.status, headers, body: reply.body };
        expect_refusal(context, &answer, 503, "limits.connections", &["of 40 connections"]);
        context.expect(closes, || "a connection past the limit is kept".to_owned());
    }
    for connection in &mut within {
        let reply = connection.post("/logs", &[("content-type", "application/json")], b"{\"message\":\"x\"}");
        context.expect(reply.is_ok_and(|reply| reply.status == 202), || "a connection within was harmed".to_owned());
    }
    drop(within);
    // Far more than there is spare: whoever waits is served once others have left.
    let crowd: Vec<TcpStream> = (0..4 * MAX).filter_map(|_| TcpStream::connect(server.address()).ok()).collect();
    drop(crowd);
    until("a connection after the crowd", || {
        let reply = Connection::open(server.address(), Duration::from_secs(5)).and_then(|mut c| c.get("/ready", &[]));
        reply.is_ok_and(|reply| reply.status == 200)
    })
}

/// Queries that wait: one more than may is refused at once.
fn queries(context: &mut Context) -> Result<(), Stop> {
    let bed = context.bed(&["--workers-query", "1", "--query-queue-max", "2", "--embedded-flush-age", "1h"])?;
    let server = bed.start()?;
    let http = server.http();
    let line = |n: u32| format!("{{\"service\":\"s\",\"message\":\"{n} {}\"}}\n", "some words to look at ".repeat(20));
    let lines: String = (0..20_000).map(line).collect();
    for _ in 0..context.pick(2, 5) {
        context.expect(http.post("/logs/batch", &lines).status == 202, || "a batch is refused".to_owned());
    }
    let ask = |_| {
        let http = http.clone();
        thread::spawn(move || http.ask("/logs", &[("q", "\"look at nothing\"")]))
    };
    let mut refused = None;
    for _ in 0..50 {
        let crowd: Vec<_> = (0..24).map(ask).collect();
        let answers: Vec<Answer> = crowd.into_iter().map(|thread| thread.join().unwrap()).collect();
        for answer in answers {
            match answer.status {
                200 => {}
                429 => refused = Some(answer),
                status => context.complain(format!("a query in a crowd: {status} {}", answer.text())),
            }
        }
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.ok_or_else(|| Stop::failed("query.queue_max is never reached"))?;
    expect_refusal(context, &refused, 429, "query.queue_max", &["2"]);
    until("a query after the crowd", || http.get("/logs?limit=1").status == 200)
}

/// The spool at its byte limit, because the embedded store's own disk is full.
fn full_store(context: &mut Context) -> Result<(), Stop> {
    let volume = match Volume::mount(context.scratch(), 48 << 20) {
        Ok(volume) => volume,
        // The other limits need no disk of their own; the scenario of the full disk says that it is skipped.
        Err(_) => return Ok(()),
    };
    let limits = ["--spool-bytes-max", "6MiB", "--spool-segment-bytes", "1MiB", "--spool-memory-bytes", "512KiB"];
    let store = ["--embedded-memory-bytes", "1MiB", "--embedded-flush-bytes", "512KiB"];
    let bed = context.bed(&[&limits[..], &store].concat())?;
    std::fs::create_dir_all(&bed.data).unwrap();
    std::fs::create_dir(volume.path().join("store")).unwrap();
    std::os::unix::fs::symlink(volume.path().join("store"), bed.data.join("store")).unwrap();
    let mut ballast = volume.ballast();
    ballast.leave(&volume, 0);
    let ledger = context.ledger(Ages::Recent);
    let server = bed.start()?;
    let load = Load::start(&bed.route, &ledger, &load::mixed(), &mut context.rng);
    crowded(context, &server, &load)?;
    ballast.release();
    returns(&load)?;
    load.finish();
    let verdict = ledger.verify(&server.http())?;
    context.settle(&bed, verdict);
    Ok(())
}

/// The spool at its byte limit, because MongoDB accepts connections and never answers.
fn frozen_store(context: &mut Context) -> Result<(), Stop> {
    let mongo = MongoServer::start("torture").ok_or_else(|| Stop::skipped("no MongoDB-protocol server of our own"))?;
    let limits = ["--spool-bytes-max", "1536KiB", "--spool-segment-bytes", "256KiB", "--spool-memory-bytes", "64KiB"];
    let calls = ["--mongodb-write-timeout", "2s", "--breaker-backoff-max", "2s"];
    let bed = context.bed_on(&mongo.uri(), &[&limits[..], &calls].concat());
    let ledger = context.ledger(Ages::Recent);
    let server = bed.start()?;
    let load = Load::start(&bed.route, &ledger, &load::mixed_for(context.store), &mut context.rng);
    mongo.freeze();
    let reached = crowded(context, &server, &load);
    mongo.thaw();
    reached?;
    returns(&load)?;
    load.finish();
    let verdict = ledger.verify(&server.http())?;
    context.settle(&bed, verdict);
    Ok(())
}

/// Loads the server until its spool is full, and looks at how it says so. Memory must not grow meanwhile.
fn crowded(context: &mut Context, server: &Target, load: &Load) -> Result<(), Stop> {
    let http = server.http();
    until("spool.bytes_max", || load.seen().refused > 0)?;
    let before = crate::rss::now(server.id()).unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(context.pick(1, 20));
    while Instant::now() < end {
        // More than what little room there may be left.
        let answer = http.post("/logs/batch", &format!("{{\"message\":\"{}\"}}", "x".repeat(1_000_000)));
        expect_refusal(context, &answer, 503, "spool.bytes_max", &["bytes"]);
        let ready = http.get("/ready");
        let report = ready.json();
        context.expect((ready.status == 200) == (report["writable"] == true), || report.to_string());
        thread::sleep(Duration::from_millis(50));
    }
    for refusal in load.seen().refusals {
        context.expect(refusal.contains("spool.bytes_max"), || format!("refused without the limit: {refusal}"));
    }
    let grown = crate::rss::now(server.id()).unwrap_or(0).saturating_sub(before);
    context.expect(grown < 48 << 20, || format!("memory grew by {} MiB at the spool's limit", grown >> 20));
    Ok(())
}

/// Waits until something is accepted again.
fn returns(load: &Load) -> Result<(), Stop> {
    let accepted = load.seen().accepted;
    until("accepting after the spool was full", || load.seen().accepted > accepted)
}

/// Waits until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) -> Result<(), Stop> {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        if Instant::now() > deadline {
            return Err(Stop::failed(format!("waited in vain for {what}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
