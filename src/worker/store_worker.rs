//! The actors that write to the store.

use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, ActorContext, Handler, Message, SyncContext};

use super::breaker::Breaker;
use super::metrics::WorkerMetrics;
use super::{Pool, guarded};
use crate::batch::Block;
use crate::store::{Store, StoreError};

/// Writes blocks, one at a time; the pool has several.
#[derive(Clone)]
pub(super) struct StoreWorker {
    pub(super) store: Arc<dyn Store>,
    pub(super) breaker: Arc<Breaker>,
    pub(super) metrics: WorkerMetrics,
}

/// A block, or a part of one, to be written.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StoreBatch {
    pub(super) block: Block,
    pub(super) reply: Reply,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WriteOutcome {
    /// The store has it.
    Written,
    /// The store has it not, or not all of it.
    Failed(StoreError),
    /// The breaker is not closed, and the store was not asked.
    Refused,
    /// The message was dropped before a worker took it.
    Lost,
}

/// Where the outcome goes. There is always one: a reply that is dropped says [`WriteOutcome::Lost`].
pub(super) struct Reply(Option<Box<dyn FnOnce(WriteOutcome) + Send>>);

impl Reply {
    /// A reply that calls `answer` once.
    pub(super) fn new(answer: impl FnOnce(WriteOutcome) + Send + 'static) -> Reply {
        Reply(Some(Box::new(answer)))
    }

    /// Gives the outcome.
    pub(super) fn send(mut self, outcome: WriteOutcome) {
        self.answer(outcome);
    }

    fn answer(&mut self, outcome: WriteOutcome) {
        if let Some(answer) = self.0.take() {
            answer(outcome);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.answer(WriteOutcome::Lost);
    }
}

impl Actor for StoreWorker {
    type Context = SyncContext<Self>;
}

impl Handler<StoreBatch> for StoreWorker {
    type Result = ();

    fn handle(&mut self, message: StoreBatch, context: &mut Self::Context) {
        let StoreBatch { block, reply } = message;
        let Ok(permit) = self.breaker.permit() else {
            drop(block);
            return reply.send(WriteOutcome::Refused);
        };
        let busy = self.metrics.busy(Pool::Store);
        let started = Instant::now();
        let call = guarded(Pool::Store, || self.store.write(&block));
        permit.record(&call.result);
        self.metrics.wrote(started, &call.result);
        if call.panicked {
            // The actor is made anew; it may have been left half changed.
            self.metrics.panicked(Pool::Store);
            context.stop();
        }
        // Whoever gets the outcome may send the block again: let go of it before.
        drop((busy, block));
        reply.send(match call.result {
            Ok(()) => WriteOutcome::Written,
            Err(error) => WriteOutcome::Failed(error),
        });
    }
}
