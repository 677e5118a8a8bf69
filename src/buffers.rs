//! Large buffers that are used again.
//!
//! Bodies, and blocks that are read back from the spool, take some MiB each, for a moment. An allocator gives such memory
//! back to the system, which has to clear every page of what is asked for next, or keeps holes of it in the heaps of
//! several threads. Here it waits for whoever comes next; a server that has nothing to do gives it back.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller ones are left to the allocator.
const BYTES_MIN: usize = 256 << 10;
/// What all that wait take at most.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// The share of what was asked for by which a buffer may be larger, as a divisor.
const SLACK: usize = 4;
/// Room is a multiple of this, so that one buffer suits many.
const STEP: usize = 64 << 10;

static SHELF: Shelf = Shelf::new(WAITING_BYTES_MAX);

/// A buffer that is used again after it is dropped.
#[derive(Debug, Default)]
pub struct Recycled(Vec<u8>);

impl Recycled {
    /// An empty one, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Recycled {
        let mut buffer = SHELF.take(bytes);
        buffer.clear();
        Recycled(buffer)
    }

    /// One of so many bytes, which may have any value.
    pub fn with_length(bytes: usize) -> Recycled {
        let mut buffer = SHELF.take(bytes);
        buffer.resize(bytes, 0);
        Recycled(buffer)
    }

    /// The memory alone, which is not used again.
    pub fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl From<Vec<u8>> for Recycled {
    fn from(bytes: Vec<u8>) -> Self {
        Recycled(bytes)
    }
}

impl Deref for Recycled {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Recycled {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl AsRef<[u8]> for Recycled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Recycled {
    fn drop(&mut self) {
        SHELF.put(std::mem::take(&mut self.0));
    }
}

/// Gives all that wait back to the system.
pub fn give_back() {
    SHELF.clear();
}

/// Where buffers wait.
#[derive(Debug)]
struct Shelf {
    waiting: Mutex<Vec<Vec<u8>>>,
    bytes_max: usize,
}

impl Shelf {
    const fn new(bytes_max: usize) -> Shelf {
        Shelf { waiting: Mutex::new(Vec::new()), bytes_max }
    }

    /// A buffer with room for so many bytes, and something in it or nothing.
    fn take(&self, bytes: usize) -> Vec<u8> {
        if bytes < BYTES_MIN {
            return Vec::with_capacity(bytes);
        }
        let mut waiting = self.waiting();
        // One that is larger takes memory that nobody has asked leave for.
        let suits = |buffer: &Vec<u8>| (bytes..=bytes + bytes / SLACK).contains(&buffer.capacity());
        let found = waiting.iter().rposition(suits).map(|place| waiting.swap_remove(place));
        drop(waiting);
        found.unwrap_or_else(|| Vec::with_capacity(bytes.next_multiple_of(STEP)))
    }

    /// Takes a buffer that nobody uses any more, if there is room for it.
    fn put(&self, buffer: Vec<u8>) {
        if buffer.capacity() < BYTES_MIN {
            return;
        }
        let mut waiting = self.waiting();
        let bytes: usize = waiting.iter().map(Vec::capacity).sum();
        if bytes.saturating_add(buffer.capacity()) <= self.bytes_max {
            waiting.push(buffer);
        }
    }

    fn clear(&self) {
        // What is given back need not hold up others.
        let waiting = std::mem::take(&mut *self.waiting());
        drop(waiting);
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_is_large_is_used_again_for_what_it_suits() {
        let shelf = Shelf::new(8 * MIB);
        let buffer = shelf.take(3 * MIB - 5);
        assert!(buffer.is_empty() && buffer.capacity() >= 3 * MIB - 5);
        let place = buffer.as_ptr();
        shelf.put(buffer);
        for (other, suits) in [(4 * MIB, false), (2 * MIB, false), (BYTES_MIN - 1, false), (5 * MIB / 2, true)] {
            let found = shelf.take(other);
            assert_eq!(found.as_ptr() == place, suits, "{other}");
        }
    }

    #[test]
    fn no_more_waits_than_may() {
        let shelf = Shelf::new(4 * MIB);
        let sizes = || shelf.waiting().iter().map(Vec::capacity).collect::<Vec<_>>();
        for bytes in [BYTES_MIN - 1, 3 * MIB, 2 * MIB, MIB] {
            shelf.put(Vec::with_capacity(bytes));
        }
        assert_eq!(sizes(), [3 * MIB, MIB]);
        shelf.clear();
        assert!(sizes().is_empty());
    }

    #[test]
    fn one_is_empty_or_as_long_as_was_asked_for() {
        for bytes in [0, 10, MIB, 2 * MIB + 1] {
            let mut first = Recycled::with_length(bytes);
            assert_eq!(first.len(), bytes);
            first.fill(7);
            drop(first);
            assert_eq!(Recycled::with_length(bytes).len(), bytes);
            assert!(Recycled::with_capacity(bytes).is_empty());
        }
        assert_eq!(Recycled::from(vec![1, 2]).into_vec(), [1, 2]);
    }
}
