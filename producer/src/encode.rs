//! Writing records down, straight into a byte buffer.

use clap::ValueEnum;
use sluice_model::Timestamp;

use crate::generate::Event;
use crate::text::{push_csv_quoted, push_decimal, push_json_escaped};

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// One JSON object a line, as they are sent.
    #[default]
    Json,
    /// RFC 4180, with the attributes as JSON in the last column.
    Csv,
    /// For people: time, level, service, message, attributes.
    Text,
}

/// By which `--verify` knows its records again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark<'a> {
    /// The run, drawn at each start.
    pub(crate) run: &'a str,
    /// The record's number in that run, from 0.
    pub(crate) number: u64,
}

impl Format {
    /// What comes before all records.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Format::Csv => "timestamp,level,service,message,attributes\r\n",
            Format::Json | Format::Text => "",
        }
    }

    /// Appends one record, with the end of its line.
    pub(crate) fn write(self, event: &Event, timestamp: &str, mark: Option<Mark<'_>>, out: &mut Vec<u8>) {
        match self {
            Format::Json => write_json(event, timestamp, mark, out),
            Format::Csv => write_csv(event, timestamp, mark, out),
            Format::Text => write_text(event, timestamp, mark, out),
        }
    }
}

fn write_json(event: &Event, timestamp: &str, mark: Option<Mark<'_>>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"timestamp\":\"");
    out.extend_from_slice(timestamp.as_bytes());
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(event.severity.name().as_bytes());
    out.extend_from_slice(b"\",\"service\":\"");
    out.extend_from_slice(&event.service);
    out.extend_from_slice(b"\",\"message\":\"");
    push_json_escaped(out, &event.message);
    out.extend_from_slice(b"\",");
    out.extend_from_slice(&event.attributes);
    write_mark(mark, out);
    out.extend_from_slice(b"}\n");
}

fn write_csv(event: &Event, timestamp: &str, mark: Option<Mark<'_>>, out: &mut Vec<u8>) {
    for field in [timestamp.as_bytes(), event.severity.name().as_bytes(), &event.service] {
        out.extend_from_slice(field);
        out.push(b',');
    }
    push_csv_quoted(out, &event.message);
    out.push(b',');
    push_csv_quoted(out, &attributes_object(event, mark));
    out.extend_from_slice(b"\r\n");
}

/// The attributes stand at the end of the first line, so that a stack trace hangs below all of it.
fn write_text(event: &Event, timestamp: &str, mark: Option<Mark<'_>>, out: &mut Vec<u8>) {
    let end = event.message.iter().position(|byte| *byte == b'\n').unwrap_or(event.message.len());
    let (first, trace) = event.message.split_at(end);
    for field in [timestamp.as_bytes(), event.severity.name().as_bytes(), &event.service, first] {
        out.extend_from_slice(field);
        out.push(b' ');
    }
    out.extend_from_slice(&attributes_object(event, mark));
    out.extend_from_slice(trace);
    out.push(b'\n');
}

fn attributes_object(event: &Event, mark: Option<Mark<'_>>) -> Vec<u8> {
    let mut json = Vec::with_capacity(event.attributes.len() + 2);
    json.push(b'{');
    json.extend_from_slice(&event.attributes);
    write_mark(mark, &mut json);
    json.push(b'}');
    json
}

fn write_mark(mark: Option<Mark<'_>>, out: &mut Vec<u8>) {
    if let Some(Mark { run, number }) = mark {
        out.extend_from_slice(b",\"producer.run\":\"");
        out.extend_from_slice(run.as_bytes());
        out.extend_from_slice(b"\",\"producer.number\":");
        push_decimal(out, number);
    }
}

/// Writes timestamps that mostly share their second with the one before.
#[derive(Debug)]
pub(crate) struct TimeText {
    second: i64,
    text: [u8; Timestamp::TEXT_LENGTH],
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Where the nine digits of the fraction begin.
const FRACTION_AT: usize = 20;

impl TimeText {
    pub(crate) fn new() -> TimeText {
        TimeText { second: i64::MIN, text: [b'0'; Timestamp::TEXT_LENGTH] }
    }

    /// The text of a time, as [`Timestamp::encode`] writes it.
    pub(crate) fn write(&mut self, time: Timestamp) -> &str {
        let second = time.as_nanos().div_euclid(NANOS_PER_SECOND);
        if second != self.second {
            self.second = second;
            time.encode(&mut self.text);
        }
        let mut fraction = time.as_nanos().rem_euclid(NANOS_PER_SECOND);
        for place in self.text.iter_mut().skip(FRACTION_AT).take(9).rev() {
            *place = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use sluice_model::{LogRecord, Severity};

    use super::*;

    fn event() -> Event {
        Event {
            severity: Severity::Error,
            service: b"web".to_vec(),
            message: b"it \"failed\"\n\tat x".to_vec(),
            attributes: br#""http":{"status":500}"#.to_vec(),
            bits: 0,
        }
    }

    fn written(format: Format, mark: Option<Mark<'_>>) -> String {
        let mut out = Vec::new();
        format.write(&event(), "2024-10-08T00:00:00.000000000Z", mark, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_what_a_server_takes() {
        let line = written(Format::Json, Some(Mark { run: "ab", number: 12 }));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["producer.run"], "ab");
        assert_eq!(value["producer.number"], 12);
        assert_eq!(value["http"]["status"], 500);
        let record: LogRecord = serde_json::from_str(&line).unwrap();
        assert_eq!(record.message, "it \"failed\"\n\tat x");
        assert_eq!(record.severity(), Some(Severity::Error));
        assert!(line.ends_with("}\n") && line.lines().count() == 1);
    }

    #[test]
    fn csv_and_text_are_as_their_users_expect() {
        assert_eq!(
            written(Format::Csv, None),
            "2024-10-08T00:00:00.000000000Z,ERROR,web,\"it \"\"failed\"\"\n\tat x\",\"{\"\"http\"\":{\"\"status\"\":500}}\"\r\n"
        );
        assert_eq!(
            written(Format::Text, None),
            "2024-10-08T00:00:00.000000000Z ERROR web it \"failed\" {\"http\":{\"status\":500}}\n\tat x\n"
        );
    }

    #[test]
    fn times_are_written_as_the_model_does() {
        let mut text = TimeText::new();
        for nanos in [0, 1, 999_999_999, 1_000_000_000, -1, 1_728_345_600_123_456_789, i64::MIN, i64::MAX] {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(text.write(time), time.to_string());
        }
    }
}
