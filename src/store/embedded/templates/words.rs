//! Takes a message apart: into its words, and its other tokens.

use std::sync::LazyLock;

use crate::query::token::{for_each_token, is_ascii_run};

/// Longer tokens are no words.
const WORD_BYTES_MAX: usize = 64;

/// Of a token that is no word the letters that stand side by side are taken for words too, if they are so many: most are
/// not by chance.
pub(super) const PART_LETTERS_MIN: usize = 5;
/// What follows these, so that they are others than any token.
const PART: u8 = b'*';

/// What stands behind each word: no token has it.
pub(super) const SEPARATOR: u8 = b' ';

/// An escape sequence may begin here, or a character beyond ASCII.
const UNKNOWN: u8 = 0xff;
const ESCAPE: u8 = 0x1b;

/// What a byte is to ASCII tokens: itself, folded; 0, if it separates; or [`UNKNOWN`].
static FOLDED: LazyLock<[u8; 256]> = LazyLock::new(|| {
    let mut folded = [UNKNOWN; 256];
    for (byte, folded) in (0..=0x7f_u8).zip(&mut folded) {
        *folded = match byte {
            ESCAPE => UNKNOWN,
            byte if is_ascii_run(byte) => byte.to_ascii_lowercase(),
            _ => 0,
        };
    }
    folded
});

/// Takes messages apart; its memory is used again for the next one.
#[derive(Default)]
pub(super) struct Splitter {
    words: Vec<u8>,
    /// Where the token in hand begins, behind the words before it.
    start: usize,
    /// The letters of what is in no word.
    letters: Letters,
    parts: Vec<u8>,
    scratch: String,
}

/// A message, taken apart.
pub(super) struct Split<'a> {
    /// Its words in order, each with a separator behind it.
    pub(super) words: &'a [u8],
    /// The letters of what is in none of them.
    pub(super) letters: Letters,
}

impl Splitter {
    /// Calls `other` with each token that is no word; it may do so twice.
    pub(super) fn split(&mut self, message: &str, mut other: impl FnMut(&[u8])) -> Split<'_> {
        self.begin(message);
        if !self.split_ascii(message.as_bytes(), &mut other) {
            self.begin(message);
            let mut scratch = std::mem::take(&mut self.scratch);
            for_each_token(message, &mut scratch, |token| {
                self.words.extend_from_slice(token.as_bytes());
                let digits = token.bytes().any(|byte| byte.is_ascii_digit());
                self.close(digits, &mut other);
            });
            self.scratch = scratch;
            if message.as_bytes().contains(&ESCAPE) {
                // What an escape sequence has is in no token, but a part of a text may begin in one.
                self.letters = Letters::ANY;
            }
        }
        Split { words: &self.words, letters: self.letters }
    }

    fn begin(&mut self, message: &str) {
        self.words.clear();
        self.words.reserve(message.len() + 1);
        (self.start, self.letters) = (0, Letters::NONE);
    }

    /// Splits a message of ASCII without escapes in one pass; `false`, if it is none.
    fn split_ascii(&mut self, message: &[u8], other: &mut impl FnMut(&[u8])) -> bool {
        let folded = &*FOLDED;
        let mut digits = false;
        for byte in message {
            let byte = folded.get(usize::from(*byte)).copied().unwrap_or(UNKNOWN);
            if byte == UNKNOWN {
                return false;
            }
            if byte != 0 {
                self.words.push(byte);
                digits |= byte.is_ascii_digit();
            } else if self.words.len() > self.start {
                self.close(digits, other);
                digits = false;
            }
        }
        if self.words.len() > self.start {
            self.close(digits, other);
        }
        true
    }

    /// Ends the token in hand.
    fn close(&mut self, digits: bool, other: &mut impl FnMut(&[u8])) {
        let token = self.words.get(self.start..).unwrap_or_default();
        if digits || token.len() > WORD_BYTES_MAX {
            other(token);
            self.parts.clear();
            for part in letters_of(token) {
                if (PART_LETTERS_MIN..=WORD_BYTES_MAX).contains(&part.len()) {
                    self.parts.extend_from_slice(part);
                    self.parts.extend_from_slice(&[PART, SEPARATOR]);
                } else {
                    self.letters = self.letters.and(Letters::of(part));
                }
            }
            self.words.truncate(self.start);
            self.words.extend_from_slice(&self.parts);
        } else {
            self.words.push(SEPARATOR);
        }
        self.start = self.words.len();
    }
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
            ("Connection from 10.0.0.1:80", "connection from ", "", &["10", "0", "0", "1", "80"][..]),
            ("at Terminator_B6 blk_99", "at terminator* ", "blk_b", &["terminator_b6", "blk_99"]),
            ("Größe ÜBER9 日本 x", "größe 日 本 x ", "ber", &["über9"]),
            ("\u{1b}[1mred\u{1b}[0m", "red ", "?", &[]),
            ("--", "", "", &[]),
        ] {
            let others = others.iter().map(|other| (*other).to_owned()).collect::<Vec<_>>();
            let letters = if letters == "?" { Letters::ANY } else { Letters::of_token(letters.as_bytes()) };
            assert_eq!(split(message), (words.to_owned(), letters, others), "{message}");
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
        fn one_pass_finds_the_tokens(message in "[a-cA-C0-2_ .:-]{0,60}") {
            let (mut tokens, mut words, mut others) = (String::new(), String::new(), Vec::new());
            for_each_token(&message, &mut tokens, |token| {
                if token.bytes().any(|byte| byte.is_ascii_digit()) {
                    others.push(token.to_owned());
                    let parts = letters_of(token.as_bytes()).filter(|part| part.len() >= PART_LETTERS_MIN);
                    parts.for_each(|part| words += &format!("{}* ", str::from_utf8(part).unwrap()));
                } else {
                    words += &format!("{token} ");
                }
            });
            let found = split(&message);
            prop_assert_eq!((found.0, found.2), (words, others));
        }
    }
}
