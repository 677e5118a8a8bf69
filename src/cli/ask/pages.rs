//! The records of a query, one by one, page after page.

use std::io::{self, BufReader};

use sluice_client::{Answer, Client, Form, Query, ReadError};

use super::Notes;
use crate::cli::failure::Failure;
use crate::cli::split::Splitter;

/// How many records the server puts on a page at most.
pub(super) const PAGE_RECORDS_MAX: usize = 10_000;

/// Above the largest record that a server takes, also after escapes have made it longer.
const RECORD_BYTES_MAX: usize = 16 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// What a command reads.
pub(super) struct Asked<'a> {
    /// Whom it asks.
    pub(super) client: &'a Client,
    /// Its URL, as it may be shown.
    pub(super) url: &'a str,
    /// The query's text, for errors that point into it.
    pub(super) text: &'a str,
    /// In which form.
    pub(super) form: Form,
}

/// The records as the server wrote them, and no more than were asked for.
pub(super) struct Pages<'a> {
    asked: Asked<'a>,
    page: Splitter<BufReader<Answer>>,
    /// How many are still wanted; absent where all are.
    left: Option<usize>,
    header: Option<Vec<u8>>,
    record: Vec<u8>,
}

impl<'a> Pages<'a> {
    /// Asks for the first page, or without a limit for everything.
    pub(super) fn open(
        asked: Asked<'a>,
        query: Query,
        limit: Option<usize>,
        notes: &mut Notes,
    ) -> Result<Pages<'a>, Failure> {
        let query = match limit {
            Some(limit) => query.limit(limit.min(PAGE_RECORDS_MAX)),
            None => query,
        };
        let answer = asked.client.retrieve(&query, asked.form).map_err(|error| asked.failure(error))?;
        notes.of_answer(answer.incomplete(), answer.hint());
        let mut pages = Pages { page: split(answer, asked.form), asked, left: limit, header: None, record: Vec::new() };
        pages.header = pages.read_header()?;
        Ok(pages)
    }

    /// The first line of a table.
    pub(super) fn header(&self) -> Option<&[u8]> {
        self.header.as_deref()
    }

    /// The next record, without a line feed.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        if self.left == Some(0) || !self.advance()? {
            return Ok(None);
        }
        self.left = self.left.map(|left| left - 1);
        Ok(Some(&self.record))
    }

    /// Whether there are more than were asked for; to be asked once all of these are read.
    pub(super) fn has_more(&mut self) -> bool {
        self.left == Some(0) && (self.page.get_ref().get_ref().has_more() || matches!(self.advance(), Ok(true)))
    }

    /// Reads a record, on the next page if need be.
    fn advance(&mut self) -> Result<bool, Failure> {
        loop {
            match self.page.next(&mut self.record) {
                Ok(Some(piece)) if piece.cut => {
                    let error = io::Error::other(format!("a record is larger than {RECORD_BYTES_MAX} bytes"));
                    return Err(Failure::broke_off(self.asked.url, &error));
                }
                // Only the lines of JSON and text are never empty.
                Ok(Some(_)) if self.record.is_empty() && self.asked.form != Form::Csv => {}
                Ok(Some(_)) => return Ok(true),
                Ok(None) => {
                    let answer = self.page.get_ref().get_ref();
                    let next = self.asked.client.next_page(answer, self.asked.form);
                    let Some(next) = next.map_err(|error| self.asked.failure(error))? else { return Ok(false) };
                    self.page = split(next, self.asked.form);
                    self.read_header()?;
                }
                Err(error) => return Err(Failure::broke_off(self.asked.url, &error)),
            }
        }
    }

    fn read_header(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.asked.form != Form::Csv {
            return Ok(None);
        }
        let read = self.page.next(&mut self.record);
        let found = read.map_err(|error| Failure::broke_off(self.asked.url, &error))?;
        Ok(found.map(|_| self.record.clone()))
    }
}

impl Asked<'_> {
    fn failure(&self, error: ReadError) -> Failure {
        Failure::reading(self.url, self.text, error)
    }
}

fn split(answer: Answer, form: Form) -> Splitter<BufReader<Answer>> {
    Splitter::new(BufReader::with_capacity(BUFFER_BYTES, answer), form == Form::Csv, RECORD_BYTES_MAX)
}
