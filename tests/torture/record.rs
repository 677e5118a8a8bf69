//! The records that are sent: each a pure function of run, client and number, so that nobody has to remember it.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use sluice_model::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_NS: i64 = 24 * HOUR_NS;

const WORDS: &[&str] = &[
    "payment",
    "timeout",
    "after",
    "retry",
    "cache",
    "miss",
    "user",
    "logged",
    "in",
    "order",
    "10.0.0.1",
    "/var/log",
    "GET",
    "connection",
    "refused",
    "\"quoted\"",
    "back\\slash",
    "tab\there",
    "line\nbreak",
    "é",
    "漢字",
    "🦀",
    "\u{1b}[31mred",
];

/// The client whose messages are of some ten KiB, and go into the bulk lane.
pub const FAT_CLIENT: usize = 42;

/// When the records of a run happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ages {
    /// In the last two days; one in sixteen has no time of its own.
    Recent,
    /// On every day of the last three weeks, in any order.
    Scattered,
    /// Those of clients with an odd number on one day two months ago, those of the others today.
    Cohorts,
}

/// What is the same for all records of a ledger.
#[derive(Debug, Clone)]
pub struct Run {
    /// Told in each record.
    pub name: String,
    seed: u64,
    ages: Ages,
    /// The latest time that a record says.
    now_ns: i64,
}

/// One record, as it must come back.
#[derive(Debug, PartialEq)]
pub struct Record {
    /// The time it says; `None` means that of its arrival.
    pub timestamp: Option<Timestamp>,
    /// The level.
    pub level: &'static str,
    /// The service.
    pub service: String,
    /// The message.
    pub message: String,
    /// The attributes, by dotted path; `run`, `client` and `number` among them.
    pub attributes: Map<String, Value>,
}

impl Run {
    /// A run of its own, by its seed.
    pub fn new(seed: u64, ages: Ages) -> Run {
        Run { name: format!("{seed:016x}"), seed, ages, now_ns: Timestamp::now().as_nanos() }
    }

    /// The record `number` of `client`.
    pub fn record(&self, client: usize, number: u64) -> Record {
        let mut rng = self.rng(client, number);
        let mut attributes = Map::new();
        attributes.insert("run".into(), json!(self.name));
        attributes.insert("client".into(), json!(client));
        attributes.insert("number".into(), json!(number));
        attributes.insert("status".into(), json!(rng.random_range(200..600)));
        attributes.insert("user.id".into(), json!(rng.random::<i64>()));
        attributes.insert("ms".into(), json!(f64::from(rng.random_range(1..4000_u32)) * 0.25));
        match rng.random_range(0..24) {
            0 => attributes.insert(format!("rare.n{}", rng.random_range(0..30)), json!(rng.random::<bool>())),
            1 => attributes.insert("tags".into(), json!(["a", 1, null, {"b": "ü"}])),
            // Not of the column's type.
            2 => attributes.insert("status".into(), json!("teapot")),
            3 => attributes.insert("nothing".into(), Value::Null),
            _ => None,
        };
        Record {
            timestamp: self.timestamp(client, &mut rng),
            level: level(client, number, &mut rng),
            service: format!("service-{}", rng.random_range(0..12)),
            message: message(client == FAT_CLIENT, &mut rng),
            attributes,
        }
    }

    fn timestamp(&self, client: usize, rng: &mut SmallRng) -> Option<Timestamp> {
        let age_ns = match self.ages {
            Ages::Recent if rng.random_ratio(1, 16) => return None,
            Ages::Recent => rng.random_range(0..2 * DAY_NS),
            Ages::Scattered => rng.random_range(0..21 * DAY_NS),
            Ages::Cohorts if client % 2 == 1 => 60 * DAY_NS + rng.random_range(0..HOUR_NS),
            Ages::Cohorts => rng.random_range(0..HOUR_NS / 60),
        };
        Some(Timestamp::from_nanos(self.now_ns - age_ns))
    }

    fn rng(&self, client: usize, number: u64) -> SmallRng {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&(client as u64).to_le_bytes());
        bytes[16..].copy_from_slice(&number.to_le_bytes());
        SmallRng::seed_from_u64(xxh3_64(&bytes))
    }
}

impl Record {
    /// What is sent: the attributes beside the fields.
    pub fn to_json(&self) -> Value {
        let mut object = self.attributes.clone();
        if let Some(timestamp) = self.timestamp {
            // Two of the ways in which a time can be said.
            let text = timestamp.to_string();
            let said = if text.ends_with("5Z") { json!(timestamp.as_nanos()) } else { json!(text) };
            object.insert("timestamp".into(), said);
        }
        object.insert("level".into(), json!(self.level));
        object.insert("service".into(), json!(self.service));
        object.insert("message".into(), json!(self.message));
        Value::Object(object)
    }

    /// Says what of `found`, a record as it was answered, is not as it was sent.
    pub fn differs(&self, found: &Value) -> Option<String> {
        let text = |name: &str| found[name].as_str().unwrap_or_default();
        if let Some(timestamp) = self.timestamp.filter(|timestamp| text("timestamp") != timestamp.to_string()) {
            return Some(format!("timestamp {} instead of {timestamp}", text("timestamp")));
        }
        for (name, sent) in [("level", self.level), ("service", &self.service), ("message", &self.message)] {
            if text(name) != sent {
                return Some(format!("{name} {:?} instead of {sent:?}", text(name)));
            }
        }
        let found = &found["attributes"];
        (found.as_object() != Some(&self.attributes)).then(|| {
            let sent = Value::Object(self.attributes.clone());
            format!("attributes {found} instead of {sent}")
        })
    }
}

/// Levels by client and stretch of numbers, so that batches of every lane occur: urgent, normal and bulk.
fn level(client: usize, number: u64, rng: &mut SmallRng) -> &'static str {
    let moods: [&[&str]; 4] = [
        &["INFO", "info", "DEBUG", "error", "FATAL", "WARN"],
        &["INFO", "Warning", "WARN", "trace"],
        &["INFO", "debug", "TRACE", "notice"],
        &["INFO", "INFO", "INFO", "INFO", "INFO", "INFO", "INFO", "INFO", "INFO", "INFO", "INFO", "WARN"],
    ];
    let mood = if client % 4 == 3 { (number >> 8) as usize } else { client };
    moods[mood % 4].choose(rng).unwrap()
}

fn message(fat: bool, rng: &mut SmallRng) -> String {
    let words = match rng.random_range(0..400) {
        _ if fat => rng.random_range(2000..8000),
        0 => rng.random_range(500..4000),
        1..8 => 0,
        _ => rng.random_range(2..20),
    };
    let words: Vec<&str> = (0..words).map(|_| *WORDS.choose(rng).unwrap()).collect();
    words.join(" ")
}
