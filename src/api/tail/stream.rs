//! The body of a tail: what comes, as it comes.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};

use super::form::Form;
use crate::batch::{Records, RowWriter};
use crate::tail::{Event, Tail};

/// What is handed to the connection at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// So few records are written at once, where other connections wait for it.
const FEW_ROWS: usize = 32;

/// What is still to be sent. The connection asks for it when it has room, and drops it when the client is gone.
pub(super) struct Feed {
    tail: Tail,
    /// Earlier records, of which the last ones come first.
    history: Vec<Records>,
    history_bytes: usize,
    form: Form,
    heartbeat: Duration,
    /// What is being written, and its next row.
    current: Option<(Records, usize)>,
    /// The tail has ended, and what was written is to be sent yet.
    ended: bool,
}

impl Feed {
    /// A tail with what came before it, newest first.
    pub fn new(tail: Tail, history: Vec<Records>, form: Form, heartbeat: Duration) -> Feed {
        let history_bytes = history.iter().map(Records::size_bytes).sum();
        Feed { tail, history, history_bytes, form, heartbeat, current: None, ended: false }
    }

    /// The chunks; they end when the tail does.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        unfold(self, |mut feed| async move { feed.chunk().await.map(|chunk| (Ok(chunk), feed)) })
    }

    /// The next chunk: all that is there, up to [`CHUNK_BYTES`].
    async fn chunk(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        while out.len() < CHUNK_BYTES && !self.ended {
            if let Some(current) = self.current.take() {
                out = self.write(current, out).await;
            } else if let Some(records) = self.history.pop() {
                self.begin_history(records);
            } else if let Some(event) = self.tail.try_next() {
                self.begin(event, &mut out);
            } else if !out.is_empty() {
                break;
            } else if let Some(event) = self.tail.next(self.heartbeat).await {
                self.begin(event, &mut out);
            } else {
                out.extend_from_slice(self.form.heartbeat());
            }
        }
        (!out.is_empty()).then(|| Bytes::from(out))
    }

    fn begin(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Matches(records) => self.current = Some((records, 0)),
            Event::Gap(gap) => self.form.write_gap(gap, out),
            Event::End => self.ended = true,
        }
    }

    fn begin_history(&mut self, records: Records) {
        self.history_bytes = self.history_bytes.saturating_sub(records.size_bytes());
        // It is less than before, which is never refused.
        let _ = self.tail.hold_history(self.history_bytes);
        self.current = records.reversed().ok().map(|records| (records, 0));
    }

    /// Writes of what is begun as much as fits behind `out`.
    async fn write(&mut self, current: (Records, usize), out: Vec<u8>) -> Vec<u8> {
        let ((records, first), form) = (current, self.form);
        let few = records.len() - first <= FEW_ROWS;
        let written = if few {
            Some(write(form, records, first, out))
        } else {
            self.tail.aside(move || write(form, records, first, out)).await
        };
        let Some((records, row, out)) = written else {
            self.ended = true;
            return Vec::new();
        };
        self.tail.sent((row - first) as u64);
        self.current = (row < records.len()).then_some((records, row));
        out
    }
}

/// Writes records from the row `first` on until a chunk is full; gives what comes next, and the chunk.
fn write(form: Form, records: Records, first: usize, mut out: Vec<u8>) -> (Records, usize, Vec<u8>) {
    let writer = RowWriter::new(&records);
    let mut row = first;
    while row < records.len() && out.len() < CHUNK_BYTES {
        form.write(&records, &writer, row, &mut out);
        row += 1;
    }
    (records, row, out)
}
