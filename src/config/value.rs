//! The types of single values, each read from text.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes: `4096`, `64KiB`, `1.5GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let units = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1_u64 << 40)];
        scaled(text, "B", &units).map(|bytes| ByteSize(bytes as u64)).ok_or(())
    }
}

/// A length of time: `500ms`, `30s`, `5m`, `1.5h`, `7d`; without a unit, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        scaled(text, "s", &units).map(|millis| Period(Duration::from_millis(millis as u64))).ok_or(())
    }
}

/// Reads a number and a unit of `units`, `bare` where none is written; returns the product.
fn scaled(text: &str, bare: &str, units: &[(&str, u64)]) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = if unit.trim().is_empty() { bare } else { unit.trim() };
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let value = number.parse::<f64>().ok()? * *factor as f64;
    // Past 2^53 a float no longer holds every integer; no size or time of ours is that large.
    (value.is_finite() && value < (1_u64 << 53) as f64).then_some(value)
}

/// Which store the records go to.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreTarget {
    /// The engine that is part of the program.
    Embedded,
    /// A MongoDB deployment, by its URI.
    MongoDb(String),
}

impl FromStr for StoreTarget {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "embedded" => Ok(StoreTarget::Embedded),
            uri if uri.starts_with("mongodb://") || uri.starts_with("mongodb+srv://") => {
                Ok(StoreTarget::MongoDb(uri.to_owned()))
            }
            _ => Err(()),
        }
    }
}

/// Without the credentials that a URI may hold.
impl fmt::Display for StoreTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreTarget::Embedded => f.write_str("embedded"),
            StoreTarget::MongoDb(uri) => f.write_str(&redact(uri)),
        }
    }
}

impl fmt::Debug for StoreTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes the credentials out of a URL, if there are any: what stands before the last `@` of its authority, and the
/// values of options that can hold secrets.
pub(super) fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // A password may hold an unescaped `/`, so the last `@` of all counts, not that of the authority alone.
    let (base, options) = rest.split_once('?').map_or((rest, None), |(base, options)| (base, Some(options)));
    if options.is_some_and(|options| options.contains('@')) {
        // The `?` may stand in a password, or the `@` in an option that is one: nobody can tell.
        return format!("{scheme}://***");
    }
    let host = base.rsplit_once('@').map_or(base.to_owned(), |(_, host)| format!("***@{host}"));
    let options = options.map(|options| {
        let shown = options.split('&').map(|option| match option.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("password") || name == "authMechanismProperties" => {
                format!("{name}=***")
            }
            _ => option.to_owned(),
        });
        format!("?{}", shown.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{host}{}", options.unwrap_or_default())
}
