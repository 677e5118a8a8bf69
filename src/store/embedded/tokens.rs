//! Token filters: which words may occur in the messages of a row group.
//!
//! A filter is a binary fuse filter with 8-bit fingerprints (about 9 bits a distinct token, 0.4 % false positives) over
//! the 64-bit XXH3 of each folded token. On disk it is the 20-byte descriptor of the `xorf` crate, little-endian, and the
//! fingerprints. No bytes at all mean that there is no token in any message.

use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter as _, FilterRef};
use xxhash_rust::xxh3::xxh3_64;

/// How many tokens are remembered that were seen last.
const RECENT: usize = 4096;

/// Gathers the distinct tokens of a row group; its memory is used again for the next one.
pub(super) struct TokenFilterBuilder {
    /// Of each token at least once.
    hashes: Vec<u64>,
    /// Some of those, each at the place that its last bits tell: most tokens have just been seen.
    recent: Vec<u64>,
}

impl Default for TokenFilterBuilder {
    fn default() -> Self {
        TokenFilterBuilder { hashes: Vec::new(), recent: nothing_recent() }
    }
}

/// At each place something that does not belong there.
fn nothing_recent() -> Vec<u64> {
    (1..=RECENT as u64).collect()
}

impl TokenFilterBuilder {
    /// Adds a folded token.
    pub(super) fn add(&mut self, token: &[u8]) {
        let hash = xxh3_64(token);
        if let Some(recent) = self.recent.get_mut(hash as usize % RECENT) {
            if *recent == hash {
                return;
            }
            *recent = hash;
        }
        self.hashes.push(hash);
    }

    /// Makes the filter of what was added since the last one; `None`, if it cannot be made, which is all but impossible.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        // To sort them is faster than a set, of which each entry is likely to be missing in the processor's cache.
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.sort_unstable();
        hashes.dedup();
        self.recent = nothing_recent();
        if hashes.is_empty() {
            return Some(Vec::new());
        }
        let filter = BinaryFuse8::try_from(hashes.as_slice()).ok()?;
        let mut bytes = vec![0; BinaryFuse8::DESCRIPTOR_LEN];
        filter.dma_copy_descriptor_to(&mut bytes);
        bytes.extend_from_slice(filter.dma_fingerprints());
        hashes.clear();
        self.hashes = hashes;
        Some(bytes)
    }
}

/// Whether a row group with the filter `bytes`, which came through their checksum, may have a message with all of
/// the folded `tokens`.
pub(super) fn may_have_all(bytes: &[u8], tokens: &[String]) -> bool {
    match bytes.split_at_checked(BinaryFuse8::DESCRIPTOR_LEN) {
        Some((descriptor, fingerprints)) if !fingerprints.is_empty() => {
            let filter = BinaryFuse8Ref::from_dma(descriptor, fingerprints);
            tokens.iter().all(|token| filter.contains(&xxh3_64(token.as_bytes())))
        }
        _ => tokens.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(tokens: impl Iterator<Item = String>) -> Vec<u8> {
        let mut builder = TokenFilterBuilder::default();
        tokens.for_each(|token| builder.add(token.as_bytes()));
        builder.finish().unwrap()
    }

    #[test]
    fn a_filter_has_every_token_and_hardly_any_other() {
        for count in [1, 2, 3, 10, 5000] {
            let bytes = filter((0..count).flat_map(|n| ["failed".to_owned(), format!("w{n}")]));
            for n in 0..count {
                assert!(may_have_all(&bytes, &[format!("w{n}"), "failed".to_owned()]));
            }
        }
        let bytes = filter((0..5000).map(|n| format!("w{n}")));
        let wrong = (0..10_000).filter(|n| may_have_all(&bytes, &[format!("x{n}")])).count();
        assert!(wrong < 100, "{wrong} of 10,000");
    }

    #[test]
    fn no_tokens_are_none() {
        let bytes = filter(std::iter::empty());
        assert!(!may_have_all(&bytes, &["a".to_owned()]));
        assert!(may_have_all(&bytes, &[]));
    }
}
