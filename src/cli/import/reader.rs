//! The records of a file, whatever its format, as JSON objects.

use std::io::{self, BufRead};
use std::path::Path;

use super::FormatChoice;
use super::csv::Csv;
use super::json::{self, Values};
use super::source::Source;
use super::text::Text;
use crate::cli::split::{Piece, Splitter};
use crate::cli::terminal::Zone;

/// A line longer than any record may be; see `limits.record_bytes`.
pub(super) const LINE_BYTES_MAX: usize = 8 << 20;

/// How records are made of what is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options<'a> {
    pub(super) format: FormatChoice,
    /// The service of records that name none.
    pub(super) service: Option<&'a str>,
    /// The zone of times that name none.
    pub(super) zone: Zone,
}

/// Reads a file record by record.
pub(super) struct Reader<'a> {
    cut: Cut,
    options: Options<'a>,
    raw: Vec<u8>,
}

/// How a file is cut into records, and what is known of those before.
enum Cut {
    Lines(Splitter<Source>),
    Values(Values<Source>),
    Csv(Splitter<Source>, Csv),
    Text(Splitter<Source>, Text),
}

/// A record as it stands in the file.
#[derive(Debug)]
pub(super) struct Item {
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    /// Its text.
    pub(super) raw: Vec<u8>,
    /// The record as JSON, or why there is none.
    pub(super) json: Result<Vec<u8>, String>,
}

impl<'a> Reader<'a> {
    /// Begins at the start of the file.
    pub(super) fn new(mut source: Source, path: &Path, options: Options<'a>) -> io::Result<Reader<'a>> {
        if source.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            source.consume(BYTE_ORDER_MARK.len());
        }
        let format = match options.format {
            FormatChoice::Auto => detect(path, source.fill_buf()?),
            chosen => chosen,
        };
        let cut = match format {
            FormatChoice::Json if json::is_lines(source.fill_buf()?) => {
                Cut::Lines(Splitter::new(source, false, LINE_BYTES_MAX))
            }
            FormatChoice::Json => Cut::Values(Values::new(source, LINE_BYTES_MAX)),
            FormatChoice::Csv => {
                let mut rows = Splitter::new(source, true, LINE_BYTES_MAX);
                let mut header = Vec::new();
                rows.next(&mut header)?;
                Cut::Csv(rows, Csv::new(&header))
            }
            FormatChoice::Text | FormatChoice::Auto => {
                Cut::Text(Splitter::new(source, false, LINE_BYTES_MAX), Text::new(options.zone))
            }
        };
        Ok(Reader { cut, options, raw: Vec::new() })
    }

    /// The next record, or what stands in its place; `None` at the end. Empty lines are none.
    pub(super) fn next(&mut self) -> io::Result<Option<Item>> {
        loop {
            let piece = match &mut self.cut {
                Cut::Lines(lines) | Cut::Csv(lines, _) | Cut::Text(lines, _) => lines.next(&mut self.raw)?,
                Cut::Values(values) => values.next(&mut self.raw)?,
            };
            let Some(Piece { line, cut }) = piece else { return Ok(None) };
            if self.raw.trim_ascii().is_empty() && !cut {
                continue;
            }
            let json = if cut { Err(format!("longer than {LINE_BYTES_MAX} bytes")) } else { self.convert() };
            return Ok(Some(Item { line, raw: std::mem::take(&mut self.raw), json }));
        }
    }

    fn convert(&mut self) -> Result<Vec<u8>, String> {
        let service = self.options.service;
        match &mut self.cut {
            Cut::Lines(_) | Cut::Values(_) => json::record(&self.raw, service),
            Cut::Csv(_, csv) => csv.record(&self.raw, service),
            Cut::Text(_, text) => text.record(&self.raw, service),
        }
    }

    /// Goes over the records up to a place at which one has ended; false if none ends there.
    pub(super) fn skip_to(&mut self, position: u64) -> io::Result<bool> {
        while self.position() < position {
            if self.next()?.is_none() {
                break;
            }
        }
        // Nothing is done yet, or all of it.
        Ok(position == 0 || self.position() == position)
    }

    /// How many bytes have been read, decompressed.
    pub(super) fn position(&self) -> u64 {
        self.source().position()
    }

    /// A hash of the bytes that have been read.
    pub(super) fn digest(&self) -> u128 {
        self.source().digest()
    }

    fn source(&self) -> &Source {
        match &self.cut {
            Cut::Lines(lines) | Cut::Csv(lines, _) | Cut::Text(lines, _) => lines.get_ref(),
            Cut::Values(values) => values.get_ref(),
        }
    }
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What is in a file: by its name without the ending of a compression, else by its first bytes.
fn detect(path: &Path, start: &[u8]) -> FormatChoice {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "csv" => FormatChoice::Csv,
        "json" | "ndjson" | "jsonl" => FormatChoice::Json,
        _ if matches!(start.trim_ascii_start(), [b'{', ..] | [b'[', b'{', ..]) => FormatChoice::Json,
        _ => FormatChoice::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_then_the_first_bytes() {
        for (name, start, expected) in [
            ("a.csv", "{", FormatChoice::Csv),
            ("a.CSV.gz", "x", FormatChoice::Csv),
            ("a.ndjson.zst", "x", FormatChoice::Json),
            ("a.log", " {\"a\":1}", FormatChoice::Json),
            ("a.log", "[{\"a\":1}]", FormatChoice::Json),
            ("a.log", "[2024-10-08] x", FormatChoice::Text),
            ("-", "", FormatChoice::Text),
        ] {
            assert_eq!(detect(Path::new(name), start.as_bytes()), expected, "{name} {start}");
        }
    }
}
