//! A blocking client for Sluice: it batches, compresses, retries, and reads back.
//!
//! Two types, for two ways to work:
//!
//! - [`Batcher`] takes records one by one and sends them in the background, in batches by size and time. Its memory is
//!   bounded: [`Batcher::send`] waits while the buffer is full, [`Batcher::try_send`] says so instead.
//! - [`Client`] does one thing at a time in the caller's thread: [`Client::post_batch`]; [`Client::pages`],
//!   [`Client::stream`], [`Client::tail`] and [`Client::export`]; [`Client::count`], [`Client::stats`],
//!   [`Client::fields`] and [`Client::values`].
//!
//! Both are made by a [`ClientBuilder`] and follow the same rules. A batch gets a fresh `Idempotency-Key`, the same for
//! all its retries, so that a lost answer does not double it. What may pass (429, 5xx, 408, a broken or refused
//! connection, a timeout) is retried with exponential back-off and jitter, never before the server's `Retry-After`. What
//! cannot get better (400 and its kin) is final at once and carries the server's explanation.
//!
//! ```
//! use std::time::Duration;
//!
//! use sluice_client::Client;
//! use sluice_model::{LogRecord, Timestamp};
//!
//! // Nothing listens on port 9 here; against a running Sluice the last line is `Ok` and says how many were accepted.
//! let batcher = Client::builder("http://127.0.0.1:9")
//!     .batch_records(500)
//!     .interval(Duration::from_millis(200))
//!     .retry_for(Duration::from_millis(50))
//!     .batcher()?;
//! batcher.send(&LogRecord {
//!     id: None,
//!     timestamp: Timestamp::now(),
//!     level: "INFO".to_owned(),
//!     service: "checkout".to_owned(),
//!     message: "order 17 is paid".to_owned(),
//!     attributes: Default::default(),
//! })?;
//! let lost = batcher.close().expect_err("there is no server");
//! assert_eq!(lost.records, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batcher;
mod builder;
mod compress;
mod post;
mod problem;
mod read;
mod retry;
mod transport;

pub use batcher::{Batcher, DeliveryError, SendError, Totals};
pub use builder::{BuildError, Client, ClientBuilder};
pub use compress::Compression;
pub use post::{Format, PostError, Receipt};
pub use problem::{BadRecord, Problem};
pub use read::{
    Answer, Column, ExportFormat, FieldSummary, Form, Order, Others, Page, Pages, Query, ReadError, RecordStream,
    Stats, Table, Tail, TailEvent, ValueCount, Values,
};
pub use transport::{Cause, TransportError};
