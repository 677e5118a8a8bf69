//! An HTTP peer over std::net: each request is kept, and answered with the next reply of a script.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
}

/// What the peer does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// These bytes; the connection stays open.
    Bytes(Vec<u8>),
    /// These bytes, then the connection is closed.
    Close(Vec<u8>),
    /// The same as 202 for a batch, but only when the gate is opened.
    WhenOpened,
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<Request>>,
    open: Mutex<bool>,
    opened: Condvar,
}

/// The peer; it lives as long as the test's process.
pub struct Peer {
    pub url: String,
    shared: Arc<Shared>,
}

impl Peer {
    /// Listens on a free port. After the script is at its end, every batch is accepted.
    pub fn start(script: impl IntoIterator<Item = Reply>) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { script: Mutex::new(script.into_iter().collect()), ..Shared::default() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(&stream.unwrap()));
            }
        });
        Peer { url, shared }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub fn wait_for_requests(&self, count: usize) -> Vec<Request> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.requests().len() < count {
            assert!(Instant::now() < deadline, "{} of {count} requests came", self.requests().len());
            std::thread::sleep(Duration::from_millis(2));
        }
        self.requests()
    }

    /// Lets everything pass that waits for it.
    pub fn open(&self) {
        *self.shared.open.lock().unwrap() = true;
        self.shared.opened.notify_all();
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            let records = request.body.iter().filter(|byte| **byte == b'\n').count();
            let reply = {
                // Together, so that the script's order is the order of requests.
                let mut requests = self.requests.lock().unwrap();
                requests.push(request);
                self.script.lock().unwrap().pop_front()
            };
            match reply {
                Some(Reply::Bytes(bytes)) => (&*stream).write_all(&bytes).unwrap(),
                Some(Reply::Close(bytes)) => return (&*stream).write_all(&bytes).unwrap(),
                Some(Reply::WhenOpened) => {
                    let open = self.open.lock().unwrap();
                    let _open = self.opened.wait_while(open, |open| !*open).unwrap();
                    (&*stream).write_all(&accepted(records)).unwrap();
                }
                None => (&*stream).write_all(&accepted(records)).unwrap(),
            }
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { line: line.trim_end().to_owned(), headers, body, at: Instant::now() })
}

/// An answer with a length.
pub fn answer(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Bytes(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes())
}

/// An answer in chunks; without `end`, the last one is missing and the connection closes.
pub fn chunked(headers: &str, chunks: &[&str], end: bool) -> Reply {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{headers}\r\n").into_bytes();
    for chunk in chunks {
        bytes.extend_from_slice(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
    }
    if end {
        bytes.extend_from_slice(b"0\r\n\r\n");
        return Reply::Bytes(bytes);
    }
    Reply::Close(bytes)
}

/// The server's yes to a batch.
pub fn accepted(records: usize) -> Vec<u8> {
    let body = format!(r#"{{"status":"success","message":"Log batch accepted","accepted":{records}}}"#);
    match answer("202 Accepted", "Content-Type: application/json\r\n", &body) {
        Reply::Bytes(bytes) => bytes,
        _ => unreachable!(),
    }
}
