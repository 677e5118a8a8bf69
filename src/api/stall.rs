//! Clients that do not read.
//!
//! A body is asked for its next chunk only when the connection has room, so that no handler notices a client that has
//! stopped reading. The kernel does: it ends a connection on which sent data, or data that waits to be sent, makes no
//! progress for a time.

use std::any::Any;
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use log::warn;

/// Has a new connection ended when its client does not read for `timeout`; for `HttpServer::on_connect`.
///
/// Elsewhere than on Linux and Fuchsia there is no such option, and a stalled client is cut when it reads again.
pub fn limit_stall(timeout: Duration) -> impl Fn(&dyn Any, &mut Extensions) + Clone + Send + Sync + 'static {
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
    move |connection, _| {
        let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
        if let Err(error) = set_timeout(stream, timeout_ms) {
            warn!(error:% = error; "a connection has no limit for stalls");
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
fn set_timeout(stream: &TcpStream, timeout_ms: u32) -> rustix::io::Result<()> {
    rustix::net::sockopt::set_tcp_user_timeout(stream, timeout_ms)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "fuchsia")))]
fn set_timeout(_: &TcpStream, _: u32) -> rustix::io::Result<()> {
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
