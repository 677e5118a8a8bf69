//! Clients that do not read.
//!
//! A body is asked for its next chunk only when the connection has room, so that no handler notices a client that has
//! stopped reading. The kernel does: it ends a connection on which sent data, or data that waits to be sent, makes no
//! progress for a time.
//!
//! A tail is another matter: it holds no more than its queue, and its reader may pause. It lifts the limit. For that a
//! connection keeps a second handle to its socket until its first request is there, unless many do so already. On a
//! connection without one (a later request of it, say) a tail has the limit of every stream.

use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::dev::{Extensions, ServiceRequest};
use actix_web::rt::net::TcpStream;
use log::warn;

/// The path whose answers lift the limit.
pub(super) const TAIL_PATH: &str = "/logs/tail";
/// How many second handles there are at a time: each takes a file descriptor.
const HANDLES_MAX: usize = 64;

/// A connection's second handle to its socket, while it has one.
struct Handle {
    socket: Mutex<Option<OwnedFd>>,
    /// How many handles there are.
    count: Arc<AtomicUsize>,
}

impl Handle {
    fn of(stream: &TcpStream, count: &Arc<AtomicUsize>) -> Option<Handle> {
        if count.fetch_add(1, Ordering::Relaxed) >= HANDLES_MAX {
            count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let socket = stream.as_fd().try_clone_to_owned().ok();
        if socket.is_none() {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        socket.map(|socket| Handle { socket: Mutex::new(Some(socket)), count: count.clone() })
    }

    fn take(&self) -> Option<OwnedFd> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(socket)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.take();
    }
}

/// Lets go of the second handle where it is not for a tail; for every request.
pub(super) fn release(request: &ServiceRequest) {
    if let Some(handle) = request.conn_data::<Handle>().filter(|_| request.path() != TAIL_PATH) {
        handle.take();
    }
}

/// Lifts the limit from the request's connection, if it can be.
pub(super) fn lift(request: &HttpRequest) {
    let socket = request.conn_data::<Handle>().and_then(Handle::take);
    if let Some(Err(error)) = socket.map(|socket| set_timeout(&socket, 0)) {
        warn!(error:% = error; "a tail keeps the limit for stalls");
    }
}

/// Has a new connection ended when its client does not read for `timeout`; for `HttpServer::on_connect`.
///
/// Elsewhere than on Linux and Fuchsia there is no such option, and a stalled client is cut when it reads again.
pub fn limit_stall(timeout: Duration) -> impl Fn(&dyn Any, &mut Extensions) + Clone + Send + Sync + 'static {
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
    let handles = Arc::new(AtomicUsize::new(0));
    move |connection, data| {
        let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
        if let Some(handle) = Handle::of(stream, &handles) {
            data.insert(handle);
        }
        if let Err(error) = set_timeout(stream, timeout_ms) {
            warn!(error:% = error; "a connection has no limit for stalls");
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
fn set_timeout(stream: impl AsFd, timeout_ms: u32) -> rustix::io::Result<()> {
    rustix::net::sockopt::set_tcp_user_timeout(stream, timeout_ms)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "fuchsia")))]
fn set_timeout(_: impl AsFd, _: u32) -> rustix::io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::{Sender, channel};

    use actix_web::{App, HttpResponse, HttpServer, web};
    use bytes::Bytes;
    use futures_util::stream::{self, StreamExt};

    use super::*;

    /// Says so when it is dropped.
    struct Dropped(Sender<()>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[actix_web::test]
    async fn a_client_that_does_not_read_is_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, dropped) = channel();
        let endless = move || {
            let guard = Dropped(sender.clone());
            async move {
                let chunks = stream::repeat(Bytes::from_static(&[b'x'; 65_536]));
                HttpResponse::Ok().streaming(chunks.map(move |chunk| {
                    let _ = &guard;
                    Ok::<_, std::io::Error>(chunk)
                }))
            }
        };
        let server = HttpServer::new(move || App::new().route("/", web::get().to(endless.clone())))
            .on_connect(limit_stall(Duration::from_millis(500)))
            .workers(1)
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let outcome = web::block(move || {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            client.read_exact(&mut [0; 100]).unwrap();
            let cut = dropped.recv_timeout(Duration::from_secs(20));
            drop(client);
            cut
        });
        assert_eq!(outcome.await.unwrap(), Ok(()));
        handle.stop(false).await;
    }
}

/// Sees that an answer is read: how long its client has taken for what it was given last.
pub(super) struct Pace {
    limit: Duration,
    given: Option<Instant>,
}

impl Pace {
    /// For a client that may take `limit` each time.
    pub fn new(limit: Duration) -> Pace {
        Pace { limit, given: None }
    }

    /// Notes that the connection is given something.
    pub fn gave(&mut self) {
        self.given = Some(Instant::now());
    }

    /// To be called when the connection asks for more.
    ///
    /// # Errors
    /// How long it has taken, if that is past the limit.
    pub fn check(&self) -> Result<(), Duration> {
        let waited = self.given.map(|given| given.elapsed()).unwrap_or_default();
        if waited > self.limit { Err(waited) } else { Ok(()) }
    }
}
