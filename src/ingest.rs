//! The one door for writing: whatever decoded a batch, it is accepted here.

mod admission;
mod rates;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use crate::batch::LogBatch;
use crate::config::LimitSettings;
use crate::spool::{Entry, IdempotencyKey, Receipt, Reservation, Spool, SpoolError};

pub use admission::{Admission, Permit};
pub use rates::Rates;

/// The door. Shared as `web::Data<Ingest>`.
pub struct Ingest {
    spool: Arc<Spool>,
    admission: Admission,
    ack_timeout: Duration,
    rates: Rates,
    metrics: Metrics,
}

/// What the sender wants to know before the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// The batch is durable in the spool.
    Spooled,
    /// The batch is in the store, if that happens soon enough.
    Stored,
}

/// What was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// What the spool says of it; nothing, if there was no record.
    pub receipt: Option<Receipt>,
    /// Whether it is in the store already, as far as was waited for.
    pub stored: bool,
}

/// Why a batch was not accepted. Nothing of it is kept then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// Too many bytes are in hand.
    #[error("limits.inflight_bytes is reached: bodies of {present} of {allowed} bytes are in hand")]
    Busy {
        /// Bytes in hand.
        present: usize,
        /// Bytes that may be.
        allowed: usize,
    },
    /// The spool cannot take it.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

#[derive(Default)]
struct Metrics {
    records: Counter,
    batches: Counter,
    bytes: Counter,
    refused_records: Family<Reason, Counter>,
    refused_batches: Family<Reason, Counter>,
    refused_bytes: Family<Reason, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Ingest {
    /// Makes the door to `spool` and registers its metrics.
    pub fn new(spool: Arc<Spool>, limits: &LimitSettings, registry: &mut Registry) -> Ingest {
        let metrics = Metrics::default();
        registry.register("sluice_accepted_records", "Records accepted", metrics.records.clone());
        registry.register("sluice_accepted_batches", "Batches accepted", metrics.batches.clone());
        registry.register_with_unit(
            "sluice_accepted",
            "Body bytes accepted, decompressed",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        registry.register("sluice_refused_records", "Records refused, by reason", metrics.refused_records.clone());
        registry.register("sluice_refused_batches", "Batches refused, by reason", metrics.refused_batches.clone());
        registry.register_with_unit(
            "sluice_refused",
            "Body bytes refused, as far as they were read, by reason",
            Unit::Bytes,
            metrics.refused_bytes.clone(),
        );
        let admission = Admission::new(limits.inflight_bytes);
        Ingest { spool, admission, ack_timeout: limits.ack_timeout, rates: Rates::default(), metrics }
    }

    /// Asks for leave to hold a body of `bytes`, before it is read.
    ///
    /// # Errors
    /// [`AcceptError::Busy`], if no room is free within a second.
    pub async fn admit(&self, bytes: usize) -> Result<Permit<'_>, AcceptError> {
        self.admission.admit(bytes).await
    }

    /// Sets room aside in the spool for a body of `bytes`, before it is decoded.
    ///
    /// # Errors
    /// [`AcceptError::Spool`], if there is none.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, AcceptError> {
        Ok(self.spool.reserve(bytes)?)
    }

    /// Makes a batch durable, and waits for the store too if `ack` says so.
    ///
    /// # Errors
    /// [`AcceptError::Spool`]; nothing of the batch is kept then.
    pub async fn accept(
        &self,
        batch: LogBatch,
        body_bytes: usize,
        reservation: Reservation,
        key: Option<IdempotencyKey>,
        ack: Ack,
    ) -> Result<Accepted, AcceptError> {
        if batch.is_empty() && key.is_none() {
            return Ok(Accepted { receipt: None, stored: true });
        }
        let receipt = self.spool.append(Entry { batch, reservation, key }).await?;
        if !receipt.replayed {
            self.metrics.records.inc_by(u64::from(receipt.rows));
            self.metrics.batches.inc();
            self.metrics.bytes.inc_by(body_bytes as u64);
            self.rates.add(u64::from(receipt.rows));
        }
        let stored = match ack {
            Ack::Spooled => false,
            Ack::Stored => tokio::time::timeout(self.ack_timeout, self.spool.stored(receipt.ordinal)).await.is_ok(),
        };
        Ok(Accepted { receipt: Some(receipt), stored })
    }

    /// Counts what was refused: `records` of them where they are known, or a whole batch of `bytes`.
    pub fn refused(&self, reason: &'static str, records: u64, bytes: usize) {
        let reason = Reason { reason };
        self.metrics.refused_batches.get_or_create(&reason).inc();
        self.metrics.refused_records.get_or_create(&reason).inc_by(records);
        self.metrics.refused_bytes.get_or_create(&reason).inc_by(bytes as u64);
    }

    /// Counts records that were left out of a batch that was accepted.
    pub fn skipped(&self, records: u64) {
        self.metrics.refused_records.get_or_create(&Reason { reason: "skipped" }).inc_by(records);
    }

    /// How many records are accepted a second.
    pub fn rates(&self) -> &Rates {
        &self.rates
    }
}
