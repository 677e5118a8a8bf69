//! One log record as a row: what a client sends and an answer shows.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{RecordId, Severity, Timestamp};

/// One log record.
///
/// It serializes to the shape that Sluice answers with, which can be sent back in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// The identity that the server gave; absent in what has not been accepted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RecordId>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The level, word for word as the sender wrote it.
    pub level: String,
    /// The program it comes from; may be empty.
    #[serde(default)]
    pub service: String,
    /// The text; may be empty.
    #[serde(default)]
    pub message: String,
    /// Every other field by its dotted path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, AttributeValue>,
}

impl LogRecord {
    /// The severity that the level stands for; `None` where it is no known name.
    pub fn severity(&self) -> Option<Severity> {
        Severity::from_name(&self.level)
    }
}

/// An attribute's value as its exact JSON text, so that `1.0` stays `1.0` and an integer of any length stays whole.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttributeValue(Box<RawValue>);

impl AttributeValue {
    /// Takes a JSON text.
    ///
    /// # Errors
    /// If `json` is not one JSON value.
    pub fn from_json(json: String) -> Result<AttributeValue, serde_json::Error> {
        RawValue::from_string(json).map(AttributeValue)
    }

    /// Takes anything that serializes to JSON.
    ///
    /// # Errors
    /// If `value` cannot be written as JSON (a map with keys that are no text, say).
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<AttributeValue, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(AttributeValue)
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for AttributeValue {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl fmt::Debug for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_round_trips_in_the_shape_of_an_answer() {
        let text = r#"{"id":"01J9M2CN0000000000000000G7","timestamp":"2024-10-08T00:00:00.000000000Z","level":"Warning","service":"","message":"m","attributes":{"n":1.0,"user.id":123456789012345678901234567890}}"#;
        let record: LogRecord = serde_json::from_str(text).expect("the shape of an answer");
        assert_eq!(record.severity(), Some(Severity::Warn));
        assert_eq!(serde_json::to_string(&record).expect("a record is JSON"), text);
    }
}
