//! Pages and streams.

use std::time::Duration;

use sluice_client::{Client, Query, ReadError};

use crate::peer::{Peer, Reply, answer, chunked};

const A: &str =
    r#"{"timestamp":"2024-10-08T00:00:00.000000000Z","level":"INFO","service":"","message":"a","attributes":{"n":1}}"#;
const B: &str = r#"{"timestamp":"2024-10-08T00:00:01.000000000Z","level":"INFO","service":"","message":"b"}"#;

fn client(peer: &Peer) -> Client {
    Client::builder(&peer.url).backoff(Duration::from_millis(1), Duration::from_millis(5)).build().unwrap()
}

#[test]
fn pages_follow_the_links() {
    let link = "Link: </logs/retrieve?limit=1&cursor=c1>; rel=\"next\"\r\n";
    let peer = Peer::start([
        answer("503 Service Unavailable", "Retry-After: 0\r\n", ""),
        answer("200 OK", &format!("{link}Sluice-Incomplete: records=2, lag=1\r\n"), &format!("[{A}]")),
        answer("200 OK", "", &format!("[{B}]")),
    ]);
    let client = client(&peer);
    let pages: Vec<_> = client.pages(&Query::new().limit(1)).collect::<Result<_, _>>().unwrap();
    assert_eq!(pages.iter().map(|page| page.records[0].message.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(pages[0].incomplete.as_deref(), Some("records=2, lag=1"));
    assert_eq!(pages[1].incomplete, None);
    let lines: Vec<_> = peer.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines[1..], ["GET /logs/retrieve?limit=1 HTTP/1.1", "GET /logs/retrieve?limit=1&cursor=c1 HTTP/1.1"]);
}

#[test]
fn a_link_to_another_server_is_an_error() {
    let peer = Peer::start([answer("200 OK", "Link: <http://elsewhere/x>; rel=\"next\"\r\n", "[]")]);
    let client = client(&peer);
    let mut pages = client.pages(&Query::new());
    assert!(matches!(pages.next(), Some(Err(ReadError::Link(_)))));
    assert!(pages.next().is_none());
}

#[test]
fn a_stream_is_read_to_its_end() {
    let (first, second) = A.split_at(40);
    let peer =
        Peer::start([chunked("Sluice-Incomplete: records=1, lag=1\r\n", &[first, &format!("{second}\n\n{B}")], true)]);
    let mut stream = client(&peer).stream(&Query::new()).unwrap();
    assert_eq!(stream.incomplete(), Some("records=1, lag=1"));
    assert_eq!(stream.next().unwrap().unwrap().attributes["n"].as_json(), "1");
    assert_eq!(stream.next_line().unwrap(), Some(B.as_bytes()));
    assert_eq!(stream.next_line().unwrap(), None);
    assert!(stream.next().is_none());
    assert_eq!(peer.requests()[0].headers["accept"], "application/x-ndjson");
}

#[test]
fn a_stream_without_its_final_chunk_is_an_error() {
    for chunks in [&[][..], &[A][..], &[A, "\n"][..]] {
        let peer = Peer::start([chunked("", chunks, false)]);
        let mut stream = client(&peer).stream(&Query::new()).unwrap();
        let mut outcome = stream.next_line().map(|line| line.map(<[u8]>::to_vec));
        if chunks.len() == 2 {
            assert_eq!(outcome.unwrap().unwrap(), A.as_bytes());
            outcome = stream.next_line().map(|line| line.map(<[u8]>::to_vec));
        }
        assert!(matches!(outcome, Err(ReadError::Cut(_))), "{chunks:?}: {outcome:?}");
        assert!(stream.next().is_none(), "an error is the end");
    }
}

#[test]
fn a_stream_whose_end_cannot_be_told_is_not_read() {
    let peer = Peer::start([Reply::Close(format!("HTTP/1.1 200 OK\r\n\r\n{A}\n").into_bytes())]);
    assert!(matches!(client(&peer).stream(&Query::new()), Err(ReadError::Unframed)));
}

#[test]
fn a_bad_query_is_final() {
    let peer = Peer::start([answer("400 Bad Request", "", r#"{"title":"Unknown parameter"}"#)]);
    assert!(matches!(client(&peer).stream(&Query::new()), Err(ReadError::Refused(problem)) if problem.status == 400));
    assert_eq!(peer.requests().len(), 1);
}
