//! Texts with values in them: `GET $path $ok in $ms ms`.
//!
//! A value is a pure function of the session's seed or of the record's draw, so that a value that a record names twice
//! (in its message and in its attributes) is the same both times, and nothing has to be kept.

use crate::text::{push_decimal, push_hex};

/// A parsed text, ready to be written many times.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(&'static str),
    Value(Value),
}

/// A text names a value that does not exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no value is called ${0}")]
pub struct UnknownValue(String);

/// From what the values of one record are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw {
    /// The same for all records of a session.
    pub(crate) session: u64,
    /// Different for each record.
    pub(crate) record: u64,
}

macro_rules! values {
    ($($variant:ident $name:literal),* $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Value { $($variant),* }

        impl Value {
            fn from_name(name: &str) -> Option<Value> {
                match name {
                    $($name => Some(Value::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

values! {
    // Of a session.
    User "user", Session "session", Trace "trace", Order "order", Amount "amount", Currency "currency", Items "items",
    Ip "ip", Host "host", Card "card", Country "country", Agent "agent", Job "job", Queue "queue", Table "table",
    // Of a record.
    Request "request", Method "method", Path "path", Ok "ok", Bad "bad", Fail "fail", Millis "ms", Slow "slow",
    Bytes "bytes", Rows "rows", Attempt "attempt", Thread "thread", Number "n", Percent "percent",
}

const CURRENCIES: [&str; 4] = ["EUR", "USD", "GBP", "JPY"];
const COUNTRIES: [&str; 8] = ["DE", "US", "GB", "FR", "JP", "BR", "IN", "SE"];
const AGENTS: [&str; 4] = ["Firefox/131.0", "Chrome/129.0", "Safari/18.0", "curl/8.10.1"];
const QUEUES: [&str; 4] = ["mail", "thumbnails", "invoices", "exports"];
const TABLES: [&str; 4] = ["orders", "users", "inventory", "audit"];
const METHODS: [&str; 8] = ["GET", "GET", "GET", "GET", "GET", "POST", "PUT", "DELETE"];
const PATHS: [&str; 8] = [
    "/",
    "/api/cart",
    "/api/products/1842",
    "/api/products?page=3",
    "/api/search",
    "/assets/app.js",
    "/login",
    "/api/orders/77",
];
const STATUS_OK: [&str; 8] = ["200", "200", "200", "200", "200", "201", "204", "304"];
const STATUS_BAD: [&str; 4] = ["400", "401", "404", "429"];
const STATUS_FAIL: [&str; 4] = ["500", "502", "503", "504"];

impl Template {
    pub(crate) fn parse(text: &'static str) -> Result<Template, UnknownValue> {
        let mut parts = Vec::new();
        let mut pieces = text.split('$');
        parts.extend(pieces.next().map(Part::Text));
        for piece in pieces {
            let length = piece.bytes().take_while(u8::is_ascii_lowercase).count();
            let (name, rest) = piece.split_at(length);
            parts.push(Part::Value(Value::from_name(name).ok_or_else(|| UnknownValue(name.to_owned()))?));
            if !rest.is_empty() {
                parts.push(Part::Text(rest));
            }
        }
        Ok(Template(parts))
    }

    pub(crate) fn write(&self, draw: Draw, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Value(value) => value.write(draw, out),
            }
        }
    }
}

impl Value {
    fn write(self, draw: Draw, out: &mut Vec<u8>) {
        let seed = if (self as u8) < (Value::Request as u8) { draw.session } else { draw.record };
        let bits = mix(seed ^ (self as u64) << 56);
        match self {
            Value::User => push_decimal(out, 1 + bits % 50_000),
            Value::Session | Value::Request => push_hex(out, bits),
            Value::Trace => {
                push_hex(out, bits);
                push_hex(out, mix(bits));
            }
            Value::Order => push_decimal(out, 100_000_000 + bits % 900_000_000),
            Value::Amount => {
                push_decimal(out, 1 + skewed(bits, 900));
                out.push(b'.');
                out.extend([b'0' + (bits % 10) as u8, b'9']);
            }
            Value::Currency => out.extend_from_slice(pick(&CURRENCIES, bits)),
            Value::Items => push_decimal(out, 1 + skewed(bits, 12)),
            Value::Ip => {
                let [a, b, c, ..] = bits.to_le_bytes();
                out.extend_from_slice(b"10.");
                push_decimal(out, u64::from(a));
                out.push(b'.');
                push_decimal(out, u64::from(b));
                out.push(b'.');
                push_decimal(out, u64::from(c));
            }
            Value::Host => {
                out.extend_from_slice(b"node-");
                push_decimal(out, 1 + bits % 24);
            }
            Value::Card => push_decimal(out, 1000 + bits % 9000),
            Value::Country => out.extend_from_slice(pick(&COUNTRIES, bits)),
            Value::Agent => out.extend_from_slice(pick(&AGENTS, bits)),
            Value::Job => push_decimal(out, 1_000_000 + bits % 9_000_000),
            Value::Queue => out.extend_from_slice(pick(&QUEUES, bits)),
            Value::Table => out.extend_from_slice(pick(&TABLES, bits)),
            Value::Method => out.extend_from_slice(pick(&METHODS, bits)),
            Value::Path => out.extend_from_slice(pick(&PATHS, bits)),
            Value::Ok => out.extend_from_slice(pick(&STATUS_OK, bits)),
            Value::Bad => out.extend_from_slice(pick(&STATUS_BAD, bits)),
            Value::Fail => out.extend_from_slice(pick(&STATUS_FAIL, bits)),
            Value::Millis => push_decimal(out, 1 + skewed(bits, 800)),
            Value::Slow => push_decimal(out, 1_000 + skewed(bits, 29_000)),
            Value::Bytes => push_decimal(out, 120 + skewed(bits, 250_000)),
            Value::Rows => push_decimal(out, skewed(bits, 5_000)),
            Value::Attempt => push_decimal(out, 1 + bits % 5),
            Value::Thread => push_decimal(out, 1 + bits % 32),
            Value::Number => push_decimal(out, bits % 1_000),
            Value::Percent => push_decimal(out, 70 + bits % 30),
        }
    }
}

/// Spreads 64 bits evenly (the finalizer of SplitMix64).
pub(crate) fn mix(seed: u64) -> u64 {
    let bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// A number below `limit`, mostly a small one: the cube of an even draw, like the durations of real requests.
fn skewed(bits: u64, limit: u64) -> u64 {
    let unit = bits >> 43;
    let square = (unit * unit) >> 21;
    let cube = (square * unit) >> 21;
    (cube * limit) >> 21
}

fn pick<'a>(texts: &'a [&'static str], bits: u64) -> &'a [u8] {
    let index = usize::try_from(bits >> 32).unwrap_or(0) % texts.len();
    texts.get(index).map_or(&[], |text| text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &'static str, draw: Draw) -> String {
        let mut out = Vec::new();
        Template::parse(text).unwrap().write(draw, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_named_twice_is_the_same() {
        let text = written("$ms=$ms", Draw { session: 1, record: 2 });
        let (a, b) = text.split_once('=').unwrap();
        assert_eq!(a, b);
        assert!(a.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn sessions_keep_their_values_and_records_change_theirs() {
        let values = |record| written("$user $session $request", Draw { session: 7, record });
        let (a, b) = (values(1), values(2));
        let (a, b): (Vec<_>, Vec<_>) = (a.split(' ').collect(), b.split(' ').collect());
        assert_eq!(a[..2], b[..2]);
        assert_ne!(a[2], b[2]);
    }

    #[test]
    fn an_unknown_value_is_named() {
        assert_eq!(Template::parse("a $user b $nope").unwrap_err(), UnknownValue("nope".to_owned()));
    }

    #[test]
    fn skewed_numbers_stay_below_their_limit_and_are_mostly_small() {
        let numbers: Vec<u64> = (0..10_000).map(|seed| skewed(mix(seed), 800)).collect();
        assert!(numbers.iter().all(|number| *number < 800));
        let small = numbers.iter().filter(|number| **number < 100).count();
        assert!((4_500..5_500).contains(&small), "{small}");
    }
}
