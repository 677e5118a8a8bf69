//! The lexer of the query language: which pieces a query text has.
//!
//! | piece | what |
//! |---|---|
//! | `timeout`, `10.0.0.1`, `/var/log`, `-5`, `10:30:00`, `http://x` | a bare term, up to white space |
//! | `"connection from"` | a quoted one; `\"` and `\\` are the only escapes; a `c` behind it makes its case count |
//! | `AND` `OR` `NOT` `&` `\|` | operators; `-` and `!` too, before a letter, quote, `(` or `/` at the start of a term |
//! | `name:value`, `name=`, `name>=`, `!~` … | comparisons; not `name:` before white space, nor `name://` |
//! | `"odd name":value`, `status >= 500` | comparisons too |
//! | `/reset\|refused/` | a regular expression: no other unescaped `/` inside, and the closing one, or a `c` behind it, ends the term |
//! | `pre*`, `*fix`, `word~2` | patterns |
//! | `( ) [ ] { }` | brackets |
//!
//! What follows a comparison is a value: it goes on to white space, a quote, a bracket, `|` or `&`, and within a list to a
//! comma, whatever else is in it.

use std::borrow::Cow;

use super::token::is_letter;

/// A piece of a query text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lexeme<'a> {
    pub kind: Kind<'a>,
    /// As it stands in the query text.
    pub source: &'a str,
    /// Where it starts there, in bytes.
    pub start: usize,
    /// Where the text that it stands in starts: after the last white space.
    pub chunk_start: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// A bare term.
    Word,
    /// A quoted term, unescaped, and whether its case counts.
    Phrase(String, bool),
    And,
    Or,
    Not,
    /// A comparison that a value follows; without a name where the operator stands alone.
    Comparison(Option<Cow<'a, str>>, Operator),
    /// What stands between the slashes, and whether its case counts.
    Regex(&'a str, bool),
    /// A bare term with a `*`.
    Pattern,
    /// A bare term with a `~`.
    Tilde,
    Bracket,
    /// Between the values of a list.
    Comma,
    /// A quote that is not closed.
    UnclosedQuote,
    /// A quote inside of a bare term, or a term right behind a closing quote.
    MisplacedQuote,
    /// A quotation mark of some other language.
    ForeignQuote,
}

/// What stands between a field and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Has,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Like,
    Unlike,
}

/// The operators with their spellings; what begins like another stands before it.
const OPERATORS: [(&str, Operator); 8] = [
    ("!=", Operator::NotEqual),
    ("!~", Operator::Unlike),
    ("=~", Operator::Like),
    (">=", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
];

/// Yields the pieces of a query text, in order.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    query: &'a str,
    at: usize,
    chunk_start: usize,
    expected: Expected,
    /// Whether the values of a list are read, between which commas stand.
    pub in_list: bool,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Any,
    /// What was just read is a term, so no quote may follow it at once.
    Gap,
    /// What was just read is this operator.
    Value(Operator),
}

impl<'a> Lexer<'a> {
    pub fn new(query: &'a str) -> Lexer<'a> {
        Lexer { query, at: 0, chunk_start: 0, expected: Expected::Any, in_list: false }
    }

    /// The first piece of `rest`, and its length in bytes; `None` at the end.
    fn lex(&self, rest: &'a str) -> Option<(Kind<'a>, usize)> {
        let mut chars = rest.chars();
        let first = chars.next()?;
        let second = chars.next();
        let piece = match first {
            '"' if self.expected == Expected::Gap => (Kind::MisplacedQuote, 1),
            '"' => self.phrase(rest),
            '\'' | '`' | '“' | '”' | '„' => (Kind::ForeignQuote, first.len_utf8()),
            '(' | ')' | '[' | ']' | '{' | '}' => (Kind::Bracket, 1),
            ',' if self.in_list => (Kind::Comma, 1),
            '&' => (Kind::And, if second == Some('&') { 2 } else { 1 }),
            '|' => (Kind::Or, if second == Some('|') { 2 } else { 1 }),
            _ => match self.expected {
                Expected::Value(Operator::Has) => regex(rest).unwrap_or_else(|| self.has_value(rest)),
                Expected::Value(_) => (Kind::Word, self.word_length(rest)),
                _ if self.in_list => (Kind::Word, self.word_length(rest)),
                _ => self.term(rest, first, second),
            },
        };
        Some(piece)
    }

    fn term(&self, rest: &'a str, first: char, second: Option<char>) -> (Kind<'a>, usize) {
        match first {
            '!' if matches!(second, Some('=' | '~')) => operator(rest, None, 0).unwrap_or_else(|| self.word(rest)),
            '-' | '!' if second.is_some_and(begins_negated) => (Kind::Not, 1),
            '=' | '<' | '>' => operator(rest, None, 0).unwrap_or_else(|| self.word(rest)),
            '/' => regex(rest).unwrap_or_else(|| self.word(rest)),
            _ => comparison(rest).unwrap_or_else(|| self.word(rest)),
        }
    }

    fn phrase(&self, rest: &'a str) -> (Kind<'a>, usize) {
        let mut text = String::new();
        let mut chars = rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return self.closed(rest, text, at + 1),
                '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                    Some((_, escaped)) => text.push(escaped),
                    None => text.push(c),
                },
                c => text.push(c),
            }
        }
        (Kind::UnclosedQuote, rest.len())
    }

    /// The phrase that ends at `end`, if nothing that would be a part of it follows.
    fn closed(&self, rest: &'a str, text: String, end: usize) -> (Kind<'a>, usize) {
        let after = rest.get(end..).unwrap_or_default();
        if self.ends_term(after) {
            return (Kind::Phrase(text, false), end);
        }
        if after.strip_prefix('c').is_some_and(|after| self.ends_term(after)) {
            return (Kind::Phrase(text, true), end + 1);
        }
        let is_value = matches!(self.expected, Expected::Value(_)) || self.in_list;
        let field = if is_value { None } else { operator(after, Some(Cow::Owned(text)), end) };
        field.unwrap_or((Kind::MisplacedQuote, end))
    }

    /// Whether nothing that would be a part of a term stands at the start of `after`.
    fn ends_term(&self, after: &str) -> bool {
        after.chars().next().is_none_or(|next| next == ',' && self.in_list || ends_quoted(next))
    }

    /// What follows a `:`.
    fn has_value(&self, rest: &'a str) -> (Kind<'a>, usize) {
        let length = self.word_length(rest);
        (kind_of(rest.get(..length).unwrap_or_default()), length)
    }

    fn word(&self, rest: &'a str) -> (Kind<'a>, usize) {
        let length = self.word_length(rest);
        let kind = match rest.get(..length).unwrap_or_default() {
            "AND" => Kind::And,
            "OR" => Kind::Or,
            "NOT" => Kind::Not,
            text => kind_of(text),
        };
        (kind, length)
    }

    fn word_length(&self, rest: &str) -> usize {
        let ends = |c: char| {
            c.is_whitespace()
                || matches!(c, '"' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '&')
                || c == ',' && self.in_list
        };
        rest.find(ends).unwrap_or(rest.len())
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Lexeme<'a>;

    fn next(&mut self) -> Option<Lexeme<'a>> {
        let rest = self.query.get(self.at..)?;
        let trimmed = rest.trim_start();
        let start = self.query.len() - trimmed.len();
        if start > self.at || start == 0 {
            self.chunk_start = start;
            if self.expected == Expected::Gap {
                self.expected = Expected::Any;
            }
        }
        let (kind, length) = self.lex(trimmed)?;
        self.expected = match &kind {
            Kind::Word | Kind::Phrase(..) | Kind::Regex(..) | Kind::Pattern | Kind::Tilde => Expected::Gap,
            Kind::Comparison(_, operator) => Expected::Value(*operator),
            _ => Expected::Any,
        };
        let source = trimmed.get(..length)?;
        self.at = start + length;
        Some(Lexeme { kind, source, start, chunk_start: self.chunk_start })
    }
}

/// Whether a `-` or `!` before `c` means NOT.
fn begins_negated(c: char) -> bool {
    is_letter(c) || matches!(c, '"' | '(' | '/')
}

/// Whether `c` may stand right behind a quoted term or an expression.
fn ends_quoted(c: char) -> bool {
    c.is_whitespace() || matches!(c, ')' | '|' | '&')
}

/// The regular expression that `rest` begins with, if it is one and no path.
fn regex(rest: &str) -> Option<(Kind<'_>, usize)> {
    let mut escaped = false;
    let close = rest.strip_prefix('/')?.char_indices().find(|(_, c)| {
        let closes = *c == '/' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    let source = rest.get(1..close?.0 + 1)?;
    let end = source.len() + 2;
    let after = rest.get(end..)?;
    let ends = |after: &str| after.chars().next().is_none_or(ends_quoted);
    // Two slashes with nothing between them are no expression.
    if source.is_empty() {
        None
    } else if ends(after) {
        Some((Kind::Regex(source, false), end))
    } else {
        after.strip_prefix('c').is_some_and(ends).then_some((Kind::Regex(source, true), end + 1))
    }
}

/// The name and operator that `rest` begins with, if it does.
fn comparison(rest: &str) -> Option<(Kind<'_>, usize)> {
    let end = rest.find(|c| !is_next_of_name(c))?;
    let (name, after) = rest.split_at_checked(end)?;
    if name.starts_with(is_first_of_name) { operator(after, Some(Cow::Borrowed(name)), end) } else { None }
}

fn is_first_of_name(c: char) -> bool {
    is_letter(c) || matches!(c, '_' | '@')
}

fn is_next_of_name(c: char) -> bool {
    is_first_of_name(c) || c.is_numeric() || matches!(c, '.' | '-')
}

/// Whether a bare text looks like the name of a field.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(is_first_of_name) && text.chars().all(is_next_of_name)
}

/// The comparison of the field `name`, which has `length` bytes, whose operator `after` begins with.
fn operator<'a>(after: &str, name: Option<Cow<'a, str>>, length: usize) -> Option<(Kind<'a>, usize)> {
    if let Some(value) = after.strip_prefix(':') {
        let has_value = value.chars().next().is_some_and(|next| !next.is_whitespace()) && !value.starts_with("//");
        return (has_value && name.is_some()).then_some((Kind::Comparison(name, Operator::Has), length + 1));
    }
    let (sign, operator) = OPERATORS.iter().find(|(sign, _)| after.starts_with(sign))?;
    Some((Kind::Comparison(name, *operator), length + sign.len()))
}

fn kind_of(text: &str) -> Kind<'_> {
    match text {
        _ if text.contains('*') => Kind::Pattern,
        _ if text.contains('~') => Kind::Tilde,
        _ => Kind::Word,
    }
}

#[cfg(test)]
mod tests;
