//! A client that follows a tail, line by line, while a test goes on.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;

use super::server::Server;

/// How long a line may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// An open tail.
pub struct Follower {
    lines: Receiver<std::io::Result<String>>,
    resume: Sender<()>,
    /// The headers of the answer.
    pub headers: ureq::http::HeaderMap,
}

/// What a tail gave.
#[derive(Debug, Default, PartialEq)]
pub struct Received {
    /// The records.
    pub records: Vec<Value>,
    /// How many matches were missed, as far as it was told.
    pub missed: u64,
}

impl Follower {
    /// Opens a tail; returns when its head is there.
    pub fn open(server: &Server, path: &str) -> Follower {
        Follower::open_with(server, path, &[])
    }

    /// The same with headers.
    pub fn open_with(server: &Server, path: &str, headers: &[(&str, &str)]) -> Follower {
        let follower = Follower::start(server, path, headers);
        follower.resume();
        follower
    }

    /// Opens a tail of which nothing more than the head is read before it is resumed.
    pub fn open_paused(server: &Server, path: &str) -> Follower {
        Follower::start(server, path, &[])
    }

    /// Begins to read.
    pub fn resume(&self) {
        let _ = self.resume.send(());
    }

    fn start(server: &Server, path: &str, headers: &[(&str, &str)]) -> Follower {
        let mut request = ureq::get(format!("{}{path}", server.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, body) = request.call().expect("a tail is opened").into_parts();
        assert_eq!(head.status, 200);
        let zipped = head.headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip");
        let reader: Box<dyn Read + Send> = match zipped {
            true => Box::new(flate2::read::GzDecoder::new(body.into_reader())),
            false => Box::new(body.into_reader()),
        };
        let ((sender, lines), (resume, resumed)) = (channel(), channel());
        std::thread::spawn(move || {
            if resumed.recv().is_err() {
                return;
            }
            for line in BufReader::new(reader).lines() {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Follower { lines, resume, headers: head.headers }
    }

    /// The next line; nothing after a clean end.
    pub fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line.expect("the tail is not cut")),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(error) => panic!("no line came: {error}"),
        }
    }

    /// The next record of a tail in NDJSON.
    pub fn record(&self) -> Value {
        let received = self.take(1);
        assert_eq!(received.missed, 0);
        received.records[0].clone()
    }

    /// Takes lines of NDJSON until there are `count` records, received or missed.
    pub fn take(&self, count: u64) -> Received {
        let mut received = Received::default();
        while received.records.len() as u64 + received.missed < count {
            received.add(&self.line().expect("the tail goes on"));
        }
        received
    }

    /// What comes until the tail's clean end.
    pub fn rest(&self) -> Received {
        let mut received = Received::default();
        while let Some(line) = self.line() {
            received.add(&line);
        }
        received
    }
}

impl Received {
    /// Adds a line of NDJSON.
    pub fn add(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["passed_over"].is_null(), "{line}");
        match value["missed"].as_u64() {
            Some(missed) => self.missed += missed,
            None => self.records.push(value),
        }
    }

    /// The ids, in the order in which they came.
    pub fn ids(&self) -> Vec<&str> {
        self.records.iter().map(|record| record["id"].as_str().unwrap()).collect()
    }
}
