//! A small HTTP client for the commands that speak to a running server: plain HTTP/1.1, one connection that is kept.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::config::Settings;

/// How much of an answer is read at most.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Speaks to one server.
pub(super) struct Client {
    authority: String,
    timeout: Duration,
    connection: Option<BufReader<TcpStream>>,
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

impl Client {
    /// A client of the server at `url`, or where the configuration says that it listens.
    pub(super) fn new(url: Option<&str>, settings: &Settings, timeout: Duration) -> Result<Client, String> {
        let authority = match url {
            Some(url) => {
                let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url}: use http://HOST:PORT"))?;
                rest.split('/').next().unwrap_or_default().to_owned()
            }
            None => local(settings.listen).to_string(),
        };
        Ok(Client { authority, timeout, connection: None })
    }

    /// Who it speaks to.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Gets a path.
    pub(super) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send("GET", path, &[], b"")
    }

    /// Posts JSON, once per `key`. A connection that the server has closed meanwhile is opened again.
    pub(super) fn post(&mut self, path: &str, key: &str, body: &[u8]) -> io::Result<Answer> {
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        let kept = self.connection.is_some();
        match self.send("POST", path, &headers, body) {
            Err(_) if kept => self.send("POST", path, &headers, body),
            other => other,
        }
    }

    fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        // It is put back only once the whole answer is read.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.authority);
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let bytes = [request.as_bytes(), body].concat();
        connection.get_mut().write_all(&bytes)?;
        let (answer, keep) = read_answer(&mut connection)?;
        if keep {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let address = self.authority.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no such host"))?;
        let connection = TcpStream::connect_timeout(&address, self.timeout)?;
        connection.set_read_timeout(Some(self.timeout))?;
        connection.set_write_timeout(Some(self.timeout))?;
        connection.set_nodelay(true)?;
        Ok(BufReader::new(connection))
    }
}

/// Where a server that listens at `listen` is reached from its own host.
fn local(mut listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listen
}

/// Reads an answer; says too whether another request may follow.
fn read_answer(connection: &mut impl BufRead) -> io::Result<(Answer, bool)> {
    let mut head = connection.take(64 << 10);
    let status = read_line(&mut head)?;
    let status = status.strip_prefix("HTTP/1.").and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("the answer is not HTTP"))?;
    let (mut length, mut retry_after, mut keep) = (None, None, true);
    loop {
        let line = read_line(&mut head)?;
        let Some((name, value)) = line.split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse::<u64>().ok(),
            "retry-after" => retry_after = value.parse().ok().map(Duration::from_secs),
            "connection" => keep = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let limit = length.unwrap_or(ANSWER_BYTES_MAX);
    let mut body = Vec::new();
    if limit > ANSWER_BYTES_MAX {
        return Err(io::Error::other("the answer is too large"));
    }
    // Without a length it goes on to the end of the connection, which the server then closes.
    if length.is_some() || !keep {
        connection.take(limit).read_to_end(&mut body)?;
    }
    if length.is_some_and(|length| (body.len() as u64) < length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((Answer { status, retry_after, body }, keep && length.is_some()))
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_one_after_the_other() {
        let mut bytes = &b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nConnection: close\r\n\r\nrest"[..];
        let (answer, keep) = read_answer(&mut bytes).unwrap();
        assert_eq!(
            (answer.status, answer.retry_after, answer.body),
            (503, Some(Duration::from_secs(2)), b"abc".to_vec())
        );
        assert!(keep);
        let (answer, keep) = read_answer(&mut bytes).unwrap();
        assert_eq!((answer.status, answer.body, keep), (200, b"rest".to_vec(), false));
        assert!(read_answer(&mut &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"[..]).is_err());
        assert!(read_answer(&mut &b"SSH-2.0\r\n\r\n"[..]).is_err());
    }
}
