//! What to say to a query text that is refused: what is wrong, and what to write instead.

use std::borrow::Cow;

use super::lexer::{Kind, Lexeme};

/// What is wrong, and what to write instead.
pub(super) type Explanation = (String, String);

/// What to say to a piece that stands where a term should.
pub(super) fn explain(query: &str, lexeme: &Lexeme<'_>) -> Explanation {
    if let Some(explained) = explain_habit(query, lexeme) {
        return explained;
    }
    let source = shown(lexeme.source);
    let quoted = instead(query, lexeme);
    match &lexeme.kind {
        Kind::And | Kind::Or => (format!("`{source}` stands between two terms, and one is missing"), quoted),
        Kind::Not => (format!("`{source}` stands before a term, which is missing"), quoted),
        Kind::Comparison(None, _) => (
            format!("`{source}` compares a field, whose name is missing"),
            format!("write the field before it, as in status{source}500, or {quoted}"),
        ),
        Kind::Bracket if lexeme.source == ")" => {
            ("`)` closes nothing".to_owned(), format!("leave it out, or {quoted}"))
        }
        Kind::Bracket => (format!("`{source}` is not a bracket of queries"), format!("those are ( and ); {quoted}")),
        Kind::UnclosedQuote => {
            ("the quote is not closed".to_owned(), "end it with \", and write \\\" for one inside".to_owned())
        }
        Kind::MisplacedQuote => {
            ("a quote begins and ends a whole term".to_owned(), format!("put a space between, or {quoted}"))
        }
        Kind::ForeignQuote => (format!("`{source}` does not quote"), format!("quotes are \"…\"; {quoted}")),
        _ => (format!("`{source}` is not expected here"), quoted),
    }
}

/// What to say to a piece that stands where a value should, behind `operator`.
pub(super) fn explain_value(query: &str, lexeme: &Lexeme<'_>, name: &str, operator: &str) -> Explanation {
    let name = shown(name);
    let message = format!("expected a value after \"{operator}\"");
    match (&lexeme.kind, lexeme.source) {
        (Kind::UnclosedQuote | Kind::MisplacedQuote | Kind::ForeignQuote, _) => explain(query, lexeme),
        (Kind::Bracket, "(") => (message, format!("several values are written {name} in (a, b)")),
        (Kind::Bracket, "[" | "{") => (message, format!("a range is written {name}>=1 {name}<5")),
        _ => (message, format!("a text that is not a word stands in quotes, {name}{operator}\"…\"")),
    }
}

/// What to say to fields of LogsQL that are none here.
pub(super) fn explain_name(name: &str) -> Option<Explanation> {
    let hint = match name {
        "_time" => "use the parameters startTime= and endTime=, or timestamp>=2024-10-08",
        "_msg" => "terms are looked for in the message: write the value alone, or message=\"…\"",
        "_stream" | "_stream_id" => "there are no streams: write service=shop, or name the attribute",
        _ => return None,
    };
    Some((format!("`{name}` is a field of LogsQL"), format!("{hint}; an attribute of that name is attributes.{name}")))
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
pub(super) fn explain_habit(query: &str, lexeme: &Lexeme<'_>) -> Option<Explanation> {
    let rest = query.get(lexeme.start..)?;
    if lexeme.source == "{" {
        let message = "`{` selects streams in LogQL; there are none here";
        let hint = format!("write the conditions alone, as in service=shop level=error, or {}", instead(query, lexeme));
        return Some((message.to_owned(), hint));
    }
    if lexeme.kind != Kind::Or {
        return None;
    }
    if rest.starts_with("|=") || rest.starts_with("|~") {
        let message = "`|=` and `|~` filter lines in LogQL".to_owned();
        let hint = "write the text alone, in quotes if it has spaces, and expressions between slashes";
        return Some((message, format!("{hint}: \"connection from\" /re(set|fused)/")));
    }
    let pipe = rest.strip_prefix('|')?.split_whitespace().next()?;
    let pipe = pipe.split(['(', ',']).next()?;
    PIPES.contains(&pipe).then(|| {
        let message = format!("`| {pipe}` is a pipe of LogQL or LogsQL, which q does not have");
        (message, format!("the parameters fields=, order= and limit= shape the answer; for the word write OR {pipe}"))
    })
}

/// How to look for the text itself that `lexeme` stands in.
pub(super) fn instead(query: &str, lexeme: &Lexeme<'_>) -> String {
    let chunk = query.get(lexeme.chunk_start..).unwrap_or_default();
    let mut is_quoted = false;
    let end = chunk.find(|c: char| {
        is_quoted ^= c == '"';
        c.is_whitespace() && !is_quoted
    });
    let end = end.unwrap_or(chunk.len()).max(lexeme.start + lexeme.source.len() - lexeme.chunk_start);
    instead_of(chunk.get(..end).unwrap_or_default())
}

/// How to look for `text` itself.
pub(super) fn instead_of(text: &str) -> String {
    if shown(text) != text {
        return "for the text itself write it in quotes, \"…\"".to_owned();
    }
    format!("for the text itself write \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A text as errors show it: not at any length.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    const SHOWN_CHARS_MAX: usize = 80;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
    }
}
