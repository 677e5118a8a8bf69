//! HTTP/1.1 by hand on a plain socket: it tells exactly how far an exchange came, which a client library hides.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The most of an answer's head that is read.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A connection that is kept alive between requests.
pub struct Connection {
    stream: TcpStream,
    /// What was read past the last answer.
    rest: Vec<u8>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers, by lower-case name.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// There was no connection: nothing has been sent.
    NotConnected,
    /// The connection ended, or time ran out, before the first byte of an answer.
    Unanswered(String),
    /// An answer began and did not end: never right but after a kill.
    CutOff(String),
}

impl Connection {
    /// Connects; reads and writes take at most `timeout`.
    ///
    /// # Errors
    /// [`Lost::NotConnected`].
    pub fn open(address: SocketAddr, timeout: Duration) -> Result<Connection, Lost> {
        let connect = || -> io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&address, timeout)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            Ok(stream)
        };
        let stream = connect().map_err(|_| Lost::NotConnected)?;
        Ok(Connection { stream, rest: Vec::new() })
    }

    /// Posts a body and reads the answer.
    ///
    /// # Errors
    /// [`Lost`]; the connection is of no use then.
    pub fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, Lost> {
        let mut request = head("POST", path, headers);
        request.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body);
        self.exchange(&request)
    }

    /// Gets a path and reads the answer.
    ///
    /// # Errors
    /// [`Lost`]; the connection is of no use then.
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Reply, Lost> {
        let mut request = head("GET", path, headers);
        request.extend_from_slice(b"\r\n");
        self.exchange(&request)
    }

    /// Writes raw bytes, which may be a part of a request.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Writes a whole request and reads its answer.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn exchange(&mut self, request: &[u8]) -> Result<Reply, Lost> {
        // A server that refuses early may close before it has read all, and its answer still be there to read.
        let written = self.stream.write_all(request);
        match (self.read_reply(), written) {
            (Err(Lost::Unanswered(_)), Err(error)) => Err(Lost::Unanswered(format!("writing: {error}"))),
            (reply, _) => reply,
        }
    }

    /// Reads the next answer.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn read_reply(&mut self) -> Result<Reply, Lost> {
        let head = self.read_head()?;
        let (status, headers) = parse_head(&head).ok_or_else(|| Lost::CutOff(format!("not HTTP: {head:?}")))?;
        if status == 100 {
            return self.read_reply();
        }
        let value = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let body = if value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            self.read_chunks()
        } else {
            let length = value("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            self.take(length)
        };
        let body = body.map_err(|lost| match lost {
            Lost::Unanswered(why) => Lost::CutOff(format!("in the body of a {status}: {why}")),
            lost => lost,
        })?;
        Ok(Reply { status, headers, body })
    }

    /// Reads the answer to `Expect: 100-continue`: the server wants the body.
    ///
    /// # Errors
    /// [`Lost`]; also if it does not.
    pub fn read_continue(&mut self) -> Result<(), Lost> {
        let head = self.read_head()?;
        if head.starts_with("HTTP/1.1 100") { Ok(()) } else { Err(Lost::Unanswered(head)) }
    }

    fn read_head(&mut self) -> Result<String, Lost> {
        let end = loop {
            if let Some(at) = find(&self.rest, b"\r\n\r\n") {
                break at;
            }
            if self.rest.len() > HEAD_BYTES_MAX {
                return Err(Lost::CutOff("a head without an end".to_owned()));
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        self.rest.drain(..end + 4);
        Ok(head)
    }

    fn read_chunks(&mut self) -> Result<Vec<u8>, Lost> {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                match find(&self.rest, b"\r\n") {
                    Some(at) => break at,
                    None => self.more()?,
                }
            };
            let line = String::from_utf8_lossy(&self.rest[..line_end]).into_owned();
            self.rest.drain(..line_end + 2);
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| Lost::CutOff(format!("not the size of a chunk: {line:?}")))?;
            let chunk = self.take(size + 2)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Lost> {
        while self.rest.len() < count {
            self.more()?;
        }
        Ok(self.rest.drain(..count).collect())
    }

    fn more(&mut self) -> Result<(), Lost> {
        let mut buffer = [0; 16 << 10];
        let lost = |why: String| if self.rest.is_empty() { Lost::Unanswered(why) } else { Lost::CutOff(why) };
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(lost("the connection was closed".to_owned())),
            Ok(count) => {
                self.rest.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) => Err(lost(format!("reading: {error}"))),
        }
    }
}

impl Reply {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the server ends the connection after this answer.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The head of a request, but for the empty line.
fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: torture\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.into_bytes()
}

fn parse_head(head: &str) -> Option<(u16, Vec<(String, String)>)> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    Some((status, headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()))
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
