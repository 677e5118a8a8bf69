//! Answers as bytes, in a form that the server writes: for programs that hand them on.

use std::fmt;
use std::io::{self, Read};

use ureq::http::Response;
use ureq::{Body, BodyReader};

use super::{Query, RETRIEVE, ReadError, incomplete, next_page};
use crate::builder::Client;
use crate::transport::header;

/// In which form the server writes what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON document.
    Json,
    /// A JSON object a line.
    Ndjson,
    /// A table with a header (RFC 4180).
    Csv,
    /// A line of text a record.
    Text,
}

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A JSON object a line.
    Ndjson,
    /// A table with a header (RFC 4180).
    Csv,
    /// A line of text a record.
    Text,
    /// An Apache Parquet file.
    Parquet,
    /// An Apache Arrow IPC stream.
    Arrow,
    /// An SQLite database.
    Sqlite,
}

/// An answer's bytes as they come, and what its headers say.
///
/// Its end is the end of the answer, and nothing else: one that the server or the network cuts ends in an error.
pub struct Answer {
    body: BodyReader<'static>,
    next: Option<String>,
    incomplete: Option<String>,
    hint: Option<String>,
}

impl Form {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::Ndjson => "application/x-ndjson",
            Form::Csv => "text/csv",
            Form::Text => "text/plain",
        }
    }
}

impl ExportFormat {
    /// Its name, as the server knows it.
    pub fn name(self) -> &'static str {
        match self {
            ExportFormat::Ndjson => "ndjson",
            ExportFormat::Csv => "csv",
            ExportFormat::Text => "text",
            ExportFormat::Parquet => "parquet",
            ExportFormat::Arrow => "arrow",
            ExportFormat::Sqlite => "sqlite",
        }
    }
}

impl Client {
    /// Reads a query's matches in the server's words: a page of [`Query::limit`] records, or without a limit everything
    /// ([`Form::Json`] has a limit always).
    ///
    /// # Errors
    /// [`ReadError`], if the server does not begin to answer. Later failures come from reading the answer.
    pub fn retrieve(&self, query: &Query, form: Form) -> Result<Answer, ReadError> {
        self.answer(&self.transport.url(&query.to_path(RETRIEVE)), form.media_type())
    }

    /// Reads the page after `answer`, in the same form; `None` if that was the last.
    ///
    /// # Errors
    /// [`ReadError`], as [`Client::retrieve`].
    pub fn next_page(&self, answer: &Answer, form: Form) -> Result<Option<Answer>, ReadError> {
        let next = answer.next.as_deref();
        next.map(|url| self.answer(url, form.media_type())).transpose()
    }

    /// Exports everything that matches, oldest first unless the query says otherwise.
    ///
    /// # Errors
    /// [`ReadError`], as [`Client::retrieve`].
    pub fn export(&self, query: &Query, format: ExportFormat) -> Result<Answer, ReadError> {
        let query = query.clone().with("format", format.name().to_owned());
        self.answer(&self.transport.url(&query.to_path("/logs/export")), "*/*")
    }

    pub(super) fn answer(&self, url: &str, accept: &str) -> Result<Answer, ReadError> {
        Answer::new(self.get(url, accept)?, url)
    }
}

impl Answer {
    fn new(response: Response<Body>, url: &str) -> Result<Answer, ReadError> {
        let chunked = header(response.headers(), "transfer-encoding").is_some();
        if !chunked && response.body().content_length().is_none() && response.status() != 204 {
            return Err(ReadError::Unframed);
        }
        let next = next_page(&response, url)?;
        let incomplete = incomplete(&response);
        let hint = header(response.headers(), "sluice-hint").map(str::to_owned);
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(Answer { body, next, incomplete, hint })
    }

    /// True if there are more matches than this page has.
    pub fn has_more(&self) -> bool {
        self.next.is_some()
    }

    /// What the server says of records that it has accepted but cannot show yet, if there are any.
    pub fn incomplete(&self) -> Option<&str> {
        self.incomplete.as_deref()
    }

    /// What the server remarks on the query, such as a field that no record has.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("next", &self.next).field("incomplete", &self.incomplete).finish_non_exhaustive()
    }
}
