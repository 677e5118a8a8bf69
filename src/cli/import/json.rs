//! JSON records: a line each, one after the other, or in an array.

use std::io::{self, BufRead};

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::cli::split::Piece;
use crate::cli::terminal::Entry;

/// The names under which a record names its service, as the server reads them.
const SERVICE_NAMES: [&str; 4] = ["service", "serviceName", "service_name", "service.name"];

/// Whether a file that begins so has a record a line, rather than an array or objects over several lines.
pub(super) fn is_lines(start: &[u8]) -> bool {
    let start = start.trim_ascii_start();
    let first = start.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    // An object that goes on in the next line ends its first one within itself.
    start.first() != Some(&b'[') && !matches!(first.last(), Some(b'{' | b',' | b'[' | b':'))
}

/// The record, which must be an object; with the service, if it names none.
pub(super) fn record(raw: &[u8], service: Option<&str>) -> Result<Vec<u8>, String> {
    let raw = raw.trim_ascii();
    let wrong = |error: serde_json::Error| format!("not JSON: {error}");
    if raw.first() != Some(&b'{') {
        serde_json::from_slice::<IgnoredAny>(raw).map_err(wrong)?;
        return Err("not a JSON object".to_owned());
    }
    let Some(service) = service else {
        return serde_json::from_slice::<IgnoredAny>(raw).map(|_| raw.to_vec()).map_err(wrong);
    };
    let entry = Entry::parse(raw).map_err(wrong)?;
    let names_none = |json: &str| matches!(json, "null" | "\"\"") || json.starts_with('{');
    let named = SERVICE_NAMES.iter().any(|name| entry.get(name).is_some_and(|value| !names_none(value.get())));
    if named {
        return Ok(raw.to_vec());
    }
    let mut json = format!("{{\"service\":{}", Value::from(service));
    let kept = entry.members().filter(|(name, _)| *name != "service");
    kept.for_each(|(name, value)| json.push_str(&format!(",{}:{}", Value::from(name), value.get())));
    json.push('}');
    Ok(json.into_bytes())
}

/// Cuts objects out of an array, or out of a row of them, by their braces.
pub(super) struct Values<R> {
    input: R,
    bytes_max: usize,
    line: u64,
}

impl<R: BufRead> Values<R> {
    pub(super) fn new(input: R, bytes_max: usize) -> Values<R> {
        Values { input, bytes_max, line: 1 }
    }

    /// What is read from.
    pub(super) fn get_ref(&self) -> &R {
        &self.input
    }

    /// Reads the next value into `value`; `None` at the end. What stands between values, but for commas and the array's
    /// own brackets, is a value too, up to the end of its line.
    pub(super) fn next(&mut self, value: &mut Vec<u8>) -> io::Result<Option<Piece>> {
        value.clear();
        let mut scan = Scan::default();
        let mut piece = Piece { line: self.line, cut: false };
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                return Ok((scan.begun).then_some(piece));
            }
            let (mut used, mut done) = (0, false);
            for byte in chunk {
                used += 1;
                let begun = scan.begun;
                done = scan.step(*byte);
                if scan.begun && !begun {
                    piece.line = self.line;
                }
                if *byte == b'\n' {
                    self.line += 1;
                }
                if scan.begun {
                    if value.len() < self.bytes_max { value.push(*byte) } else { piece.cut = true }
                }
                if done {
                    break;
                }
            }
            self.input.consume(used);
            if done {
                return Ok(Some(piece));
            }
        }
    }
}

/// Where in a value a byte stands.
#[derive(Default)]
struct Scan {
    begun: bool,
    /// What is read is no object, and goes on to the end of its line.
    stray: bool,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Takes a byte; true if the value ends with it.
    fn step(&mut self, byte: u8) -> bool {
        if !self.begun {
            if byte.is_ascii_whitespace() || matches!(byte, b',' | b'[' | b']') {
                return false;
            }
            self.begun = true;
            self.stray = byte != b'{';
        }
        if self.stray {
            return byte == b'\n';
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth == 0
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn values(text: &str) -> Vec<(u64, String)> {
        let mut values = Values::new(BufReader::with_capacity(3, text.as_bytes()), 100);
        let (mut found, mut value) = (Vec::new(), Vec::new());
        while let Some(Piece { line, .. }) = values.next(&mut value).unwrap() {
            found.push((line, String::from_utf8(value.clone()).unwrap()));
        }
        found
    }

    #[test]
    fn objects_are_cut_out_of_arrays_and_rows() {
        let one = || (1, "{\"a\":[1,{\"b\":\"}\\\"\"}]}".to_owned());
        assert_eq!(values("[{\"a\":[1,{\"b\":\"}\\\"\"}]}]"), [one()]);
        assert_eq!(values("{\"a\":[1,{\"b\":\"}\\\"\"}]}\n{\n}\n"), [one(), (2, "{\n}".to_owned())]);
        let strays =
            [(1, "{}".to_owned()), (2, "what, is\n".to_owned()), (3, "{}".to_owned()), (3, "{\"half".to_owned())];
        assert_eq!(values("[{},\n what, is\n{},{\"half"), strays);
        assert_eq!(values(" [ ]\n"), []);
    }

    #[test]
    fn a_value_too_long_is_cut_and_the_next_is_whole() {
        let text = format!("[{{\"a\":\"{}\"}},\n{{}}]", "x".repeat(200));
        let mut values = Values::new(text.as_bytes(), 100);
        let mut value = Vec::new();
        assert_eq!(values.next(&mut value).unwrap(), Some(Piece { line: 1, cut: true }));
        assert_eq!(values.next(&mut value).unwrap(), Some(Piece { line: 2, cut: false }));
        assert_eq!(value, b"{}");
    }

    #[test]
    fn lines_are_told_from_values() {
        for (start, expected) in [
            ("{\"a\":1}\n{", true),
            ("\n{\"a\":1}", true),
            ("{\n  \"a\": 1\n}", false),
            ("{\"a\":\n1}", false),
            ("[{\"a\":1}]", false),
            ("", true),
        ] {
            assert_eq!(is_lines(start.as_bytes()), expected, "{start}");
        }
    }

    #[test]
    fn a_service_is_given_to_those_without() {
        let given = |raw: &str| record(raw.as_bytes(), Some("s\"1")).map(|json| String::from_utf8(json).unwrap());
        assert_eq!(given(r#"{"message":"m","n":1.0}"#).unwrap(), r#"{"service":"s\"1","message":"m","n":1.0}"#);
        assert_eq!(given(r#"{"service":null,"a":1}"#).unwrap(), r#"{"service":"s\"1","a":1}"#);
        for raw in [r#"{"service":"x"}"#, r#"{"service.name":"x","a":1}"#] {
            assert_eq!(given(raw).unwrap(), raw);
        }
        assert_eq!(record(b" {\"a\":1} ", None).unwrap(), b"{\"a\":1}");
    }

    #[test]
    fn what_is_no_object_is_named() {
        assert_eq!(record(b"[1]", None).unwrap_err(), "not a JSON object");
        for raw in ["{\"a\":1", "{\"a\":1}}", "plain", "{a:1}"] {
            assert!(record(raw.as_bytes(), None).unwrap_err().starts_with("not JSON: "), "{raw}");
        }
    }
}
