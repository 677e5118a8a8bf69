//! Records as documents of the collection, and back.
//!
//! | field | type | |
//! |---|---|---|
//! | `_id` | string | the record's id, as everywhere else |
//! | `timestamp` | date | for MongoDB's own tools; cut to milliseconds |
//! | `ns` | int64 | the timestamp, exactly: nanoseconds since the epoch |
//! | `severity` | int32 | OpenTelemetry's severity number |
//! | `level`, `service`, `message` | string | |
//! | `attributes` | document | nested by path; absent, if there are none |
//! | `attributes_json` | string | those that are not nested exactly; absent, if there are none |
//! | `arrival` | date | when the record was accepted |
//! | `expire_at` | date | when retention lets go of it; absent without retention |
//! | `hash` | binary, 16 bytes | of all that makes the record: two of one id are the same if it is equal |

use std::time::Duration;

use mongodb::bson::raw::cstr;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, DateTime, RawBsonRef, RawDocument, RawDocumentBuf};
use sluice_model::{LogRecord, RecordId, Severity, Timestamp};
use xxhash_rust::xxh3::Xxh3;

use super::attributes;
use crate::batch::LogBatchBuilder;

const NANOS_PER_MILLI: i64 = 1_000_000;
const MILLIS_PER_HOUR: i64 = 3_600_000;
const MILLIS_PER_DAY: i64 = 24 * MILLIS_PER_HOUR;

/// The hash of a record.
pub(super) type Hash = [u8; 16];

/// A record's document, ready to be inserted.
pub(super) struct Encoded {
    pub(super) id: String,
    pub(super) hash: Hash,
    pub(super) document: RawDocumentBuf,
}

/// Makes the document of a record.
pub(super) fn encode(
    id: RecordId,
    record: &LogRecord,
    severity: Severity,
    arrival: Timestamp,
    retention: Option<Duration>,
) -> Encoded {
    let hash = hash(record);
    let id = id.to_string();
    let stored = attributes::store(&record.attributes);
    let ns = record.timestamp.as_nanos();
    let arrival_ms = millis(arrival);
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), id.as_str());
    document.append(cstr!("timestamp"), DateTime::from_millis(millis(record.timestamp)));
    document.append(cstr!("ns"), ns);
    document.append(cstr!("severity"), i32::from(severity.number()));
    document.append(cstr!("level"), record.level.as_str());
    document.append(cstr!("service"), record.service.as_str());
    document.append(cstr!("message"), record.message.as_str());
    if !stored.nested.is_empty() {
        document.append(cstr!("attributes"), stored.nested);
    }
    // Made of JSON texts, so it is UTF-8.
    if let Some(exact) = std::str::from_utf8(&stored.exact).ok().filter(|exact| !exact.is_empty()) {
        document.append(cstr!("attributes_json"), exact);
    }
    document.append(cstr!("arrival"), DateTime::from_millis(arrival_ms));
    if let Some(age) = retention {
        document.append(cstr!("expire_at"), DateTime::from_millis(expire_at_ms(ns, arrival_ms, age)));
    }
    document.append(cstr!("hash"), Binary { subtype: BinarySubtype::Generic, bytes: hash.to_vec() });
    Encoded { id, hash, document }
}

/// Appends the record of a document to `builder`; returns its id, or nothing if the document is not one of ours.
pub(super) fn decode(document: &RawDocument, builder: &mut LogBatchBuilder) -> Option<RecordId> {
    decode_with(document, None, builder)
}

/// The same of a document whose message may have been left out, with this one in its place.
pub(super) fn decode_with(
    document: &RawDocument,
    message: Option<&str>,
    builder: &mut LogBatchBuilder,
) -> Option<RecordId> {
    let mut nested = None;
    let mut exact = None;
    let (mut id, mut ns, mut severity) = (None, None, None);
    let (mut level, mut service, mut message) = (None, None, message);
    for (key, value) in document.iter().flatten() {
        match (key.as_str(), value) {
            ("_id", RawBsonRef::String(text)) => id = text.parse::<RecordId>().ok(),
            ("ns", RawBsonRef::Int64(value)) => ns = Some(value),
            ("severity", RawBsonRef::Int32(number)) => {
                severity = u8::try_from(number).ok().and_then(Severity::from_number);
            }
            ("level", RawBsonRef::String(text)) => level = Some(text),
            ("service", RawBsonRef::String(text)) => service = Some(text),
            ("message", RawBsonRef::String(text)) => message = Some(text),
            ("attributes", RawBsonRef::Document(document)) => nested = Some(document),
            ("attributes_json", RawBsonRef::String(text)) => exact = Some(text),
            _ => {}
        }
    }
    let (id, timestamp, severity) = (id?, Timestamp::from_nanos(ns?), severity?);
    let (level, service, message) = (level?, service?, message?);
    attributes::load(nested, exact, builder);
    builder.commit(timestamp, severity, level, service, message);
    Some(id)
}

/// The hash of everything that makes the record. It is stored: its scheme must never change.
fn hash(record: &LogRecord) -> Hash {
    let mut hasher = Xxh3::new();
    hasher.update(&record.timestamp.as_nanos().to_le_bytes());
    let mut update = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    update(&record.level);
    update(&record.service);
    update(&record.message);
    for (name, value) in &record.attributes {
        update(name);
        update(value.as_json());
    }
    hasher.digest128().to_le_bytes()
}

/// The stored hash of a document.
pub(super) fn stored_hash(document: &RawDocument) -> Option<Hash> {
    document.get_binary("hash").ok().and_then(|hash| hash.bytes.try_into().ok())
}

/// The milliseconds of a moment since the epoch, cut.
pub(super) fn millis(time: Timestamp) -> i64 {
    time.as_nanos().div_euclid(NANOS_PER_MILLI)
}

/// When retention lets go of a record, in milliseconds since the epoch: at `age` after its timestamp, but not in the
/// first hour after its arrival. A timestamp more than a day ahead of the arrival counts as the arrival.
pub(super) fn expire_at_ms(ns: i64, arrival_ms: i64, age: Duration) -> i64 {
    // Rounded up, so that nothing goes too early.
    let time = ns.div_euclid(NANOS_PER_MILLI).saturating_add(i64::from(ns.rem_euclid(NANOS_PER_MILLI) > 0));
    let base = if time > arrival_ms.saturating_add(MILLIS_PER_DAY) { arrival_ms } else { time };
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    base.saturating_add(age).max(arrival_ms.saturating_add(MILLIS_PER_HOUR))
}

#[cfg(test)]
mod tests;
