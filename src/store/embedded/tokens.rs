//! Token filters: which words may occur in the messages of a row group.
//!
//! A filter is a binary fuse filter with 8-bit fingerprints (about 9 bits a distinct token, 0.4 % false positives) over
//! the 64-bit XXH3 of each folded token. On disk it is the 20-byte descriptor of the `xorf` crate, little-endian, and the
//! fingerprints. No bytes at all mean that there is no token in any message.

use std::sync::Arc;

use bytes::Bytes;
use xorf::{BinaryFuse8, DmaSerializable};
use xxhash_rust::xxh3::xxh3_64;

use super::reader::{OpenSegment, ReadError};
use super::segment::Region;

/// About what is read of a file to look for a token in a filter: three bytes, with the blocks of 4 KiB that they are in.
const LOOKUP_BYTES: u64 = 3 * 4096;

/// How many tokens are remembered that were seen last.
const RECENT: usize = 4096;
/// How many digits a number has at most that is remembered for as long as its row group lasts.
const NUMBER_DIGITS_MAX: usize = 4;

/// Gathers the distinct tokens of a row group; its memory is used again for the next one.
pub(super) struct TokenFilterBuilder {
    /// Of each token at least once.
    hashes: Vec<u64>,
    /// Some of those, each at the place that its last bits tell: most tokens have just been seen.
    recent: Vec<u64>,
    /// Which short numbers there are, a bit each: most tokens that are no words are such.
    numbers: Vec<u64>,
}

impl Default for TokenFilterBuilder {
    fn default() -> Self {
        TokenFilterBuilder { hashes: Vec::new(), recent: nothing_recent(), numbers: no_numbers() }
    }
}

/// At each place something that does not belong there.
fn nothing_recent() -> Vec<u64> {
    (1..=RECENT as u64).collect()
}

/// A bit for each number of no more than [`NUMBER_DIGITS_MAX`] digits, zeros in front of it or not.
fn no_numbers() -> Vec<u64> {
    vec![0; (2 * 10_usize.pow(NUMBER_DIGITS_MAX as u32)).div_ceil(u64::BITS as usize)]
}

impl TokenFilterBuilder {
    /// Adds a token of ASCII digits alone.
    #[inline]
    pub(super) fn add_number(&mut self, digits: &[u8]) {
        if digits.len() <= NUMBER_DIGITS_MAX {
            // With a one in front every text of digits is another number.
            let number = digits.iter().fold(1, |number, digit| 10 * number + usize::from(digit & 0xf));
            let bit = 1 << (number % u64::BITS as usize);
            if let Some(seen) = self.numbers.get_mut(number / u64::BITS as usize) {
                if *seen & bit != 0 {
                    return;
                }
                *seen |= bit;
            }
        }
        self.add(digits);
    }

    /// Adds a folded token.
    #[inline]
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
        self.numbers = no_numbers();
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

/// Those of the folded `tokens` that no message of a row group has, going by its filter in `region`.
pub(super) fn absent(segment: &OpenSegment, region: Region, tokens: &[String]) -> Result<Arc<[String]>, ReadError> {
    let by_parts = segment.is_sealed() && tokens.len() as u64 * LOOKUP_BYTES < region.length;
    let whole = if by_parts { None } else { Some(segment.region(region)?) };
    let read = |offset: u64, length: usize| match &whole {
        Some(bytes) => part(bytes, offset, length),
        None => segment.part_of(region, offset, length),
    };
    let lookup = Lookup::begin(region.length, read)?;
    let mut absent = Vec::new();
    for token in tokens {
        if !lookup.finds(token)? {
            absent.push(token.clone());
        }
    }
    Ok(absent.into())
}

/// Bytes of a filter that is in memory.
fn part(filter: &Bytes, offset: u64, length: usize) -> Result<Bytes, ReadError> {
    let end =
        usize::try_from(offset).ok().and_then(|start| start.checked_add(length)).filter(|end| *end <= filter.len());
    let end = end.ok_or_else(|| ReadError::Damaged("a token filter is not as long as it says".to_owned()))?;
    Ok(filter.slice(end - length..end))
}

/// Looks tokens up as the `xorf` crate does, but reads of the filter only what it needs.
struct Lookup<R> {
    /// Nothing, where no message has a token.
    descriptor: Option<Descriptor>,
    read: R,
}

/// How a filter is laid out.
struct Descriptor {
    seed: u64,
    segment_length: u32,
    segment_length_mask: u32,
    segment_count_length: u32,
}

impl<R: Fn(u64, usize) -> Result<Bytes, ReadError>> Lookup<R> {
    /// Begins with a filter of `length` bytes, which `read` gives by their place.
    fn begin(length: u64, read: R) -> Result<Lookup<R>, ReadError> {
        if length <= BinaryFuse8::DESCRIPTOR_LEN as u64 {
            return Ok(Lookup { descriptor: None, read });
        }
        let descriptor = Descriptor::parse(&read(0, BinaryFuse8::DESCRIPTOR_LEN)?);
        Ok(Lookup { descriptor, read })
    }

    /// Whether a message may have the folded `token`.
    fn finds(&self, token: &str) -> Result<bool, ReadError> {
        let Some(descriptor) = &self.descriptor else { return Ok(false) };
        let (places, mut fingerprint) = descriptor.places(xxh3_64(token.as_bytes()));
        for place in places {
            let bytes = (self.read)(BinaryFuse8::DESCRIPTOR_LEN as u64 + u64::from(place), 1)?;
            fingerprint ^= bytes.first().copied().unwrap_or_default();
        }
        Ok(fingerprint == 0)
    }
}

impl Descriptor {
    fn parse(bytes: &[u8]) -> Option<Descriptor> {
        let (seed, rest) = bytes.split_first_chunk::<8>()?;
        let (words, _) = rest.as_chunks::<4>();
        let [segment_length, segment_length_mask, segment_count_length] = *words.first_chunk::<3>()?;
        Some(Descriptor {
            seed: u64::from_le_bytes(*seed),
            segment_length: u32::from_le_bytes(segment_length),
            segment_length_mask: u32::from_le_bytes(segment_length_mask),
            segment_count_length: u32::from_le_bytes(segment_count_length),
        })
    }

    /// Where the three fingerprints of a key stand, and what they are together if it is there.
    fn places(&self, key: u64) -> ([u32; 3], u8) {
        let hash = mix(key.wrapping_add(self.seed));
        let first = ((u128::from(hash) * u128::from(self.segment_count_length)) >> 64) as u32;
        let second = first.wrapping_add(self.segment_length);
        let third = second.wrapping_add(self.segment_length);
        let [second_mask, third_mask] = [(hash >> 18) as u32, hash as u32].map(|bits| bits & self.segment_length_mask);
        ([first, second ^ second_mask, third ^ third_mask], (hash ^ (hash >> 32)) as u8)
    }
}

/// The finalizer of MurmurHash3, which spreads a key over all bits.
fn mix(key: u64) -> u64 {
    let key = (key ^ (key >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let key = (key ^ (key >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ (key >> 33)
}

/// Whether the filter of these bytes finds a token.
#[cfg(test)]
pub(super) fn finds(filter: &[u8], token: &str) -> bool {
    let bytes = Bytes::copy_from_slice(filter);
    let lookup = Lookup::begin(filter.len() as u64, |offset, length| part(&bytes, offset, length)).unwrap();
    lookup.finds(token).unwrap()
}

#[cfg(test)]
mod tests {
    use xorf::{BinaryFuse8Ref, Filter as _, FilterRef};

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
                assert!(finds(&bytes, &format!("w{n}")) && finds(&bytes, "failed"));
            }
        }
        let bytes = filter((0..5000).map(|n| format!("w{n}")));
        let wrong = (0..10_000).filter(|n| finds(&bytes, &format!("x{n}"))).count();
        assert!(wrong < 100, "{wrong} of 10,000");
    }

    #[test]
    fn numbers_are_told_apart_by_their_zeros() {
        let mut builder = TokenFilterBuilder::default();
        let numbers = ["7", "07", "0007", "9999", "12345", "00000"];
        numbers.iter().cycle().take(20).for_each(|number| builder.add_number(number.as_bytes()));
        assert_eq!(builder.hashes.len(), numbers.len());
        let bytes = builder.finish().unwrap();
        assert!(numbers.iter().all(|number| finds(&bytes, number)));
        // Nothing is left of them for the next row group.
        builder.add_number(b"7");
        assert!(finds(&builder.finish().unwrap(), "7"));
    }

    #[test]
    fn the_library_finds_the_same() {
        for count in [1, 7, 300, 20_000] {
            let bytes = filter((0..count).map(|n| format!("w{n}")));
            let (descriptor, fingerprints) = bytes.split_at(BinaryFuse8::DESCRIPTOR_LEN);
            let library = BinaryFuse8Ref::from_dma(descriptor, fingerprints);
            for token in (0..2 * count).map(|n| format!("w{n}")) {
                assert_eq!(finds(&bytes, &token), library.contains(&xxh3_64(token.as_bytes())), "{token} of {count}");
            }
        }
    }

    #[test]
    fn no_tokens_are_none() {
        let bytes = filter(std::iter::empty());
        assert!(bytes.is_empty() && !finds(&bytes, "a"));
    }

    #[test]
    fn a_filter_that_is_cut_short_is_damage() {
        let bytes = Bytes::from(filter((0..100).map(|n| format!("w{n}"))));
        let cut = bytes.slice(..BinaryFuse8::DESCRIPTOR_LEN + 1);
        let lookup = Lookup::begin(cut.len() as u64, |offset, length| part(&cut, offset, length)).unwrap();
        assert!((0..9).any(|n| matches!(lookup.finds(&format!("w{n}")), Err(ReadError::Damaged(_)))));
        assert!(matches!(part(&cut, u64::MAX, 1), Err(ReadError::Damaged(_))));
    }
}
