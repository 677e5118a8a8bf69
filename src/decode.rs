//! From the bytes of a body to a [`LogBatch`].
//!
//! [`json`] takes, told apart by what it finds: one object; an array of objects; one object a line (NDJSON); objects,
//! arrays of them, or both, one after the other, with or without white space between. Records are numbered from 0
//! through the whole body.
//!
//! # What is refused
//! - A *bad record* has valid JSON, but a field that cannot be what it must (an unknown level, a path that stands twice
//!   with unequal values, …), or is past a limit. All bad records are named.
//! - *Faulty JSON* on a line of its own is a bad record too, and the next line is read as if nothing had been. Within an
//!   array, or a value that is spread over lines, nobody can say where the next record begins: the body is refused.
//!   A fault inside of a string that does not hide the string's end is still a bad record only, wherever it stands.
//!
//! # The odd cases
//! | sent | what happens |
//! |---|---|
//! | a name twice, also as `{"a":{"b":1},"a.b":2}` | equal values count once, unequal ones are a bad record |
//! | a name twice within an object in an array | kept as sent |
//! | bytes that are not UTF-8 | faulty string; outside of strings faulty JSON |
//! | half a surrogate pair (`"\ud800"`) | faulty string |
//! | `\u0000` in a string | a character like any other |
//! | a control character as it is in a string | faulty string; a line end is faulty JSON |
//! | NUL bytes outside of strings, `NaN`, `Infinity`, `01`, `1.`, `'x'`, comments, trailing commas | faulty JSON |
//! | a number of any size or precision | kept, by its text where `i64` or `f64` would write it differently |
//! | objects and arrays nested deeper than 64 levels | bad record |
//! | a byte order mark at the front | skipped |
//! | white space in an attribute that is an array | dropped where it is outside of strings |
//! | `{}`, or only an empty `attributes`, or only empty fields | bad record: there is nothing to keep |
//!
//! # Which field is which
//! A name is matched by its dotted path, so `{"service":{"name":"x"}}` is `service.name`. Of the names present, the
//! first in the order of [`Field::aliases`] is the field; one whose value is `null` (or `""`, but for the message) is
//! passed over and dropped. Names behind the chosen one stay attributes, empty or not. What stands in a sent
//! `attributes` object is never taken for a field. A level, service or message that is no string is kept as its JSON
//! text.

mod body;
pub mod content_encoding;
mod cursor;
mod fault;
mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod number;
mod record;
mod scalar;
mod text;

use sluice_model::{Severity, Timestamp};

use crate::batch::LogBatch;

pub use fields::{Field, FieldNames, FieldNamesError};

/// How many bad records are described; the others are only counted.
pub const BAD_RECORDS_SHOWN_MAX: usize = 100;

/// How long the name of an attribute may be, as a dotted path.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 1024;

/// What a batch may be.
#[derive(Debug, Clone)]
pub struct DecodeLimits {
    /// The size of one record's JSON.
    pub record_bytes: usize,
    /// How many records a batch has.
    pub batch_records: usize,
    /// How many attributes a record has.
    pub record_attributes: usize,
    /// How many different attribute names a batch has.
    pub batch_attribute_names: usize,
    /// The severity under which records of an unknown level are filed; they are refused, if absent.
    pub unknown_level: Option<Severity>,
}

/// How one body is to be decoded.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the batch may be.
    pub limits: DecodeLimits,
    /// Where the fixed fields are.
    pub fields: FieldNames,
    /// Whether the good records are taken although others are bad.
    pub skip_invalid: bool,
    /// The timestamp of records that have none.
    pub arrival: Timestamp,
}

/// What a body holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The good records; all of them, unless bad ones were to be skipped.
    pub batch: LogBatch,
    /// The first [`BAD_RECORDS_SHOWN_MAX`] of the bad ones.
    pub refused: Vec<BadRecord>,
    /// How many bad ones there are.
    pub refused_total: u64,
}

/// A record that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BadRecord {
    /// Its place in the body, from 0.
    pub index: u64,
    /// The field at fault, by its dotted path; absent where it is the record as a whole.
    pub field: Option<String>,
    /// What is wrong.
    pub detail: String,
}

/// Why nothing of a body is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is nothing but white space.
    #[error("the body is empty")]
    Empty,
    /// The body is not JSON, and its records cannot be told apart.
    #[error("line {line}, column {column}: {reason}")]
    Malformed {
        /// Where, in bytes from the front.
        offset: usize,
        /// The line, from 1.
        line: usize,
        /// The character in that line, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// Some records are bad.
    #[error("{total} bad record(s) in the batch, of which nothing was kept")]
    BadRecords {
        /// The first [`BAD_RECORDS_SHOWN_MAX`] of them.
        errors: Vec<BadRecord>,
        /// How many there are.
        total: u64,
    },
    /// The batch is too long.
    #[error("more than {limit} records in one batch")]
    TooManyRecords {
        /// How many there may be.
        limit: usize,
    },
}

/// Decodes a body of JSON, as the module's page describes.
///
/// # Errors
/// [`DecodeError`], in which case nothing of the body may be kept.
pub fn json(body: &[u8], options: &Options) -> Result<Decoded, DecodeError> {
    match simdutf8::basic::from_utf8(body) {
        Ok(text) => body::decode(text, body, options),
        Err(_) => body::decode(&with_faults_marked(body), body, options),
    }
}

/// Puts a NUL in the place of each byte that is no UTF-8: JSON allows it nowhere, so each is found where it stands.
fn with_faults_marked(body: &[u8]) -> String {
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\0'));
    }
    text
}

#[cfg(test)]
mod tests;
