//! Templates: which words the messages of a row group have.
//!
//! The messages of a service come from few statements in its code. What those of one statement have in common are words;
//! what differs are numbers, addresses and ids, most of which have a digit. So a *word* is a token without a digit, the
//! *vocabulary* of a row group are its words but for the rare ones, and a *template* is what a message has of the
//! vocabulary, in order, and which of these words have just a space between them. There are some hundred of them in a row group; its rows stand by template, so
//! that which row has which takes next to no room.
//!
//! Where a token with digits has many letters side by side, these count as a word too, which no token is.
//!
//! From them follows, without a look at a message, which rows have a word of the vocabulary, or a phrase of such words. And as it is known which
//! *letters* all other tokens of a template's messages have, and how many side by side, they rule out most rows for parts
//! of words and regular expressions.
//!
//! They follow from the messages alone, whatever their order, but for `runs`. How they stand on disk is told in [`codec`].

mod builder;
mod classes;
mod codec;
mod words;

use std::cmp::Ordering;

use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};

pub(super) use self::builder::{Found, TemplateBuilder};
use self::words::Letters;
use crate::query::{Expr, SeveritySet, Summary, TimeRange, Verdict};

/// The templates of a row group, and which of its rows has which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Templates {
    /// The vocabulary in ascending order, one word behind the other, and where each of them ends.
    text: String,
    word_ends: Vec<u32>,
    /// Where the words of the templates stand in the vocabulary, and how they follow the one before ([`Follows`]), one
    /// template behind the other, and where those of each template end.
    places: Vec<u32>,
    template_ends: Vec<u32>,
    /// The letters of all other tokens of each template's messages.
    letters: Vec<Letters>,
    /// So many rows of this template, and so on.
    runs: Vec<(u32, u32)>,
}

/// How a word of a template follows the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// Something else stands between, or there is none before.
    Apart,
    /// A space stands between, and nothing else.
    Spaced,
    /// It is not known.
    Unknown,
}

impl Follows {
    const BITS: u32 = 2;

    fn of(separator: u8) -> Follows {
        match separator {
            words::SPACE => Follows::Spaced,
            words::UNKNOWN => Follows::Unknown,
            _ => Follows::Apart,
        }
    }

    /// A number of this and a place in the vocabulary.
    fn with(self, place: u32) -> u32 {
        place << Self::BITS | self as u32
    }

    /// The place in such a number.
    fn place(number: u32) -> u32 {
        number >> Self::BITS
    }

    fn is_in(self, number: u32) -> bool {
        number & ((1 << Self::BITS) - 1) == self as u32
    }
}

/// What templates say of the rows of a group.
pub(super) struct Judged {
    /// Those that pass.
    pub(super) sure: BooleanBuffer,
    /// Those that have to be looked at.
    pub(super) open: BooleanBuffer,
}

impl Templates {
    /// The same, of rows that stand in this order of templates.
    pub(super) fn with_runs(self, of_rows: &[u32]) -> Templates {
        // A row group's rows are counted by u32.
        let runs = of_rows.chunk_by(|one, next| one == next);
        let runs = runs.filter_map(|run| run.first().map(|template| (*template, run.len() as u32))).collect();
        Templates { runs, ..self }
    }

    /// What they say of the rows that pass `expr`, beside what is known of the whole group.
    pub(super) fn judge(&self, expr: &Expr, group: &dyn Summary) -> Judged {
        let mut start = 0;
        let verdicts = self.template_ends.iter().zip(&self.letters).map(|(end, letters)| {
            let places = self.places.get(start..*end as usize).unwrap_or_default();
            start = *end as usize;
            expr.verdict(&OfTemplate { all: self, places, letters: *letters, group })
        });
        let verdicts: Vec<Verdict> = verdicts.collect();
        let rows = self.runs.iter().map(|(_, rows)| *rows as usize).sum();
        let [mut sure, mut open] = [(); 2].map(|()| BooleanBufferBuilder::new(rows));
        for (template, rows) in &self.runs {
            let verdict = verdicts.get(*template as usize);
            sure.append_n(*rows as usize, verdict == Some(&Verdict::Always));
            open.append_n(*rows as usize, verdict == Some(&Verdict::Maybe));
        }
        Judged { sure: sure.finish(), open: open.finish() }
    }

    /// A word of the vocabulary.
    fn word(&self, place: u32) -> &str {
        let end = |place: u32| self.word_ends.get(place as usize).map(|end| *end as usize);
        let start = place.checked_sub(1).map_or(Some(0), end);
        let bounds = start.zip(end(place));
        bounds.and_then(|(start, end)| self.text.get(start..end)).unwrap_or_default()
    }

    /// Where a word stands in the vocabulary.
    fn place(&self, word: &str) -> Option<u32> {
        // The vocabulary has a few thousand words.
        let (mut start, mut end) = (0, self.word_ends.len() as u32);
        while start < end {
            let middle = start.midpoint(end);
            match self.word(middle).cmp(word) {
                Ordering::Less => start = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => end = middle,
            }
        }
        None
    }
}

/// The records of a template.
struct OfTemplate<'a> {
    all: &'a Templates,
    places: &'a [u32],
    letters: Letters,
    group: &'a dyn Summary,
}

impl OfTemplate<'_> {
    fn has(&self, place: u32) -> bool {
        self.places.iter().any(|number| Follows::place(*number) == place)
    }
}

impl Summary for OfTemplate<'_> {
    fn times(&self) -> TimeRange {
        self.group.times()
    }

    fn severities(&self) -> SeveritySet {
        self.group.severities()
    }

    fn may_have_service(&self, service: &str) -> bool {
        self.group.may_have_service(service)
    }

    fn may_have_attribute(&self, name: &str) -> bool {
        self.group.may_have_attribute(name)
    }

    fn may_have_tokens(&self, tokens: &[String]) -> bool {
        tokens.iter().all(|token| match self.all.place(token) {
            Some(place) => self.has(place),
            None => {
                self.letters.may_have(Letters::of_token(token.as_bytes()))
                    && self.group.may_have_tokens(std::slice::from_ref(token))
            }
        })
    }

    fn may_have_letters(&self, letters: &str) -> bool {
        self.letters.may_have(Letters::of_token(letters.as_bytes()))
            || self.places.iter().any(|number| self.all.word(Follows::place(*number)).contains(letters))
    }

    fn has_phrase(&self, words: &[String]) -> Verdict {
        let places: Option<Vec<u32>> = words.iter().map(|word| self.all.place(word)).collect();
        let Some(places) = places else { return Verdict::Maybe };
        let is_phrase = |window: &[u32]| {
            let same = window.iter().map(|number| Follows::place(*number)).eq(places.iter().copied());
            same && window.iter().skip(1).all(|number| Follows::Spaced.is_in(*number))
        };
        if self.places.windows(places.len().max(1)).any(is_phrase) {
            Verdict::Always
        } else if self.places.iter().any(|number| Follows::Unknown.is_in(*number)) {
            Verdict::Maybe
        } else {
            Verdict::Never
        }
    }

    fn has_token(&self, token: &str) -> bool {
        self.all.place(token).is_some_and(|place| self.has(place))
    }
}

#[cfg(test)]
mod tests;
