//! A peer that keeps batches and streams them back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the peer does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    /// Records of these numbers are accepted, but not kept.
    Lose {
        from: u64,
        to: u64,
    },
    /// The record of this number is kept twice.
    Repeat {
        number: u64,
    },
    /// The first batch is refused.
    RefuseFirstBatch,
    /// The first reading lacks its last chunk.
    CutFirstReading,
    /// The first reading lacks records, and says so.
    FirstReadingIncomplete,
}

#[derive(Default)]
struct Kept {
    batches: usize,
    readings: usize,
    lines: Vec<String>,
}

pub struct Keeper {
    pub url: String,
    kept: Arc<Mutex<Kept>>,
}

impl Keeper {
    pub fn start(fault: Fault) -> Keeper {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Kept::default()));
        let keeping = Arc::clone(&kept);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&keeping);
                std::thread::spawn(move || serve(&stream.unwrap(), fault, &kept));
            }
        });
        Keeper { url, kept }
    }

    pub fn lines(&self) -> Vec<String> {
        self.kept.lock().unwrap().lines.clone()
    }

    pub fn readings(&self) -> usize {
        self.kept.lock().unwrap().readings
    }

    pub fn wait_for_lines(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.kept.lock().unwrap().lines.len() < count {
            assert!(Instant::now() < deadline, "{count} lines did not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn serve(stream: &TcpStream, fault: Fault, kept: &Mutex<Kept>) {
    let mut reader = BufReader::new(stream);
    while let Some((request, body)) = read_request(&mut reader) {
        let (answer, closes) = match request.split(' ').next() {
            Some("POST") => (accept(&body, fault, &mut kept.lock().unwrap()), false),
            _ => stream_back(fault, &mut kept.lock().unwrap()),
        };
        (&*stream).write_all(answer.as_bytes()).unwrap();
        if closes {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<(String, String)> {
    let mut request = String::new();
    reader.read_line(&mut request).ok().filter(|length| *length > 0)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().to_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((request, String::from_utf8(body).unwrap()))
}

fn accept(body: &str, fault: Fault, kept: &mut Kept) -> String {
    kept.batches += 1;
    if fault == Fault::RefuseFirstBatch && kept.batches == 1 {
        return answer("400 Bad Request", r#"{"title":"Bad batch"}"#);
    }
    for line in body.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let number = value["producer.number"].as_u64();
        let copies = match (fault, number) {
            (Fault::Lose { from, to }, Some(number)) if (from..=to).contains(&number) => 0,
            (Fault::Repeat { number: repeated }, Some(number)) if number == repeated => 2,
            _ => 1,
        };
        kept.lines.extend(std::iter::repeat_n(line.to_owned(), copies));
    }
    answer("202 Accepted", &format!(r#"{{"accepted":{}}}"#, body.lines().count()))
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Everything in chunks, in the shape of a server's answer; true if the connection is to be closed.
fn stream_back(fault: Fault, kept: &mut Kept) -> (String, bool) {
    kept.readings += 1;
    let is_first = kept.readings == 1;
    let cut = fault == Fault::CutFirstReading && is_first;
    let incomplete = fault == Fault::FirstReadingIncomplete && is_first;
    let mut text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n".to_owned();
    if incomplete {
        text.push_str("Sluice-Incomplete: records=5, lag=1\r\n");
    }
    text.push_str("\r\n");
    for line in kept.lines.iter().skip(if incomplete { 5 } else { 0 }) {
        let sent: serde_json::Value = serde_json::from_str(line).unwrap();
        let attributes = ["producer.run", "producer.number"].map(|name| format!("{name:?}:{}", sent[name])).join(",");
        let record = format!("{{\"timestamp\":{},\"attributes\":{{{attributes}}}}}\n", sent["timestamp"]);
        text.push_str(&format!("{:x}\r\n{record}\r\n", record.len()));
    }
    if !cut {
        text.push_str("0\r\n\r\n");
    }
    (text, cut)
}
