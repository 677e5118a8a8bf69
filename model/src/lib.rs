//! The log record and its parts, shared by the server, the client and the producer.
//!
//! This crate knows nothing of the server: it is the vocabulary in which all of them speak.

mod id;
mod record;
mod severity;
mod timestamp;

pub use id::{ParseIdError, RecordId, RunId};
pub use record::{AttributeValue, LogRecord};
pub use severity::{ParseSeverityError, Severity};
pub use timestamp::{Timestamp, TimestampError, TimestampReader};
