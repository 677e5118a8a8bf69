//! Records one by one, batches in the background.

use std::sync::mpsc;
use std::time::Duration;

use sluice_client::{Batcher, Client, ClientBuilder, PostError, SendError, Totals};
use sluice_model::{LogRecord, Timestamp};

use crate::peer::{Peer, Reply, Request, answer};

const NEVER: Duration = Duration::from_secs(3600);

fn quick(peer: &Peer) -> ClientBuilder {
    Client::builder(&peer.url).backoff(Duration::from_millis(1), Duration::from_millis(5)).interval(NEVER)
}

fn record(message: &str) -> LogRecord {
    LogRecord {
        id: None,
        timestamp: Timestamp::from_nanos(0),
        level: "INFO".to_owned(),
        service: "test".to_owned(),
        message: message.to_owned(),
        attributes: Default::default(),
    }
}

fn send_all(batcher: &Batcher, count: usize) {
    for number in 0..count {
        batcher.send(&record(&number.to_string())).unwrap();
    }
}

fn messages(request: &Request) -> Vec<String> {
    let lines = request.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice::<LogRecord>(line).unwrap().message).collect()
}

#[test]
fn batches_are_cut_by_number() {
    let peer = Peer::start([]);
    let batcher = quick(&peer).batch_records(3).batcher().unwrap();
    send_all(&batcher, 7);
    let requests = peer.wait_for_requests(2);
    assert_eq!(requests.iter().map(messages).collect::<Vec<_>>(), [["0", "1", "2"], ["3", "4", "5"]]);
    assert_eq!(batcher.flush().unwrap(), Totals { accepted: 7, lost: 0, retries: 0 });
    assert_eq!(messages(&peer.requests()[2]), ["6"]);
}

#[test]
fn batches_are_cut_by_size() {
    let peer = Peer::start([]);
    let line = serde_json::to_vec(&record("0")).unwrap().len() + 1;
    let batcher = quick(&peer).batch_bytes(2 * line).batcher().unwrap();
    send_all(&batcher, 5);
    batcher.close().unwrap();
    let sizes: Vec<_> = peer.requests().iter().map(|request| messages(request).len()).collect();
    assert_eq!(sizes, [2, 2, 1]);
}

#[test]
fn batches_are_cut_by_time() {
    let peer = Peer::start([]);
    let batcher = quick(&peer).interval(Duration::from_millis(50)).batcher().unwrap();
    send_all(&batcher, 2);
    assert_eq!(messages(&peer.wait_for_requests(1)[0]), ["0", "1"]);
    send_all(&batcher, 1);
    assert_eq!(messages(&peer.wait_for_requests(2)[1]), ["0"]);
}

#[test]
fn a_drop_delivers_what_is_left() {
    let peer = Peer::start([answer("503 Service Unavailable", "Retry-After: 0\r\n", "")]);
    let batcher = quick(&peer).batcher().unwrap();
    send_all(&batcher, 3);
    drop(batcher);
    let requests = peer.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(messages(&requests[1]), ["0", "1", "2"]);
    assert_eq!(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
}

#[test]
fn the_buffer_is_bounded_and_send_waits_for_room() {
    let peer = Peer::start([Reply::WhenOpened]);
    let line = serde_json::to_vec(&record("0")).unwrap().len() + 1;
    let batcher = quick(&peer).batch_records(1).buffer_bytes_max(3 * line).batcher().unwrap();
    send_all(&batcher, 3);
    assert!(matches!(batcher.try_send(&record("x")), Err(SendError::Full)));
    assert!(matches!(batcher.send(&record(&"x".repeat(3 * line))), Err(SendError::TooLarge { .. })));

    let (sent, was_sent) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            batcher.send(&record("3")).unwrap();
            sent.send(()).unwrap();
        });
        assert!(was_sent.recv_timeout(Duration::from_millis(100)).is_err(), "there is no room yet");
        peer.open();
        was_sent.recv_timeout(Duration::from_secs(10)).unwrap();
    });
    assert_eq!(batcher.close().unwrap().accepted, 4);
}

#[test]
fn a_refusal_is_reported_once_and_the_rest_goes_on() {
    let peer = Peer::start([answer("400 Bad Request", "", r#"{"title":"Bad batch"}"#)]);
    let batcher = quick(&peer).batch_records(2).batcher().unwrap();
    send_all(&batcher, 4);
    let lost = batcher.flush().unwrap_err();
    assert_eq!(lost.to_string(), "2 records were not delivered: refused: 400: Bad batch");
    assert!(matches!(lost.cause, Some(PostError::Refused(_))));
    assert_eq!(batcher.flush().unwrap(), Totals { accepted: 2, lost: 2, retries: 0 });
    batcher.close().unwrap();
}

#[test]
fn closing_does_not_wait_longer_than_retries_may_take() {
    let peer = Peer::start((0..1000).map(|_| answer("503 Service Unavailable", "", "")));
    let batcher = quick(&peer).batch_records(1).retry_for(Duration::from_millis(300)).batcher().unwrap();
    send_all(&batcher, 20);
    let started = std::time::Instant::now();
    let lost = batcher.close().unwrap_err();
    assert_eq!(lost.records, 20);
    assert!(started.elapsed() < Duration::from_secs(3), "20 batches of 300 ms took {:?}", started.elapsed());
}

#[test]
fn a_silent_server_does_not_hold_up_closing_for_every_batch() {
    let peer = Peer::start((0..100).map(|_| Reply::WhenOpened));
    let timeout = Duration::from_millis(100);
    let batcher = quick(&peer).batch_records(1).retry_for(timeout).timeout(timeout).batcher().unwrap();
    send_all(&batcher, 50);
    let started = std::time::Instant::now();
    assert_eq!(batcher.close().unwrap_err().records, 50);
    assert!(started.elapsed() < Duration::from_secs(2), "50 batches took {:?}", started.elapsed());
    peer.open();
}
