//! Stopping: the first SIGTERM or SIGINT asks for it, the second ends the process at once.

use std::sync::Arc;

use log::warn;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::Semaphore;

/// The wish to stop, given once and seen by all who wait for it.
#[derive(Clone)]
pub struct StopSignal {
    /// Without permits until it is closed.
    gate: Arc<Semaphore>,
}

impl Default for StopSignal {
    fn default() -> Self {
        StopSignal { gate: Arc::new(Semaphore::new(0)) }
    }
}

impl StopSignal {
    /// A wish that SIGTERM and SIGINT give. A second signal ends the process with exit code 1; what was acknowledged is
    /// safe in the spool.
    ///
    /// # Errors
    /// If signals cannot be handled here.
    pub fn from_signals() -> std::io::Result<StopSignal> {
        let stop = StopSignal::default();
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let given = stop.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                if given.gate.is_closed() {
                    warn!(signal; "a second signal: ending at once");
                    std::process::exit(1);
                }
                given.give();
            }
        })?;
        Ok(stop)
    }

    /// Gives it.
    pub fn give(&self) {
        self.gate.close();
    }

    /// Waits until it is given.
    pub async fn given(&self) {
        // The gate never has a permit: this returns when it is closed.
        let _ = self.gate.acquire().await;
    }
}
