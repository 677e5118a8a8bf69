//! Files whose large writes and reads pass the page cache by (`O_DIRECT`).
//!
//! What is written once and read once at most gains nothing from the cache, and pays for it twice: the copy into fresh
//! pages costs more than all else of a write, and a sync has to look for them. Memory, place and length have to be whole
//! pages. What is written is put together in a small buffer that stays in the processor's cache; a reader brings memory
//! that suits, or goes the usual way. So do small writes and reads, and file systems that cannot do it; Linux keeps both
//! ways of one file consistent.

use std::fs::OpenOptions;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::{Access, File};

/// What every disk is content with.
const PAGE: usize = 4096;
/// Below this a copy costs less than a wait for the disk.
const BYTES_MIN: usize = 128 << 10;
/// How much is handed to the disk at once.
const BUFFER_BYTES: usize = 1 << 20;

/// The file at `path`, which is open as `cached`, in both ways; in that one alone, if it cannot be opened in the other.
pub(super) fn beside(cached: Arc<dyn File>, path: &Path, access: Access) -> Arc<dyn File> {
    match open(path, access) {
        Some(direct) => {
            Arc::new(DirectFile { cached, direct, refused: AtomicBool::new(false), buffer: Mutex::default() })
        }
        None => cached,
    }
}

/// A file that is open in both ways.
#[derive(Debug)]
struct DirectFile {
    cached: Arc<dyn File>,
    direct: std::fs::File,
    /// Whether the file system has refused to go that way.
    refused: AtomicBool,
    buffer: Mutex<Vec<u8>>,
}

impl DirectFile {
    /// Whether so many bytes at `offset` go past the cache.
    fn passes(&self, bytes: usize, offset: u64) -> bool {
        let whole = bytes.is_multiple_of(PAGE) && offset.is_multiple_of(PAGE as u64);
        bytes >= BYTES_MIN && whole && !self.refused.load(Ordering::Relaxed)
    }

    /// What came of a step past the cache; nothing, if the file system refuses to go that way.
    fn unless_refused<T>(&self, outcome: io::Result<T>) -> Option<io::Result<T>> {
        let refused = outcome.as_ref().err().and_then(io::Error::raw_os_error) == Some(Errno::INVAL.raw_os_error());
        if refused {
            self.refused.store(true, Ordering::Relaxed);
        }
        Some(outcome).filter(|_| !refused)
    }

    /// Writes whole pages, by the buffer.
    fn write_direct(&self, slices: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        // One page more, as the memory may begin anywhere.
        buffer.resize(BUFFER_BYTES + PAGE, 0);
        let start = buffer.as_ptr().align_offset(PAGE);
        let pages = buffer.get_mut(start..start + BUFFER_BYTES).ok_or(Errno::INVAL)?;
        let mut filled = 0;
        for mut rest in slices.iter().map(|slice| &**slice) {
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(pages.len() - filled));
                if let Some(room) = pages.get_mut(filled..filled + now.len()) {
                    room.copy_from_slice(now);
                }
                filled += now.len();
                rest = later;
                if filled == pages.len() {
                    self.write_pages(pages, offset)?;
                    offset += filled as u64;
                    filled = 0;
                }
            }
        }
        self.write_pages(pages.get(..filled).unwrap_or_default(), offset)
    }

    fn write_pages(&self, mut pages: &[u8], mut offset: u64) -> io::Result<()> {
        while !pages.is_empty() {
            match self.direct.write_at(pages, offset) {
                Ok(written) => {
                    // Of a page that was written in part the whole is written again.
                    let written = written / PAGE * PAGE;
                    pages = pages.get(written..).filter(|_| written > 0).ok_or(io::ErrorKind::WriteZero)?;
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl File for DirectFile {
    fn size(&self) -> io::Result<u64> {
        self.cached.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if buffer.as_ptr().align_offset(PAGE) == 0 && self.passes(buffer.len(), offset) {
            match self.unless_refused(self.direct.read_at(buffer, offset)) {
                Some(Ok(read)) if read == buffer.len() => return Ok(read),
                Some(Err(error)) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                // The usual way tells whether this was the end.
                _ => {}
            }
        }
        self.cached.read_at(buffer, offset)
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.passes(bytes, offset)
            && let Some(outcome) = self.unless_refused(self.write_direct(slices, offset))
        {
            return outcome;
        }
        self.cached.write_at(slices, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.cached.allocate(bytes)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.cached.truncate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.cached.sync()
    }
}

#[cfg(target_os = "linux")]
fn open(path: &Path, access: Access) -> Option<std::fs::File> {
    let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    OpenOptions::new().read(true).write(access == Access::Write).custom_flags(direct).open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn open(_: &Path, _: Access) -> Option<std::fs::File> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::{Disk, Files};
    use super::*;

    #[test]
    fn both_ways_make_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = Disk.create_direct(&path).unwrap();
        let mut expected = vec![0; 6 << 20];
        file.allocate(expected.len() as u64).unwrap();
        // Whole pages or not, small or large, over one another, and parts of any length.
        let (page, large) = (PAGE as u64, BYTES_MIN);
        for (nth, (offset, bytes, part)) in [
            (0, PAGE, 100),
            (page, large, 1000),
            (page, 3 * BUFFER_BYTES, 70_001),
            (2 * page, large + 1, 4096),
            (5, large, 4096),
            (700 * page, BUFFER_BYTES, usize::MAX),
            (701 * page, 2 * large, 1),
        ]
        .into_iter()
        .enumerate()
        {
            let written: Vec<u8> = (0..bytes).map(|place| (place * 31 + nth) as u8).collect();
            let mut slices: Vec<_> = written.chunks(part).map(IoSlice::new).collect();
            file.write_at(&mut slices, offset).unwrap();
            expected[offset as usize..offset as usize + bytes].copy_from_slice(&written);
            let mut read = vec![0; bytes];
            assert_eq!((file.read_at(&mut read, offset).unwrap(), read == written), (bytes, true));
        }
        file.sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
        // To memory that suits and to other; whole pages or not, and beyond the end.
        let file = Disk.open_direct(&path).unwrap();
        let mut memory = vec![0; expected.len() + 3 * PAGE];
        let start = memory.as_ptr().align_offset(PAGE);
        for (offset, bytes) in [(0, expected.len()), (page, large), (5, large), (page, PAGE), (page, expected.len())] {
            for shift in [0, 1] {
                memory.fill(0);
                let room = &mut memory[start + shift..][..bytes];
                let read = file.read_at(room, offset).unwrap();
                let left = &expected[offset as usize..];
                assert_eq!((read, room[..read] == left[..read]), (bytes.min(left.len()), true), "{offset} {bytes}");
            }
        }
    }
}
