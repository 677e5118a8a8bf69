//! Lines of text. The message is the whole line, word for word.
//!
//! - A date and time at its beginning, `2024-10-08 07:00:00` with `T` or a space, `/` for `-`, a fraction after `.` or `,`
//!   and a zone if there is one, also in brackets, is the timestamp. A line without one has that of the line before, so that
//!   the lines of a stack trace stay together; before the first time, it has the time of its arrival.
//! - A level among the first three words after it is the level: in capitals, in brackets, or before a colon.

use chrono::NaiveDateTime;
use serde_json::{Map, Value};
use sluice_model::{Severity, Timestamp};

use crate::cli::terminal::Zone;

/// How many words are looked at for a level.
const WORDS: usize = 3;

/// What is known of the lines before.
pub(super) struct Text {
    zone: Zone,
    time: Option<Timestamp>,
}

impl Text {
    pub(super) fn new(zone: Zone) -> Text {
        Text { zone, time: None }
    }

    /// A line as a record.
    pub(super) fn record(&mut self, raw: &[u8], service: Option<&str>) -> Result<Vec<u8>, String> {
        let line = std::str::from_utf8(raw).map_err(|_| "not UTF-8".to_owned())?;
        let (time, rest) = match timestamp(line, self.zone) {
            Some((time, rest)) => (Some(time), rest),
            None => (None, line),
        };
        self.time = time.or(self.time);
        let mut record = Map::new();
        let mut put = |name: &str, value: &str| record.insert(name.to_owned(), Value::from(value));
        if let Some(time) = self.time {
            put("timestamp", &time.to_string());
        }
        if let Some(level) = level(rest) {
            put("level", level);
        }
        if let Some(service) = service {
            put("service", service);
        }
        put("message", line);
        serde_json::to_vec(&record).map_err(|error| error.to_string())
    }
}

/// The time at the beginning of a line, and what follows it.
fn timestamp(line: &str, zone: Zone) -> Option<(Timestamp, &str)> {
    let line = line.strip_prefix('[').unwrap_or(line);
    let (date, rest) = line.split_at_checked("2024-10-08".len())?;
    let (separator, rest) = rest.split_at_checked(1)?;
    let (time, rest) = rest.split_at_checked("07:00:00".len())?;
    if !matches!(separator, "T" | " ") {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix(['.', ',']) {
        Some(after) => after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())),
        None => ("", rest),
    };
    let date = date.replace('/', "-");
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    let text = format!("{date}T{time}.{fraction}");
    let (found, rest) = match offset(rest) {
        Some((offset, rest)) => (Timestamp::from_rfc3339(&format!("{text}{offset}")).ok()?, rest),
        None => (zone.instant(NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok()?)?, rest),
    };
    let ends = rest.chars().next().is_none_or(|next| next.is_whitespace() || matches!(next, ']' | ',' | '|' | ':'));
    ends.then_some((found, rest))
}

/// The zone behind a time, as RFC 3339 has it, and what follows.
fn offset(rest: &str) -> Option<(String, &str)> {
    let trimmed = rest.strip_prefix(' ').unwrap_or(rest);
    if let Some(after) = rest.strip_prefix('Z').or_else(|| trimmed.strip_prefix("UTC")) {
        return Some(("Z".to_owned(), after));
    }
    let (sign, after) = trimmed.split_at_checked(1).filter(|(sign, _)| matches!(*sign, "+" | "-"))?;
    let (hours, after) = after.split_at_checked(2)?;
    let (minutes, after) = after.strip_prefix(':').unwrap_or(after).split_at_checked(2)?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(hours) && is_number(minutes)).then(|| (format!("{sign}{hours}:{minutes}"), after))
}

/// The level among the first words.
fn level(rest: &str) -> Option<&str> {
    let words = rest.split([' ', '\t', '|']).filter(|word| !matches!(*word, "" | "-" | "]")).take(WORDS);
    words.map(|word| word.trim_start_matches(']')).find_map(|word| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let marked = word.starts_with(['[', '<', '(']) || word.ends_with(':');
        let in_capitals = bare.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_level = bare.len() >= "ERR".len() && bare.starts_with(|c: char| c.is_ascii_alphabetic());
        (is_level && (marked || in_capitals) && Severity::from_name(bare).is_some()).then_some(bare)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_at_the_beginning_are_read() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        for (line, expected) in [
            ("2024-10-08T07:00:00Z x", Some("2024-10-08T07:00:00.000000000Z")),
            ("2024-10-08T07:00:00.123456+02:00 x", Some("2024-10-08T05:00:00.123456000Z")),
            ("2024-10-08 07:00:00,123 INFO x", Some("2024-10-08T05:00:00.123000000Z")),
            ("[2024/10/08 07:00:00 +0000] x", Some("2024-10-08T07:00:00.000000000Z")),
            ("2024-10-08 07:00:00 UTC [1] x", Some("2024-10-08T07:00:00.000000000Z")),
            ("2024-10-08 07:00:00", Some("2024-10-08T05:00:00.000000000Z")),
            ("2024-10-08 07:00:00x", None),
            ("2024-13-08 07:00:00 x", None),
            ("2024-10-08 is a day", None),
            ("日本語のとても長い行です", None),
            ("", None),
        ] {
            let found = timestamp(line, berlin).map(|(time, _)| time.to_string());
            assert_eq!(found.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn levels_are_found_where_they_are_marked() {
        for (rest, expected) in [
            (" INFO started", Some("INFO")),
            ("] [warn] low", Some("warn")),
            (" [main] ERROR c.x.Y - no", Some("ERROR")),
            (" error: no such file", Some("error")),
            (" <NOTICE> x", Some("NOTICE")),
            ("|DEBUG|x", Some("DEBUG")),
            (" host app[12]: I am fine", None),
            (" an error occurred", None),
            (" one two three ERROR", None),
            (" A D x", None),
        ] {
            assert_eq!(level(rest), expected, "{rest}");
        }
    }

    #[test]
    fn a_line_without_a_time_stays_with_the_one_before() {
        let mut text = Text::new(Zone::UTC);
        let mut record = |line: &str| String::from_utf8(text.record(line.as_bytes(), Some("s")).unwrap()).unwrap();
        assert_eq!(record("first"), r#"{"message":"first","service":"s"}"#);
        let time = "2024-10-08T07:00:00.000000000Z";
        let panic = record("2024-10-08 07:00:00 FATAL panic");
        assert_eq!(
            panic,
            format!(
                r#"{{"level":"FATAL","message":"2024-10-08 07:00:00 FATAL panic","service":"s","timestamp":"{time}"}}"#
            )
        );
        assert_eq!(record("\tat main"), format!(r#"{{"message":"\tat main","service":"s","timestamp":"{time}"}}"#));
        assert!(Text::new(Zone::UTC).record(b"\xff", None).is_err());
    }
}
