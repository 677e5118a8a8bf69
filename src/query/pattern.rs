//! Regular expressions, in linear time.

use std::hash::{Hash, Hasher};

use regex::{Regex, RegexBuilder};

use super::letters;

/// How large a compiled expression may be, in bytes.
pub const REGEX_BYTES_MAX: usize = 1 << 20;
/// How deep an expression may be nested.
pub const REGEX_DEPTH_MAX: u32 = 50;

/// A regular expression that is searched for anywhere in a text, unless it is anchored.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    exact_case: bool,
    /// Folded ASCII letters that every match has side by side.
    letters: Vec<String>,
    regex: Regex,
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn new(source: &str, exact_case: bool) -> Result<Pattern, String> {
        let regex = RegexBuilder::new(source)
            .case_insensitive(!exact_case)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .nest_limit(REGEX_DEPTH_MAX)
            .build();
        match regex {
            Ok(regex) => {
                Ok(Pattern { source: source.to_owned(), exact_case, letters: letters::of_regex(source), regex })
            }
            Err(regex::Error::CompiledTooBig(bytes)) => Err(format!("it takes more than {bytes} bytes")),
            // The last line says what is wrong; those before show where.
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                Err(last.trim().trim_start_matches("error: ").to_owned())
            }
        }
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the case counts.
    pub fn is_exact_case(&self) -> bool {
        self.exact_case
    }

    /// Folded ASCII letters that every text with a match has, each of these side by side.
    pub fn letters(&self) -> &[String] {
        &self.letters
    }

    /// Whether it occurs in `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, self.exact_case) == (&other.source, other.exact_case)
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.source, self.exact_case).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_found_anywhere_and_bounded() {
        assert!(Pattern::new("re(set|fused)", false).unwrap().matches("Connection REFUSED"));
        assert!(!Pattern::new("refused", true).unwrap().matches("Connection REFUSED"));
        assert!(!Pattern::new("^refused", false).unwrap().matches("Connection refused"));
        assert!(Pattern::new(r"a\/b", false).unwrap().matches("A/B"));
        assert_eq!(Pattern::new("(a", false).unwrap_err(), "unclosed group");
        assert!(Pattern::new(r"\w{500}{50}", false).unwrap_err().contains("more than"));
        assert!(Pattern::new(&"(".repeat(100), false).is_err());
        assert_ne!(Pattern::new("a", false), Pattern::new("a", true));
    }
}
