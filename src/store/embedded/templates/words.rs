//! Takes a message apart: into its words, and its other tokens.

use crate::query::token::for_each_token;

/// Longer tokens are no words.
const WORD_BYTES_MAX: usize = 64;

/// Of a token that is no word the letters that stand side by side are taken for words too, if they are so many: most are
/// not by chance.
pub(super) const PART_LETTERS_MIN: usize = 5;
/// What follows these, so that they are others than any token.
const PART: u8 = b'*';

/// What stands before each word, and in no token: just one space after the word before, something else, or nobody knows.
pub(super) const SPACE: u8 = b' ';
pub(super) const BREAK: u8 = b'\n';
pub(super) const UNKNOWN: u8 = b'?';

const ESCAPE: u8 = 0x1b;

/// How many bytes have their classes in one number.
const BLOCK: usize = 64;
/// Shorter words are copied as if they were so long, in one move.
const MOVE: usize = 16;

/// Takes messages apart; its memory is used again for the next one.
#[derive(Default)]
pub(super) struct Splitter {
    /// A message of ASCII, folded, with zeros behind it.
    folded: Vec<u8>,
    /// Which bytes of it are of a token, and which are digits: a bit each.
    runs: Vec<u64>,
    digits: Vec<u64>,
    /// The words so far, and how long they are; what stands behind them means nothing.
    words: Vec<u8>,
    length: usize,
    /// Where the last word ends in the folded message, if it is a token of it.
    last: Option<usize>,
    /// The letters of what is in no word.
    letters: Letters,
    scratch: String,
}

/// A message, taken apart.
pub(super) struct Split<'a> {
    /// Its words in order, each with what stands before it.
    pub(super) words: &'a [u8],
    /// The letters of what is in none of them.
    pub(super) letters: Letters,
}

impl Splitter {
    /// Calls `other` with each token that is no word.
    pub(super) fn split(&mut self, message: &str, mut other: impl FnMut(&[u8])) -> Split<'_> {
        (self.length, self.last, self.letters) = (0, None, Letters::NONE);
        let escapes = memchr::memchr(ESCAPE, message.as_bytes()).is_some();
        if message.is_ascii() && !escapes {
            self.split_ascii(message.as_bytes(), &mut other);
        } else {
            let mut scratch = std::mem::take(&mut self.scratch);
            for_each_token(message, &mut scratch, |token| {
                self.take(token.as_bytes(), UNKNOWN, &mut other);
            });
            self.scratch = scratch;
        }
        if escapes {
            // What an escape sequence has is in no token, but a part of a text may begin in one.
            self.letters = Letters::ANY;
        }
        Split { words: self.words.get(..self.length).unwrap_or_default(), letters: self.letters }
    }

    /// Takes a message apart whose tokens are ASCII without escapes: by the edges between bytes that are of a token and
    /// those that are not, many at a time.
    fn split_ascii(&mut self, message: &[u8], other: &mut impl FnMut(&[u8])) {
        self.classify(message);
        let (mut start, mut last) = (None, 0);
        for block in 0..self.runs.len() {
            let runs = self.runs.get(block).copied().unwrap_or_default();
            let mut edges = runs ^ (runs << 1 | last);
            last = runs >> (BLOCK - 1);
            while edges != 0 {
                let place = block * BLOCK + edges.trailing_zeros() as usize;
                edges &= edges - 1;
                match start.take() {
                    None => start = Some(place),
                    Some(start) => self.close(start, place, other),
                }
            }
        }
    }

    fn classify(&mut self, message: &[u8]) {
        let Splitter { folded, runs, digits, .. } = self;
        folded.clear();
        folded.extend_from_slice(message);
        folded.make_ascii_lowercase();
        // At least one byte behind the message ends its last token.
        folded.resize((message.len() / BLOCK + 1) * BLOCK + MOVE, 0);
        runs.clear();
        digits.clear();
        for block in folded.as_chunks::<BLOCK>().0 {
            let (mut digit, mut run) = ([0; BLOCK], [0; BLOCK]);
            // Plain loops, as they become instructions for many bytes at once.
            for (class, byte) in digit.iter_mut().zip(block) {
                *class = u8::from(byte.is_ascii_digit());
            }
            for ((class, byte), digit) in run.iter_mut().zip(block).zip(&digit) {
                *class = u8::from(byte.is_ascii_lowercase()) | u8::from(*byte == b'_') | *digit;
            }
            digits.push(bits(&digit));
            runs.push(bits(&run));
        }
    }

    /// Takes the token from `start` to `end` of the folded message.
    fn close(&mut self, start: usize, end: usize, other: &mut impl FnMut(&[u8])) {
        let (block, length) = (start / BLOCK, end - start);
        let digits = self
            .digits
            .get(block)
            .map_or(0, |digits| digits >> (start % BLOCK) & u64::MAX >> (BLOCK - length.min(BLOCK)));
        let within = (end - 1) / BLOCK == block;
        let short = self.folded.get(start..).and_then(<[u8]>::first_chunk::<MOVE>).filter(|_| within && length < MOVE);
        let before = if self.last.take().is_some_and(|last| last + 1 == start && self.folded.get(last) == Some(&SPACE))
        {
            SPACE
        } else {
            BREAK
        };
        match short {
            Some(token) if digits == 0 => {
                let token = *token;
                self.put(&[before]);
                let end = self.length + length;
                if self.words.len() < self.length + MOVE {
                    self.words.resize(self.length + 4 * BLOCK, 0);
                }
                if let Some(room) = self.words.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut::<MOVE>) {
                    *room = token;
                }
                self.length = end;
                self.last = Some(start + length);
            }
            // A number has no letters.
            Some(token) if digits.count_ones() as usize == length => other(token.get(..length).unwrap_or_default()),
            _ => {
                let folded = std::mem::take(&mut self.folded);
                if self.take(folded.get(start..end).unwrap_or_default(), before, other) {
                    self.last = Some(end);
                }
                self.folded = folded;
            }
        }
    }

    /// Takes any token; gives whether it is a word.
    fn take(&mut self, token: &[u8], before: u8, other: &mut impl FnMut(&[u8])) -> bool {
        if token.len() <= WORD_BYTES_MAX && !token.iter().any(u8::is_ascii_digit) {
            self.put(&[before]);
            self.put(token);
            return true;
        }
        other(token);
        for part in letters_of(token) {
            if (PART_LETTERS_MIN..=WORD_BYTES_MAX).contains(&part.len()) {
                self.put(&[BREAK]);
                self.put(part);
                self.put(&[PART]);
            } else {
                self.letters = self.letters.and(Letters::of(part));
            }
        }
        false
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if self.words.len() < end {
            self.words.resize(end + 4 * BLOCK, 0);
        }
        if let Some(room) = self.words.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
        }
        self.length = end;
    }
}

/// The bits that stand in bytes of 0 and 1, the first byte's last.
fn bits(bytes: &[u8; BLOCK]) -> u64 {
    /// Moves the bit of each of eight bytes to a place of its own in the last byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut bits = 0;
    for eight in bytes.as_chunks::<8>().0 {
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56;
        bits = bits >> 8 | gathered << 56;
    }
    bits
}

/// What is known of the ASCII letters that stand side by side in some tokens: how many do at most, and which of the
/// alphabet there are. The ids of most programs are of few letters.
///
/// The number stands in the last bits, 63 for more too, and the letters before it, `a` last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Letters(pub(super) u32);

impl Letters {
    pub(super) const NONE: Letters = Letters(0);
    pub(super) const ANY: Letters = Letters(u32::MAX);
    const COUNT_MAX: u32 = 63;
    const COUNT_BITS: u32 = 6;

    /// Those of some that stand side by side, in lower case.
    pub(super) fn of(run: &[u8]) -> Letters {
        let alphabet = run.iter().fold(0_u32, |all, letter| all | 1 << (letter.wrapping_sub(b'a') % 26));
        let count = u32::try_from(run.len()).unwrap_or(u32::MAX).min(Self::COUNT_MAX);
        Letters(alphabet << Self::COUNT_BITS | count)
    }

    /// Those of a token, folded.
    pub(super) fn of_token(token: &[u8]) -> Letters {
        letters_of(token).map(Letters::of).fold(Letters::NONE, Letters::and)
    }

    /// Those of either.
    pub(super) fn and(self, other: Letters) -> Letters {
        Letters((self.0 | other.0) & !Self::COUNT_MAX | self.count().max(other.count()))
    }

    /// Whether all of a token's may be among these.
    pub(super) fn may_have(self, token: Letters) -> bool {
        token.count() <= self.count() && token.alphabet() & !self.alphabet() == 0
    }

    /// How many stand side by side at most.
    pub(super) fn count(self) -> u32 {
        self.0 & Self::COUNT_MAX
    }

    fn alphabet(self) -> u32 {
        self.0 >> Self::COUNT_BITS
    }
}

/// The ASCII letters of a folded token that stand side by side.
fn letters_of(token: &[u8]) -> impl Iterator<Item = &[u8]> {
    token.split(|byte| !byte.is_ascii_lowercase()).filter(|letters| !letters.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(message: &str) -> (String, Letters, Vec<String>) {
        let (mut splitter, mut others) = (Splitter::default(), Vec::new());
        let Split { words, letters } =
            splitter.split(message, |token| others.push(String::from_utf8(token.to_vec()).unwrap()));
        (String::from_utf8(words.to_vec()).unwrap(), letters, others)
    }

    #[test]
    fn words_are_tokens_without_digits_and_long_parts_of_others() {
        for (message, words, letters, others) in [
            ("Connection from 10.0.0.1:80  at x-y", "|connection from|at x|y", "", &["10", "0", "0", "1", "80"][..]),
            ("at Terminator_B6 blk_99", "|at|terminator*", "blk_b", &["terminator_b6", "blk_99"]),
            ("Größe ÜBER9 日本 x", "?größe?日?本?x", "ber", &["über9"]),
            ("\u{1b}[1mred\u{1b}[0m", "?red", "?", &[]),
            ("--", "", "", &[]),
        ] {
            let others = others.iter().map(|other| (*other).to_owned()).collect::<Vec<_>>();
            let letters = if letters == "?" { Letters::ANY } else { Letters::of_token(letters.as_bytes()) };
            assert_eq!(split(message), (words.replace('|', "\n"), letters, others), "{message}");
        }
        let long = "a".repeat(WORD_BYTES_MAX + 1);
        assert_eq!(split(&long), (String::new(), Letters::of(long.as_bytes()), vec![long]));
    }

    #[test]
    fn letters_are_known_by_their_number_and_the_alphabet() {
        let letters = Letters::of(b"feed").and(Letters::of(b"xa"));
        for (token, expected) in
            [("feed", true), ("axed", true), ("9xe_adde", true), ("feeds", false), ("eaten", false)]
        {
            assert_eq!(letters.may_have(Letters::of_token(token.as_bytes())), expected, "{token}");
        }
        for count in [62, 63, 64, 1000] {
            let long = vec![b'z'; count];
            assert!(Letters::of(&long).may_have(Letters::of(&long)) && Letters::ANY.may_have(Letters::of(&long)));
            assert!(!letters.may_have(Letters::of(&long)) && Letters::of(&long).may_have(Letters::NONE));
        }
    }

    proptest! {
        #[test]
        fn blocks_have_the_tokens_of_the_text(message in "([a-cA-C]{1,20}|[0-2]{1,3}|[a-cC0-2_]{1,70}|[ .:-]|@|`|\\{|/){0,60}") {
            let (mut tokens, mut words, mut others) = (String::new(), String::new(), Vec::new());
            for_each_token(&message, &mut tokens, |token| {
                if token.len() > WORD_BYTES_MAX || token.bytes().any(|byte| byte.is_ascii_digit()) {
                    others.push(token.to_owned());
                    let is_part = |part: &&[u8]| (PART_LETTERS_MIN..=WORD_BYTES_MAX).contains(&part.len());
                    let parts = letters_of(token.as_bytes()).filter(is_part);
                    parts.for_each(|part| words += &format!("{}*|", str::from_utf8(part).unwrap()));
                } else {
                    words += &format!("{token}|");
                }
            });
            let found = split(&message);
            let spaced = found.0.matches(' ').count();
            prop_assert!(spaced <= message.matches(' ').count());
            let mut found_words = found.0.replace([' ', '\n'], "|") + "|";
            found_words.remove(0);
            prop_assert_eq!((found_words, found.2), (words, others));
        }
    }
}
