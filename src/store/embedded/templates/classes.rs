//! Which bytes of a message are of a token, and which are digits: for many bytes at once, where they are ASCII.

use wide::u8x16;

/// How many bytes have their classes in one number.
pub(super) const BLOCK: usize = 64;
/// How many are looked at together.
const LANES: usize = 16;

/// The classes of the bytes of a message; their memory is used again for the next one.
#[derive(Default)]
pub(super) struct Classes {
    /// The message in lower case, with zeros behind it; what stands behind those means nothing.
    folded: Vec<u8>,
    /// Of each block which bytes are of a token, and which of them are digits: a bit each, that of the first byte last.
    blocks: Vec<(u64, u64)>,
}

impl Classes {
    /// Reads a message; gives whether it is ASCII without escapes, as otherwise its tokens are not so easily found.
    #[inline]
    pub(super) fn read(&mut self, message: &[u8]) -> bool {
        let Classes { folded, blocks } = self;
        blocks.clear();
        // At least one byte behind the message ends its last token, and any byte of it may be read with those after it.
        let room = (message.len() / BLOCK + 1) * BLOCK + LANES;
        if folded.len() < room {
            folded.resize(room, 0);
        }
        let (whole, rest) = message.as_chunks::<BLOCK>();
        let mut last = [0; BLOCK];
        if let Some(last) = last.get_mut(..rest.len()) {
            last.copy_from_slice(rest);
        }
        let mut odd = u8x16::ZERO;
        for (block, folded) in whole.iter().chain([&last]).zip(folded.as_chunks_mut::<BLOCK>().0) {
            blocks.push(classify(block, folded, &mut odd));
        }
        !odd.any()
    }

    /// The message in lower case, and something behind it.
    pub(super) fn folded(&self) -> &[u8] {
        &self.folded
    }

    /// Of each block which bytes are of a token, and which of them are digits.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (u64, u64)> {
        self.blocks.iter().copied()
    }
}

/// Folds a block, and gives which bytes are of a token and which are digits. The first bit of some byte of `odd` is set
/// where a byte is no ASCII, or begins an escape.
fn classify(block: &[u8; BLOCK], folded: &mut [u8; BLOCK], odd: &mut u8x16) -> (u64, u64) {
    const CASE: u8 = 0x20;
    const ESCAPE: u8 = 0x1b;
    let (mut runs, mut digits) = (0, 0);
    for (bytes, folded) in block.as_chunks::<LANES>().0.iter().zip(folded.as_chunks_mut::<LANES>().0).rev() {
        let bytes = u8x16::from(*bytes);
        let letter = is_between(bytes | u8x16::splat(CASE), b'a', b'z');
        let digit = is_between(bytes, b'0', b'9');
        let run = letter | digit | bytes.simd_eq(u8x16::splat(b'_'));
        *odd |= bytes | bytes.simd_eq(u8x16::splat(ESCAPE));
        *folded = (bytes | letter & u8x16::splat(CASE)).to_array();
        runs = runs << LANES | u64::from(run.to_bitmask());
        digits = digits << LANES | u64::from(digit.to_bitmask());
    }
    (runs, digits)
}

/// All bits of the bytes that are between these.
fn is_between(bytes: u8x16, first: u8, last: u8) -> u8x16 {
    let place = bytes - u8x16::splat(first);
    place.min(u8x16::splat(last - first)).simd_eq(place)
}
