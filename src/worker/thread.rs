//! Threads that are waited for no longer than a deadline.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// A thread with a name, of which one can see whether it has ended.
pub(super) struct OwnThread {
    handle: JoinHandle<()>,
    /// Nothing is ever sent; the other end goes away with the thread, also when it panics.
    ended: Receiver<Infallible>,
}

impl OwnThread {
    /// Starts `body` on a thread of its own.
    pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<OwnThread> {
        let (alive, ended) = channel::<Infallible>();
        let handle = Builder::new().name(name.to_owned()).spawn(move || {
            let _alive = alive;
            body();
        })?;
        Ok(OwnThread { handle, ended })
    }

    /// Whether the thread has not ended.
    pub(super) fn is_running(&self) -> bool {
        !self.handle.is_finished()
    }

    /// Waits for the thread's end, until `deadline` at most; says whether it came. A thread that is late is left alone.
    pub(super) fn join_until(self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = matches!(self.ended.recv_timeout(left), Err(RecvTimeoutError::Disconnected));
        ended && self.handle.join().is_ok()
    }
}
