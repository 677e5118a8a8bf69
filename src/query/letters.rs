//! Runs of letters: parts of words that every match of a term or expression has, so that records without such words need
//! no look.

use regex_syntax::hir::{Hir, HirKind, Literal};

/// Shorter runs stand in most words.
const LETTERS_MIN: usize = 2;

/// The ASCII letters of `text` that stand side by side, in lower case.
pub(super) fn runs(text: &str) -> impl Iterator<Item = String> {
    let runs = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|run| run.len() >= LETTERS_MIN);
    runs.map(str::to_ascii_lowercase)
}

/// Such letters that every match of a regular expression has, whether or not the case counts.
pub(super) fn of_regex(source: &str) -> Vec<String> {
    let mut letters = Vec::new();
    // Case is left out of the expression: an `a` or `A` in it stands for both here, as letters are compared in lower case.
    if let Ok(hir) = regex_syntax::parse(source) {
        gather(&hir, &mut letters);
    }
    letters
}

fn gather(hir: &Hir, letters: &mut Vec<String>) {
    match hir.kind() {
        HirKind::Literal(Literal(bytes)) => letters.extend(runs(&String::from_utf8_lossy(bytes))),
        HirKind::Concat(parts) => parts.iter().for_each(|part| gather(part, letters)),
        HirKind::Capture(capture) => gather(&capture.sub, letters),
        HirKind::Repetition(repetition) if repetition.min > 0 => gather(&repetition.sub, letters),
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) | HirKind::Repetition(_) | HirKind::Alternation(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_that_every_match_has() {
        for (source, expected) in [
            ("block.*terminating", &["block", "terminating"][..]),
            ("Re(fused|set) by", &["re", "by"]),
            ("(conn)+x?y{2,}z", &["conn"]),
            (r"^id=\d+ Größe_ab1cd$", &["id", "gr", "ab", "cd"]),
            ("a|b", &[]),
            ("(?i)error", &[]),
            ("[a-z]+", &[]),
            ("(failed)?", &[]),
            ("", &[]),
        ] {
            assert_eq!(of_regex(source), expected, "{source}");
        }
        assert_eq!(runs("/Var/log-1x").collect::<Vec<_>>(), ["var", "log"]);
    }
}
