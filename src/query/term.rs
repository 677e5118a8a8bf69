//! A term: a text that must occur in the message, whole tokens only.
//!
//! A term occurs where its text stands, whatever the case, and where the tokens of the message that lie there, each
//! wholly inside, are the term's own. So `10.0.0.1` does not occur in `10.0.0.12`. A term without any token is plain
//! text.

use std::ops::Range;

use memchr::memmem;

use super::token::{FOLDS_TO_ASCII, fold, for_each_span, for_each_token, is_caseless, is_run};

/// A word or phrase that is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Folded.
    text: String,
    tokens: Vec<String>,
    search: Search,
}

/// How places are found at which a term may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    /// By the rarest of its ASCII bytes.
    Anchor(Anchor),
    /// By its bytes, which are the same in every case.
    Bytes,
    /// Character by character.
    Walk,
}

/// A byte of a term, by which it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// The term for `text`.
    pub fn new(text: &str) -> Term {
        let mut tokens = Vec::new();
        for_each_token(text, &mut String::new(), |token| tokens.push(token.to_owned()));
        let text: String = text.chars().map(fold).collect();
        let search = match Anchor::of(&text) {
            Some(anchor) => Search::Anchor(anchor),
            None if text.chars().all(is_caseless) => Search::Bytes,
            None => Search::Walk,
        };
        Term { text, tokens, search }
    }

    /// The text, folded.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folded tokens that every message with this term has; none, if the term is plain text.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Whether the term is one token and nothing else: every message with that token has the term.
    pub fn is_token(&self) -> bool {
        matches!(self.tokens.as_slice(), [token] if *token == self.text)
    }

    /// Whether `message` has the term.
    pub fn matches(&self, message: &str) -> bool {
        match self.search {
            Search::Anchor(anchor) => self.matches_by_anchor(anchor, message),
            Search::Bytes => memmem::find_iter(message.as_bytes(), &self.text)
                .any(|start| self.is_bounded(message, start..start + self.text.len())),
            Search::Walk => self.matches_by_walk(message),
        }
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
        !is_inside_token(message, span.start) && !is_inside_token(message, span.end)
    }

    fn has_own_tokens(&self, message: &str, span: &Range<usize>) -> bool {
        let mut own = self.tokens.iter();
        let mut equal = true;
        for_each_span(message, |token, _| {
            if token.end > span.start && token.start < span.end {
                let whole = token.start >= span.start && token.end <= span.end;
                let folded = message.get(token).unwrap_or_default().chars().map(fold);
                equal &= whole && own.next().is_some_and(|own| own.chars().eq(folded));
            }
        });
        equal && own.next().is_none()
    }
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule as it is told at the top of this file, without any shortcut.
    fn occurs(term: &str, message: &str) -> bool {
        let folded = |text: &str| text.chars().map(fold).collect::<String>();
        let tokens_of = |text: &str| {
            let mut tokens = Vec::new();
            for_each_span(text, |span, _| tokens.push((span.clone(), folded(&text[span]))));
            tokens
        };
        let own: Vec<String> = tokens_of(term).into_iter().map(|(_, token)| token).collect();
        let places = (0..=message.len()).filter(|at| message.is_char_boundary(*at));
        let spans = places.clone().flat_map(|start| places.clone().map(move |end| start..end));
        spans.filter(|span| span.start <= span.end && folded(&message[span.clone()]) == folded(term)).any(|span| {
            let inside = tokens_of(message)
                .into_iter()
                .filter(|(token, _)| own.is_empty() || token.end > span.start && token.start < span.end);
            own.is_empty()
                || inside
                    .map(|(token, text)| (token.start >= span.start && token.end <= span.end, text))
                    .eq(own.iter().map(|text| (true, text.clone())))
        })
    }

    #[test]
    fn terms_are_found_by_whole_tokens() {
        for (term, message, expected) in [
            ("timeout", "Timeout after 30 s", true),
            ("timeout", "timeouts", false),
            ("time", "a_time", false),
            ("10.0.0.1", "from 10.0.0.1:80", true),
            ("10.0.0.1", "from 10.0.0.12", false),
            ("10.0.0.1", "from 110.0.0.1 and 10.0.0.1", true),
            ("a-b-c", "x-a-b-c-d", true),
            ("/var/log", "in /var/log/syslog", true),
            ("/var/log", "in x/var/logs", false),
            ("connection from", "CONNECTION FROM 1", true),
            ("connection from", "connection  from", false),
            ("connection from", "connection fromage", false),
            ("日本", "これは日本語です", true),
            ("go", "日go本", true),
            ("größe", "GRÖSSE GRÖẞE", true),
            ("gross", "größ", false),
            ("ОШИБКА", "внутренняя ошибка.", true),
            ("mask", "the maſ\u{212a} is on", true),
            ("sks", "ſ\u{212a}ſ", true),
            ("error", "\u{1b}[31mERROR\u{1b}[0m", true),
            ("31m", "\u{1b}[31mERROR\u{1b}[0m", false),
            ("error disk", "\u{1b}[31merror disk\u{1b}[0m", true),
            ("->", "a->b", true),
            ("!!", "what?!", false),
            ("=> é", "a => É", true),
            ("-5", "at -5 degrees", true),
            ("-5", "at -57 degrees", false),
            ("cafe\u{301}", "cafe\u{301}", true),
            ("cafe", "cafe\u{301}", false),
            ("→ 日", "→ 日", true),
            ("", "", true),
        ] {
            assert_eq!(Term::new(term).matches(message), expected, "{term:?} in {message:?}");
            assert_eq!(occurs(term, message), expected, "the rule: {term:?} in {message:?}");
        }
    }

    #[test]
    fn tokens_are_those_of_every_match() {
        assert_eq!(Term::new("/var/Log").tokens(), ["var", "log"]);
        assert!(Term::new("->").tokens().is_empty());
        assert!(Term::new("LOG").is_token());
        assert!(!Term::new("log!").is_token());
        assert_eq!(Term::new("-GRÖẞE").text(), "-größe");
    }

    fn text() -> impl Strategy<Value = String> {
        let pieces =
            ["a", "B", "b", "s", "S", "ſ", "k", "\u{212a}", "1", "_", ".", " ", "/", "é", "É", "ı", "日", "\u{301}"];
        let escapes = ["\u{1b}[31m", "\u{1b}[", "\u{1b}", "\u{1b}]x\u{7}", "m", "\u{1b}P", "\u{1b}\\"];
        let piece =
            prop_oneof![9 => prop::sample::select(pieces.to_vec()), 1 => prop::sample::select(escapes.to_vec())];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_term_occurs_as_the_rule_says(message in text(), term in text(), from in 0_usize..8, length in 1_usize..8) {
            prop_assert_eq!(Term::new(&term).matches(&message), occurs(&term, &message), "{:?} in {:?}", term, message);
            let part: String = message.chars().skip(from).take(length).collect();
            prop_assert_eq!(Term::new(&part).matches(&message), occurs(&part, &message), "{:?} in {:?}", part, message);
        }

        #[test]
        fn a_match_has_every_token(message in text(), from in 0_usize..8, length in 1_usize..8) {
            let term = Term::new(&message.chars().skip(from).take(length).collect::<String>());
            let mut tokens = Vec::new();
            for_each_token(&message, &mut String::new(), |token| tokens.push(token.to_owned()));
            prop_assert!(!term.matches(&message) || term.tokens().iter().all(|token| tokens.contains(token)));
        }
    }
}
