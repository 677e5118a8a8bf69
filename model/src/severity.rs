//! Severities: the six of OpenTelemetry's log data model, and the many names they are sent under.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How grave a record is, ordered from least to most.
///
/// The discriminants are OpenTelemetry's severity numbers (the first of each range of four), which is also how a
/// severity stands in Sluice's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[repr(u8)]
pub enum Severity {
    /// Fine-grained tracing.
    Trace = 1,
    /// Debugging detail.
    Debug = 5,
    /// Normal operation; what a record without a level is taken to be.
    Info = 9,
    /// Something that may need a look.
    Warn = 13,
    /// Something failed.
    Error = 17,
    /// The program, or a large part of it, cannot go on.
    Fatal = 21,
}

/// The text is not a name of any severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown level {0:?}: use TRACE, DEBUG, INFO, WARN, ERROR or FATAL, or one of their aliases")]
pub struct ParseSeverityError(pub String);

/// The longest name that [`Severity::from_name`] knows.
const LONGEST_NAME: usize = 11;

impl Severity {
    /// All six, least grave first.
    pub const ALL: [Severity; 6] =
        [Severity::Trace, Severity::Debug, Severity::Info, Severity::Warn, Severity::Error, Severity::Fatal];

    /// Finds the severity that a sender's level stands for, in any case; `None` if it is no known name.
    pub fn from_name(name: &str) -> Option<Severity> {
        let mut buffer = [0_u8; LONGEST_NAME];
        let lower = buffer.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        match &*lower {
            b"trace" | b"verbose" | b"silly" | b"finest" | b"finer" | b"t" | b"v" | b"10" => Some(Severity::Trace),
            b"debug" | b"fine" | b"config" | b"d" | b"20" => Some(Severity::Debug),
            b"info" | b"information" | b"notice" | b"success" | b"i" | b"30" => Some(Severity::Info),
            b"warn" | b"warning" | b"w" | b"40" => Some(Severity::Warn),
            b"error" | b"err" | b"severe" | b"e" | b"50" => Some(Severity::Error),
            b"fatal" | b"crit" | b"critical" | b"alert" | b"emerg" | b"emergency" | b"panic" | b"dpanic" | b"f"
            | b"60" => Some(Severity::Fatal),
            _ => None,
        }
    }

    /// Finds the severity with OpenTelemetry's number `number`, as [`Severity::number`] gives it.
    pub fn from_number(number: u8) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.number() == number)
    }

    /// OpenTelemetry's severity number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The name in upper case, as in answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Trace => "TRACE",
            Severity::Debug => "DEBUG",
            Severity::Info => "INFO",
            Severity::Warn => "WARN",
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Severity {
    type Err = ParseSeverityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Severity::from_name(text).ok_or_else(|| ParseSeverityError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_has_its_severity_in_any_case() {
        let table = [
            ("trace verbose silly finest finer t v 10", Severity::Trace),
            ("debug fine config d 20", Severity::Debug),
            ("info information notice success i 30", Severity::Info),
            ("warn warning w 40", Severity::Warn),
            ("err error severe e 50", Severity::Error),
            ("crit critical alert emerg emergency fatal panic dpanic f 60", Severity::Fatal),
        ];
        for (names, severity) in table {
            for name in names.split(' ') {
                assert_eq!(Severity::from_name(name), Some(severity), "{name}");
                assert_eq!(Severity::from_name(&name.to_uppercase()), Some(severity), "{name}");
            }
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["", "loud", "informationx", "15", " info", "ｉｎｆｏ"] {
            assert_eq!(Severity::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn numbers_and_order_agree() {
        for pair in Severity::ALL.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].number() < pair[1].number());
            assert_eq!(Severity::from_number(pair[0].number()), Some(pair[0]));
        }
        assert_eq!(Severity::from_number(2), None);
    }
}
