//! `sluice health`: the container's health check, for images without a shell or curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::config::Settings;

/// How long each step of the check may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the server at `url`, or where the configuration says that it listens, for `/health`.
///
/// # Errors
/// A line that says why the server is not healthy.
pub fn health(url: Option<String>, settings: &Settings) -> Result<(), String> {
    let authority = match &url {
        Some(url) => {
            let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url}: use http://HOST:PORT"))?;
            rest.split('/').next().unwrap_or_default().to_owned()
        }
        None => local(settings.listen).to_string(),
    };
    let status = ask(&authority).map_err(|error| format!("{authority}: {error}"))?;
    if status == 200 { Ok(()) } else { Err(format!("{authority}: answers {status}")) }
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

/// Sends `GET /health`; returns the status.
fn ask(authority: &str) -> std::io::Result<u16> {
    let other = |text: &str| std::io::Error::other(text.to_owned());
    let address = authority.to_socket_addrs()?.next().ok_or_else(|| other("no such host"))?;
    let mut connection = TcpStream::connect_timeout(&address, TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    write!(connection, "GET /health HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.take(64 << 10).read_to_string(&mut answer)?;
    let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| other("the answer is not HTTP"))
}
