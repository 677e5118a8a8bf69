//! Tokens: what counts as a word, for the index and for every search alike.
//!
//! A token is a maximal run of letters, marks, digits and `_` (Unicode). Each character of Han, Hiragana, Katakana,
//! Thai, Lao, Khmer or Myanmar is a token by itself. An ANSI escape sequence separates tokens. Case is folded simply,
//! character by character; nothing is normalised.
//!
//! This is a format: indexes on disk hold tokens, so what a token is never changes.

use std::ops::Range;
use std::sync::LazyLock;

use unicode_general_category::{GeneralCategory, get_general_category};

/// What a character is to the tokens around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It ends a token.
    Separator,
    /// It goes on with one.
    Run,
    /// It is one.
    Single,
}

const ESCAPE: u8 = 0x1b;

/// Calls `each` with every token of `text`, folded, in order. `scratch` is reused between calls.
pub fn for_each_token(text: &str, scratch: &mut String, mut each: impl FnMut(&str)) {
    scratch.clear();
    scratch.push_str(text);
    scratch.make_ascii_lowercase();
    for_each_span(text, |span, ascii| {
        if ascii {
            each(scratch.get(span).unwrap_or_default());
        } else {
            scratch.truncate(text.len());
            scratch.extend(text.get(span).unwrap_or_default().chars().map(fold));
            each(scratch.get(text.len()..).unwrap_or_default());
        }
    });
}

/// Calls `each` with the place in `text` of every token, in order, and whether the token is all ASCII.
pub(super) fn for_each_span(text: &str, mut each: impl FnMut(Range<usize>, bool)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if is_ascii_run(*byte) {
            let end = ascii_run_end(bytes, at);
            if bytes.get(end).is_some_and(|next| !next.is_ascii()) {
                let (run_end, ascii) = run_end(text, end);
                each(at..run_end, ascii);
                at = run_end;
            } else {
                each(at..end, true);
                // The byte at `end` separates, but an escape still has to be looked at.
                at = end;
            }
        } else if *byte == ESCAPE {
            at += escape_length(bytes.get(at..).unwrap_or_default()).max(1);
        } else if byte.is_ascii() {
            at += 1;
        } else {
            at = wide(text, at, &mut each);
        }
    }
}

/// Handles the character beyond ASCII at `at`; returns where to go on.
fn wide(text: &str, at: usize, each: &mut impl FnMut(Range<usize>, bool)) -> usize {
    let Some(c) = char_at(text, at) else { return text.len() };
    let end = at + c.len_utf8();
    match class(c) {
        Class::Separator => end,
        Class::Single => {
            each(at..end, false);
            end
        }
        Class::Run => {
            let (end, _) = run_end(text, end);
            each(at..end, false);
            end
        }
    }
}

fn char_at(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// Where the ASCII part of a run ends that goes on at `at`.
fn ascii_run_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !is_ascii_run(*byte)).unwrap_or(rest.len())
}

/// Where a run ends that goes on at `at`, and whether what follows from `at` on is all ASCII.
fn run_end(text: &str, at: usize) -> (usize, bool) {
    let mut end = at;
    let mut ascii = true;
    for c in text.get(at..).unwrap_or_default().chars() {
        if class(c) != Class::Run {
            break;
        }
        ascii &= c.is_ascii();
        end += c.len_utf8();
    }
    (end, ascii)
}

/// Whether an ASCII byte goes on with a token.
pub const fn is_ascii_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn class(c: char) -> Class {
    use GeneralCategory as G;
    if c.is_ascii() {
        return if is_ascii_run(c as u8) { Class::Run } else { Class::Separator };
    }
    let category = get_general_category(c);
    let single = is_single(c);
    let letter_or_mark = matches!(
        category,
        G::UppercaseLetter
            | G::LowercaseLetter
            | G::TitlecaseLetter
            | G::ModifierLetter
            | G::OtherLetter
            | G::NonspacingMark
            | G::SpacingMark
            | G::EnclosingMark
    );
    match category {
        _ if letter_or_mark && single => Class::Single,
        G::DecimalNumber | G::LetterNumber | G::OtherNumber if single => Class::Single,
        _ if letter_or_mark => Class::Run,
        G::DecimalNumber => Class::Run,
        _ => Class::Separator,
    }
}

/// Whether `c` goes on with a token: whether a boundary is missing between two such characters.
pub(super) fn is_run(c: char) -> bool {
    class(c) == Class::Run
}

/// Whether `c` is a letter.
pub(super) fn is_letter(c: char) -> bool {
    use GeneralCategory as G;
    c.is_ascii_alphabetic()
        || !c.is_ascii()
            && matches!(
                get_general_category(c),
                G::UppercaseLetter | G::LowercaseLetter | G::TitlecaseLetter | G::ModifierLetter | G::OtherLetter
            )
}

/// Whether `c` stands in a block of one of the scripts that are written without spaces.
fn is_single(c: char) -> bool {
    matches!(u32::from(c),
        0x0e00..=0x0eff                         // Thai, Lao
        | 0x1000..=0x109f | 0xa9e0..=0xa9ff | 0xaa60..=0xaa7f | 0x116d0..=0x116ff // Myanmar
        | 0x1780..=0x17ff                       // Khmer
        | 0x3005..=0x3007 | 0x3021..=0x3029 | 0x3038..=0x303b // Han: repetition marks and numerals
        | 0x3041..=0x30ff | 0x31f0..=0x31ff     // Hiragana, Katakana
        | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff // Han
        | 0xff66..=0xff9f                       // Katakana of half width
        | 0x16fe2..=0x16fe3 | 0x16ff0..=0x16ff6 // Han: reading marks
        | 0x1aff0..=0x1b16f                     // Kana, old and small
        | 0x20000..=0x3ffff                     // Han
    )
}

/// The length of the ANSI escape sequence that `bytes` begins with; 0, if it is none or is cut off.
///
/// Control sequences (`ESC [ … letter`), control strings (`ESC ] … BEL`, say, or to `ESC \`), and the short ones.
fn escape_length(bytes: &[u8]) -> usize {
    let (Some(kind), Some(rest)) = (bytes.get(1), bytes.get(2..)) else { return 0 };
    let length = match kind {
        b'[' => control_sequence_length(rest),
        b']' | b'P' | b'X' | b'^' | b'_' => control_string_length(rest),
        0x20..=0x2f => {
            let middle = rest.iter().take_while(|byte| (0x20..=0x2f).contains(*byte)).count();
            rest.get(middle).filter(|last| (0x30..=0x7e).contains(*last)).map(|_| middle + 1)
        }
        0x30..=0x7e => Some(0),
        _ => None,
    };
    length.map_or(0, |length| length + 2)
}

fn control_sequence_length(bytes: &[u8]) -> Option<usize> {
    let parameters = bytes.iter().take_while(|byte| (0x30..=0x3f).contains(*byte)).count();
    let middle = bytes.iter().skip(parameters).take_while(|byte| (0x20..=0x2f).contains(*byte)).count();
    let last = bytes.get(parameters + middle)?;
    (0x40..=0x7e).contains(last).then_some(parameters + middle + 1)
}

/// The longest control string that separates; an unclosed one must hide no text, nor cost a scan of the whole.
const CONTROL_STRING_BYTES_MAX: usize = 4096;

fn control_string_length(bytes: &[u8]) -> Option<usize> {
    let window = bytes.get(..CONTROL_STRING_BYTES_MAX).unwrap_or(bytes);
    let end = memchr::memchr2(0x07, ESCAPE, window)?;
    match (bytes.get(end), bytes.get(end + 1)) {
        (Some(0x07), _) => Some(end + 1),
        (_, Some(b'\\')) => Some(end + 2),
        _ => None,
    }
}

/// Folds the case of one character, simply: to one character, and so that it is its own fold.
pub(super) fn fold(c: char) -> char {
    if c.is_ascii() { c.to_ascii_lowercase() } else { FOLDS.get(c as usize).copied().unwrap_or_else(|| find_fold(c)) }
}

/// The folds of the Latin, Greek, Cyrillic and Armenian letters, as finding them takes long.
static FOLDS: LazyLock<[char; 0x590]> = LazyLock::new(|| {
    std::array::from_fn(|code| u32::try_from(code).ok().and_then(char::from_u32).map_or('\0', find_fold))
});

fn find_fold(c: char) -> char {
    // The dotless ı is a letter of its own, although its capital is I. What the tables of categories do not know yet
    // stays as it is, whatever the standard library knows: the two change apart, and tokens are on disk.
    if c == 'ı' || is_single(c) || get_general_category(c) == GeneralCategory::Unassigned {
        return c;
    }
    // By way of the capital, so that ς and σ, or ſ and s, are one.
    let upper = only(c.to_uppercase()).unwrap_or(c);
    only(upper.to_lowercase()).unwrap_or(upper)
}

/// Whether `c` is the only character that folds to it; `false` where that is not sure.
pub(super) fn is_caseless(c: char) -> bool {
    !c.is_ascii_alphabetic() && !c.is_lowercase() && only(c.to_uppercase()) == Some(c)
}

/// Every other character that folds to the ASCII letters `k` and `s` too.
pub(super) const FOLDS_TO_ASCII: [char; 2] = ['\u{212a}', 'ſ'];

fn only(mut chars: impl Iterator<Item = char>) -> Option<char> {
    chars.next().filter(|_| chars.next().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        let mut tokens = Vec::new();
        for_each_token(text, &mut String::new(), |token| tokens.push(token.to_owned()));
        tokens
    }

    #[test]
    fn tokens_are_runs_of_letters_marks_digits_and_underscores() {
        for (text, expected) in [
            ("", &[][..]),
            (" -- ", &[]),
            ("Connection from 10.0.0.12:8080", &["connection", "from", "10", "0", "0", "12", "8080"]),
            ("user_id=7;a-b", &["user_id", "7", "a", "b"]),
            ("Größe GRÖSSE ÉCOLE e\u{301}a", &["größe", "grösse", "école", "e\u{301}a"]),
            ("ОШИБКА Σίσυφος ΣΊΣΥΦΟΣ", &["ошибка", "σίσυφοσ", "σίσυφοσ"]),
            ("abcé→déf", &["abcé", "déf"]),
            ("日本go語", &["日", "本", "go", "語"]),
            ("サーバー ｻ ひ", &["サ", "ー", "バ", "ー", "ｻ", "ひ"]),
            ("ไทย ລາວ ខ្មែរ မြန်", &["ไ", "ท", "ย", "ລ", "າ", "ວ", "ខ", "្", "ម", "ែ", "រ", "မ", "ြ", "န", "်"]),
            ("한국어 x²", &["한국어", "x"]),
            ("\u{1b}[31mERROR\u{1b}[0m\u{1b}[1;4mdisk", &["error", "disk"]),
            ("a\u{1b}]8;;http://h\u{7}b\u{1b}]0;t\u{1b}\\c\u{1b}(Bd", &["a", "b", "c", "d"]),
            ("a\u{1b}[31", &["a", "31"]),
            ("a\u{1b}[31é", &["a", "31é"]),
            ("a\u{1b}]never closed", &["a", "never", "closed"]),
            ("\u{1b}", &[]),
            ("null\0byte", &["null", "byte"]),
        ] {
            assert_eq!(tokens(text), expected, "{text:?}");
        }
    }

    #[test]
    fn folding_is_stable_and_only_two_others_fold_to_ascii() {
        let mut to_ascii = Vec::new();
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            assert_eq!(fold(fold(c)), fold(c), "{c:?}");
            if !c.is_ascii() && fold(c).is_ascii() {
                to_ascii.push(c);
            }
            assert_eq!(class(fold(c)), class(c), "{c:?}");
            assert!(fold(c) == c || !is_caseless(fold(c)), "{c:?}");
        }
        to_ascii.sort_unstable();
        let mut expected = FOLDS_TO_ASCII;
        expected.sort_unstable();
        assert_eq!(to_ascii, expected);
    }

    #[test]
    fn folding_makes_no_two_letters_one_that_are_not() {
        for (a, b) in [('ı', 'i'), ('ß', 's'), ('İ', 'i'), ('é', 'e')] {
            assert_ne!(fold(a), fold(b));
        }
        for (a, b) in [('ς', 'σ'), ('ẞ', 'ß'), ('µ', 'μ'), ('Å', 'å'), ('Ǆ', 'ǅ'), ('Ꭰ', 'ꭰ')] {
            assert_eq!(fold(a), fold(b));
        }
    }

    proptest! {
        #[test]
        fn tokens_are_their_own_tokens(text in "[a-zA-Z0-9_ .é日ーไΣſ\u{1b}\\[\\];m\u{7}\u{301}]{0,40}") {
            for token in tokens(&text) {
                prop_assert_eq!(tokens(&token), vec![token]);
            }
        }

        #[test]
        fn spans_are_in_order_and_hold_no_separator(text: String) {
            let mut last = 0;
            for_each_span(&text, |span, ascii| {
                assert!(span.start >= last && span.end > span.start);
                last = span.end;
                let token = &text[span];
                assert_eq!(token.is_ascii(), ascii);
                assert!(token.chars().all(|c| class(c) != Class::Separator));
            });
        }
    }
}
