//! An answer of any length, line by line.

use std::fmt;
use std::io::{self, BufRead, BufReader};

use sluice_model::LogRecord;

use super::{Answer, ReadError};

/// The records of a stream, as they come.
///
/// Its end is the end of the answer, and nothing else: a stream that the server or the network cuts ends in
/// [`ReadError::Cut`].
pub struct RecordStream {
    reader: BufReader<Answer>,
    line: Vec<u8>,
    ended: bool,
}

/// Above the largest record that a server takes, also after escapes have made it longer.
const LINE_BYTES_MAX: usize = 16 << 20;
const BUFFER_BYTES: usize = 256 << 10;

impl RecordStream {
    pub(super) fn new(answer: Answer) -> RecordStream {
        let reader = BufReader::with_capacity(BUFFER_BYTES, answer);
        RecordStream { reader, line: Vec::new(), ended: false }
    }

    /// What the server says of records that it has accepted but cannot show yet, if there are any.
    pub fn incomplete(&self) -> Option<&str> {
        self.reader.get_ref().incomplete()
    }

    /// The next record as the server wrote it, without its line feed; `None` at the end.
    ///
    /// # Errors
    /// [`ReadError`], once; after that the stream is at its end.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, ReadError> {
        self.line.clear();
        while !self.ended && self.line.is_empty() {
            if let Err(error) = self.read_line() {
                self.ended = true;
                return Err(error);
            }
        }
        Ok(if self.line.is_empty() { None } else { Some(&self.line) })
    }

    /// True if something that follows has come already.
    pub(super) fn has_buffered(&self) -> bool {
        !self.reader.buffer().is_empty()
    }

    /// Reads up to a line feed or the end into `line`.
    fn read_line(&mut self) -> Result<(), ReadError> {
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ReadError::Cut(error)),
            };
            self.ended = chunk.is_empty();
            let feed = chunk.iter().position(|byte| *byte == b'\n');
            let taken = chunk.get(..feed.unwrap_or(chunk.len())).unwrap_or_default();
            if self.line.len() + taken.len() > LINE_BYTES_MAX {
                return Err(ReadError::LineTooLong { limit: LINE_BYTES_MAX });
            }
            self.line.extend_from_slice(taken);
            let consumed = taken.len() + usize::from(feed.is_some());
            self.reader.consume(consumed);
            if self.ended || feed.is_some() {
                return Ok(());
            }
        }
    }
}

impl Iterator for RecordStream {
    type Item = Result<LogRecord, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_line() {
            Ok(line) => line.map(|line| serde_json::from_slice(line).map_err(ReadError::Record)),
            Err(error) => Some(Err(error)),
        }
    }
}

impl fmt::Debug for RecordStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}
