//! The server's explanations: RFC 9457 problem details.

use std::fmt;

use serde::Deserialize;

/// Why the server did not do what was asked, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem, such as "Bad Request".
    pub title: String,
    /// What exactly is wrong; empty if the server did not say.
    pub detail: String,
    /// The records at fault, as far as the server lists them.
    pub errors: Vec<BadRecord>,
}

/// One record that the server would not take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BadRecord {
    /// Its place in the batch, from 0.
    #[serde(default)]
    pub index: u64,
    /// The field at fault, if it is one.
    #[serde(default)]
    pub field: Option<String>,
    /// What is wrong with it.
    #[serde(default)]
    pub detail: String,
}

/// The most text of an answer that is no problem document which is worth showing.
const EXCERPT_CHARS: usize = 300;

impl Problem {
    /// Reads an answer's body; any body will do, as a proxy in between may answer in its own way.
    pub(crate) fn from_answer(status: u16, body: &[u8]) -> Problem {
        #[derive(Deserialize)]
        struct Document {
            #[serde(default)]
            title: String,
            #[serde(default)]
            detail: String,
            #[serde(default)]
            errors: Vec<BadRecord>,
        }
        match serde_json::from_slice::<Document>(body) {
            Ok(Document { title, detail, errors }) => Problem { status, title, detail, errors },
            Err(_) => {
                let text = String::from_utf8_lossy(body);
                let detail = text.trim().chars().take(EXCERPT_CHARS).collect();
                Problem { status, title: String::new(), detail, errors: Vec::new() }
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for text in [&self.title, &self.detail] {
            if !text.is_empty() {
                write!(f, ": {text}")?;
            }
        }
        if let Some(first) = self.errors.first() {
            let field = first.field.as_deref().unwrap_or("-");
            write!(f, " (record {}, field {field}: {})", first.index, first.detail)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_document_is_read_and_shown() {
        let body = br#"{"type":"about:blank","title":"Bad batch","status":400,"detail":"1 of 2 records is bad",
            "errors":[{"index":1,"field":"level","detail":"unknown level \"LOUD\""}],"total":1}"#;
        let problem = Problem::from_answer(400, body);
        assert_eq!(problem.errors.first().unwrap().field.as_deref(), Some("level"));
        assert_eq!(
            problem.to_string(),
            "400: Bad batch: 1 of 2 records is bad (record 1, field level: unknown level \"LOUD\")"
        );
    }

    #[test]
    fn a_proxys_page_is_shown_in_part() {
        let page = format!("<h1>Bad Gateway</h1>{}", "x".repeat(1000));
        let problem = Problem::from_answer(502, page.as_bytes());
        assert!(problem.to_string().starts_with("502: <h1>Bad Gateway</h1>xxx"));
        assert_eq!(problem.detail.chars().count(), EXCERPT_CHARS);
    }
}
