//! The lexer of the query language: which pieces a query text has.
//!
//! It already knows every piece of the whole language, so that a text that is accepted today keeps its meaning when the
//! parser learns more. In short:
//!
//! | piece | what |
//! |---|---|
//! | `timeout`, `10.0.0.1`, `/var/log`, `-5`, `10:30:00`, `http://x` | a bare term, up to white space |
//! | `"connection from"` | a quoted one; `\"` and `\\` are the only escapes |
//! | `AND` `OR` `NOT` `&` `\|` | operators; `-` and `!` too, before a letter, quote, `(` or `/` at the start of a term |
//! | `name:value`, `name=`, `name>=`, `!~` … | comparisons; not `name:` before white space, nor `name://` |
//! | `/reset\|refused/` | a regular expression: no other unescaped `/` inside, and the closing one ends the term |
//! | `pre*`, `*fix` | a pattern |
//! | `( ) [ ] { }` | brackets |

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
    /// A quoted term, unescaped.
    Phrase(String),
    And,
    Or,
    Not,
    /// `name:` or another comparison that a value follows; the name is empty where the operator stands alone.
    Comparison {
        name: &'a str,
    },
    Regex,
    /// A bare term with a `*`.
    Pattern,
    Tilde,
    Bracket,
    /// A quote that is not closed.
    UnclosedQuote,
    /// A quote inside of a bare term, or a term right behind a closing quote.
    MisplacedQuote,
    /// A quotation mark of some other language.
    ForeignQuote,
}

/// Yields the pieces of a query text, in order.
pub(super) struct Lexer<'a> {
    query: &'a str,
    at: usize,
    chunk_start: usize,
    /// Whether what was just read is a term.
    after_term: bool,
}

impl<'a> Lexer<'a> {
    pub fn new(query: &'a str) -> Lexer<'a> {
        Lexer { query, at: 0, chunk_start: 0, after_term: false }
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
            self.after_term = false;
        }
        let (kind, length) = lex(trimmed, self.after_term)?;
        self.after_term = matches!(kind, Kind::Word | Kind::Phrase(_) | Kind::Regex | Kind::Pattern | Kind::Tilde);
        let source = trimmed.get(..length)?;
        self.at = start + length;
        Some(Lexeme { kind, source, start, chunk_start: self.chunk_start })
    }
}

/// The first piece of `rest`, which may stand right behind a term, and its length in bytes; `None` at the end.
fn lex(rest: &str, after_term: bool) -> Option<(Kind<'_>, usize)> {
    let mut chars = rest.chars();
    let first = chars.next()?;
    let second = chars.next();
    let piece = match first {
        '"' if after_term => (Kind::MisplacedQuote, 1),
        '"' => phrase(rest),
        '\'' | '`' | '“' | '”' | '„' => (Kind::ForeignQuote, first.len_utf8()),
        '(' | ')' | '[' | ']' | '{' | '}' => (Kind::Bracket, 1),
        '&' => (Kind::And, if second == Some('&') { 2 } else { 1 }),
        '|' => (Kind::Or, if second == Some('|') { 2 } else { 1 }),
        '!' if matches!(second, Some('=' | '~')) => (Kind::Comparison { name: "" }, 2),
        '-' | '!' if second.is_some_and(begins_negated) => (Kind::Not, 1),
        '=' | '<' | '>' => (Kind::Comparison { name: "" }, 1),
        '/' => regex(rest).unwrap_or_else(|| word(rest)),
        _ => comparison(rest).unwrap_or_else(|| word(rest)),
    };
    Some(piece)
}

/// Whether a `-` or `!` before `c` means NOT.
fn begins_negated(c: char) -> bool {
    is_letter(c) || matches!(c, '"' | '(' | '/')
}

fn phrase(rest: &str) -> (Kind<'_>, usize) {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return closed(rest, text, at + 1),
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
fn closed(rest: &str, text: String, end: usize) -> (Kind<'_>, usize) {
    match rest.get(end..).and_then(|after| after.chars().next()) {
        Some(next) if !next.is_whitespace() && !matches!(next, ')' | '|' | '&') => (Kind::MisplacedQuote, end),
        _ => (Kind::Phrase(text), end),
    }
}

/// The regular expression that `rest` begins with, if it is one and no path.
fn regex(rest: &str) -> Option<(Kind<'_>, usize)> {
    let mut escaped = false;
    let close = rest.char_indices().skip(1).find(|(_, c)| {
        let closes = *c == '/' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    let end = close?.0 + 1;
    let ends_term = match rest.get(end..)?.chars().next() {
        None => true,
        Some(next) => next.is_whitespace() || matches!(next, ')' | '|' | '&'),
    };
    // Two slashes with nothing between them are no expression.
    (ends_term && end > 2).then_some((Kind::Regex, end))
}

/// The name and operator that `rest` begins with, if it does.
fn comparison(rest: &str) -> Option<(Kind<'_>, usize)> {
    let is_first = |c: char| is_letter(c) || matches!(c, '_' | '@');
    let is_next = |c: char| is_first(c) || c.is_numeric() || matches!(c, '.' | '-');
    let end = rest.find(|c| !is_next(c))?;
    let (name, after) = rest.split_at_checked(end)?;
    if !name.starts_with(is_first) {
        return None;
    }
    let operator = if let Some(value) = after.strip_prefix(':') {
        let has_value = value.chars().next().is_some_and(|next| !next.is_whitespace());
        (has_value && !value.starts_with("//")).then_some(1)
    } else {
        ["!=", "!~", "=~", ">=", "<=", "=", ">", "<"]
            .iter()
            .find(|sign| after.starts_with(**sign))
            .map(|sign| sign.len())
    };
    Some((Kind::Comparison { name }, end + operator?))
}

fn word(rest: &str) -> (Kind<'_>, usize) {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '&');
    let end = rest.find(ends).unwrap_or(rest.len());
    let text = rest.get(..end).unwrap_or_default();
    let kind = match text {
        "AND" => Kind::And,
        "OR" => Kind::Or,
        "NOT" => Kind::Not,
        _ if text.contains('*') => Kind::Pattern,
        _ if text.contains('~') => Kind::Tilde,
        _ => Kind::Word,
    };
    (kind, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(query: &str) -> Vec<(Kind<'_>, &str)> {
        Lexer::new(query).map(|lexeme| (lexeme.kind, lexeme.source)).collect()
    }

    #[test]
    fn what_stands_up_to_white_space_is_a_term() {
        for term in [
            "timeout",
            "10.0.0.1",
            "a-b-c",
            "/var/log",
            "/var/log/",
            "/",
            "//",
            "-5",
            "!5",
            "--flag",
            "-",
            "10:30:00",
            "2024-10-08T07:15:00Z",
            "http://x",
            "http://x:80/?a=1",
            "error:",
            "and",
            "or",
            "not",
            "in",
            "And",
            "don't",
            "a,b;c",
            "50%",
            "#7",
            "$x",
            "C\\x",
            "100%",
            "a/b:c",
            ":8080",
            "日本語",
            "größe",
            "12=3",
            "hello!",
            "a!b",
            "_",
            "\\",
        ] {
            assert_eq!(kinds(term), [(Kind::Word, term)], "{term}");
        }
        let words: Vec<_> = kinds("error: disk\u{a0}full\t/a /b").into_iter().map(|(_, source)| source).collect();
        assert_eq!(words, ["error:", "disk", "full", "/a", "/b"]);
    }

    #[test]
    fn quotes_only_quote() {
        for (query, text) in [
            (r#""connection from""#, "connection from"),
            (r#""a \"b\" \\ \n""#, r#"a "b" \ \n"#),
            (r#""AND""#, "AND"),
            (r#""""#, ""),
        ] {
            assert_eq!(kinds(query), [(Kind::Phrase(text.to_owned()), query)], "{query}");
        }
        for unclosed in ["\"", "\"a b", "\"a\\\""] {
            assert_eq!(kinds(unclosed), [(Kind::UnclosedQuote, unclosed)]);
        }
        assert_eq!(kinds(r#"("a"|"b")"#)[3].0, Kind::Phrase("b".to_owned()));
        assert_eq!(kinds(r#""a"b"#)[0], (Kind::MisplacedQuote, r#""a""#));
        assert_eq!(kinds(r#"a"b""#)[1], (Kind::MisplacedQuote, "\""));
        assert_eq!(kinds("'a b'")[0], (Kind::ForeignQuote, "'"));
    }

    #[test]
    fn operators_are_upper_case_words_and_signs() {
        for (query, kind, source) in [
            ("AND", Kind::And, "AND"),
            ("& b", Kind::And, "&"),
            ("&&", Kind::And, "&&"),
            ("OR", Kind::Or, "OR"),
            ("||", Kind::Or, "||"),
            ("NOT x", Kind::Not, "NOT"),
            ("NOT(x)", Kind::Not, "NOT"),
            ("-x", Kind::Not, "-"),
            ("-é", Kind::Not, "-"),
            ("!x", Kind::Not, "!"),
            ("-\"x\"", Kind::Not, "-"),
            ("-(x)", Kind::Not, "-"),
            ("!/x/", Kind::Not, "!"),
            ("(", Kind::Bracket, "("),
            ("{app", Kind::Bracket, "{"),
            ("pre*", Kind::Pattern, "pre*"),
            ("*", Kind::Pattern, "*"),
            ("foo~2", Kind::Tilde, "foo~2"),
            ("/a/", Kind::Regex, "/a/"),
            ("/a b|c/ d", Kind::Regex, "/a b|c/"),
            (r"/a\/b/", Kind::Regex, r"/a\/b/"),
        ] {
            assert_eq!(kinds(query)[0], (kind, source), "{query}");
        }
        assert_eq!(
            kinds("a|b").into_iter().map(|(kind, _)| kind).collect::<Vec<_>>(),
            [Kind::Word, Kind::Or, Kind::Word]
        );
    }

    #[test]
    fn a_name_with_an_operator_compares() {
        for (query, name, source) in [
            ("level:error", "level", "level:"),
            ("http.status:500", "http.status", "http.status:"),
            ("x-request-id:7", "x-request-id", "x-request-id:"),
            ("@timestamp:now", "@timestamp", "@timestamp:"),
            ("user:\"a b\"", "user", "user:"),
            ("a:/b", "a", "a:"),
            ("größe:3", "größe", "größe:"),
            ("status=500", "status", "status="),
            ("status!=500", "status", "status!="),
            ("status>=500", "status", "status>="),
            ("path=~x", "path", "path=~"),
            ("path!~x", "path", "path!~"),
            ("localhost:80", "localhost", "localhost:"),
            ("= 5", "", "="),
            ("!= 5", "", "!="),
            (">5", "", ">"),
        ] {
            assert_eq!(kinds(query)[0], (Kind::Comparison { name }, source), "{query}");
        }
    }
}
