//! Takes a message apart: into its words, and its other tokens.

use super::classes::{BLOCK, Classes};
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

/// Shorter words are copied as if they were so long, in one move.
const MOVE: usize = 16;

/// Takes messages apart; its memory is used again for the next one.
#[derive(Default)]
pub(super) struct Splitter {
    classes: Classes,
    words: Words,
    scratch: String,
}

/// A message, taken apart.
pub(super) struct Split<'a> {
    /// Its words in order, each with what stands before it.
    pub(super) words: &'a [u8],
    /// The letters of what is in none of them.
    pub(super) letters: Letters,
}

/// A token that is no word.
pub(super) enum Other<'a> {
    /// Of ASCII digits alone.
    Number(&'a [u8]),
    /// Any other one.
    Mixed(&'a [u8]),
}

impl Splitter {
    /// Calls `other` with each token that is no word.
    pub(super) fn split(&mut self, message: &str, mut other: impl FnMut(Other<'_>)) -> Split<'_> {
        let Splitter { classes, words, scratch } = self;
        words.clear(message.len());
        if classes.read(message.as_bytes()) {
            split_ascii(classes, words, &mut other);
        } else {
            for_each_token(message, scratch, |token| {
                words.take(token.as_bytes(), UNKNOWN, &mut other);
            });
            if memchr::memchr(ESCAPE, message.as_bytes()).is_some() {
                // What an escape sequence has is in no token, but a part of a text may begin in one.
                words.letters = Letters::ANY;
            }
        }
        Split { words: words.text.get(..words.length).unwrap_or_default(), letters: words.letters }
    }
}

/// Takes a message apart whose tokens are ASCII without escapes: by the edges between bytes that are of a token and
/// those that are not, many at a time.
fn split_ascii(classes: &Classes, words: &mut Words, other: &mut impl FnMut(Other<'_>)) {
    // Where a token began that goes on in the next block.
    let (mut open, mut last) = (None, 0);
    for (block, (runs, digits)) in classes.blocks().enumerate() {
        let before = runs << 1 | last;
        let (mut starts, mut ends) = (runs & !before, !runs & before);
        last = runs >> (BLOCK - 1);
        if let Some(start) = open.filter(|_| ends != 0) {
            let end = block * BLOCK + ends.trailing_zeros() as usize;
            ends &= ends - 1;
            open = None;
            words.take_any(classes.folded(), start, end, other);
        }
        while ends != 0 {
            let (start, end) = (starts.trailing_zeros() as usize, ends.trailing_zeros() as usize);
            starts &= starts - 1;
            ends &= ends - 1;
            let length = end - start;
            let all = u64::MAX >> (BLOCK - length);
            let digits = digits >> start & all;
            let start = block * BLOCK + start;
            match classes.folded().get(start..).and_then(<[u8]>::first_chunk::<MOVE>).filter(|_| length < MOVE) {
                Some(token) if digits == 0 => words.put_short(classes.folded(), start, *token, length),
                Some(token) if digits == all => {
                    // A number has no letters.
                    other(Other::Number(token.get(..length).unwrap_or_default()));
                }
                _ if digits == 0 => words.take_any(classes.folded(), start, start + length, other),
                _ => words.take_mixed(classes.folded().get(start..start + length).unwrap_or_default(), other),
            }
        }
        if starts != 0 {
            open = Some(block * BLOCK + starts.trailing_zeros() as usize);
        }
    }
}

/// The words of a message.
#[derive(Default)]
struct Words {
    /// Those so far, and how long they are; what stands behind them means nothing.
    text: Vec<u8>,
    length: usize,
    /// Where the last word ends in the folded message, if it is a token of it.
    last: Option<usize>,
    /// The letters of what is in no word.
    letters: Letters,
}

impl Words {
    /// Begins with a message that is so long.
    fn clear(&mut self, bytes: usize) {
        (self.length, self.last, self.letters) = (0, None, Letters::NONE);
        // A byte before each word stands for one between it and the last, at least; a move may go beyond the last one.
        let room = 2 * bytes + 2 * MOVE;
        if self.text.len() < room {
            self.text.resize(room, 0);
        }
    }

    /// What stands before the token that begins at `start`.
    fn before(&self, folded: &[u8], start: usize) -> u8 {
        let spaced = self.last.is_some_and(|last| last + 1 == start && folded.get(last) == Some(&SPACE));
        if spaced { SPACE } else { BREAK }
    }

    /// Puts a word down, with what follows it up to the length of a move.
    fn put_short(&mut self, folded: &[u8], start: usize, word: [u8; MOVE], length: usize) {
        let before = self.before(folded, start);
        if let Some((first, room)) = self.text.get_mut(self.length..).and_then(<[u8]>::split_first_mut)
            && let Some(room) = room.first_chunk_mut::<MOVE>()
        {
            *first = before;
            *room = word;
            self.length += 1 + length;
        }
        self.last = Some(start + length);
    }

    /// Takes the token from `start` to `end` of the folded message.
    fn take_any(&mut self, folded: &[u8], start: usize, end: usize, other: &mut impl FnMut(Other<'_>)) {
        let before = self.before(folded, start);
        let is_word = self.take(folded.get(start..end).unwrap_or_default(), before, other);
        self.last = is_word.then_some(end);
    }

    /// Takes any token; gives whether it is a word.
    fn take(&mut self, token: &[u8], before: u8, other: &mut impl FnMut(Other<'_>)) -> bool {
        if token.len() <= WORD_BYTES_MAX && !token.iter().any(u8::is_ascii_digit) {
            self.put(&[before]);
            self.put(token);
            return true;
        }
        self.take_mixed(token, other);
        false
    }

    /// Takes a token that is no word.
    fn take_mixed(&mut self, token: &[u8], other: &mut impl FnMut(Other<'_>)) {
        other(Other::Mixed(token));
        let letters = Letters::of_token(token);
        if (letters.count() as usize) < PART_LETTERS_MIN {
            self.letters = self.letters.and(letters);
            return;
        }
        for part in letters_of(token) {
            if (PART_LETTERS_MIN..=WORD_BYTES_MAX).contains(&part.len()) {
                self.put(&[BREAK]);
                self.put(part);
                self.put(&[PART]);
            } else {
                self.letters = self.letters.and(Letters::of_token(part));
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if self.text.len() < end {
            self.text.resize(2 * end, 0);
        }
        if let Some(room) = self.text.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
        }
        self.length = end;
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

    /// Those of a token, folded.
    pub(super) fn of_token(token: &[u8]) -> Letters {
        let (mut alphabet, mut count, mut most) = (0_u32, 0_u32, 0);
        // Without a branch for each byte: what an id is made of cannot be foreseen.
        for byte in token {
            let is_letter = u32::from(byte.is_ascii_lowercase());
            alphabet |= is_letter << (byte.wrapping_sub(b'a') & 31);
            count = (count + 1) * is_letter;
            most = count.max(most);
        }
        Letters(alphabet << Self::COUNT_BITS | most.min(Self::COUNT_MAX))
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
        let Split { words, letters } = splitter.split(message, |other| {
            let (Other::Number(token) | Other::Mixed(token)) = other;
            others.push(String::from_utf8(token.to_vec()).unwrap());
        });
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
        assert_eq!(split(&long), (String::new(), Letters::of_token(long.as_bytes()), vec![long]));
    }

    #[test]
    fn letters_are_known_by_their_number_and_the_alphabet() {
        let letters = Letters::of_token(b"feed").and(Letters::of_token(b"xa"));
        for (token, expected) in
            [("feed", true), ("axed", true), ("9xe_adde", true), ("feeds", false), ("eaten", false)]
        {
            assert_eq!(letters.may_have(Letters::of_token(token.as_bytes())), expected, "{token}");
        }
        for count in [62, 63, 64, 1000] {
            let long = vec![b'z'; count];
            assert!(
                Letters::of_token(&long).may_have(Letters::of_token(&long))
                    && Letters::ANY.may_have(Letters::of_token(&long))
            );
            assert!(!letters.may_have(Letters::of_token(&long)) && Letters::of_token(&long).may_have(Letters::NONE));
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
