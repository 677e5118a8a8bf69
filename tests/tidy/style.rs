//! What holds for each file by itself.

use super::code::{Token, tokens};

/// How long a Rust file may be. About 300 is the aim; this is where it stops.
const LINES_MAX: usize = 450;

/// Lints that nothing in the sources switches off.
const NEVER_ALLOWED: &[&str] =
    &["dbg_macro", "missing_docs", "panic", "todo", "unimplemented", "unsafe_code", "unwrap_used", "warnings"];

/// Lints that may be switched off where the attribute gives the reason why the invariant cannot fail.
const ALLOWED_WITH_REASON: &[&str] = &["expect_used", "indexing_slicing"];

/// Complains about a Rust file's length and name.
pub fn check_file(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        complaints.push(format!("{path}: {lines} lines, {LINES_MAX} are the limit"));
    }
    if path.ends_with("/mod.rs") {
        complaints.push(format!("{path}: `foo.rs` beside `foo/` instead of `foo/mod.rs`"));
    }
    complaints
}

/// Complains about a source file without a module doc, and about lints that it switches off. Tests need no doc.
pub fn check_source(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.starts_with("//! ") && !path.ends_with("/tests.rs") && !path.contains("/tests/") {
        complaints.push(format!("{path}: begins without a `//!` line that says what it is for"));
    }
    for attribute in attributes(&tokens(text)) {
        let has = |name: &&str| attribute.iter().any(|token| token == name);
        if !["allow", "expect"].iter().any(has) {
            continue;
        }
        for lint in NEVER_ALLOWED.iter().filter(|lint| has(lint)) {
            complaints.push(format!("{path}: switches off the lint {lint}"));
        }
        for lint in ALLOWED_WITH_REASON.iter().filter(|lint| has(lint) && !has(&"reason")) {
            complaints.push(format!("{path}: switches off the lint {lint} without a reason"));
        }
    }
    complaints
}

/// The insides of all attributes, `#[…]` and `#![…]`.
fn attributes(code: &[Token]) -> Vec<&[Token]> {
    let mut found = Vec::new();
    for (at, _) in code.iter().enumerate().filter(|(_, token)| *token == "#") {
        let rest = &code[at + 1..];
        let rest = rest.strip_prefix(&["!".to_owned()]).unwrap_or(rest);
        if rest.first().is_some_and(|token| token == "[") {
            found.push(&rest[..closing(rest)]);
        }
    }
    found
}

/// Where the bracket that opens at the start is closed.
fn closing(code: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in code.iter().enumerate() {
        match token.as_str() {
            "[" => depth += 1,
            "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_length_and_a_place() {
        assert!(check_file("src/a.rs", &"\n".repeat(LINES_MAX)).is_empty());
        assert_eq!(check_file("src/a.rs", &"\n".repeat(LINES_MAX + 1)), ["src/a.rs: 451 lines, 450 are the limit"]);
        assert_eq!(check_file("src/a/mod.rs", "").len(), 1);
    }

    #[test]
    fn a_source_begins_with_its_doc() {
        assert!(check_source("src/a.rs", "//! What it is.\n").is_empty());
        assert!(check_source("src/a/tests.rs", "use super::*;\n").is_empty());
        for text in ["", "use std::fs;\n//! Late.\n", "// A comment.\n", "//!\n"] {
            assert_eq!(check_source("src/a.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn lints_stay_on() {
        let bad = [
            "#[allow(clippy::unwrap_used)]",
            "#![allow(clippy::todo)]",
            "#![allow(\n    clippy::todo\n)]",
            "#[expect(clippy::panic, reason = \"lazy\")]",
            "#[cfg_attr(test, allow(missing_docs))]",
            "#[allow(clippy::indexing_slicing)]",
            "#[expect(clippy::expect_used)]",
            "#[allow(warnings)]",
        ];
        for attribute in bad {
            assert_eq!(
                check_source("src/a.rs", &format!("//! A.\n{attribute}\nfn f() {{}}\n")).len(),
                1,
                "{attribute}"
            );
        }
        let good = [
            "#[expect(clippy::indexing_slicing, reason = \"the mask keeps it below the length\")]",
            "#[deny(clippy::unwrap_used)]",
            "#[doc = \"allow(clippy::unwrap_used)\"]",
            "// #[allow(clippy::unwrap_used)]",
            "#[derive(Debug)]\nstruct A([u8; 2]);\nfn allow(panic: u8) {}",
        ];
        for attribute in good {
            let text = format!("//! A.\n{attribute}\nfn f() {{}}\n");
            assert_eq!(check_source("src/a.rs", &text), Vec::<String>::new(), "{attribute}");
        }
    }
}
