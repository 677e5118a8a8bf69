//! Retention: once a minute, what is older than `retention.days` goes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use log::{info, warn};
use sluice_model::Timestamp;

use super::breaker::Breaker;
use super::metrics::WorkerMetrics;
use super::thread::OwnThread;
use super::{Pool, guarded};
use crate::store::Store;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(60);

/// The thread that asks the store to delete what is too old.
pub(super) struct Janitor {
    thread: OwnThread,
    /// Dropped to end the thread.
    stop: Sender<()>,
}

impl Janitor {
    /// Starts the thread; records live for `age`. It calls through the writing breaker.
    pub(super) fn start(
        age: Duration,
        store: Arc<dyn Store>,
        breaker: Arc<Breaker>,
        metrics: WorkerMetrics,
    ) -> io::Result<Janitor> {
        let (stop, stopped) = channel();
        let thread = OwnThread::spawn("retention", move || {
            loop {
                sweep(age, &*store, &breaker, &metrics);
                if stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Janitor { thread, stop })
    }

    /// Ends the thread; a deletion that is under way is waited for until `deadline`.
    pub(super) fn stop(self, deadline: Instant) -> bool {
        drop(self.stop);
        self.thread.join_until(deadline)
    }
}

fn sweep(age: Duration, store: &dyn Store, breaker: &Arc<Breaker>, metrics: &WorkerMetrics) {
    let Ok(permit) = breaker.permit() else { return };
    let age_ns = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    let cutoff = Timestamp::from_nanos(Timestamp::now().as_nanos().saturating_sub(age_ns));
    let call = guarded(Pool::Store, || store.delete_before(cutoff));
    permit.record(&call.result);
    match call.result {
        Ok(0) => {}
        Ok(deleted) => {
            metrics.records_expired.inc_by(deleted);
            info!(deleted, cutoff:% = cutoff; "retention deleted records");
        }
        Err(error) => warn!(error:% = error; "retention could not delete; it tries again"),
    }
}
