//! Text cut into records: lines, or rows of CSV, whose quotes may hold line feeds.

use std::io::{self, BufRead};

/// Cuts what it reads into records, in bounded memory.
pub(super) struct Splitter<R> {
    input: R,
    quotes: bool,
    bytes_max: usize,
    /// How many lines have been read.
    lines: u64,
}

/// A record as it was cut, without its line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    /// Whether it was longer than may be, and is not whole.
    pub(super) cut: bool,
}

impl<R: BufRead> Splitter<R> {
    /// Cuts at each line feed, or if `quotes` is set at each that does not stand in double quotes.
    pub(super) fn new(input: R, quotes: bool, bytes_max: usize) -> Splitter<R> {
        Splitter { input, quotes, bytes_max, lines: 0 }
    }

    /// What is read from.
    pub(super) fn get_ref(&self) -> &R {
        &self.input
    }

    /// Reads the next record into `record`; `None` at the end.
    pub(super) fn next(&mut self, record: &mut Vec<u8>) -> io::Result<Option<Piece>> {
        record.clear();
        let mut piece = Piece { line: self.lines + 1, cut: false };
        let (mut quoted, mut empty) = (false, true);
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                break;
            }
            empty = false;
            let feed = memchr::memchr(b'\n', chunk);
            let part = chunk.get(..feed.map_or(chunk.len(), |at| at + 1)).unwrap_or_default();
            if self.quotes {
                quoted ^= memchr::memchr_iter(b'"', part).count() % 2 == 1;
            }
            // One byte more than a record may have: its line feed.
            let room = if piece.cut { 0 } else { (self.bytes_max + 1).saturating_sub(record.len()) };
            piece.cut |= part.len() > room;
            record.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
            let taken = part.len();
            self.input.consume(taken);
            self.lines += u64::from(feed.is_some());
            // A quote that is never closed would take all that follows.
            if feed.is_some() && (!quoted || piece.cut) {
                break;
            }
        }
        if empty {
            return Ok(None);
        }
        if record.last() == Some(&b'\n') {
            record.pop();
        }
        if record.last() == Some(&b'\r') {
            record.pop();
        }
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn pieces(text: &str, quotes: bool, bytes_max: usize) -> Vec<(u64, bool, String)> {
        let mut found = Vec::new();
        // A buffer of three bytes: every boundary falls into a record.
        let mut splitter = Splitter::new(BufReader::with_capacity(3, text.as_bytes()), quotes, bytes_max);
        let mut record = Vec::new();
        while let Some(Piece { line, cut }) = splitter.next(&mut record).unwrap() {
            found.push((line, cut, String::from_utf8(record.clone()).unwrap()));
        }
        found
    }

    fn piece(line: u64, text: &str) -> (u64, bool, String) {
        (line, false, text.to_owned())
    }

    #[test]
    fn lines_are_cut_at_their_ends() {
        let expected = vec![piece(1, "one"), piece(2, ""), piece(3, "three \"3"), piece(4, "four")];
        assert_eq!(pieces("one\r\n\nthree \"3\nfour", false, 100), expected);
        assert_eq!(pieces("", false, 100), []);
        assert_eq!(pieces("\n", false, 100), [piece(1, "")]);
    }

    #[test]
    fn a_row_goes_on_within_quotes() {
        let expected = vec![piece(1, "a,b"), piece(2, "1,\"x\ny \"\"z\"\"\""), piece(4, "2,c")];
        assert_eq!(pieces("a,b\n1,\"x\ny \"\"z\"\"\"\n2,c\n", true, 100), expected);
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_next_one_is_whole() {
        let found = pieces("0123456789\nab\n", false, 4);
        assert!(found[0].1 && found[0].2.starts_with("0123") && found[0].2.len() <= 5, "{found:?}");
        assert_eq!(found[1], piece(2, "ab"));
        let found = pieces("\"0123456789\nab\ncd\n", true, 4);
        assert!(found[0].1, "{found:?}");
        assert_eq!(found[1..], [piece(2, "ab"), piece(3, "cd")]);
    }
}
