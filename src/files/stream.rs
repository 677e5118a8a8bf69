//! A file as something to read or write from front to back.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use super::File;

/// Writes to a file from its beginning on.
#[derive(Debug)]
pub struct FileWriter {
    file: Arc<dyn File>,
    position: u64,
}

impl FileWriter {
    /// Begins at the front of `file`.
    pub fn new(file: Arc<dyn File>) -> FileWriter {
        FileWriter { file, position: 0 }
    }

    /// The file.
    pub fn file(&self) -> &dyn File {
        &*self.file
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(&mut [IoSlice::new(bytes)], self.position)?;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a file from its beginning on.
#[derive(Debug)]
pub struct FileReader {
    file: Arc<dyn File>,
    position: u64,
}

impl FileReader {
    /// Begins at the front of `file`.
    pub fn new(file: Arc<dyn File>) -> FileReader {
        FileReader { file, position: 0 }
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
