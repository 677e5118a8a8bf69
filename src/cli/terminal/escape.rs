//! Text from logs made harmless: a log must not drive the terminal that shows it.

use std::borrow::Cow;
use std::fmt::Write;

/// The text without anything that a terminal would act upon. Controls, the marks that turn the direction of writing, and
/// separators of lines become `\u{1b}` and the like; a tab becomes four spaces. A line feed stays only where `lines` says
/// so: there the lines after the first are indented by four spaces, so that none can be taken for a record.
pub(in crate::cli) fn escape(text: &str, lines: bool) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let text = if lines { text.trim_end_matches(['\r', '\n']) } else { text };
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\r' if lines && letters.peek() == Some(&'\n') => {}
            '\n' if lines => safe.push_str("\n    "),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("    "),
            letter if is_unsafe(letter) => {
                // Writing to a string does not fail.
                let _ = write!(safe, "{}", letter.escape_unicode());
            }
            letter => safe.push(letter),
        }
    }
    Cow::Owned(safe)
}

/// True for what a terminal would act upon, or what would show a text other than it is.
pub(in crate::cli) fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_spelled_out() {
        for (text, expected) in [
            ("plain é 漢 🎉", "plain é 漢 🎉"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m\u{7f}\u{0}", "\\u{9b}31m\\u{7f}\\u{0}"),
            ("abc\u{202e}dcba\u{2066}", "abc\\u{202e}dcba\\u{2066}"),
            ("a\tb\nc\rd", "a    b\\nc\\rd"),
        ] {
            assert_eq!(escape(text, false), expected);
        }
    }

    #[test]
    fn lines_after_the_first_are_indented() {
        assert_eq!(escape("panic:\r\n\tat main\n\n", true), "panic:\n        at main");
        assert_eq!(escape("over\rwritten", true), "over\\rwritten");
    }
}
