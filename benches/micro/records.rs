//! What the steps work on: the producer's records.

use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use producer::encode::Format;
use producer::generate::Choice;
use producer::pace::Pace;
use producer::source::{Plan, Source};
use producer::stop::Stop;
use sluice::batch::{LogBatch, Records};
use sluice::config::Settings;
use sluice::decode::{DecodeLimits, FieldNames, Options, json};
use sluice_model::{RecordId, RunId, Timestamp};

/// Records of a body: about 4 MB.
pub const RECORDS: u64 = 13_000;
/// When they were accepted.
pub const ARRIVAL: Timestamp = Timestamp::from_nanos(1_728_345_600_000_000_000);

/// A body of NDJSON.
pub fn body() -> &'static [u8] {
    static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let (choice, pace, format) = (Choice::default(), Pace::default(), Format::Json);
        let plan = Plan { choice, batch: RECORDS, count: Some(RECORDS), pace, start: Some(ARRIVAL), format, run: None };
        let mut body = Vec::new();
        Source::new(plan).expect("the profiles are right").next_batch(&mut body, &Stop::default());
        body
    });
    &BODY
}

/// How the server decodes a body by default.
pub fn options() -> Options {
    let limits = Settings::default().limits;
    let limits = DecodeLimits {
        record_bytes: limits.record_bytes,
        batch_records: limits.batch_records,
        record_attributes: limits.record_attributes,
        batch_attribute_names: limits.batch_attribute_names,
        unknown_level: limits.unknown_level,
    };
    Options { limits, fields: FieldNames::default(), skip_invalid: false, arrival: ARRIVAL }
}

/// The body, decoded.
pub fn batch() -> LogBatch {
    json(body(), &options()).expect("the producer's records are good").batch
}

/// The body, decoded and numbered.
pub fn records() -> Records {
    Records::numbered(RecordId { run: run(), sequence: 0 }, batch())
}

/// A run that accepts records.
pub fn run() -> RunId {
    RunId::new(ARRIVAL, 7)
}

/// Counts the bytes and records of so many bodies in each call.
pub fn counted<'a, 'b>(bencher: Bencher<'a, 'b>, bodies: u64) -> Bencher<'a, 'b> {
    bencher.counter(BytesCount::new(body().len() as u64 * bodies)).counter(ItemsCount::new(RECORDS * bodies))
}

/// Counts the records of a body, and so many bytes of their columns.
pub fn counted_columns<'a, 'b>(bencher: Bencher<'a, 'b>, bytes: usize) -> Bencher<'a, 'b> {
    bencher.counter(BytesCount::new(bytes)).counter(ItemsCount::new(RECORDS))
}
