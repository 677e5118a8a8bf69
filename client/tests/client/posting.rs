//! One batch at a time.

use std::io::Read;
use std::time::Duration;

use sluice_client::{Client, ClientBuilder, Compression, Format, PostError};

use crate::peer::{Peer, Reply, answer};

const BODY: &[u8] = b"{\"message\":\"a\"}\n{\"message\":\"b\"}\n";

fn quick(peer: &Peer) -> ClientBuilder {
    Client::builder(&peer.url).backoff(Duration::from_millis(1), Duration::from_millis(5))
}

#[test]
fn what_may_pass_is_retried_with_the_same_key() {
    let peer = Peer::start([
        answer("503 Service Unavailable", "Retry-After: 0\r\n", "{}"),
        answer("500 Internal Server Error", "", "oops"),
        answer("429 Too Many Requests", "", ""),
        Reply::Close(Vec::new()),
        Reply::Close(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{\"acc".to_vec()),
    ]);
    let client = quick(&peer).build().unwrap();
    let receipt = client.post_batch(Format::Ndjson, BODY).unwrap();
    assert_eq!((receipt.accepted, receipt.refused, receipt.retries), (2, 0, 5));

    client.post_batch(Format::Ndjson, BODY).unwrap();
    let requests = peer.requests();
    assert_eq!(requests.len(), 7);
    assert!(requests.iter().all(|request| request.line == "POST /logs/batch HTTP/1.1" && request.body == BODY));
    assert!(requests.iter().all(|request| request.headers["content-type"] == "application/x-ndjson"));
    let keys: Vec<_> = requests.iter().map(|request| request.headers["idempotency-key"].as_str()).collect();
    assert!(keys[..6].iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_ne!(keys[6], keys[0]);
    assert_eq!(keys[0].len(), 32);
}

#[test]
fn the_servers_retry_after_is_honoured() {
    let peer = Peer::start([answer("503 Service Unavailable", "Retry-After: 1\r\n", "{}")]);
    quick(&peer).build().unwrap().post_batch(Format::Ndjson, BODY).unwrap();
    let requests = peer.requests();
    assert!(requests[1].at - requests[0].at >= Duration::from_secs(1));
}

#[test]
fn a_retry_after_beyond_the_time_left_is_not_waited_for() {
    let peer = Peer::start([answer("503 Service Unavailable", "Retry-After: 3600\r\n", r#"{"title":"Spool full"}"#)]);
    let error = quick(&peer).build().unwrap().post_batch(Format::Ndjson, BODY).unwrap_err();
    assert_eq!(error.to_string(), "gave up after 1 attempts: the server answered 503: Spool full");
}

#[test]
fn a_refusal_is_final_and_carries_the_explanation() {
    let problem = r#"{"title":"Bad batch","status":400,"detail":"1 of 2 records is bad","errors":[{"index":1,"field":"level","detail":"unknown"}]}"#;
    let peer = Peer::start([answer("400 Bad Request", "Content-Type: application/problem+json\r\n", problem)]);
    let error = quick(&peer).build().unwrap().post_batch(Format::Ndjson, BODY).unwrap_err();
    assert!(error.is_refusal());
    match error {
        PostError::Refused(problem) => {
            assert_eq!((problem.status, problem.detail.as_str()), (400, "1 of 2 records is bad"));
            assert_eq!(problem.errors[0].index, 1);
        }
        other => panic!("{other}"),
    }
    assert_eq!(peer.requests().len(), 1);
}

#[test]
fn retries_have_a_limit() {
    let peer = Peer::start((0..10).map(|_| answer("503 Service Unavailable", "", "")));
    let error = quick(&peer).retries(2).build().unwrap().post_batch(Format::Json, b"[]").unwrap_err();
    assert!(matches!(error, PostError::GaveUp { attempts: 3, .. }), "{error}");
    assert_eq!(peer.requests().len(), 3);
}

#[test]
fn a_pause_can_be_given_up() {
    let peer = Peer::start([answer("503 Service Unavailable", "", "")]);
    let client = quick(&peer).build().unwrap();
    let error = client.post_batch_with(Format::Json, b"[]", &mut |_| false).unwrap_err();
    assert!(matches!(error, PostError::GaveUp { attempts: 1, .. }), "{error}");
}

#[test]
fn a_silent_server_is_a_timeout() {
    let peer = Peer::start([Reply::WhenOpened]);
    let client = quick(&peer).timeout(Duration::from_millis(50)).retries(0).build().unwrap();
    let error = client.post_batch(Format::Json, b"[]").unwrap_err();
    assert!(error.to_string().contains("timeout"), "{error}");
    peer.open();
}

#[test]
fn another_servers_yes_is_no_receipt() {
    let peer = Peer::start([answer("200 OK", "", "<html>hello</html>")]);
    let error = quick(&peer).build().unwrap().post_batch(Format::Json, b"[]").unwrap_err();
    assert!(matches!(error, PostError::UnknownAnswer), "{error}");
    assert!(!error.is_refusal());
}

#[test]
fn a_redirection_names_the_right_address() {
    let peer = Peer::start([answer("308 Permanent Redirect", "Location: https://logs.example.com/\r\n", "")]);
    let error = quick(&peer).build().unwrap().post_batch(Format::Json, b"[]").unwrap_err();
    assert_eq!(error.to_string(), "refused: 308: redirected to https://logs.example.com/: use that address");
}

#[test]
fn bodies_travel_compressed() {
    let peer = Peer::start([]);
    for compression in [Compression::Gzip, Compression::Zstd] {
        quick(&peer).compression(compression).build().unwrap().post_batch(Format::Ndjson, BODY).unwrap();
    }
    let requests = peer.requests();
    assert_eq!(requests[0].headers["content-encoding"], "gzip");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&*requests[0].body).read_to_end(&mut plain).unwrap();
    assert_eq!(plain, BODY);
    assert_eq!(requests[1].headers["content-encoding"], "zstd");
    assert_eq!(zstd::bulk::decompress(&requests[1].body, 1 << 20).unwrap(), BODY);
}

#[test]
fn a_key_of_the_callers_travels_with_every_attempt() {
    let peer = Peer::start([answer("503 Service Unavailable", "Retry-After: 0\r\n", "")]);
    let client = quick(&peer).build().unwrap();
    let receipt = client.post_batch_keyed(Format::Ndjson, BODY, "file-1-0", &mut |_| true).unwrap();
    assert_eq!(receipt.retries, 1);
    assert!(peer.requests().iter().all(|request| request.headers["idempotency-key"] == "file-1-0"));
}
