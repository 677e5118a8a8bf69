//! How far a file of dead letters is done: `….progress` beside it.
//!
//! One line, `POSITION LINES CHECKSUM`: how many bytes of the file are done, the CRC32C of these bytes, and that of what
//! stands before the last space, as eight hexadecimal digits each. It counts only for a file that begins with those very
//! bytes: one that a killed run has left behind says nothing of another file of the same name.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The part of a file that is done: its length, and the CRC32C of its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) bytes: u64,
    crc32c: u32,
}

impl Done {
    /// Adds what comes next in the file.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
    }

    /// What is done of `file` by the progress at `path`, behind which the file is left to be read on.
    pub(super) fn of(mut file: impl Read + Seek, path: &Path) -> io::Result<Done> {
        let noted = match fs::read_to_string(path) {
            // A damaged one begins the file anew.
            Ok(text) => Done::parse(&text).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Done::default(),
            Err(error) => return Err(error),
        };
        let mut done = Done::default();
        let mut chunk = vec![0; 1 << 16];
        let mut beginning = (&mut file).take(noted.bytes);
        loop {
            let read = beginning.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            done.add(chunk.get(..read).unwrap_or_default());
        }
        if done == noted {
            return Ok(done);
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(Done::default())
    }

    fn parse(text: &str) -> Option<Done> {
        let (noted, checksum) = text.trim().rsplit_once(' ')?;
        let (bytes, crc32c) = noted.split_once(' ')?;
        let right = checksum == format!("{:08x}", crc32c::crc32c(noted.as_bytes()));
        let done = Done { bytes: bytes.parse().ok()?, crc32c: u32::from_str_radix(crc32c, 16).ok()? };
        Some(done).filter(|_| right)
    }

    /// Notes it at `path`, opened with `options`, durably.
    pub(super) fn note(self, path: &Path, options: &mut OpenOptions) -> io::Result<()> {
        let unfinished = path.with_extension("progress.new");
        let mut file = options.create(true).truncate(true).open(&unfinished)?;
        let noted = format!("{} {:08x}", self.bytes, self.crc32c);
        writeln!(file, "{noted} {:08x}", crc32c::crc32c(noted.as_bytes()))?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn progress_counts_for_the_file_that_it_was_made_on_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.progress");
        let text = b"one\ntwo\nthree\n";
        let of = |file: &[u8]| {
            let mut file = Cursor::new(file.to_vec());
            let done = Done::of(&mut file, &path).unwrap();
            assert_eq!(done.bytes, file.position());
            done.bytes
        };
        assert_eq!(of(text), 0, "there is none");
        let mut done = Done::default();
        done.add(b"one\n");
        done.add(b"two\n");
        done.note(&path, OpenOptions::new().write(true)).unwrap();
        assert_eq!(of(text), 8);
        assert_eq!(of(b"one\ntwo\n"), 8);
        assert_eq!(of(b"one\n"), 0, "it is shorter than what was done");
        assert_eq!(of(b"ONE\ntwo\nthree\n"), 0, "another file of that name");
        let noted = fs::read(&path).unwrap();
        for place in 0..noted.len() - 1 {
            let mut flipped = noted.clone();
            flipped[place] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert_eq!(of(text), 0, "byte {place}");
        }
    }
}
