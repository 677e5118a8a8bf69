//! Sending records.

use std::io::Write;

use serde_json::{Value, json};

use super::{ORIGINAL_BATCH, shown};
use crate::support::server::Server;

#[test]
fn the_original_batch_is_accepted_and_found() {
    let server = Server::start(&[]);
    insta::assert_snapshot!("batch_accepted", shown(&server.http.post("/logs/batch", ORIGINAL_BATCH)));
    let path = "/logs/retrieve?startTime=2024-10-07T20:00:00Z&endTime=2024-10-08T08:00:00Z&logLevel=WARNING";
    insta::assert_snapshot!("original_retrieve", shown(&server.http.get(path)));
}

#[test]
fn one_record_is_accepted_with_its_id() {
    let server = Server::start(&[]);
    let record = r#"{"service":"shop","level":"error","message":"timeout","timestamp":"2024-10-08T00:00:00Z"}"#;
    for path in ["/logs", "/log"] {
        let answer = server.http.post(path, record);
        insta::assert_snapshot!("record_accepted", shown(&answer));
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        insta::assert_snapshot!("record_by_id", shown(&server.http.get(&format!("/logs/{id}"))));
    }
    let found = server.http.get("/logs/search?q=timeout&level=error").json();
    assert_eq!(found.as_array().unwrap().len(), 2);
}

#[test]
fn every_form_of_body_and_every_encoding_is_understood() {
    let server = Server::start(&[]);
    let lines = b"{\"message\":\"one\"}\n{\"message\":\"two\"}\n";
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(lines).unwrap();
        encoder.finish().unwrap()
    };
    let deflate = {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(lines).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(&lines[..], 1).unwrap();
    let mut brotli = Vec::new();
    brotli::BrotliCompress(&mut &lines[..], &mut brotli, &brotli::enc::BrotliEncoderParams::default()).unwrap();
    let encoded: [(&str, &[u8]); 5] =
        [("identity", lines), ("gzip", &gzip), ("deflate", &deflate), ("zstd", &zstd), ("br", &brotli)];
    for (encoding, body) in encoded {
        let headers = [("content-type", "application/x-ndjson"), ("content-encoding", encoding)];
        let answer = server.http.post_with("/logs/batch", body, &headers);
        assert_eq!(
            (answer.status, answer.json()["accepted"].as_u64()),
            (202, Some(2)),
            "{encoding}: {}",
            answer.text()
        );
    }
    for (body, accepted) in [("[]", 0), ("{\"message\":\"x\"}", 1), ("{\"message\":\"x\"} {\"message\":\"y\"}", 2)] {
        let answer = server.http.post_with("/logs/batch", body.as_bytes(), &[]);
        assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(accepted)), "{body}");
    }
    assert_eq!(server.http.get("/logs?limit=10000").json().as_array().unwrap().len(), 13);
}

#[test]
fn bad_records_can_be_left_out() {
    let server = Server::start(&[]);
    let batch = r#"[{"message":"good"},{"message":"bad","level":"loud"},{"message":"good"}]"#;
    insta::assert_snapshot!("batch_refused", shown(&server.http.post("/logs/batch", batch)));
    assert_eq!(server.http.get("/logs").json(), json!([]));
    insta::assert_snapshot!("batch_with_skips", shown(&server.http.post("/logs/batch?invalid=skip", batch)));
    assert_eq!(server.http.get("/logs").json().as_array().unwrap().len(), 2);
}

#[test]
fn fields_can_be_named_by_the_request() {
    let server = Server::start(&[]);
    let path = "/logs/batch?message_field=event.text,txt&level_field=sev&service_field=app&timestamp_field=when";
    let body = r#"{"event":{"text":"hello"},"sev":"warn","app":"shop","when":1728345600,"message":"kept"}"#;
    assert_eq!(server.http.post(path, body).status, 202);
    insta::assert_snapshot!("named_fields", shown(&server.http.get("/logs")));
}

#[test]
fn a_key_makes_a_retry_safe_also_after_a_restart() {
    let server = Server::start(&[]);
    let send = |server: &Server, body: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "k-1")];
        server.http.post_with("/logs/batch", body.as_bytes(), &headers)
    };
    let first = send(&server, ORIGINAL_BATCH);
    let second = send(&server, ORIGINAL_BATCH);
    assert_eq!((first.status, first.text()), (second.status, second.text()));
    insta::assert_snapshot!("key_reused", shown(&send(&server, "[]")));
    let server = server.start_again();
    assert_eq!(send(&server, ORIGINAL_BATCH).text(), first.text());
    assert_eq!(server.http.get("/logs").json().as_array().unwrap().len(), 3);
}

#[test]
fn an_acknowledgement_can_wait_for_the_store() {
    let server = Server::start(&[]);
    insta::assert_snapshot!("ack_stored", shown(&server.http.post("/logs/batch?ack=stored", ORIGINAL_BATCH)));
}

#[test]
fn every_value_comes_back_as_it_was_sent() {
    let server = Server::start(&[]);
    let attributes = r#"{"a":1,"a.b":1.0,"big":123456789012345678901234567890,"e":1e400,"empty":{},"f":1.10,"list":[1,{"x":null}],"n":null,"s":"é\u0000","t":true,"u":18446744073709551615}"#;
    let record = format!(r#"{{"timestamp":"2024-10-08T00:00:00.123456789Z","message":"m","attributes":{attributes}}}"#);
    assert_eq!(server.http.post("/logs", &record).status, 202);
    let answer = server.http.get("/logs");
    let text = answer.text();
    let (_, sent_back) = text.split_once("\"attributes\":").unwrap();
    assert_eq!(sent_back, format!("{attributes}}}]"));
    let again = server.http.post("/logs/batch", text);
    assert_eq!(again.json()["accepted"], Value::from(1), "{}", again.text());
    let both = server.http.get("/logs");
    let texts: Vec<_> = both.text().match_indices(attributes).collect();
    assert_eq!(texts.len(), 2, "{}", both.text());
}
