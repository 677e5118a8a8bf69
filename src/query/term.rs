//! A term: a text that must occur in the message with token boundaries at its ends.

use super::token::for_each_token;

/// A word or phrase that is searched for.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    text: String,
    tokens: Vec<String>,
}

impl Term {
    /// The term for `text`.
    pub fn new(text: &str) -> Term {
        let mut tokens = Vec::new();
        for_each_token(text, &mut String::new(), |token| tokens.push(token.to_owned()));
        Term { text: text.to_lowercase(), tokens }
    }

    /// The folded tokens that every message with this term has; none, if the term is plain text.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Whether `message` has the term.
    pub fn matches(&self, message: &str) -> bool {
        message.to_lowercase().contains(&self.text)
    }
}
