//! The layers of a configuration: defaults, file, environment and flags, each over the one before.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::keys::{KEYS, Key};
use super::value::{ByteSize, Period, redact};

/// A configuration that cannot be used, as one line that names the key, the value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// The error for a value that only another part can judge; `shown` is that value without secrets.
    pub fn new(path: &str, shown: &str, reason: &str) -> ConfigError {
        ConfigError(format!("{path} = {shown:?}: {reason}"))
    }
}

/// The values that were given, by key, as text.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    given: BTreeMap<&'static str, Given>,
}

#[derive(Debug, Clone)]
struct Given {
    value: String,
    origin: Origin,
}

/// Where a value comes from, for an error to say.
#[derive(Debug, Clone)]
enum Origin {
    Default,
    File(String),
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {path}"),
            Origin::Variable(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// Variables that the command line reads itself: the configuration's file, and the server that its commands speak to.
const FOR_THE_COMMAND_LINE: [&str; 2] = ["SLUICE_CONFIG", "SLUICE_URL"];

impl Layers {
    /// Lays the file at `path` over what is there.
    ///
    /// # Errors
    /// [`ConfigError`], if the file cannot be read, is no TOML, or has a key that does not exist.
    pub fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError(format!("{shown}: {error}")))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
            ConfigError(format!("{shown}: line {line}: {}", error.message().replace('\n', " ")))
        })?;
        for (name, value) in &table {
            match value {
                toml::Value::Table(section) => {
                    for (inner, value) in section {
                        self.add_from_file(&format!("{name}.{inner}"), value, &shown)?;
                    }
                }
                value => self.add_from_file(name, value, &shown)?,
            }
        }
        Ok(())
    }

    fn add_from_file(&mut self, path: &str, value: &toml::Value, file: &str) -> Result<(), ConfigError> {
        let key =
            find(path).ok_or_else(|| ConfigError(format!("{path}: unknown key (file {file}){}", nearest(path))))?;
        let value = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => value.to_string(),
            other => return Err(ConfigError(format!("{path} = {other}: use {} (file {file})", key.allowed))),
        };
        self.given.insert(key.path, Given { value, origin: Origin::File(file.to_owned()) });
        Ok(())
    }

    /// Lays the environment over what is there; returns the `SLUICE_*` variables that are no key, for one warning.
    ///
    /// # Errors
    /// [`ConfigError`], if a file that a `…_FILE` variable names cannot be read.
    pub fn add_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Vec<String>, ConfigError> {
        let mut unknown = Vec::new();
        for (name, value) in variables.filter(|(name, _)| name.starts_with("SLUICE_")) {
            if let Some(key) = KEYS.iter().find(|key| key.variable() == name) {
                self.given.insert(key.path, Given { value, origin: Origin::Variable(name) });
            } else if let Some(key) = KEYS.iter().find(|key| format!("{}_FILE", key.variable()) == name) {
                let read = std::fs::read_to_string(&value);
                let secret = read.map_err(|error| ConfigError(format!("{name}: {value}: {error}")))?;
                let value = secret.trim_end_matches(['\r', '\n']).to_owned();
                self.given.insert(key.path, Given { value, origin: Origin::Variable(name) });
            } else if !is_service_link(&name, &value) && !FOR_THE_COMMAND_LINE.contains(&name.as_str()) {
                unknown.push(name);
            }
        }
        unknown.sort();
        Ok(unknown)
    }

    /// Lays a flag over what is there.
    pub fn add_flag(&mut self, key: &Key, value: String) {
        self.given.insert(key.path, Given { value, origin: Origin::Flag(key.flag()) });
    }

    /// Every key with its effective value, secrets redacted.
    pub(super) fn effective(&self) -> Vec<(&'static str, String)> {
        KEYS.iter().map(|key| (key.path, redact(&self.value(key.path).value))).collect()
    }

    fn value(&self, path: &'static str) -> Given {
        let default = || find(path).map_or("", |key| key.default).to_owned();
        self.given.get(path).cloned().unwrap_or_else(|| Given { value: default(), origin: Origin::Default })
    }

    /// The error for the value of `path`, with what is allowed in this case.
    pub(super) fn refuse(&self, path: &'static str, allowed: &str) -> ConfigError {
        let Given { value, origin } = self.value(path);
        ConfigError(format!("{path} = {:?}: use {allowed} ({origin})", redact(&value)))
    }

    fn refuse_plain(&self, path: &'static str) -> ConfigError {
        self.refuse(path, find(path).map_or("", |key| key.allowed))
    }

    /// The value of `path`, by the type's own reading.
    pub(super) fn parse<T: FromStr>(&self, path: &'static str) -> Result<T, ConfigError> {
        self.value(path).value.parse().map_err(|_| self.refuse_plain(path))
    }

    /// The value of `path`, or nothing for `auto` and `none`.
    pub(super) fn optional<T: FromStr, U>(
        &self,
        path: &'static str,
        convert: impl Fn(T) -> U,
    ) -> Result<Option<U>, ConfigError> {
        match self.value(path).value.as_str() {
            "auto" | "none" => Ok(None),
            _ => self.parse(path).map(|value| Some(convert(value))),
        }
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&self, path: &'static str, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let given = self.value(path).value;
        let found = words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value);
        found.ok_or_else(|| self.refuse_plain(path))
    }

    /// A whole number in a range.
    pub(super) fn number(&self, path: &'static str, range: RangeInclusive<usize>) -> Result<usize, ConfigError> {
        self.parse(path).ok().filter(|value| range.contains(value)).ok_or_else(|| self.refuse_plain(path))
    }

    /// A whole number in a range, or `auto`.
    pub(super) fn number_or(
        &self,
        path: &'static str,
        range: RangeInclusive<usize>,
        auto: usize,
    ) -> Result<usize, ConfigError> {
        if self.value(path).value == "auto" { Ok(auto) } else { self.number(path, range) }
    }

    /// A share, above 0 and up to 1.
    pub(super) fn share(&self, path: &'static str) -> Result<f64, ConfigError> {
        let fits = |share: &f64| *share > 0.0 && *share <= 1.0;
        self.parse(path).ok().filter(fits).ok_or_else(|| self.refuse_plain(path))
    }

    /// A size of at least `least` bytes.
    pub(super) fn bytes(&self, path: &'static str, least: u64) -> Result<u64, ConfigError> {
        let ByteSize(bytes) = self.parse(path)?;
        if bytes >= least { Ok(bytes) } else { Err(self.refuse(path, &format!("at least {least} bytes"))) }
    }

    /// A size in a range, for what is held in memory.
    pub(super) fn size(&self, path: &'static str, least: usize, most: usize) -> Result<usize, ConfigError> {
        let ByteSize(bytes) = self.parse(path)?;
        let fits = |bytes: &usize| (least..=most).contains(bytes);
        usize::try_from(bytes).ok().filter(fits).ok_or_else(|| self.refuse_plain(path))
    }

    /// A length of time above zero.
    pub(super) fn period(&self, path: &'static str) -> Result<Duration, ConfigError> {
        self.period_at_least(path, Duration::from_millis(1))
    }

    /// A length of time of at least `least`.
    pub(super) fn period_at_least(&self, path: &'static str, least: Duration) -> Result<Duration, ConfigError> {
        let Period(period) = self.parse(path)?;
        if period >= least { Ok(period) } else { Err(self.refuse_plain(path)) }
    }
}

fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The hint to the key that was likely meant.
fn nearest(path: &str) -> String {
    let closest = KEYS.iter().min_by_key(|key| strsim::levenshtein(key.path, path));
    closest.map(|key| format!(": did you mean {}?", key.path)).unwrap_or_default()
}

/// Whether the variable is one of those that Kubernetes and Docker links set for a service named `sluice`.
fn is_service_link(name: &str, value: &str) -> bool {
    let link = ["_PORT", "_SERVICE_HOST", "_SERVICE_PORT", "_ADDR", "_PROTO", "_NAME"];
    value.contains("://") || link.iter().any(|end| name.contains(end))
}
