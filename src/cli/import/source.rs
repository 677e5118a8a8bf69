//! A file's bytes, decompressed.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use xxhash_rust::xxh3::Xxh3;

const BUFFER_BYTES: usize = 256 << 10;

/// How the first bytes of a compressed file look.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// The bytes of a file, which are hashed and counted as they are used.
pub(super) struct Source {
    inner: BufReader<Box<dyn Read>>,
    hash: Xxh3,
    position: u64,
    counter: Counter,
}

/// How many bytes of the file have been read, as they are on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter(Rc<Cell<u64>>);

impl Counter {
    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Opens a file, or standard input for `-`. What is compressed is known by its first bytes.
pub(super) fn open(path: &Path) -> io::Result<Source> {
    let file: Box<dyn Read> = if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let counter = Counter::default();
    Source::new(file, counter)
}

impl Source {
    fn new(file: Box<dyn Read>, counter: Counter) -> io::Result<Source> {
        let counted = Counted { file, counter: counter.clone() };
        let mut raw = BufReader::with_capacity(BUFFER_BYTES, counted);
        let start = raw.fill_buf()?;
        let inner: Box<dyn Read> = if start.starts_with(GZIP) {
            Box::new(MultiGzDecoder::new(raw))
        } else if start.starts_with(ZSTD) {
            Box::new(zstd::Decoder::with_buffer(raw)?)
        } else {
            Box::new(raw)
        };
        let inner = BufReader::with_capacity(BUFFER_BYTES, inner);
        Ok(Source { inner, hash: Xxh3::new(), position: 0, counter })
    }

    /// Tells how far the file is read.
    pub(super) fn counter(&self) -> Counter {
        self.counter.clone()
    }

    /// How many bytes have been used.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// A hash of the bytes that have been used.
    pub(super) fn digest(&self) -> u128 {
        self.hash.digest128()
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), available.get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.hash.update(self.inner.buffer().get(..count).unwrap_or_default());
        self.position += count as u64;
        self.inner.consume(count);
    }
}

/// Counts what is read.
struct Counted {
    file: Box<dyn Read>,
    counter: Counter,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.counter.0.set(self.counter.0.get() + count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn read(bytes: Vec<u8>) -> io::Result<(String, u64, u128)> {
        let mut source = Source::new(Box::new(io::Cursor::new(bytes)), Counter::default())?;
        let mut text = String::new();
        source.read_to_string(&mut text)?;
        Ok((text, source.position(), source.digest()))
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_files_are_read_as_what_is_in_them() {
        let plain = read(b"one\ntwo\n".to_vec()).unwrap();
        assert_eq!((plain.0.as_str(), plain.1), ("one\ntwo\n", 8));
        // Also when they were put together of several.
        assert_eq!(read([gzip("one\n"), gzip("two\n")].concat()).unwrap(), plain);
        let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
        assert_eq!(read([zstd("one\n"), zstd("two\n")].concat()).unwrap(), plain);
        assert_eq!(read(Vec::new()).unwrap().0, "");
    }

    #[test]
    fn a_compressed_file_that_is_cut_short_is_an_error() {
        let whole = gzip(&"some text ".repeat(100));
        assert!(read(whole[..whole.len() - 5].to_vec()).is_err());
    }
}
