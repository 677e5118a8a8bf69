//! The parser of query texts.
//!
//! For now a query is words and quoted phrases, all of which must occur in the message. Whatever else the lexer knows
//! is refused, with the place and the spelling to use, so that it can get its meaning later.

use super::Term;
use super::lexer::{Kind, Lexeme, Lexer};

/// How long a query text may be, in bytes.
pub const QUERY_BYTES_MAX: usize = 16 << 10;
/// How many terms it may have.
pub const TERMS_MAX: usize = 64;
/// How long each may be, in bytes.
pub const TERM_BYTES_MAX: usize = 1 << 10;

/// Why a query text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}; {hint}")]
pub struct ParseError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// Reads a query text: the terms that must all occur. A text of white space has none.
///
/// # Errors
/// [`ParseError`], at the first piece that is not a term, or a limit.
pub fn parse(query: &str) -> Result<Vec<Term>, ParseError> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(ParseError {
            column: 1,
            message: format!("the query has {} bytes", query.len()),
            hint: format!("at most {QUERY_BYTES_MAX} are allowed"),
        });
    }
    let mut terms = Vec::new();
    for lexeme in Lexer::new(query) {
        let refuse = |message: String, hint: String| ParseError { column: column(query, lexeme.start), message, hint };
        let term = match &lexeme.kind {
            Kind::Word => Term::new(lexeme.source),
            Kind::Phrase(text) if text.is_empty() => {
                return Err(refuse("nothing is quoted".to_owned(), "leave the quotes out".to_owned()));
            }
            Kind::Phrase(text) => Term::new(text),
            _ => {
                let (message, hint) = explain(query, &lexeme);
                return Err(refuse(message, hint));
            }
        };
        if lexeme.kind == Kind::Word && term.tokens().is_empty() {
            let message = format!("`{}` has no letter or digit", lexeme.source);
            return Err(refuse(message, instead(query, &lexeme)));
        }
        if lexeme.source.len() > TERM_BYTES_MAX {
            let message = format!("the term has {} bytes", lexeme.source.len());
            return Err(refuse(message, format!("at most {TERM_BYTES_MAX} are allowed")));
        }
        if terms.len() == TERMS_MAX {
            let message = "there are too many terms".to_owned();
            return Err(refuse(message, format!("at most {TERMS_MAX} are allowed")));
        }
        terms.push(term);
    }
    Ok(terms)
}

/// The place of byte `at`, in characters from 1.
fn column(query: &str, at: usize) -> usize {
    query.get(..at).unwrap_or_default().chars().count() + 1
}

/// What to say to a piece that is no term: what is wrong, and what to write instead.
fn explain(query: &str, lexeme: &Lexeme<'_>) -> (String, String) {
    let source = lexeme.source;
    let quoted = instead(query, lexeme);
    if let Some(explained) = explain_habit(query, lexeme) {
        return explained;
    }
    match &lexeme.kind {
        Kind::And => {
            (format!("`{source}` is an operator"), format!("all terms must occur anyway: leave it out, or {quoted}"))
        }
        Kind::Or => {
            (format!("`{source}` is an operator that q does not have yet"), format!("ask for each alone, or {quoted}"))
        }
        Kind::Not => (format!("`{source}` means NOT here, which q does not have yet"), quoted),
        Kind::Comparison { name: "" } => (format!("`{source}` compares, which q does not do yet"), quoted),
        Kind::Comparison { name } => explain_comparison(name, source, quoted),
        Kind::Regex => (format!("`{source}` is a regular expression, which q does not have yet"), quoted),
        Kind::Pattern => ("`*` stands for parts of words, which q does not have yet".to_owned(), quoted),
        Kind::Tilde => ("`~` is an operator".to_owned(), quoted),
        Kind::Bracket => (format!("`{source}` is a bracket, which q does not have yet"), quoted),
        Kind::UnclosedQuote => {
            ("the quote is not closed".to_owned(), "end it with \", and write \\\" for one inside".to_owned())
        }
        Kind::MisplacedQuote => {
            ("a quote begins and ends a whole term".to_owned(), format!("put a space between, or {quoted}"))
        }
        Kind::ForeignQuote => (format!("`{source}` does not quote"), format!("quotes are \"…\"; {quoted}")),
        Kind::Word | Kind::Phrase(_) => (format!("`{source}` is not expected here"), quoted),
    }
}

/// The parameters that do what some comparisons ask for.
fn explain_comparison(name: &str, source: &str, quoted: String) -> (String, String) {
    let message = format!("`{source}` compares a field, which q does not do yet");
    let parameter = match name {
        "level" | "severity" | "lvl" | "loglevel" | "logLevel" | "detected_level" => {
            "use the parameter level= or minLevel="
        }
        "service" | "serviceName" | "service_name" | "service.name" | "app" | "job" => "use the parameter service=",
        "timestamp" | "@timestamp" | "time" | "ts" | "_time" => "use the parameters startTime= and endTime=",
        "message" | "msg" | "log" | "_msg" => "terms are looked for in the message: write the value alone",
        "_stream" | "_stream_id" => "there are no streams: use the parameter service=",
        _ => return (message, quoted),
    };
    (message, format!("{parameter}, or {quoted}"))
}

/// What LogQL and LogsQL have after a `|`.
const PIPES: &[&str] = &[
    "copy",
    "count",
    "decolorize",
    "delete",
    "drop",
    "extract",
    "field_names",
    "field_values",
    "fields",
    "filter",
    "format",
    "head",
    "json",
    "keep",
    "label_format",
    "len",
    "limit",
    "line_format",
    "logfmt",
    "math",
    "offset",
    "pack_json",
    "pattern",
    "rate",
    "regexp",
    "rename",
    "replace",
    "sort",
    "stats",
    "tail",
    "top",
    "uniq",
    "unpack",
    "unpack_json",
    "unpack_logfmt",
    "unroll",
    "unwrap",
    "where",
];

/// What to say where the text looks like LogQL or LogsQL.
fn explain_habit(query: &str, lexeme: &Lexeme<'_>) -> Option<(String, String)> {
    let rest = query.get(lexeme.start..)?;
    if lexeme.source == "{" {
        let message = "`{` selects streams in LogQL; there are none here";
        let hint = format!("use the parameter service=, or {}", instead(query, lexeme));
        return Some((message.to_owned(), hint));
    }
    if lexeme.kind != Kind::Or {
        return None;
    }
    if rest.starts_with("|=") || rest.starts_with("|~") {
        let message = "`|=` and `|~` filter lines in LogQL".to_owned();
        return Some((message, "write the text alone, in quotes if it has spaces: \"connection from\"".to_owned()));
    }
    let pipe = rest.strip_prefix('|')?.split_whitespace().next()?;
    let pipe = pipe.split(['(', ',']).next()?;
    PIPES.contains(&pipe).then(|| {
        let message = format!("`| {pipe}` is a pipe of LogQL or LogsQL, which q does not have");
        (message, "the parameters fields=, order= and limit= shape the answer".to_owned())
    })
}

/// How to look for the text itself that `lexeme` stands in.
fn instead(query: &str, lexeme: &Lexeme<'_>) -> String {
    /// A hint is for reading.
    const SHOWN_CHARS_MAX: usize = 80;
    let chunk = query.get(lexeme.chunk_start..).unwrap_or_default();
    let mut is_quoted = false;
    let end = chunk.find(|c: char| {
        is_quoted ^= c == '"';
        c.is_whitespace() && !is_quoted
    });
    let end = end.unwrap_or(chunk.len()).max(lexeme.start + lexeme.source.len() - lexeme.chunk_start);
    let chunk = chunk.get(..end).unwrap_or_default();
    if chunk.chars().count() > SHOWN_CHARS_MAX {
        return "for the text itself write it in quotes, \"…\"".to_owned();
    }
    format!("for the text itself write \"{}\"", chunk.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_and_phrases_must_all_occur() {
        let terms = parse(r#" Timeout "connection from" 10.0.0.1 -5 "->" "#).unwrap();
        let texts: Vec<&str> = terms.iter().map(Term::text).collect();
        assert_eq!(texts, ["timeout", "connection from", "10.0.0.1", "-5", "->"]);
        assert_eq!(parse(" \t"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_term_is_refused_with_its_place_and_spelling() {
        for (query, column, hint) in [
            ("a AND b", 3, "\"AND\""),
            ("é a&b", 4, "\"a&b\""),
            ("a OR b", 3, "\"OR\""),
            ("a|b", 2, "\"a|b\""),
            ("NOT a", 1, "\"NOT\""),
            ("x -foo", 3, "\"-foo\""),
            ("!foo", 1, "\"!foo\""),
            ("level:error", 1, "level="),
            ("minutes:5", 1, "\"minutes:5\""),
            ("user:\"a b\"", 1, r#""user:\"a b\"""#),
            ("C:\\temp", 1, r#""C:\\temp""#),
            ("main()", 5, "\"main()\""),
            ("time*", 1, "\"time*\""),
            ("~/config", 1, "\"~/config\""),
            ("/refused|reset/", 1, "\"/refused|reset/\""),
            ("/conn (a|b)/ x", 1, "\"/conn (a|b)/\""),
            ("a -> b", 3, "\"->\""),
            ("a = b", 3, "\"=\""),
            ("\"a", 1, "end it with \""),
            ("\"a\"b", 1, r#""\"a\"b""#),
            ("\"\"", 1, "leave the quotes out"),
            ("'a b'", 1, "quotes are \"…\""),
            ("{app=\"x\"}", 1, "service="),
            ("{app=\"x\"} |= \"y\"", 1, "service="),
            ("|= \"y\"", 1, "write the text alone"),
            ("error | stats count()", 7, "fields="),
            ("_time:5m error", 1, "startTime="),
            ("_msg:error", 1, "write the value alone"),
        ] {
            let error = parse(query).expect_err(query);
            assert_eq!(error.column, column, "{query}: {error}");
            assert!(error.hint.contains(hint), "{query}: {error}");
        }
    }

    #[test]
    fn limits_are_kept() {
        assert!(parse(&"a ".repeat(TERMS_MAX)).is_ok());
        assert_eq!(parse(&"a ".repeat(TERMS_MAX + 1)).unwrap_err().column, 2 * TERMS_MAX + 1);
        assert!(parse(&"a".repeat(TERM_BYTES_MAX)).is_ok());
        assert!(parse(&"a".repeat(TERM_BYTES_MAX + 1)).is_err());
        assert!(parse(&" ".repeat(QUERY_BYTES_MAX + 1)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_text_panics(query in "[a-zB-D\"'\\\\ /|&!=~<>:*(){}\\[\\]éß日.\u{1b}-]{0,40}", any: String) {
            let _ = parse(&query);
            let _ = parse(&any);
        }

        #[test]
        fn the_quoted_spelling_is_accepted_and_means_the_text(text in "[a-z\"\\\\ /|&!=~:*(){}.-]{1,20}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(parse(&quoted), Ok(vec![Term::new(&text)]));
        }
    }
}
