//! A body's framing: where each record begins, and where to go on behind a bad one.

use super::cursor::Cursor;
use super::fault::{Fault, SyntaxError};
use super::record::{RecordDecoder, RecordError};
use super::{BAD_RECORDS_SHOWN_MAX, BadRecord, DecodeError, Decoded, Options};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Decodes `text`. `sent` is what was sent: it differs in bytes that are no UTF-8 only.
pub fn decode(text: &str, sent: &[u8], options: &Options) -> Result<Decoded, DecodeError> {
    let mut body = Body {
        text,
        sent,
        options,
        cursor: Cursor::new(text),
        records: RecordDecoder::new(options),
        line_by_line: false,
        next_index: 0,
        refused: Vec::new(),
        refused_total: 0,
    };
    if text.starts_with(BYTE_ORDER_MARK) {
        body.cursor.go_to(BYTE_ORDER_MARK.len_utf8());
    }
    body.read()?;
    if body.refused_total > 0 && !options.skip_invalid {
        return Err(DecodeError::BadRecords { errors: body.refused, total: body.refused_total });
    }
    Ok(Decoded { batch: body.records.finish(), refused: body.refused, refused_total: body.refused_total })
}

struct Body<'a> {
    text: &'a str,
    sent: &'a [u8],
    options: &'a Options,
    cursor: Cursor<'a>,
    records: RecordDecoder<'a>,
    /// Whether it is known that no record is spread over lines.
    line_by_line: bool,
    next_index: u64,
    refused: Vec<BadRecord>,
    refused_total: u64,
}

impl<'a> Body<'a> {
    fn read(&mut self) -> Result<(), DecodeError> {
        if self.cursor.peek().is_none() {
            return Err(DecodeError::Empty);
        }
        while let Some(byte) = self.cursor.peek() {
            if byte == b'[' {
                self.array().map_err(|error| error.unwrap_or_else(|fault| self.malformed(fault)))?;
            } else {
                self.top_level_record()?;
            }
        }
        Ok(())
    }

    fn array(&mut self) -> Result<(), Stop> {
        self.cursor.take(b'[');
        if self.cursor.take(b']') {
            return Ok(());
        }
        loop {
            self.record()?;
            if self.cursor.take(b']') {
                return Ok(());
            }
            if !self.cursor.take(b',') {
                return Err(Stop::Fault(self.cursor.expected("',' or ']'")));
            }
        }
    }

    /// Reads a record that stands in no array: on a line of its own, most likely.
    fn top_level_record(&mut self) -> Result<(), DecodeError> {
        let start = self.cursor.position();
        if self.line_by_line {
            let end = self.line_end(start);
            self.cursor.set_text(self.text.get(..end).unwrap_or(self.text));
        }
        let outcome = self.record();
        self.cursor.set_text(self.text);
        let fault = match outcome {
            Ok(()) => return Ok(()),
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Fault(fault)) => fault,
        };
        let line_end = self.line_end(start);
        if fault.at > line_end {
            if !self.record_follows(line_end) {
                return Err(self.malformed(fault));
            }
            // From now on no line is read more than once.
            self.line_by_line = true;
        }
        self.cursor.go_to(line_end);
        Ok(())
    }

    /// Reads one record. A bad one is noted and passed; a fault behind which nothing can be found is returned.
    fn record(&mut self) -> Result<(), Stop> {
        if self.next_index >= self.options.limits.batch_records as u64 {
            return Err(Stop::Error(DecodeError::TooManyRecords { limit: self.options.limits.batch_records }));
        }
        self.cursor.peek();
        let start = self.cursor.position();
        let index = self.next_index;
        self.next_index += 1;
        let Err(error) = self.records.read(&mut self.cursor) else { return Ok(()) };
        let fault = if let RecordError::Syntax(fault) = &error { Some(*fault) } else { None };
        self.note(index, error);
        if let Some(fault) = fault.filter(|error| !error.fault.keeps_place()) {
            return Err(Stop::Fault(fault));
        }
        self.cursor.go_to(start);
        self.cursor.step_over().map_err(Stop::Fault)
    }

    fn note(&mut self, index: u64, error: RecordError) {
        self.refused_total += 1;
        if self.refused.len() < BAD_RECORDS_SHOWN_MAX {
            let (field, detail) = match error {
                RecordError::Refused { field, detail } => (field, detail),
                RecordError::Syntax(error) => (None, self.described(error)),
            };
            self.refused.push(BadRecord { index, field, detail });
        }
    }

    fn line_end(&self, from: usize) -> usize {
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        from + memchr::memchr(b'\n', rest).unwrap_or(rest.len())
    }

    /// Whether the next line begins as a record does, or there is none.
    fn record_follows(&self, line_end: usize) -> bool {
        let rest = self.text.get(line_end..).unwrap_or_default();
        let next = rest.lines().find(|line| !line.trim_ascii().is_empty());
        next.is_none_or(|line| line.starts_with('{'))
    }

    fn described(&self, error: SyntaxError) -> String {
        let (line, column) = self.place(error.at);
        format!("line {line}, column {column}: {}", self.fault_as_sent(error))
    }

    fn malformed(&self, error: SyntaxError) -> DecodeError {
        let (line, column) = self.place(error.at);
        DecodeError::Malformed { offset: error.at, line, column, reason: self.fault_as_sent(error).to_string() }
    }

    fn fault_as_sent(&self, error: SyntaxError) -> Fault {
        let marked = self.sent.get(error.at) != self.text.as_bytes().get(error.at);
        if marked { Fault::Utf8 } else { error.fault }
    }

    /// The line and the character in it, both from 1.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = 1 + self.text.get(line_start..at).map_or(at - line_start, |text| text.chars().count());
        (line, column)
    }
}

/// Why reading cannot simply go on.
enum Stop {
    /// Faulty JSON.
    Fault(SyntaxError),
    /// The body as a whole is refused.
    Error(DecodeError),
}

impl Stop {
    fn unwrap_or_else(self, refuse: impl FnOnce(SyntaxError) -> DecodeError) -> DecodeError {
        match self {
            Stop::Fault(fault) => refuse(fault),
            Stop::Error(error) => error,
        }
    }
}
