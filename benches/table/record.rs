//! A line of NDJSON as a plain reader of it sees it: no code of the server's is used, so that both can disagree.

use std::borrow::Cow;
use std::fmt;

use chrono::DateTime;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Result;

/// The names of the fixed fields, the first that is there counts.
const TIMESTAMP: &[&str] = &["timestamp", "@timestamp", "time", "ts"];
const LEVEL: &[&str] = &["level", "severity", "lvl", "loglevel"];
const SERVICE: &[&str] = &["service", "serviceName", "service_name", "service.name"];
const MESSAGE: &[&str] = &["message", "msg", "log"];

/// Names of levels by their severity.
const SEVERITIES: &[(&str, &[&str])] = &[
    ("TRACE", &["trace", "verbose", "silly", "finest", "finer", "t", "v"]),
    ("DEBUG", &["debug", "fine", "config", "d"]),
    ("INFO", &["info", "information", "notice", "success", "i", ""]),
    ("WARN", &["warn", "warning", "w"]),
    ("ERROR", &["err", "error", "severe", "e"]),
    ("FATAL", &["crit", "critical", "alert", "emerg", "emergency", "fatal", "panic", "dpanic", "f"]),
];

/// A record.
#[derive(Debug)]
pub struct Record<'a> {
    pub nanos: i64,
    pub severity: &'static str,
    pub service: Cow<'a, str>,
    pub message: Cow<'a, str>,
    fields: Fields<'a>,
}

impl<'a> Record<'a> {
    /// Reads a line.
    pub fn parse(line: &'a [u8]) -> Result<Record<'a>> {
        let fields: Fields<'a> = serde_json::from_slice(line)?;
        let time = fields.text(TIMESTAMP).ok_or("the benchmark needs a timestamp in each record")?;
        let time = DateTime::parse_from_rfc3339(&time).map_err(|_| format!("{time} is no time in RFC 3339"))?;
        let level = fields.text(LEVEL).unwrap_or_default().to_ascii_lowercase();
        let severity = SEVERITIES.iter().find(|(_, names)| names.contains(&level.as_str()));
        Ok(Record {
            nanos: time.timestamp_nanos_opt().ok_or("a timestamp is out of range")?,
            severity: severity.ok_or_else(|| format!("the benchmark does not know the level {level}"))?.0,
            service: fields.text(SERVICE).unwrap_or_default(),
            message: fields.text(MESSAGE).unwrap_or_default(),
            fields,
        })
    }

    /// The text of a field at the top, if it is one.
    pub fn attribute(&self, name: &str) -> Option<Cow<'a, str>> {
        self.fields.text(&[name])
    }

    /// The names of the fields at the top that are texts, but the fixed ones.
    pub fn attribute_names(&self) -> impl Iterator<Item = &str> {
        let fixed = |name: &str| [TIMESTAMP, LEVEL, SERVICE, MESSAGE].iter().any(|names| names.contains(&name));
        let texts = self.fields.0.iter().filter(|(_, value)| value.get().starts_with('"'));
        texts.map(|(name, _)| name.as_ref()).filter(move |name| !fixed(name) && *name != "id")
    }
}

/// The fields of an object, in their order.
#[derive(Debug)]
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    fn text(&self, names: &[&str]) -> Option<Cow<'a, str>> {
        let value = names.iter().find_map(|name| self.0.iter().find(|(field, _)| field == name))?.1;
        match serde_json::from_str::<Text<'a>>(value.get()) {
            Ok(text) => Some(text.0),
            Err(_) => Some(Cow::Borrowed(value.get())).filter(|text| text != "null"),
        }
    }
}

/// A text, copied only if it has escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Deserialize<'a> for Fields<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> std::result::Result<Fields<'a>, D::Error> {
        struct Object;
        impl<'a> Visitor<'a> for Object {
            type Value = Fields<'a>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> std::result::Result<Fields<'a>, A::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some((name, value)) = map.next_entry::<Text<'a>, &'a RawValue>()? {
                    fields.push((name.0, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
