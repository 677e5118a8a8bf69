//! Finds the templates of messages, and their tokens on the way.

use std::collections::HashMap;

use super::words::{BREAK, Letters, Other, PART_LETTERS_MIN, SPACE, Splitter, UNKNOWN};
use super::{Follows, Templates};
use crate::store::embedded::hash::Seeded;
use crate::store::embedded::tokens::TokenFilterBuilder;

/// How many words the vocabulary has at most, and how many templates there are.
const WORDS_MAX: usize = 4096;
const TEMPLATES_MAX: usize = 2048;
/// Where there would be more, words are left out that are in fewer rows than this, or times this, and so on.
const RARE: u32 = 4;
/// Short ones are left out that are in so many times as many: what looks like a word there may be a part of an id.
const SHORT_RARE: u32 = 16;

/// What was found in the messages of a row group.
pub(in crate::store::embedded) struct Found {
    /// Without `runs`, as the rows are not in order yet.
    pub(in crate::store::embedded) templates: Templates,
    /// The template of each message.
    pub(in crate::store::embedded) of_rows: Vec<u32>,
    /// The filter of all tokens; `None`, if it cannot be made, which is all but impossible.
    pub(in crate::store::embedded) filter: Option<Vec<u8>>,
}

/// Goes through the messages of one row group after the other; its memory is used again for the next one.
#[derive(Default)]
pub(in crate::store::embedded) struct TemplateBuilder {
    splitter: Splitter,
    filter: TokenFilterBuilder,
    /// The kinds of messages, by their words.
    kinds: HashMap<Box<[u8]>, u32, Seeded>,
    known: Vec<Kind>,
    /// The kind of each message.
    rows: Vec<u32>,
}

/// Messages with the same words in the same order.
#[derive(Clone, Copy)]
struct Kind {
    rows: u32,
    /// The letters of what is in none of these words.
    letters: Letters,
}

impl TemplateBuilder {
    /// What is found in these messages, which are in any order.
    pub(in crate::store::embedded) fn find<'a>(&mut self, messages: impl Iterator<Item = &'a str>) -> Found {
        self.rows.clear();
        self.kinds.clear();
        self.known.clear();
        messages.for_each(|message| self.add(message));
        let mut texts = vec![[].as_slice(); self.known.len()];
        for (text, kind) in &self.kinds {
            if let Some(place) = texts.get_mut(*kind as usize) {
                *place = text;
            }
        }
        let kinds: Vec<(&[u8], Kind)> = texts.into_iter().zip(self.known.iter().copied()).collect();
        let words = Words::of(&kinds);
        words.distinct.keys().for_each(|word| self.filter.add(word));
        let (templates, of_kinds) = words.templates();
        let of_rows = self.rows.iter().map(|kind| of_kinds.get(*kind as usize).copied().unwrap_or_default()).collect();
        Found { templates, of_rows, filter: self.filter.finish() }
    }

    fn add(&mut self, message: &str) {
        let split = self.splitter.split(message, |token| match token {
            Other::Number(digits) => self.filter.add_number(digits),
            Other::Mixed(token) => self.filter.add(token),
        });
        let kind = match self.kinds.get(split.words) {
            Some(kind) => *kind,
            None => {
                // A row group's rows are counted by u32.
                let kind = self.known.len() as u32;
                self.kinds.insert(split.words.into(), kind);
                self.known.push(Kind { rows: 0, letters: Letters::NONE });
                kind
            }
        };
        if let Some(known) = self.known.get_mut(kind as usize) {
            known.rows += 1;
            known.letters = known.letters.and(split.letters);
        }
        self.rows.push(kind);
    }
}

/// The words of all kinds.
struct Words<'a> {
    kinds: &'a [(&'a [u8], Kind)],
    distinct: HashMap<&'a [u8], u32, Seeded>,
    /// In how many rows each of them is, and its letters.
    rows: Vec<u32>,
    letters: Vec<Letters>,
    /// Those of each kind in order, one kind behind the other, and where those of a kind end.
    of_kinds: Vec<(u32, Follows)>,
    ends: Vec<usize>,
}

impl<'a> Words<'a> {
    fn of(kinds: &'a [(&'a [u8], Kind)]) -> Words<'a> {
        let mut words = Words {
            kinds,
            distinct: HashMap::default(),
            rows: Vec::new(),
            letters: Vec::new(),
            of_kinds: Vec::new(),
            ends: Vec::with_capacity(kinds.len()),
        };
        // The last kind that had the word, so that its rows are counted once.
        let mut counted: Vec<usize> = Vec::new();
        for (place, (mut text, kind)) in kinds.iter().copied().enumerate() {
            while let Some((before, rest)) = text.split_first() {
                let end = rest.iter().position(|byte| [SPACE, BREAK, UNKNOWN].contains(byte)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                text = after;
                let next = words.rows.len() as u32;
                let index = *words.distinct.entry(word).or_insert(next);
                if index == next {
                    words.rows.push(0);
                    words.letters.push(Letters::of_token(word));
                    counted.push(usize::MAX);
                }
                let word = index as usize;
                if let Some((rows, counted)) = words.rows.get_mut(word).zip(counted.get_mut(word))
                    && *counted != place
                {
                    *rows += kind.rows;
                    *counted = place;
                }
                words.of_kinds.push((index, Follows::of(*before)));
            }
            words.ends.push(words.of_kinds.len());
        }
        words
    }

    /// The templates, and which each kind has.
    fn templates(&self) -> (Templates, Vec<u32>) {
        let mut least = 1;
        loop {
            if let Some(found) = self.templates_of(least) {
                return found;
            }
            least = least.saturating_mul(RARE);
        }
    }

    /// The same with the words that are in `least` rows or more; `None`, if that makes too many.
    fn templates_of(&self, least: u32) -> Option<(Templates, Vec<u32>)> {
        let is_frequent = |(text, word): &(&[u8], u32)| {
            let least =
                if least > 1 && text.len() < PART_LETTERS_MIN { least.saturating_mul(SHORT_RARE) } else { least };
            self.rows.get(*word as usize).is_some_and(|rows| *rows >= least)
        };
        let mut vocabulary: Vec<(&[u8], u32)> =
            self.distinct.iter().map(|(text, word)| (*text, *word)).filter(is_frequent).collect();
        // With no word at all there is one template, so that an end is found.
        if vocabulary.len() > WORDS_MAX {
            return None;
        }
        vocabulary.sort_unstable();
        let mut places = vec![None; self.rows.len()];
        for ((_, word), place) in vocabulary.iter().zip(0_u32..) {
            if let Some(found) = places.get_mut(*word as usize) {
                *found = Some(place);
            }
        }
        let mut found: HashMap<(Vec<u32>, bool), (u32, Letters)> = HashMap::new();
        let mut of_kinds = Vec::with_capacity(self.kinds.len());
        let mut start = 0;
        for ((_, kind), end) in self.kinds.iter().zip(&self.ends) {
            let words = self.of_kinds.get(start..*end).unwrap_or_default();
            start = *end;
            let mut own: Vec<u32> = Vec::with_capacity(words.len());
            let mut others = kind.letters;
            let mut left_out = false;
            for (word, follows) in words {
                match places.get(*word as usize) {
                    Some(Some(place)) => {
                        own.push(if left_out { Follows::Apart } else { *follows }.with(*place));
                        left_out = false;
                    }
                    _ => {
                        others = self.letters.get(*word as usize).map_or(others, |letters| others.and(*letters));
                        left_out = true;
                    }
                }
            }
            let next = found.len() as u32;
            // Rows with a rare word stand by themselves, so that the others need no look for its letters.
            let rare = others.count() as usize >= PART_LETTERS_MIN;
            let (template, letters) = found.entry((own, rare)).or_insert((next, Letters::NONE));
            *letters = letters.and(others);
            of_kinds.push(*template);
            if found.len() > TEMPLATES_MAX {
                return None;
            }
        }
        Some(in_order(vocabulary, found, of_kinds))
    }
}

/// Puts templates in order, so that they do not depend on that of the messages.
fn in_order(
    vocabulary: Vec<(&[u8], u32)>,
    found: HashMap<(Vec<u32>, bool), (u32, Letters)>,
    of_kinds: Vec<u32>,
) -> (Templates, Vec<u32>) {
    let mut sorted: Vec<_> = found.into_iter().collect();
    sorted.sort_unstable();
    let mut places = vec![0; sorted.len()];
    for ((_, (template, _)), place) in sorted.iter().zip(0_u32..) {
        if let Some(found) = places.get_mut(*template as usize) {
            *found = place;
        }
    }
    let mut templates = Templates::default();
    for (word, _) in vocabulary {
        templates.text += &String::from_utf8_lossy(word);
        templates.word_ends.push(templates.text.len() as u32);
    }
    for ((words, _), (_, letters)) in sorted {
        templates.places.extend(words);
        templates.template_ends.push(templates.places.len() as u32);
        templates.letters.push(letters);
    }
    (templates, of_kinds.iter().map(|template| places.get(*template as usize).copied().unwrap_or_default()).collect())
}
