//! Rows of CSV (RFC 4180), whose header names the fields.
//!
//! An empty cell is an absent field. A cell that is a number, `true` or `false` in JSON's spelling is that, except in the
//! fields of every record, which are text; everything else is text. A column `attributes` with a JSON object, as in
//! Sluice's own tables, is what it says.

use serde::de::IgnoredAny;
use serde_json::Value;

/// Columns that are texts, whatever they look like: the fields of every record, under all their names.
const TEXTS: &[&str] = &[
    "level",
    "severity",
    "lvl",
    "loglevel",
    "service",
    "serviceName",
    "service_name",
    "service.name",
    "message",
    "msg",
    "log",
];
const SERVICES: &[&str] = &["service", "serviceName", "service_name", "service.name"];

/// The header of a table.
pub(super) struct Csv {
    names: Vec<String>,
}

impl Csv {
    /// Reads the header.
    pub(super) fn new(header: &[u8]) -> Csv {
        Csv { names: cells(&String::from_utf8_lossy(header)).unwrap_or_default() }
    }

    /// A row as a record.
    pub(super) fn record(&self, raw: &[u8], service: Option<&str>) -> Result<Vec<u8>, String> {
        let row = std::str::from_utf8(raw).map_err(|_| "not UTF-8".to_owned())?;
        let cells = cells(row).ok_or("a quote is not closed, or stands in the middle of a cell")?;
        if cells.len() != self.names.len() {
            return Err(format!("{} cells, the header has {}", cells.len(), self.names.len()));
        }
        let mut members = Vec::with_capacity(cells.len() + 1);
        let filled = || self.names.iter().zip(&cells).filter(|(_, cell)| !cell.is_empty());
        if let Some(service) = service.filter(|_| !filled().any(|(name, _)| SERVICES.contains(&name.as_str()))) {
            members.push(format!("\"service\":{}", Value::from(service)));
        }
        members.extend(filled().map(|(name, cell)| format!("{}:{}", Value::from(name.as_str()), value(name, cell))));
        Ok(format!("{{{}}}", members.join(",")).into_bytes())
    }
}

/// A cell as JSON.
fn value(name: &str, cell: &str) -> String {
    let is_json = || serde_json::from_str::<IgnoredAny>(cell).is_ok();
    let literal = match cell.as_bytes() {
        _ if TEXTS.contains(&name) => false,
        [b'{', ..] => name == "attributes" && is_json(),
        [b'-' | b'0'..=b'9', ..] => is_json(),
        _ => matches!(cell, "true" | "false"),
    };
    if literal { cell.to_owned() } else { Value::from(cell).to_string() }
}

/// The cells of a row; `None` if its quotes are wrong.
fn cells(row: &str) -> Option<Vec<String>> {
    let (mut cells, mut rest) = (Vec::new(), row);
    loop {
        let (cell, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (cell, after) = rest.split_at(end);
                (cell.to_owned(), after)
            }
        };
        cells.push(cell);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(cells),
            None => return None,
        }
    }
}

/// A cell up to its closing quote, and what stands behind it.
fn unquote(mut rest: &str) -> Option<(String, &str)> {
    let mut cell = String::new();
    loop {
        let (text, after) = rest.split_once('"')?;
        cell.push_str(text);
        match after.strip_prefix('"') {
            Some(next) => {
                cell.push('"');
                rest = next;
            }
            None => return Some((cell, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_records() {
        let csv = Csv::new(b"timestamp,level,message,\"user.id\",ok,zip,attributes");
        let given = |row: &str| csv.record(row.as_bytes(), Some("s")).map(|json| String::from_utf8(json).unwrap());
        assert_eq!(
            given("2024-10-08T07:00:00Z,30,\"a \"\"b\"\",\nc\",7,true,007,\"{\"\"a\"\":1.0}\"").unwrap(),
            r#"{"service":"s","timestamp":"2024-10-08T07:00:00Z","level":"30","message":"a \"b\",\nc","user.id":7,"ok":true,"zip":"007","attributes":{"a":1.0}}"#
        );
        assert_eq!(given(",,12,,,,{x").unwrap(), r#"{"service":"s","message":"12","attributes":"{x"}"#);
    }

    #[test]
    fn bad_rows_are_named() {
        let csv = Csv::new(b"a,b");
        for (row, expected) in [
            (&b"1"[..], "1 cells, the header has 2"),
            (b"1,2,3", "3 cells"),
            (b"\"1,2", "a quote"),
            (b"\"1\"x,2", "a quote"),
            (b"\xff,2", "not UTF-8"),
        ] {
            let error = csv.record(row, None).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
