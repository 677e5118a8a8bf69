//! Why a command ends early, and the exit code that says so (sysexits.h).

use std::io;
use std::path::Path;

use sluice_client::{Cause, ReadError};
use unicode_width::UnicodeWidthStr;

use super::terminal::{escape, is_unsafe};

/// What the commands' help says about their exit codes.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 done, 64 a bad command line or query, 69 the server cannot be reached, takes nothing now or broke off, 74 a file or the output cannot be read or written.";

/// Something was found wrong, such as lines that are no records.
const FOUND_WRONG: u8 = 1;
/// The command line or the query is wrong (`EX_USAGE`).
const USAGE: u8 = 64;
/// Somebody else is at work (`EX_DATAERR`, as for a data folder that is in use).
const HELD: u8 = 65;
/// The server cannot be reached, takes nothing now, or broke off (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;
/// A file cannot be read or written (`EX_IOERR`).
const IO: u8 = 74;
/// Interrupted, as shells say it.
const INTERRUPTED: u8 = 130;

/// Why a command ends early.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// Something was found wrong, and has been told.
    pub(super) fn found_wrong() -> Failure {
        Failure { code: FOUND_WRONG, text: String::new() }
    }

    /// The command line or the query is wrong.
    pub(super) fn usage(text: impl Into<String>) -> Failure {
        Failure { code: USAGE, text: text.into() }
    }

    /// Another process is at it.
    pub(super) fn held(text: impl Into<String>) -> Failure {
        Failure { code: HELD, text: text.into() }
    }

    /// The server cannot be reached, or takes nothing now.
    pub(super) fn unavailable(text: impl Into<String>) -> Failure {
        Failure { code: UNAVAILABLE, text: text.into() }
    }

    /// A file cannot be read or written.
    pub(super) fn file(path: &Path, error: &io::Error) -> Failure {
        Failure { code: IO, text: format!("{}: {error}", path.display()) }
    }

    /// It was interrupted.
    pub(super) fn interrupted(text: impl Into<String>) -> Failure {
        Failure { code: INTERRUPTED, text: text.into() }
    }

    /// The output cannot be written. A reader who has seen enough and closed it is no failure.
    pub(super) fn output(error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure { code: 0, text: String::new() };
        }
        Failure { code: IO, text: format!("standard output: {error}") }
    }

    /// The server did not answer as it should; `query` is what was asked for.
    pub(super) fn reading(url: &str, query: &str, error: ReadError) -> Failure {
        match error {
            ReadError::Refused(problem) => {
                let detail = if problem.detail.is_empty() { problem.to_string() } else { problem.detail };
                Failure::usage(with_caret(&escape(&detail, false), query))
            }
            ReadError::GaveUp { cause: Cause::Answered(problem), .. } => {
                Failure::unavailable(format!("{url} answers {}", escape(&problem.to_string(), false)))
            }
            ReadError::GaveUp { cause: Cause::Unreachable(error), .. } => Failure::unavailable(format!(
                "{url}: {error}; is the server running there? --url or SLUICE_URL names another"
            )),
            ReadError::Cut(error) => Failure::broke_off(url, &error),
            other => Failure::unavailable(format!("{url}: {other}")),
        }
    }

    /// The server or the network ended an answer before its end.
    pub(super) fn broke_off(url: &str, error: &io::Error) -> Failure {
        Failure::unavailable(format!("{url}: the answer broke off, what came is not everything: {error}"))
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// What to tell the user; empty if all has been said.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The text, and below it the query with a mark under the column that the text names: `q: column 17: …`.
fn with_caret(detail: &str, query: &str) -> String {
    let column = detail.strip_prefix("q: column ").and_then(|rest| rest.split_once(':')?.0.parse::<usize>().ok());
    let Some(column) = column.filter(|column| (1..=query.chars().count() + 1).contains(column)) else {
        return detail.to_owned();
    };
    let shown = |text: &str| -> String {
        text.chars().map(|letter| if is_unsafe(letter) { '\u{fffd}' } else { letter }).collect()
    };
    let before: String = query.chars().take(column - 1).collect();
    format!("{detail}\n  {}\n  {:indent$}^", shown(query), "", indent = shown(&before).width())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stands_under_the_column() {
        assert_eq!(with_caret("q: column 3: what", "漢 b"), "q: column 3: what\n  漢 b\n     ^");
        assert_eq!(with_caret("q: column 4: what", "a\u{1b}b"), "q: column 4: what\n  a\u{fffd}b\n     ^");
        for (detail, query) in [("q: column 9: x", "a"), ("q: column x: y", "a"), ("limit=0: use 1", "a")] {
            assert_eq!(with_caret(detail, query), detail);
        }
    }

    #[test]
    fn a_closed_pipe_is_the_end_and_no_failure() {
        assert_eq!(Failure::output(&io::ErrorKind::BrokenPipe.into()).code(), 0);
        assert_eq!(Failure::output(&io::ErrorKind::StorageFull.into()).code(), 74);
    }
}
