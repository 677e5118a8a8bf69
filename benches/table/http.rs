//! Just enough of HTTP/1.1: one request after another over one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that is kept.
pub struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

/// An answer; its body is the connection's until the next request.
pub struct Answer<'a> {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: &'a [u8],
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let stream = BufReader::with_capacity(64 << 10, stream);
        Ok(Connection { stream, line: String::new(), body: Vec::new() })
    }

    /// Asks for a path.
    pub fn get(&mut self, path: &str) -> Result<Answer<'_>> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    /// Asks for a path, and takes nothing but a 200.
    pub fn get_ok(&mut self, path: &str) -> Result<&[u8]> {
        let answer = self.get(path)?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(format!("{path}: {status} {}", String::from_utf8_lossy(answer.body)).into()),
        }
    }

    /// Posts lines of JSON.
    pub fn post(&mut self, path: &str, body: &[u8]) -> Result<Answer<'_>> {
        let stream = self.stream.get_mut();
        stream.write_all(&post_head(path, body.len()))?;
        stream.write_all(body)?;
        self.answer()
    }

    /// Begins an answer without an end, and gives away its connection.
    pub fn follow(mut self, path: &str) -> Result<TcpStream> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        match self.head()?.status {
            200 => Ok(self.stream.into_inner()),
            status => Err(format!("{path}: {status}").into()),
        }
    }

    fn answer(&mut self) -> Result<Answer<'_>> {
        let head = self.head()?;
        self.body.clear();
        match head.length {
            Some(length) => self.take(length)?,
            None => self.take_chunks()?,
        }
        Ok(Answer { status: head.status, retry_after: head.retry_after, body: &self.body })
    }

    fn head(&mut self) -> Result<Head> {
        let mut head = Head { status: self.read_line()?.get(9..12).unwrap_or_default().parse()?, ..Head::default() };
        loop {
            let line = self.read_line()?;
            let Some((name, value)) = line.split_once(':') else { return Ok(head) };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = Some(value.trim().parse()?),
                "retry-after" => head.retry_after = Some(Duration::from_secs(value.trim().parse()?)),
                _ => {}
            }
        }
    }

    fn take_chunks(&mut self) -> Result<()> {
        loop {
            let length = usize::from_str_radix(self.read_line()?, 16)?;
            self.take(length)?;
            self.read_line()?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<()> {
        let taken = self.stream.by_ref().take(length as u64).read_to_end(&mut self.body)?;
        if taken == length { Ok(()) } else { Err("an answer was cut off".into()) }
    }

    fn read_line(&mut self) -> Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            return Err("the server hung up".into());
        }
        Ok(self.line.trim_end())
    }
}

#[derive(Default)]
struct Head {
    status: u16,
    length: Option<usize>,
    retry_after: Option<Duration>,
}

/// What stands before a body of NDJSON.
pub fn post_head(path: &str, length: usize) -> Vec<u8> {
    let kind = "application/x-ndjson";
    format!("POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n")
        .into_bytes()
}

/// A parameter of a query as it stands in a path.
pub fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
