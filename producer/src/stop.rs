//! When to stop: after a time, by Ctrl-C, or because the server is out of reach.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Tells everyone that no new batch shall begin.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    interrupted: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

/// A signal's handler can only set a flag, so that who waits looks at it this often.
const POLL: Duration = Duration::from_millis(50);
/// The exit code of a process that Ctrl-C ends.
const INTERRUPTED: i32 = 130;

impl Stop {
    /// Stops after `duration`, if one is given.
    pub fn after(duration: Option<Duration>) -> Stop {
        let deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
        Stop { deadline, ..Stop::default() }
    }

    /// Stops at SIGINT or SIGTERM; the second one ends the process at once.
    ///
    /// # Errors
    /// If the system does not take the handlers.
    pub fn at_signals(&self) -> io::Result<()> {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let flag = || Arc::clone(&self.interrupted);
            signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, flag())?;
            signal_hook::flag::register(signal, flag())?;
        }
        Ok(())
    }

    /// Stops now; what has begun may end.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// True after a signal: what has begun is not to be tried again.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// True if no new batch shall begin.
    pub fn may_not_begin(&self) -> bool {
        self.is_interrupted()
            || self.ended.load(Ordering::Relaxed)
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Waits for `pause`, or until no new batch shall begin.
    pub fn wait(&self, pause: Duration) {
        self.wait_unless(pause, || self.may_not_begin());
    }

    /// Waits for `pause`; false if a signal ended it early.
    pub fn wait_uninterrupted(&self, pause: Duration) -> bool {
        self.wait_unless(pause, || self.is_interrupted());
        !self.is_interrupted()
    }

    fn wait_unless(&self, pause: Duration, is_over: impl Fn() -> bool) {
        let begun = Instant::now();
        while let Some(left) = pause.checked_sub(begun.elapsed()).filter(|left| !left.is_zero() && !is_over()) {
            std::thread::sleep(left.min(POLL));
        }
    }
}
