//! Tables of texts that senders choose.

use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Makes hashers for texts, by XXH3 with a seed that no sender knows: nobody can make many texts of one hash.
pub(super) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Seeded(rand::random())
    }
}

impl BuildHasher for Seeded {
    type Hasher = Xxh3;

    fn build_hasher(&self) -> Xxh3 {
        Xxh3 { seed: self.0, hash: 0 }
    }
}

/// A hash of the texts so far.
pub(super) struct Xxh3 {
    seed: u64,
    hash: u64,
}

impl Hasher for Xxh3 {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        self.hash ^= xxh3_64_with_seed(bytes, self.seed);
    }

    /// How many bytes follow.
    fn write_usize(&mut self, length: usize) {
        self.hash ^= length as u64;
    }
}
