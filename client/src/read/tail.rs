//! What is accepted from now on.

use serde::Deserialize;

use super::{Form, Query, ReadError, RecordStream};
use crate::builder::Client;

/// The records of a query as they are accepted, for as long as the server lives.
///
/// The server sends an empty line now and then, so a connection that is silent for
/// [`crate::ClientBuilder::timeout`] is gone, which is an error like any other cut.
#[derive(Debug)]
pub struct Tail {
    lines: RecordStream,
}

/// What a tail tells.
#[derive(Debug, PartialEq, Eq)]
pub enum TailEvent<'a> {
    /// A record as the server wrote it, as JSON without a line feed.
    Record(&'a [u8]),
    /// Something passed by because this reader, or the server, was too slow.
    Missed {
        /// So many matches.
        matches: u64,
        /// So many records, of which any may be a match.
        passed_over: u64,
    },
}

impl Client {
    /// Follows a query: first the `last` newest of what is there, oldest first, then what is accepted from now on. Times,
    /// order and limit of the query do not apply, and the server refuses them.
    ///
    /// # Errors
    /// [`ReadError`], if the server does not begin to answer. Later failures come from the tail.
    pub fn tail(&self, query: &Query, last: usize) -> Result<Tail, ReadError> {
        let path = query.clone().with("last", last.to_string()).to_path("/logs/tail");
        let answer = self.answer(&self.transport.url(&path), Form::Ndjson.media_type())?;
        Ok(Tail { lines: RecordStream::new(answer) })
    }
}

impl Tail {
    /// Waits for what comes next; `None` when the server has ended the answer.
    ///
    /// # Errors
    /// [`ReadError`], once; after that the tail is at its end.
    pub fn next_event(&mut self) -> Result<Option<TailEvent<'_>>, ReadError> {
        Ok(self.lines.next_line()?.map(event))
    }

    /// True if the next event, or a part of it, is here already.
    pub fn has_buffered(&self) -> bool {
        self.lines.has_buffered()
    }
}

fn event(line: &[u8]) -> TailEvent<'_> {
    #[derive(Deserialize)]
    struct Gap {
        #[serde(default)]
        missed: u64,
        #[serde(default)]
        passed_over: u64,
    }
    // A record begins with its id.
    if (line.starts_with(b"{\"missed\":") || line.starts_with(b"{\"passed_over\":"))
        && let Ok(Gap { missed, passed_over }) = serde_json::from_slice(line)
    {
        return TailEvent::Missed { matches: missed, passed_over };
    }
    TailEvent::Record(line)
}
