//! Pages and streams.

use std::io::Read;
use std::time::Duration;

use sluice_client::{Client, ExportFormat, Form, Others, Query, ReadError, Stats, TailEvent};

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

#[test]
fn an_answer_is_handed_on_page_by_page() {
    let peer = Peer::start([
        answer("200 OK", "Link: </logs/retrieve?cursor=c1>; rel=\"next\"\r\nSluice-Hint: no field x\r\n", "a,b\n1,2\n"),
        answer("200 OK", "", "a,b\n3,4\n"),
    ]);
    let client = client(&peer);
    let mut first = client.retrieve(&Query::new().limit(1).fields(["a", "b"]), Form::Csv).unwrap();
    assert_eq!((first.has_more(), first.hint(), first.incomplete()), (true, Some("no field x"), None));
    assert_eq!(text(&mut first), "a,b\n1,2\n");
    let mut second = client.next_page(&first, Form::Csv).unwrap().unwrap();
    assert_eq!(text(&mut second), "a,b\n3,4\n");
    assert!(client.next_page(&second, Form::Csv).unwrap().is_none());
    let requests = peer.requests();
    assert_eq!(requests[0].line, "GET /logs/retrieve?limit=1&fields=a%2Cb HTTP/1.1");
    assert_eq!(requests[1].headers["accept"], "text/csv");
}

#[test]
fn an_export_that_breaks_off_is_an_error() {
    let peer = Peer::start([chunked("", &["PAR1"], false), chunked("", &["PAR1"], true)]);
    let client = client(&peer);
    let mut cut = client.export(&Query::new().service("a"), ExportFormat::Parquet).unwrap();
    assert!(cut.read_to_end(&mut Vec::new()).is_err());
    assert_eq!(text(&mut client.export(&Query::new(), ExportFormat::Sqlite).unwrap()), "PAR1");
    assert_eq!(peer.requests()[0].line, "GET /logs/export?service=a&format=parquet HTTP/1.1");
}

#[test]
fn figures_are_typed() {
    let peer = Peer::start([
        answer("200 OK", "", r#"{"count":7}"#),
        answer(
            "200 OK",
            "",
            r#"{"columns":[{"name":"service","type":"string"},{"name":"count","type":"number"}],
                "rows":[["shop",12345678901234567890123],[null,1]],"others":{"groups":3,"records":17}}"#,
        ),
        answer("200 OK", "", r#"{"fields":[{"name":"http.status","types":{"integer":90,"string":1},"records":91}]}"#),
        answer("200 OK", "", r#"{"values":[{"value":500,"count":12}],"others":{"values":3,"records":17}}"#),
        answer("200 OK", "", "<h1>It works</h1>"),
    ]);
    let client = client(&peer);
    assert_eq!(client.count(&Query::new().text("a")).unwrap(), 7);
    let stats =
        Stats::new().aggregates(["count"]).by(["service"]).step("1h").time_zone("Europe/Berlin").fill_zero().top(2);
    let table = client.stats(&Query::new(), &stats).unwrap();
    assert_eq!((table.columns[1].name.as_str(), table.columns[1].kind.as_str()), ("count", "number"));
    assert_eq!((table.rows[0][1].as_json(), table.rows[1][0].as_json()), ("12345678901234567890123", "null"));
    assert_eq!(table.others, Some(Others { groups: 3, records: 17 }));
    let fields = client.fields(&Query::new()).unwrap();
    assert_eq!((fields[0].name.as_str(), fields[0].types["integer"], fields[0].records), ("http.status", 90, 91));
    let values = client.values(&Query::new(), "a/b", 20).unwrap();
    assert_eq!((values.values[0].value.as_json(), values.values[0].count), ("500", 12));
    assert_eq!(values.others, Some(Others { groups: 3, records: 17 }));
    assert!(matches!(client.count(&Query::new()), Err(ReadError::UnknownAnswer(_))));
    let lines: Vec<_> = peer.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines[0], "GET /logs/count?q=a HTTP/1.1");
    let expected = "GET /logs/stats?agg=count&by=service&step=1h&tz=Europe%2FBerlin&fill=zero&top=2 HTTP/1.1";
    assert_eq!(lines[1], expected);
    assert_eq!(lines[3], "GET /logs/fields/a%2Fb/values?top=20 HTTP/1.1");
}

#[test]
fn a_tail_tells_records_and_what_was_missed() {
    let peer = Peer::start([
        chunked("", &[A, "\n\n", "{\"missed\":12}\n{\"passed_over\":3}\n", B, "\n"], true),
        chunked("", &[A, "\n"], false),
    ]);
    let client = client(&peer);
    let mut tail = client.tail(&Query::new().text("x"), 5).unwrap();
    assert_eq!(tail.next_event().unwrap(), Some(TailEvent::Record(A.as_bytes())));
    assert_eq!(tail.next_event().unwrap(), Some(TailEvent::Missed { matches: 12, passed_over: 0 }));
    assert_eq!(tail.next_event().unwrap(), Some(TailEvent::Missed { matches: 0, passed_over: 3 }));
    assert_eq!(tail.next_event().unwrap(), Some(TailEvent::Record(B.as_bytes())));
    assert_eq!(tail.next_event().unwrap(), None);
    assert_eq!(peer.requests()[0].line, "GET /logs/tail?q=x&last=5 HTTP/1.1");
    let mut tail = client.tail(&Query::new(), 0).unwrap();
    assert!(matches!(tail.next_event(), Ok(Some(TailEvent::Record(_)))));
    assert!(matches!(tail.next_event(), Err(ReadError::Cut(_))));
}

fn text(from: &mut impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}
