//! The threads that probe for open breakers.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use failsafe::clock;

use super::backoff::SHORTEST;
use super::{Breaker, Permit, Phase};
use crate::store::{Store, StoreError};
use crate::worker::thread::OwnThread;

/// How long to wait where the back-off is over by this clock, and not quite by the crate's.
const NUDGE: Duration = Duration::from_millis(1);

/// The two threads, one for each breaker: a probe that hangs holds up its own breaker only.
pub(in crate::worker) struct Probers {
    breakers: [Arc<Breaker>; 2],
    threads: Vec<OwnThread>,
}

/// What a thread has to do next.
enum Task {
    /// Ask whether the store can be reached at all, for the other breaker.
    Confirm,
    /// Make the probe.
    Probe(Permit),
    /// End.
    Stop,
}

impl Probers {
    /// Starts the threads.
    pub(in crate::worker) fn start(breakers: [Arc<Breaker>; 2], store: &Arc<dyn Store>) -> io::Result<Probers> {
        let [first, second] = &breakers;
        let mut threads = Vec::new();
        for (own, peer) in [(first, second), (second, first)] {
            let (own, peer, store) = (Arc::clone(own), Arc::clone(peer), Arc::clone(store));
            let name = format!("{}-breaker", own.pool().name());
            threads.push(OwnThread::spawn(&name, move || run(&own, &peer, &*store))?);
        }
        Ok(Probers { breakers, threads })
    }

    /// Ends the threads; a probe that is under way is waited for until `deadline`.
    pub(in crate::worker) fn stop(self, deadline: Instant) -> bool {
        for breaker in &self.breakers {
            breaker.lock().stopped = true;
            breaker.changed.notify_all();
        }
        let late = self.threads.into_iter().map(|thread| thread.join_until(deadline)).filter(|ended| !ended);
        late.count() == 0
    }
}

fn run(own: &Arc<Breaker>, peer: &Arc<Breaker>, store: &dyn Store) {
    loop {
        match own.next_task() {
            Task::Stop => return,
            Task::Confirm => {
                if let Some(Err(StoreError::Unavailable(reason))) = health(store) {
                    peer.trip(&reason);
                }
            }
            Task::Probe(permit) => match health(store) {
                Some(result @ (Ok(()) | Err(StoreError::Unavailable(_)))) => permit.record(&result),
                // Neither an answer nor its absence: the next probe follows, but not in a tight loop.
                _ => {
                    own.pause(SHORTEST);
                    drop(permit);
                }
            },
        }
    }
}

/// The store's health; nothing, if it panicked.
fn health(store: &dyn Store) -> Option<Result<(), StoreError>> {
    catch_unwind(AssertUnwindSafe(|| store.health())).ok()
}

impl Breaker {
    /// Waits until there is something to do.
    fn next_task(self: &Arc<Self>) -> Task {
        loop {
            if self.lock().stopped {
                return Task::Stop;
            }
            if let Some(permit) = self.try_probe() {
                return Task::Probe(permit);
            }
            let mut core = self.lock();
            if core.stopped {
                continue;
            }
            if std::mem::take(&mut core.unconfirmed) {
                return Task::Confirm;
            }
            let wait = match core.phase {
                Phase::HalfOpen { probing: false } => continue,
                Phase::Open { until } => Some(until.saturating_duration_since(clock::now()).max(NUDGE)),
                Phase::Closed | Phase::HalfOpen { probing: true } => None,
            };
            // Why it woke is found out above; a poisoned lock is taken as it is, like everywhere.
            match wait {
                Some(wait) => drop(self.changed.wait_timeout(core, wait)),
                None => drop(self.changed.wait(core)),
            }
        }
    }

    /// Lets `wait` pass, or less if the breaker is stopped.
    fn pause(&self, wait: Duration) {
        let core = self.lock();
        if !core.stopped {
            drop(self.changed.wait_timeout_while(core, wait, |core| !core.stopped));
        }
    }
}
