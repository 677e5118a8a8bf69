//! Printing records instead of sending them.

use std::io::{self, ErrorKind, Write};

use crate::encode::Format;
use crate::source::Source;
use crate::stop::Stop;

/// Bytes are collected up to here, unless the pace asks for less.
const CHUNK_BYTES: usize = 256 << 10;

/// Writes the source's records to `out` until it ends or is stopped, or nobody reads on. With a pace, every batch is
/// written as soon as it is due.
///
/// # Errors
/// What writing fails of, but a reader who has enough is no error.
pub fn print(mut source: Source, format: Format, paced: bool, stop: &Stop, out: &mut dyn Write) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(2 * CHUNK_BYTES);
    buffer.extend_from_slice(format.header().as_bytes());
    loop {
        let more = source.next_batch(&mut buffer, stop).is_some();
        if more && !paced && buffer.len() < CHUNK_BYTES {
            continue;
        }
        match out.write_all(&buffer).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error),
            Ok(()) if !more => return Ok(()),
            Ok(()) => buffer.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Choice;
    use crate::pace::Pace;
    use crate::source::Plan;

    fn source(format: Format) -> Source {
        let (choice, pace) = (Choice::default(), Pace::default());
        Source::new(Plan { choice, batch: 7, count: Some(5_000), pace, start: None, format, run: None }).unwrap()
    }

    #[test]
    fn all_records_are_printed_below_one_header() {
        let mut out = Vec::new();
        print(source(Format::Json), Format::Json, false, &Stop::default(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 5_000);

        let mut out = Vec::new();
        print(source(Format::Csv), Format::Csv, true, &Stop::default(), &mut out).unwrap();
        let csv = String::from_utf8(out).unwrap();
        assert!(csv.starts_with("timestamp,level,service,message,attributes\r\n"));
        assert_eq!(csv.matches("}\"\r\n").count(), 5_000);
    }

    #[test]
    fn a_reader_who_has_enough_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        print(source(Format::Json), Format::Json, false, &Stop::default(), &mut Closed).unwrap();
    }
}
