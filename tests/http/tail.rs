//! Live tails.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::follower::{Follower, Received};
use crate::support::server::{Server, wait_for};

/// Lines of `count` records by `sender`, every third an error, of services a and b in turn.
fn lines(sender: usize, first: usize, count: usize) -> String {
    let line = |number: usize| {
        let (level, service) =
            (if number.is_multiple_of(3) { "error" } else { "info" }, if number.is_multiple_of(2) { "a" } else { "b" });
        format!(
            "{{\"level\":\"{level}\",\"service\":\"{service}\",\"message\":\"number {number} of {sender}\",\"n\":{number}}}\n"
        )
    };
    (first..first + count).map(line).collect()
}

fn send(server: &Server, lines: &str) {
    let answer = server.http.post_with("/logs/batch", lines.as_bytes(), &[("content-type", "application/x-ndjson")]);
    assert_eq!(answer.status, 202, "{}", answer.text());
}

/// The ids of everything that matches, as a search finds them.
fn found(server: &Server, query: &str) -> BTreeSet<String> {
    let answer = server.http.get_with(&format!("/logs?{query}"), &[("accept", "application/x-ndjson")]);
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    answer.text().lines().map(id).collect()
}

fn assert_once(received: &Received, expected: &BTreeSet<String>) {
    assert_eq!(received.missed, 0);
    let ids: BTreeSet<String> = received.ids().into_iter().map(str::to_owned).collect();
    assert_eq!((ids.len(), &ids), (received.records.len(), expected), "each once, and no other");
}

#[test]
fn tails_get_every_match_once_while_many_send() {
    let server = Server::start(&["--tail-queue-bytes", "64MiB"]);
    send(&server, &lines(9, 0, 100));
    let before = found(&server, "");
    let queries = ["", "service=a", "minLevel=error&q=number%20n%3E=100"];
    let tails = queries.map(|query| Follower::open(&server, &format!("/logs/tail?{query}")));
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let server = &server;
            scope.spawn(move || (0..40).for_each(|batch| send(server, &lines(sender, batch * 25, 25))));
        }
        let refused =
            server.http.post("/logs/batch", "[{\"message\":\"good\"},{\"level\":\"loud\",\"message\":\"bad\"}]");
        assert_eq!(refused.status, 400);
        for replayed in [false, true] {
            let body = "{\"level\":\"error\",\"service\":\"a\",\"message\":\"number once\",\"n\":100}";
            let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
            let answer = server.http.post_with("/logs", body.as_bytes(), &headers);
            assert_eq!(answer.status, 202, "{replayed}");
        }
    });
    for (query, tail) in queries.iter().zip(tails) {
        let expected: BTreeSet<String> = found(&server, query).difference(&before).cloned().collect();
        assert!(expected.len() > 1000 || !query.is_empty());
        assert_once(&tail.take(expected.len() as u64), &expected);
    }
}

#[test]
fn a_slow_reader_is_told_how_many_it_missed_and_holds_up_nobody() {
    let server = Server::start(&["--tail-queue-bytes", "64KiB", "--query-stall-timeout", "5m"]);
    let mut slow = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    slow.write_all(b"GET /logs/tail?q=wanted HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let mut reader = BufReader::with_capacity(1 << 10, slow);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0);
    }
    let quick = Follower::open(&server, "/logs/tail?q=last");
    // More than the sockets' buffers hold.
    let text = "x".repeat(20_000);
    let line = format!("{{\"message\":\"wanted {text}\"}}\n{{\"message\":\"other {text}\"}}\n");
    for _ in 0..25 {
        send(&server, &line.repeat(50));
    }
    send(&server, "{\"message\":\"last\"}");
    assert_eq!(quick.record()["message"], "last");
    let (mut received, mut gaps, mut line) = (Received::default(), 0, String::new());
    while received.records.len() as u64 + received.missed < 25 * 50 {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "it is not cut");
        // Every chunk holds whole lines; between them stand the chunks' lengths.
        let missed = received.missed;
        match line.trim_end() {
            object if object.starts_with('{') && object.ends_with('}') => received.add(object),
            _ => {}
        }
        gaps += usize::from(received.missed > missed);
    }
    assert!(received.missed > 100 && gaps > 0, "{} missed in {gaps} gaps", received.missed);
    let text = server.http.get("/metrics").text().to_owned();
    let missed = format!("sluice_tail_missed_records_total {}", received.missed);
    assert!(text.lines().any(|line| line == missed), "{missed} is not in:\n{text}");
}

#[test]
fn a_tail_that_is_not_read_for_long_is_not_cut() {
    let server = Server::start(&["--tail-queue-bytes", "64KiB", "--query-stall-timeout", "1s"]);
    let tail = Follower::open_paused(&server, "/logs/tail");
    let line = format!("{{\"message\":\"{}\"}}\n", "x".repeat(20_000));
    for _ in 0..12 {
        send(&server, &line.repeat(100));
    }
    // Far longer than a stream's client may stall.
    std::thread::sleep(Duration::from_secs(4));
    tail.resume();
    assert!(tail.take(1200).missed > 100);
    assert_eq!(server.http.post("/logs", "{\"message\":\"goes on\"}").status, 202);
    assert_eq!(tail.record()["message"], "goes on");
}

#[test]
fn history_and_what_follows_meet_without_a_gap_or_a_double() {
    // What the search has to wait for is waited for, however slow the machine is.
    let server = Server::start(&["--tail-queue-bytes", "64MiB", "--query-barrier-timeout", "30s"]);
    send(&server, &lines(9, 0, 500));
    let tails = std::thread::scope(|scope| {
        for sender in 0..3 {
            let server = &server;
            scope.spawn(move || (0..60).for_each(|batch| send(server, &lines(sender, batch * 20, 20))));
        }
        let open = |query: &'static str| (query, Follower::open(&server, &format!("/logs/tail?last=10000&{query}")));
        ["", "service=a", "", "minLevel=warn", "", "service=b&q=number", ""].map(open)
    });
    let all = found(&server, "").len();
    assert_eq!(all, 500 + 3 * 60 * 20);
    for (query, tail) in tails {
        let expected = found(&server, query);
        assert!(!tail.headers.contains_key("sluice-incomplete"));
        assert_once(&tail.take(expected.len() as u64), &expected);
    }
}

#[test]
fn a_tail_begins_with_the_newest_matches_oldest_first() {
    let server = Server::start(&[]);
    for (second, message) in [(3, "c"), (1, "a"), (4, "skipped"), (2, "b"), (2, "b again")] {
        let record = format!("{{\"timestamp\":\"2024-10-08T00:00:0{second}Z\",\"message\":\"{message}\"}}");
        assert_eq!(server.http.post("/logs", &record).status, 202);
    }
    let tail = Follower::open(&server, "/logs/tail?last=3&q=NOT%20skipped");
    let messages = |received: Received| -> Vec<String> {
        received.records.iter().map(|record| record["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(messages(tail.take(3)), ["b", "b again", "c"]);
    assert_eq!(server.http.post("/logs", "{\"timestamp\":\"1999-01-01\",\"message\":\"old but new\"}").status, 202);
    assert_eq!(messages(tail.take(1)), ["old but new"]);
    assert_eq!(found(&server, "").len(), 6);
}

#[test]
fn a_tail_needs_no_store_and_shows_nothing_that_a_start_recovers() {
    let server = Server::start(&["--store", "mongodb://127.0.0.1:1/", "--breaker-failures", "1"]);
    assert_eq!(server.http.post("/logs", "{\"message\":\"before\"}").status, 202);
    let server = server.start_again();
    let tail = Follower::open(&server, "/logs/tail");
    assert_eq!(server.http.post("/logs", "{\"message\":\"after\"}").status, 202);
    assert_eq!(tail.record()["message"], "after");
    wait_for("the breaker", || (server.http.get("/logs/tail?last=1").status == 503).then_some(()));
}

#[test]
fn events_have_ids_data_and_comments() {
    let server = Server::start(&["--tail-heartbeat", "200ms"]);
    let tail = Follower::open_with(&server, "/logs/tail?q=wanted", &[("accept", "text/event-stream")]);
    assert_eq!(tail.headers["content-type"], "text/event-stream");
    assert_eq!(tail.line().as_deref(), Some(": heartbeat"));
    let sent = server.http.post("/logs", "{\"message\":\"wanted\\nin two lines\"}").json();
    let event = std::iter::from_fn(|| tail.line()).find(|line| line.starts_with("id: ")).unwrap();
    assert_eq!(event, format!("id: {}", sent["id"].as_str().unwrap()));
    let data = tail.line().unwrap();
    let record: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&record["id"], record["message"].as_str()), (&sent["id"], Some("wanted\nin two lines")));
    assert_eq!(tail.line().as_deref(), Some(""));
    assert_eq!(tail.line().as_deref(), Some(": heartbeat"));
}

#[test]
fn a_quiet_tail_sends_signs_of_life_and_ends_when_its_client_is_gone() {
    let server = Server::start(&["--tail-heartbeat", "50ms"]);
    let open = |count: usize| {
        let line = format!("sluice_tail_open {count}.0");
        wait_for(&line, || server.http.get("/metrics").text().lines().any(|found| found == line).then_some(()));
    };
    let tail = Follower::open(&server, "/logs/tail?q=nothing");
    assert_eq!((tail.line().as_deref(), tail.line().as_deref()), (Some(""), Some("")));
    assert_eq!(server.http.send("HEAD", "/logs/tail").status, 200, "a HEAD opens none");
    open(1);
    drop(tail);
    open(0);
}

#[test]
fn a_compressed_tail_is_sent_at_once_too() {
    let server = Server::start(&[]);
    let tail = Follower::open_with(&server, "/logs/tail", &[("accept-encoding", "gzip")]);
    assert_eq!(tail.headers["content-encoding"], "gzip");
    for number in 0..3 {
        assert_eq!(server.http.post("/logs", &format!("{{\"message\":\"number {number}\"}}")).status, 202);
        assert_eq!(tail.record()["message"], format!("number {number}"));
    }
}

#[test]
fn a_stop_ends_tails_cleanly_and_in_time_also_those_that_nobody_reads() {
    let mut server = Server::start(&["--shutdown-timeout", "15s"]);
    let tails = [Follower::open(&server, "/logs/tail"), Follower::open(&server, "/logs/tail?q=nothing")];
    let mut stalled = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    stalled.write_all(b"GET /logs/tail HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let line = format!("{{\"message\":\"{}\"}}\n", "x".repeat(20_000));
    for _ in 0..12 {
        send(&server, &line.repeat(100));
        assert_eq!(tails[0].take(100).missed, 0);
    }
    send(&server, "{\"message\":\"last\"}");
    server.signal("TERM");
    assert_eq!(tails[0].rest().records[0]["message"], "last");
    assert_eq!(tails[1].rest(), Received::default());
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(!server.log().contains("took too long"), "{}", server.log());
    drop(stalled);
}

#[test]
fn a_tail_past_the_limit_is_told_so() {
    let server = Server::start(&["--tail-connections", "1"]);
    let _tail = Follower::open(&server, "/logs/tail");
    let refused = server.http.get("/logs/tail");
    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.text().contains("tail.connections is reached: 1 tails are open"), "{}", refused.text());
}

#[test]
fn what_a_tail_cannot_do_is_said() {
    let server = Server::start(&[]);
    for (parameters, accept, status, expected) in [
        ("startTime=-1h", "*/*", 400, "startTime: a tail begins now and takes no times; last=100"),
        ("end=2024-10-08", "*/*", 400, "end: a tail begins now"),
        ("last=10001", "*/*", 400, "last=10001: use 0 to 10000"),
        ("limit=5", "*/*", 400, "unknown parameter `limit`"),
        ("q=a%20OR", "*/*", 400, "q: column 5"),
        ("logLevel=loud", "*/*", 400, "unknown level"),
        ("", "application/json", 406, "text/event-stream"),
    ] {
        let answer = server.http.get_with(&format!("/logs/tail?{parameters}"), &[("accept", accept)]);
        assert_eq!(answer.status, status, "{parameters}: {}", answer.text());
        assert!(answer.text().contains(expected), "{parameters}: {}", answer.text());
    }
    assert_eq!(server.http.post("/logs/tail", "{}").status, 405);
}
