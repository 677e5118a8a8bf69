//! Fuzzy words: those that a few slips of the finger turn into another.

use super::token::for_each_token;

/// How many slips may be allowed.
pub(super) const SLIPS_MAX: u8 = 2;
/// How many characters a fuzzy word has at most.
pub(super) const CHARS_MAX: usize = 64;

/// A word that is found with a few characters missing, added, replaced, or swapped with their neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fuzzy {
    /// Folded, one token.
    word: String,
    chars: Vec<char>,
    slips: u8,
}

impl Fuzzy {
    /// The fuzzy word for `word`; `None`, if that is not one token, or if it or `slips` is too large.
    pub fn new(word: &str, slips: u8) -> Option<Fuzzy> {
        let mut tokens = 0;
        let mut folded = String::new();
        for_each_token(word, &mut String::new(), |token| {
            tokens += 1;
            token.clone_into(&mut folded);
        });
        let chars: Vec<char> = folded.chars().collect();
        let is_whole = tokens == 1 && chars.len() == word.chars().count();
        let fits = chars.len() <= CHARS_MAX && (1..=SLIPS_MAX).contains(&slips);
        (is_whole && fits).then_some(Fuzzy { word: folded, chars, slips })
    }

    /// The word, folded.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// How many slips are allowed.
    pub fn slips(&self) -> u8 {
        self.slips
    }

    /// Whether a token of `text` is the word, but for the slips. `scratch` is reused between calls.
    pub(super) fn matches(&self, text: &str, scratch: &mut Scratch) -> bool {
        let Scratch { folded, rows } = scratch;
        let mut found = false;
        for_each_token(text, folded, |token| found = found || self.is_near(token, rows));
        found
    }

    fn is_near(&self, token: &str, rows: &mut Rows) -> bool {
        if token == self.word {
            return true;
        }
        let slips = usize::from(self.slips);
        // A character has at most four bytes, so most tokens need not be counted.
        let longest = self.chars.len() + slips;
        if token.len() > 4 * longest || token.len() + slips < self.chars.len() {
            return false;
        }
        let length = token.chars().count();
        length <= longest && length + slips >= self.chars.len() && distance(&self.chars, token, rows) <= slips
    }
}

/// Memory that one look after the other may use.
#[derive(Default)]
pub(super) struct Scratch {
    folded: String,
    rows: Rows,
}

/// Three rows of the table of distances: that of the character in hand, and the two before.
type Rows = [Vec<usize>; 3];

/// The optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours, each place
/// changed once.
fn distance(word: &[char], token: &str, rows: &mut Rows) -> usize {
    let [earlier, before, row] = rows;
    before.clear();
    before.extend(0..=word.len());
    earlier.clear();
    let mut last = None;
    for (index, c) in token.chars().enumerate() {
        row.clear();
        row.push(index + 1);
        for (place, wanted) in word.iter().enumerate() {
            let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(before, place) + usize::from(c != *wanted);
            let mut best = replaced.min(at(before, place + 1) + 1).min(at(row, place) + 1);
            let previous = place.checked_sub(1).and_then(|place| word.get(place));
            if last == Some(*wanted) && previous == Some(&c) {
                best = best.min(at(earlier, place - 1) + 1);
            }
            row.push(best);
        }
        std::mem::swap(earlier, before);
        std::mem::swap(before, row);
        last = Some(c);
    }
    before.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_few_slips_are_forgiven() {
        for (word, slips, text, expected) in [
            ("timeout", 1, "a TIMEOUT", true),
            ("timeout", 1, "a timeuot occurred", true),
            ("timeout", 1, "a tmeout", true),
            ("timeout", 1, "a timeoutt", true),
            ("timeout", 1, "a tiemuot", false),
            ("timeout", 2, "a tiemuot", true),
            ("timeout", 2, "time out", false),
            ("größe", 1, "GROSSE grösse GRÖßE", true),
            ("größe", 1, "grobe", false),
        ] {
            let fuzzy = Fuzzy::new(word, slips).unwrap();
            assert_eq!(fuzzy.matches(text, &mut Scratch::default()), expected, "{word}~{slips} in {text}");
        }
        for (word, slips) in [("a b", 1), ("", 1), ("-a", 1), ("a", 0), ("a", 3), (&"a".repeat(65), 1), ("日本", 1)] {
            assert_eq!(Fuzzy::new(word, slips), None, "{word}~{slips}");
        }
    }

    proptest! {
        #[test]
        fn the_distance_is_the_known_one(a in "[abé]{0,6}", b in "[abé]{0,6}") {
            let chars: Vec<char> = a.chars().collect();
            prop_assert_eq!(distance(&chars, &b, &mut Rows::default()), strsim::osa_distance(&a, &b));
        }
    }
}
