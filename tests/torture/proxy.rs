//! A TCP proxy that does harm on the way: it sees each piece that is sent in either direction, and may hold it up, answer
//! itself, or cut the connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What is done with a piece.
pub enum Act {
    /// It goes on, perhaps changed; nothing, if it is empty.
    Forward(Vec<u8>),
    /// This goes back to where the piece came from, and the piece nowhere.
    Answer(Vec<u8>),
    /// This goes on, and then the connection is cut in both directions.
    CutAfter(Vec<u8>),
}

/// What is done with the pieces of one direction.
pub type Meddler = Box<dyn FnMut(&[u8]) -> Act + Send>;

/// What is done with one connection's requests, and with its replies.
pub struct Link {
    /// From the client to the server.
    pub requests: Meddler,
    /// From the server to the client.
    pub replies: Meddler,
}

/// A running proxy; ends on drop.
pub struct Proxy {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Proxy {
    /// Listens on a free port, and passes each connection on to where `upstream` says.
    pub fn start(
        upstream: impl Fn() -> Option<SocketAddr> + Send + 'static,
        mut link: impl FnMut() -> Link + Send + 'static,
    ) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let over = ended.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let server = upstream().and_then(|address| TcpStream::connect(address).ok());
                // A client is told of a server that is away by the end of its connection.
                if let Some(server) = server {
                    connect(client, server, link());
                }
            }
        });
        Proxy { address, ended }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread, so that it sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn connect(client: TcpStream, server: TcpStream, link: Link) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
    thread::spawn(move || pump(client_too, server_too, link.requests));
    thread::spawn(move || pump(server, client, link.replies));
}

/// Moves bytes one way until either side ends.
fn pump(mut from: TcpStream, mut to: TcpStream, mut meddler: Meddler) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(count) if count > 0 => count,
            _ => break,
        };
        let done = match meddler(&buffer[..count]) {
            Act::Forward(bytes) => to.write_all(&bytes),
            Act::Answer(bytes) => from.write_all(&bytes),
            Act::CutAfter(bytes) => {
                let _ = to.write_all(&bytes);
                break;
            }
        };
        if done.is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
