//! The time by which idempotency keys grow old while the process lives: leaps of the system's clock do not touch it.

use std::time::Instant;

use sluice_model::Timestamp;

/// Starts at the system's time and goes on with the monotonic clock.
#[derive(Debug)]
pub(super) struct SteadyClock {
    origin: Timestamp,
    started: Instant,
}

impl SteadyClock {
    pub fn start() -> SteadyClock {
        SteadyClock { origin: Timestamp::now(), started: Instant::now() }
    }

    /// The time that has been reached.
    pub fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX);
        Timestamp::from_nanos(self.origin.as_nanos().saturating_add(elapsed))
    }
}
