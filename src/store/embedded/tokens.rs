//! Token filters: which words may occur in the messages of a row group.
//!
//! A filter is a binary fuse filter with 8-bit fingerprints (about 9 bits a distinct token, 0.4 % false positives) over
//! the 64-bit XXH3 of each folded token. On disk it is the 20-byte descriptor of the `xorf` crate, little-endian, and the
//! fingerprints. No bytes at all mean that there is no token in any message.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter as _, FilterRef};
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::LogBatch;
use crate::query::token::NewTokens;

/// Gathers the distinct tokens of a row group; its memory is used again for the next one.
#[derive(Default)]
pub(super) struct TokenFilterBuilder {
    hashes: HashSet<u64, BuildHasherDefault<Identity>>,
    tokens: NewTokens,
}

impl TokenFilterBuilder {
    /// Adds the tokens of all messages.
    pub(super) fn add(&mut self, logs: &LogBatch) {
        for message in logs.messages().iter().flatten() {
            self.tokens.of(message, |token| {
                self.hashes.insert(xxh3_64(token.as_bytes()));
            });
        }
    }

    /// Makes the filter of what was added since the last one; `None`, if it cannot be made, which is all but impossible.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        // The next row group may repeat the last message of this one.
        self.tokens = NewTokens::default();
        let hashes: Vec<u64> = self.hashes.drain().collect();
        if hashes.is_empty() {
            return Some(Vec::new());
        }
        let filter = BinaryFuse8::try_from(hashes.as_slice()).ok()?;
        let mut bytes = vec![0; BinaryFuse8::DESCRIPTOR_LEN];
        filter.dma_copy_descriptor_to(&mut bytes);
        bytes.extend_from_slice(filter.dma_fingerprints());
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

/// A hasher for what is a hash already.
#[derive(Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use sluice_model::{Severity, Timestamp};

    use super::*;
    use crate::batch::LogBatchBuilder;

    fn filter(messages: &[String]) -> Vec<u8> {
        let mut logs = LogBatchBuilder::new();
        for message in messages {
            logs.commit(Timestamp::default(), Severity::Info, "", "", message);
        }
        let mut builder = TokenFilterBuilder::default();
        builder.add(&logs.finish());
        builder.finish().unwrap()
    }

    #[test]
    fn a_filter_has_every_token_and_hardly_any_other() {
        for count in [1, 2, 3, 10, 5000] {
            let messages: Vec<String> = (0..count).map(|n| format!("request W{n} Failed")).collect();
            let bytes = filter(&messages);
            for n in 0..count {
                assert!(may_have_all(&bytes, &[format!("w{n}"), "failed".to_owned()]));
            }
        }
        let bytes = filter(&(0..5000).map(|n| format!("w{n}")).collect::<Vec<_>>());
        let wrong = (0..10_000).filter(|n| may_have_all(&bytes, &[format!("x{n}")])).count();
        assert!(wrong < 100, "{wrong} of 10,000");
    }

    #[test]
    fn messages_without_tokens_have_no_token() {
        let bytes = filter(&["".to_owned(), "--".to_owned()]);
        assert!(!may_have_all(&bytes, &["a".to_owned()]));
        assert!(may_have_all(&bytes, &[]));
    }
}
