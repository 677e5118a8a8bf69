//! What must hold for any body, for the fuzzers.

use serde::de::IgnoredAny;
use serde_json::Value;
use sluice_model::{RecordId, RunId, Severity, Timestamp};

use super::content_encoding::{ContentEncoding, InflateError, Inflater};
use super::{BAD_RECORDS_SHOWN_MAX, BadRecord, DecodeError, DecodeLimits, Decoded, FieldNames, Options, json};
use crate::batch::{LogBatch, MAX_ATTRIBUTE_COLUMNS, Records, RowWriter};

/// A body of JSON, in any of its framings. The first byte chooses the options.
///
/// What is accepted is JSON by another parser too, within its limits, and comes back from an answer as it was; what that
/// parser reads is never called malformed; and memory grows with the body alone.
pub fn body(data: &[u8]) {
    let Some((choices, body)) = data.split_first() else { return };
    let options = options(*choices);
    let other_parser = is_json(body);
    match json(body, &options) {
        Ok(decoded) => check_accepted(body, &decoded, &options, other_parser),
        Err(DecodeError::Empty) => assert!(without_mark(body).trim_ascii().is_empty(), "a body is taken for empty"),
        Err(DecodeError::Malformed { offset, line, column, .. }) => {
            assert!(!other_parser, "JSON is called malformed at line {line}, column {column}");
            assert!(offset <= body.len() && line > 0 && column > 0, "the fault is in the body");
        }
        Err(DecodeError::BadRecords { errors, total }) => {
            assert!(!options.skip_invalid, "bad records were to be skipped");
            check_refused(&errors, total);
        }
        Err(DecodeError::TooManyRecords { limit }) => {
            assert!(body.len() > limit, "a record has a byte and another behind it");
        }
    }
}

fn options(choices: u8) -> Options {
    let small = choices & 1 != 0;
    let limit = |few: usize, many: usize| if small { few } else { many };
    let mut fields = FieldNames::default();
    if choices & 8 != 0 {
        for (field, names) in
            super::Field::ALL.into_iter().zip(["when,at.time", "sev", "app,message", "text,body.text"])
        {
            assert_eq!(fields.set(field, names), Ok(()));
        }
    }
    Options {
        limits: DecodeLimits {
            record_bytes: limit(256, 1 << 20),
            batch_records: limit(8, 100_000),
            record_attributes: limit(4, 256),
            batch_attribute_names: limit(8, 16_384),
            unknown_level: (choices & 2 != 0).then_some(Severity::Debug),
        },
        fields,
        skip_invalid: choices & 4 != 0,
        arrival: Timestamp::from_nanos(1_728_345_600_000_000_001),
    }
}

fn check_accepted(body: &[u8], decoded: &Decoded, options: &Options, is_json: bool) {
    let Decoded { batch, refused, refused_total } = decoded;
    check_refused(refused, *refused_total);
    assert!(*refused_total == 0 || options.skip_invalid, "a batch with a bad record is refused");
    assert!(is_json || *refused_total > 0, "accepted as a whole, but it is no JSON");
    let limits = &options.limits;
    assert!(batch.len() as u64 + refused_total <= limits.batch_records as u64, "as many records as are allowed");
    // A row costs its fixed columns and, for each attribute that has a column, a cell of at most eight bytes and a bit.
    let row_bytes = 64 + MAX_ATTRIBUTE_COLUMNS * 9;
    let bound = (64 << 10) + batch.len() * row_bytes + 8 * body.len();
    assert!(batch.size_bytes() <= bound, "{} bytes of columns for a body of {}", batch.size_bytes(), body.len());

    let answers = answers(batch);
    let back = Options { fields: FieldNames::default(), skip_invalid: false, ..options.clone() };
    let limits = DecodeLimits { record_bytes: usize::MAX, ..options.limits.clone() };
    if batch.is_empty() {
        return;
    }
    match json(answers.as_bytes(), &Options { limits, ..back }) {
        Ok(again) => assert_eq!(self::answers(&again.batch), answers, "an answer that is sent back is the same record"),
        Err(error) => unreachable!("an answer cannot be sent back: {error:?}\n{answers}"),
    }
}

fn check_refused(shown: &[BadRecord], total: u64) {
    assert_eq!(shown.len() as u64, total.min(BAD_RECORDS_SHOWN_MAX as u64), "bad records are shown up to a number");
    assert!(shown.is_sorted_by(|one, next| one.index < next.index), "in the order of the body");
    for bad in shown {
        assert!(bad.detail.len() < 1024, "what is wrong is said in short: {}", bad.detail.len());
    }
}

/// The records as a row of answers, each on its line, under the first ids of some run.
fn answers(batch: &LogBatch) -> String {
    let first = RecordId { run: RunId::from_bytes([1; RunId::BYTES]), sequence: 0 };
    let records = Records::numbered(first, batch.clone());
    let writer = RowWriter::new(&records);
    let mut out = Vec::new();
    for row in 0..records.len() {
        writer.write(row, &mut out);
        out.push(b'\n');
    }
    match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => unreachable!("an answer is text: {error}"),
    }
}

/// Whether another parser reads the whole body, as one value after the other.
fn is_json(body: &[u8]) -> bool {
    let body = without_mark(body);
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<IgnoredAny>();
    std::str::from_utf8(body).is_ok() && !body.trim_ascii().is_empty() && values.all(|value| value.is_ok())
}

fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

/// A value of JSON, as an attribute and as a message: both parsers read the same one, and it comes back.
pub fn text(data: &[u8]) {
    let Ok(value) = std::str::from_utf8(data) else { return };
    if serde_json::from_str::<IgnoredAny>(value).is_err() {
        return;
    }
    let exact: Option<Value> = serde_json::from_str(value).ok();
    let record = format!("{{\"message\":\"m\",\"attributes\":{{\"a\":{value}}}}}");
    if let Ok(decoded) = json(record.as_bytes(), &options(0)) {
        let answers = answers(&decoded.batch);
        let answer: Option<Value> = serde_json::from_str(&answers).ok();
        // Objects become dotted paths, and numbers past what the other parser holds are compared by the record's round trip.
        if let (Some(exact), Some(answer)) = (exact.as_ref().filter(|exact| !exact.is_object()), answer) {
            assert_eq!(answer.pointer("/attributes/a"), Some(exact), "{value}");
        }
    }
    if let Some(Value::String(text)) = &exact {
        let record = format!("{{\"message\":{value}}}");
        match json(record.as_bytes(), &options(0)) {
            Ok(decoded) => assert_eq!(decoded.batch.messages().iter().next().flatten(), Some(text.as_str())),
            Err(error) => unreachable!("a text that is JSON is refused: {error:?}"),
        }
    }
}

/// How `Content-Encoding` may read; the fuzzer chooses one.
const ENCODINGS: [&str; 8] = ["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "zstd, br", "deflate,zstd"];

/// A compressed body. Its first bytes choose the encoding, the limit and how it arrives.
///
/// Nothing is yielded past the limit, in whatever pieces the body arrives, and the pieces do not matter.
pub fn decompress(data: &[u8]) {
    let Some(([encoding, limit, piece], body)) = data.split_first_chunk() else { return };
    let header = ENCODINGS.iter().cycle().nth(usize::from(*encoding)).copied().unwrap_or_default();
    let limit = 1_usize << (limit % 20);
    let whole = inflate(header, body, limit, usize::MAX);
    let pieces = inflate(header, body, limit, usize::from(*piece) + 1);
    // Only a frame that it has at once does zstd hold against the size in its header, if its last block is empty.
    let sure = !header.contains("zstd") || (whole.is_ok() && pieces.is_ok());
    assert!(
        !sure || whole.as_ref().ok() == pieces.as_ref().ok(),
        "{header}: the pieces in which a body arrives matter"
    );
    if let Err(InflateError::TooLarge { limit: told }) = whole {
        assert_eq!(told, limit);
    }
}

fn inflate(header: &str, body: &[u8], limit: usize, piece: usize) -> Result<Vec<u8>, InflateError> {
    let encoding = ContentEncoding::parse(header).unwrap_or_default();
    let mut inflater = Inflater::new(&encoding, limit)?;
    let mut out = Vec::new();
    for mut chunk in body.chunks(piece) {
        loop {
            let before = (out.len(), chunk.len());
            let more = inflater.step(&mut chunk, &mut out)?;
            assert!(out.len() <= limit, "{header}: {} bytes where {limit} are allowed", out.len());
            assert!(out.len() - before.0 <= super::content_encoding::STEP_BYTES, "a step is a small one");
            if !more {
                break;
            }
        }
        assert!(chunk.is_empty(), "a piece is used up");
    }
    inflater.finish()?;
    Ok(out)
}
