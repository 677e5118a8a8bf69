//! A term: a text that must occur in the message, whole tokens only.
//!
//! A term occurs where its text stands, whatever the case, and where the tokens of the message that lie there, each
//! wholly inside, are the term's own. So `10.0.0.1` does not occur in `10.0.0.12`. A term without any token is plain
//! text. At an open edge (`pre*`, `*fix`) a token of the message may go on. A term may ask for its exact case.

use std::ops::Range;

use memchr::memmem;

use super::letters;
use super::token::{FOLDS_TO_ASCII, fold, for_each_span, for_each_token, is_caseless, is_run};

/// A word or phrase that is searched for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    /// Folded, unless the case counts.
    text: String,
    exact_case: bool,
    edges: Edges,
    /// The folded tokens of the text.
    tokens: Vec<String>,
    /// Those of them that are tokens of every match too.
    whole: Range<usize>,
    /// The folded ASCII letters of the text that stand side by side.
    letters: Vec<String>,
    /// Whether it is two tokens or more with a space between them, in any case.
    is_phrase: bool,
    search: Search,
}

/// Where a token of the message may go on beyond the text of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Edges {
    /// Before it: `*fix`.
    pub open_start: bool,
    /// After it: `pre*`.
    pub open_end: bool,
}

/// How places are found at which a term may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Search {
    /// By the rarest of its ASCII bytes.
    Anchor(Anchor),
    /// By its bytes, which are the same in every case.
    Bytes,
    /// Character by character.
    Walk,
}

/// A byte of a term, by which it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Anchor {
    /// Where it stands in the folded text.
    offset: usize,
    lower: u8,
    upper: u8,
    /// Whether it is found by its two ASCII forms in every text; else in ASCII only.
    everywhere: bool,
}

/// The bytes of log messages, the most frequent first; those that are not listed are rarer still.
const BY_FREQUENCY: &[u8] = b" etoainrs0dl1cu2mp3h-45f6789g.b:_=/,wyvk\"[]()x'jqz";

impl Term {
    /// The term for `text`, in any case.
    pub fn new(text: &str) -> Term {
        Term::with_edges(text, Edges::default())
    }

    /// The term for `text` in any case, as a part of words where an edge is open.
    pub fn with_edges(text: &str, edges: Edges) -> Term {
        let tokens = tokens(text);
        let whole = whole_tokens(text, tokens.len(), edges);
        let text: String = text.chars().map(fold).collect();
        let search = match Anchor::of(&text) {
            Some(anchor) => Search::Anchor(anchor),
            None if text.chars().all(is_caseless) => Search::Bytes,
            None => Search::Walk,
        };
        let letters = letters::runs(&text).collect();
        let is_phrase = tokens.len() > 1 && text == tokens.join(" ");
        Term { text, exact_case: false, edges, tokens, whole, letters, is_phrase, search }
    }

    /// The term for `text` in just this case.
    pub fn in_exact_case(text: &str) -> Term {
        let tokens = tokens(text);
        let whole = 0..tokens.len();
        let edges = Edges::default();
        let letters = letters::runs(text).collect();
        Term {
            text: text.to_owned(),
            exact_case: true,
            edges,
            tokens,
            whole,
            letters,
            is_phrase: false,
            search: Search::Bytes,
        }
    }

    /// The text, folded unless the case counts.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the case counts.
    pub fn is_exact_case(&self) -> bool {
        self.exact_case
    }

    /// Which edges are open.
    pub fn edges(&self) -> Edges {
        self.edges
    }

    /// The folded tokens that every message with this term has; none, if the term is plain text.
    pub fn tokens(&self) -> &[String] {
        self.tokens.get(self.whole.clone()).unwrap_or_default()
    }

    /// The folded token that a message has just when it has this term, if the term is nothing else.
    pub fn one_token(&self) -> Option<&str> {
        let [token] = self.tokens() else { return None };
        (!self.exact_case && *token == self.text).then_some(token)
    }

    /// The folded tokens that a message has one after the other, with one space between them, just when it has this term.
    pub fn phrase(&self) -> Option<&[String]> {
        (self.is_phrase && self.edges == Edges::default()).then_some(self.tokens.as_slice())
    }

    /// Folded ASCII letters that every message with this term has, each of these side by side.
    pub fn letters(&self) -> &[String] {
        &self.letters
    }

    /// Whether the term has any token; else it is plain text.
    pub fn has_token(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Whether `message` has the term.
    pub fn matches(&self, message: &str) -> bool {
        match self.search {
            Search::Anchor(anchor) => self.matches_by_anchor(anchor, message),
            Search::Bytes => self.matches_by_bytes(message),
            Search::Walk => self.matches_by_walk(message),
        }
    }

    /// A quick way through many texts that stand one behind the other in `texts`; `None`, if each has to be looked at.
    pub(super) fn scan<'a>(&'a self, texts: &'a [u8]) -> Option<Scan<'a>> {
        let Search::Anchor(anchor) = self.search else { return None };
        let ascii = texts.is_ascii();
        (ascii || anchor.everywhere).then_some(Scan { term: self, texts, anchor, ascii })
    }

    fn matches_by_bytes(&self, message: &str) -> bool {
        let mut from = 0;
        // Occurrences may overlap: that the first has no boundaries says nothing of the next.
        while let Some(found) = message.as_bytes().get(from..).and_then(|rest| memmem::find(rest, self.text.as_bytes()))
        {
            let start = from + found;
            if self.is_bounded(message, start..start + self.text.len()) {
                return true;
            }
            from = start + 1;
        }
        false
    }

    fn matches_by_anchor(&self, anchor: Anchor, message: &str) -> bool {
        let bytes = message.as_bytes();
        let ascii = message.is_ascii();
        if !ascii && !anchor.everywhere {
            return self.matches_by_walk(message);
        }
        if ascii && bytes.len() < self.text.len() {
            return false;
        }
        let mut from = 0;
        while let Some(found) = anchor.find(bytes.get(from..).unwrap_or_default()) {
            let at = from + found;
            let span = if ascii { self.ascii_span(anchor, bytes, at) } else { self.wide_span(anchor, message, at) };
            if span.is_some_and(|span| self.is_bounded(message, span)) {
                return true;
            }
            from = at + 1;
        }
        false
    }

    /// The place of the text in an ASCII message, if it stands with its anchor at `at`.
    fn ascii_span(&self, anchor: Anchor, message: &[u8], at: usize) -> Option<Range<usize>> {
        let start = at.checked_sub(anchor.offset)?;
        let span = start..start + self.text.len();
        message.get(span.clone())?.eq_ignore_ascii_case(self.text.as_bytes()).then_some(span)
    }

    /// The place of the text in any message, if it stands with its anchor at `at`. Folded characters may be longer or
    /// shorter than those of the message.
    fn wide_span(&self, anchor: Anchor, message: &str, at: usize) -> Option<Range<usize>> {
        let (text_before, text_after) = self.text.split_at_checked(anchor.offset)?;
        let (before, after) = message.split_at_checked(at)?;
        let head = common_length(text_before.chars().rev(), before.chars().rev())?;
        let tail = common_length(text_after.chars(), after.chars())?;
        Some(at - head..at + tail)
    }

    fn matches_by_walk(&self, message: &str) -> bool {
        if self.text.is_empty() {
            return true;
        }
        message.char_indices().any(|(start, _)| {
            let rest = message.get(start..).unwrap_or_default();
            common_length(self.text.chars(), rest.chars())
                .is_some_and(|length| self.is_bounded(message, start..start + length))
        })
    }

    /// Whether the tokens of `message` that lie in `span` are the term's own.
    fn is_bounded(&self, message: &str, span: Range<usize>) -> bool {
        if self.tokens.is_empty() {
            return true;
        }
        // An escape sequence may turn letters into none; the tokens have to be taken one by one then.
        if memchr::memchr(0x1b, message.as_bytes()).is_some() {
            return self.has_own_tokens(message, &span);
        }
        (self.edges.open_start || !is_inside_token(message, span.start))
            && (self.edges.open_end || !is_inside_token(message, span.end))
    }

    fn has_own_tokens(&self, message: &str, span: &Range<usize>) -> bool {
        let mut own = self.tokens.iter();
        let mut equal = true;
        for_each_span(message, |token, _| {
            if token.end > span.start && token.start < span.end {
                let fits = (self.edges.open_start || token.start >= span.start)
                    && (self.edges.open_end || token.end <= span.end);
                let inside = token.start.max(span.start)..token.end.min(span.end);
                let folded = message.get(inside).unwrap_or_default().chars().map(fold);
                equal &= fits && own.next().is_some_and(|own| own.chars().eq(folded));
            }
        });
        equal && own.next().is_none()
    }
}

/// A way through texts that stand one behind the other, from one place that may have a term to the next.
pub(super) struct Scan<'a> {
    term: &'a Term,
    texts: &'a [u8],
    anchor: Anchor,
    /// Whether all of the texts are.
    ascii: bool,
}

impl Scan<'_> {
    /// The first place from `from` on at which a text with the term may stand.
    pub fn next_place(&self, from: usize) -> Option<usize> {
        let mut from = from;
        loop {
            let at = from + self.anchor.find(self.texts.get(from..)?)?;
            // Within ASCII the whole term can be compared at once, whatever texts it stands in.
            if !self.ascii || self.term.ascii_span(self.anchor, self.texts, at).is_some() {
                return Some(at);
            }
            from = at + 1;
        }
    }

    /// Whether `text` has the term with the place `at`.
    pub fn holds(&self, text: &str, at: usize) -> bool {
        let span = if self.ascii {
            self.term.ascii_span(self.anchor, text.as_bytes(), at)
        } else {
            self.term.wide_span(self.anchor, text, at)
        };
        span.is_some_and(|span| self.term.is_bounded(text, span))
    }
}

/// The folded tokens of a text.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for_each_token(text, &mut String::new(), |token| tokens.push(token.to_owned()));
    tokens
}

/// Which of the `count` tokens of a text cannot go on beyond it.
fn whole_tokens(text: &str, count: usize, edges: Edges) -> Range<usize> {
    let runs_on = |c: Option<char>| c.is_some_and(is_run);
    let start = usize::from(edges.open_start && runs_on(text.chars().next()));
    let end = count.saturating_sub(usize::from(edges.open_end && runs_on(text.chars().next_back())));
    start.min(end)..end
}

impl Anchor {
    /// The byte of a folded text that is rarest in messages; `None`, if no byte is ASCII.
    fn of(text: &str) -> Option<Anchor> {
        let anchors = text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii()).map(|(offset, byte)| Anchor {
            offset,
            lower: byte,
            upper: byte.to_ascii_uppercase(),
            everywhere: !FOLDS_TO_ASCII.into_iter().any(|other| fold(other) == char::from(byte)),
        });
        anchors.max_by_key(|anchor| {
            let frequency = BY_FREQUENCY.iter().position(|byte| *byte == anchor.lower);
            (anchor.everywhere, frequency.unwrap_or(BY_FREQUENCY.len()))
        })
    }

    fn find(self, bytes: &[u8]) -> Option<usize> {
        if self.lower == self.upper {
            memchr::memchr(self.lower, bytes)
        } else {
            memchr::memchr2(self.lower, self.upper, bytes)
        }
    }
}

/// How many bytes of `chars` fold to all of `folded`; `None`, if they differ.
fn common_length(folded: impl Iterator<Item = char>, mut chars: impl Iterator<Item = char>) -> Option<usize> {
    let mut length = 0;
    for expected in folded {
        let c = chars.next().filter(|c| fold(*c) == expected)?;
        length += c.len_utf8();
    }
    Some(length)
}

/// Whether a token goes on over the place `at` of a text without escape sequences.
fn is_inside_token(text: &str, at: usize) -> bool {
    let Some((before, after)) = text.split_at_checked(at) else { return true };
    before.chars().next_back().is_some_and(is_run) && after.chars().next().is_some_and(is_run)
}

#[cfg(test)]
mod tests;
