//! Records as lines for people.

use std::fmt::Write;

use serde_json::value::RawValue;
use sluice_model::{Severity, Timestamp};
use unicode_width::UnicodeWidthStr;

use super::Look;
use super::entry::{self, Entry};
use super::escape::escape;
use super::paint::Style;

/// Services up to this width make their column wider; a longer one moves the rest of its own line.
const SERVICE_WIDTH_MAX: usize = 24;

/// Writes records: time, level, service and message in columns, then the attributes.
#[derive(Debug)]
pub(in crate::cli) struct Pretty {
    look: Look,
    /// The widest service so far: a column never becomes narrower again.
    service_width: usize,
}

impl Pretty {
    pub(in crate::cli) fn new(look: Look) -> Pretty {
        Pretty { look, service_width: 0 }
    }

    /// Makes room for a record that is written later, so that all lines of a page have the same columns.
    pub(in crate::cli) fn make_room(&mut self, line: &[u8]) {
        if let Ok(entry) = Entry::parse(line) {
            self.widen(&entry.text("service").unwrap_or_default());
        }
    }

    /// Adds a whole record, or one of which only some fields were asked for, with a line feed.
    pub(in crate::cli) fn write(&mut self, line: &[u8], out: &mut String) -> Result<(), serde_json::Error> {
        let entry = Entry::parse(line)?;
        match (entry.get("timestamp"), entry.attributes()) {
            (Some(_), Some(attributes)) => self.record(&entry, &attributes, out),
            _ => self.members(entry.members(), out),
        }
        while out.ends_with(' ') {
            out.pop();
        }
        out.push('\n');
        Ok(())
    }

    /// Adds some fields of a record, each with its exact JSON.
    pub(in crate::cli) fn write_fields(&mut self, fields: &[(String, String)], out: &mut String) {
        // What was JSON when it was taken from the record is still.
        let values = fields.iter().filter_map(|(name, json)| Some((name.as_str(), serde_json::from_str(json).ok()?)));
        self.members(values, out);
        out.push('\n');
    }

    fn record(&mut self, entry: &Entry<'_>, attributes: &Entry<'_>, out: &mut String) {
        self.member("timestamp", entry.get("timestamp"), out);
        self.member("level", entry.get("level"), out);
        self.member("service", entry.get("service"), out);
        // Nothing stands in the column of services if no record has had one.
        self.member("message", entry.get("message"), out);
        for (name, value) in attributes.members() {
            self.attribute(name, value, out);
        }
    }

    fn members<'v>(&mut self, members: impl Iterator<Item = (&'v str, &'v RawValue)>, out: &mut String) {
        for (name, value) in members {
            match name {
                "timestamp" | "level" | "severity" | "service" | "message" | "id" => {
                    self.member(name, Some(value), out)
                }
                _ => self.attribute(name, value, out),
            }
        }
        while out.ends_with(' ') {
            out.pop();
        }
    }

    /// Adds a fixed field, in its column.
    fn member(&mut self, name: &str, value: Option<&RawValue>, out: &mut String) {
        let text = value.and_then(entry::text).unwrap_or_default();
        match name {
            "timestamp" => {
                let time = text.parse::<Timestamp>().map(|time| self.look.zone.show(time));
                let time = time.unwrap_or_else(|_| escape(&text, false).into_owned());
                self.push(Style::DIM, &time, 0, out);
            }
            "level" | "severity" => {
                let severity = Severity::from_name(&text);
                let style = severity.map_or(Style::PLAIN, Style::of);
                let name = severity.map_or_else(|| escape(&text, false).into_owned(), |known| known.name().to_owned());
                self.push(style, &name, "ERROR".len(), out);
            }
            "service" => {
                let service = escape(&text, false);
                self.widen(&service);
                if self.service_width > 0 {
                    self.push(Style::BOLD, &service, self.service_width, out);
                }
            }
            "message" if text.is_empty() => {}
            "message" => self.push(Style::PLAIN, &escape(&text, true), 0, out),
            _ => self.push(Style::DIM, &escape(&text, false), 0, out),
        }
    }

    /// Adds a text, the spaces that its column has left, and two between columns.
    fn push(&self, style: Style, text: &str, width: usize, out: &mut String) {
        let missing = width.saturating_sub(text.width());
        let gap = if width == "ERROR".len() { 1 } else { 2 };
        // Writing to a string does not fail.
        let _ = write!(out, "{}{:missing$}{:gap$}", style.paint(text, self.look.color), "", "");
    }

    fn attribute(&self, name: &str, value: &RawValue, out: &mut String) {
        let shown = match entry::text(value) {
            Some(text) if is_plain(&text) => text.into_owned(),
            // As JSON it has its quotes, and no control below 0x20.
            _ => escape(value.get(), false).into_owned(),
        };
        let text = format!("{}={shown}", escape(name, false));
        let _ = write!(out, "{} ", Style::DIM.paint(&text, self.look.color));
    }

    fn widen(&mut self, service: &str) {
        self.service_width = self.service_width.max(service.width().min(SERVICE_WIDTH_MAX));
    }
}

/// True if a text can stand without quotes: it is no JSON of another type, and its end can be seen.
fn is_plain(text: &str) -> bool {
    let ends = |letter: char| letter.is_whitespace() || letter.is_control() || matches!(letter, '"' | '=' | '\\');
    !text.is_empty() && !text.contains(ends) && serde_json::from_str::<&RawValue>(text).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::Zone;

    const LINES: [&str; 4] = [
        r#"{"id":"01M7Z7780ZYZ4MDT0000000000","timestamp":"2024-10-08T07:00:00.123456789Z","level":"info","service":"web","message":"GET /api/v1/cart 200","attributes":{"duration_ms":12,"text":"12","user.id":7}}"#,
        r#"{"id":"01M7Z7780ZYZ4MDT0000000001","timestamp":"2024-10-08T07:00:01Z","level":"WARNING","service":"payment","message":"a\u001b[2Jb\u202e","attributes":{"tags":["eu","x y"],"path":"a b","e\u0007":null}}"#,
        r#"{"id":"01M7Z7780ZYZ4MDT0000000002","timestamp":"2024-01-08T07:00:01Z","level":"fatal","service":"","message":"panic:\n\tat main","attributes":{}}"#,
        r#"{"id":"01M7Z7780ZYZ4MDT0000000003","timestamp":"2024-01-08T07:00:01Z","level":"oops","service":"漢字","message":"","attributes":{"k":"v"}}"#,
    ];

    fn look(color: bool, zone: &str) -> Look {
        Look { color, unicode: true, width: 80, zone: zone.parse::<Zone>().unwrap() }
    }

    fn shown(look: Look, lines: &[&str]) -> String {
        let (mut pretty, mut out) = (Pretty::new(look), String::new());
        lines.iter().for_each(|line| pretty.make_room(line.as_bytes()));
        lines.iter().for_each(|line| pretty.write(line.as_bytes(), &mut out).unwrap());
        out
    }

    #[test]
    fn records_are_aligned_and_harmless() {
        insta::assert_snapshot!(shown(look(false, "UTC"), &LINES));
    }

    #[test]
    fn levels_have_colours_and_attributes_are_dim() {
        insta::assert_snapshot!(shown(look(true, "Europe/Berlin"), &LINES).replace('\x1b', "␛"));
    }

    #[test]
    fn without_services_there_is_no_column_for_them() {
        assert_eq!(
            shown(look(false, "UTC"), &LINES[2..3]),
            "2024-01-08 07:00:01.000Z  FATAL panic:\n        at main\n"
        );
    }

    #[test]
    fn fields_stand_in_the_order_that_was_asked_for() {
        let line = r#"{"message":"m","user.id":7,"level":"error","timestamp":"2024-10-08T07:00:00Z","http.path":"/a"}"#;
        assert_eq!(shown(look(false, "UTC"), &[line]), "m  user.id=7 ERROR 2024-10-08 07:00:00.000Z  http.path=/a\n");
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        assert!(Pretty::new(look(false, "UTC")).write(b"{\"a\":", &mut String::new()).is_err());
    }
}
