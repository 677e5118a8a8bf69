//! A fast hash, for maps that live as long as a query.

use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A fast hash with a secret seed.
#[derive(Clone, Copy)]
pub(super) struct Fast(u64);

impl Default for Fast {
    fn default() -> Self {
        static SEED: LazyLock<u64> = LazyLock::new(rand::random);
        Fast(*SEED)
    }
}

impl BuildHasher for Fast {
    type Hasher = FastHasher;

    fn build_hasher(&self) -> FastHasher {
        FastHasher(self.0)
    }
}

pub(super) struct FastHasher(u64);

impl FastHasher {
    #[inline]
    fn mix(&mut self, value: u64) {
        const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ value) * FACTOR;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    // What ends a text.
    fn write_u8(&mut self, _: u8) {}

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    #[inline]
    fn write_i64(&mut self, value: i64) {
        self.mix(value as u64);
    }

    // What is hashed to so many bits already.
    #[inline]
    fn write_u128(&mut self, value: u128) {
        self.mix(value as u64);
    }
}
