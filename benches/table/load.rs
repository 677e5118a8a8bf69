//! Small requests over 16 connections, from one thread: it shares the machine with what it measures.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use memchr::memmem;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::Result;
use crate::data::Data;
use crate::http::post_head;
use crate::process;
use crate::samples::Samples;
use crate::server::Site;

/// Connections, each with a request on its way.
const CONNECTIONS: usize = 16;
/// Bytes of requests that are prepared; they are sent again and again.
const PREPARED_BYTES: usize = 32 << 20;
/// The share of the time that does not count.
const WARM_UP: u32 = 5;

/// How the server kept up.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub requests_per_second: f64,
    pub p99_seconds: f64,
    /// The share of a core that sending took.
    pub generator_share: f64,
}

/// Sends requests of so many records each to a new server for some time, and checks that it has them all.
pub fn measure(site: &Site, data: &Data, records: usize, duration: Duration) -> Result<Load> {
    let requests = prepare(data, records)?;
    let server = site.start_empty()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (load, sent) = LocalSet::new().block_on(&runtime, run(server.address(), requests, duration))?;
    server.drain()?;
    let counted: Value = serde_json::from_slice(server.connect()?.get_ok("/logs/count")?)?;
    let expected = sent * records as u64;
    if counted.get("count").and_then(Value::as_u64) != Some(expected) {
        return Err(format!("{expected} records were acknowledged, and the server counts {counted}").into());
    }
    server.stop()?;
    Ok(load)
}

/// Whole requests, ready to be written.
fn prepare(data: &Data, records: usize) -> Result<Rc<Vec<Vec<u8>>>> {
    let mut body = Vec::new();
    let (mut requests, mut bytes) = (Vec::new(), 0);
    for number in 0..data.bodies() {
        data.read(number, 0, &mut body)?;
        let lines: Vec<&[u8]> = body.split_inclusive(|byte| *byte == b'\n').collect();
        for lines in lines.chunks_exact(records) {
            let lines = lines.concat();
            let mut request = post_head("/logs/batch", lines.len());
            request.extend_from_slice(&lines);
            bytes += request.len();
            requests.push(request);
            if bytes > PREPARED_BYTES {
                return Ok(Rc::new(requests));
            }
        }
    }
    if requests.is_empty() { Err("too few records for a request".into()) } else { Ok(Rc::new(requests)) }
}

async fn run(address: SocketAddr, requests: Rc<Vec<Vec<u8>>>, duration: Duration) -> Result<(Load, u64)> {
    let latencies = Rc::new(RefCell::new(Vec::new()));
    let sent = Rc::new(Cell::new(0));
    let cpu_before = process::cpu_seconds(std::process::id())?;
    let begun = Instant::now();
    let counts_from = begun + duration / WARM_UP;
    let end = counts_from + duration;
    let mut senders = Vec::new();
    for first in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (requests, latencies, sent) = (requests.clone(), latencies.clone(), sent.clone());
        senders.push(tokio::task::spawn_local(async move {
            let mut buffer = Vec::with_capacity(4096);
            for request in requests.iter().cycle().skip(first * requests.len() / CONNECTIONS) {
                let asked = Instant::now();
                if asked >= end {
                    break;
                }
                stream.write_all(request).await?;
                accepted(&mut stream, &mut buffer).await?;
                sent.set(sent.get() + 1);
                if asked >= counts_from {
                    latencies.borrow_mut().push(asked.elapsed().as_secs_f64());
                }
            }
            Result::Ok(())
        }));
    }
    for sender in senders {
        sender.await??;
    }
    let cpu = process::cpu_seconds(std::process::id())? - cpu_before;
    let latencies: Samples = latencies.take().into_iter().collect();
    let load = Load {
        requests_per_second: latencies.len() as f64 / counts_from.elapsed().as_secs_f64(),
        p99_seconds: latencies.quantile(0.99),
        generator_share: cpu / begun.elapsed().as_secs_f64(),
    };
    Ok((load, sent.get()))
}

/// Reads an answer, which must be a 202.
async fn accepted(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err("the server hung up".into());
        }
        let Some(head) = memmem::find(buffer, b"\r\n\r\n") else { continue };
        if !buffer.starts_with(b"HTTP/1.1 202") {
            return Err(format!("a small request: {}", String::from_utf8_lossy(buffer)).into());
        }
        let length = memmem::find(buffer, b"content-length: ").and_then(|at| number(buffer.get(at + 16..)?));
        if buffer.len() >= head + 4 + length.ok_or("an answer without a length")? {
            return Ok(());
        }
    }
}

fn number(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |value, byte| Some(value.unwrap_or(0) * 10 + usize::from(byte - b'0')))
}
