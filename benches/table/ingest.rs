//! All records as fast as the server takes them: bodies of 4 MB over two connections.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::data::Data;
use crate::http::Connection;
use crate::server::{Server, Site};

/// How many bodies are on their way at a time.
const CONNECTIONS: usize = 2;

/// What it took until every record was in its final segment.
#[derive(Debug, Clone, Copy)]
pub struct Ingested {
    /// The server's user and system time.
    pub cpu_seconds: f64,
    /// Until the last 202.
    pub wall_seconds: f64,
    /// All its files.
    pub disk_bytes: f64,
    pub peak_rss_bytes: f64,
}

/// Sends the data for `days` days, each `stride` days after the one before, to a new server, and stops it.
pub fn measure(site: &Site, data: &Data, days: u64, stride: u64) -> Result<Ingested> {
    let server = site.start_empty()?;
    let before = server.cpu_seconds()?;
    let wall = send(&server, data, 0..days, stride)?;
    server.drain()?;
    let usage = server.stop()?;
    Ok(Ingested {
        cpu_seconds: usage.cpu_seconds - before,
        wall_seconds: wall.as_secs_f64(),
        disk_bytes: site.disk_bytes()? as f64,
        peak_rss_bytes: usage.peak_rss_bytes as f64,
    })
}

/// Sends the data of some days, and says how long it took until the last 202.
pub fn send(server: &Server, data: &Data, days: Range<u64>, stride: u64) -> Result<Duration> {
    let next = AtomicUsize::new(data.bodies() * days.start as usize);
    let all = data.bodies() * days.end as usize;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(server.connect()?);
    }
    let sender = |mut connection: Connection| -> Result<()> {
        let mut body = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= all {
                return Ok(());
            }
            let day = (number / data.bodies()) as u64;
            data.read(number % data.bodies(), day * stride, &mut body)?;
            post(&mut connection, &body)?;
        }
    };
    let begun = Instant::now();
    thread::scope(|scope| {
        let senders: Vec<_> = connections.drain(..).map(|connection| scope.spawn(|| sender(connection))).collect();
        senders.into_iter().try_for_each(|sender| sender.join().map_err(|_| "a sender panicked")?)
    })?;
    Ok(begun.elapsed())
}

/// Posts a body, again if the server says when.
fn post(connection: &mut Connection, body: &[u8]) -> Result<()> {
    loop {
        let answer = connection.post("/logs/batch", body)?;
        match (answer.status, answer.retry_after) {
            (202, _) => return Ok(()),
            (429 | 503, Some(pause)) => thread::sleep(pause),
            (status, _) => return Err(format!("a body: {status} {}", String::from_utf8_lossy(answer.body)).into()),
        }
    }
}
