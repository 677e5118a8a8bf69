//! What is posted at a time.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluice_client::{Client, Format, PostError, Problem};

use super::reader::{Item, Reader};
use crate::cli::failure::Failure;

/// A chunk ends with the record that reaches one of these.
const RECORDS_MAX: usize = 10_000;
const BYTES_MAX: usize = 2 << 20;

/// Records of a file that stand one after the other.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    items: Vec<Item>,
}

/// A line that is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    /// Its place in the chunk.
    pub(super) index: usize,
    /// Why.
    pub(super) reason: String,
}

/// Posts chunks.
pub(super) struct Sender<'a> {
    pub(super) client: &'a Client,
    pub(super) url: &'a str,
    pub(super) stop: &'a AtomicBool,
    /// Records that the server has accepted.
    pub(super) accepted: u64,
}

impl Chunk {
    /// Takes the next records, up to `end` if that is given; false if there are none. The same file gives the same chunks
    /// always, so that one that is sent again is the same request.
    pub(super) fn fill(&mut self, reader: &mut Reader<'_>, end: Option<u64>) -> io::Result<bool> {
        self.items.clear();
        let mut bytes = 0;
        while self.items.len() < RECORDS_MAX && bytes < BYTES_MAX {
            let Some(item) = reader.next()? else { break };
            bytes += item.raw.len();
            self.items.push(item);
            if end.is_some_and(|end| reader.position() >= end) {
                break;
            }
        }
        Ok(!self.items.is_empty())
    }

    /// The line at a place.
    pub(super) fn get(&self, index: usize) -> Option<&Item> {
        self.items.get(index)
    }

    fn json(&self, index: usize) -> &[u8] {
        self.items.get(index).and_then(|item| item.json.as_deref().ok()).unwrap_or_default()
    }
}

impl Sender<'_> {
    /// Posts what is good in a chunk, and says what is bad.
    pub(super) fn send(
        &mut self,
        chunk: &Chunk,
        key: impl Fn(usize, &[u8]) -> String,
        wait: &mut dyn FnMut(Duration) -> bool,
    ) -> Result<Vec<Bad>, Failure> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (index, item) in chunk.items.iter().enumerate() {
            match &item.json {
                Ok(_) => good.push(index),
                Err(reason) => bad.push(Bad { index, reason: reason.clone() }),
            }
        }
        let mut parts = vec![good];
        while let Some(part) = parts.pop() {
            let Some(first) = part.first().copied() else { continue };
            let mut body = Vec::new();
            for index in &part {
                body.extend_from_slice(chunk.json(*index));
                body.push(b'\n');
            }
            match self.client.post_batch_keyed(Format::Ndjson, &body, &key(first, &body), wait) {
                Ok(receipt) => self.accepted += receipt.accepted,
                Err(PostError::Refused(problem)) if matches!(problem.status, 400 | 413 | 422) => {
                    parts.extend(without_bad(part, &problem, &mut bad));
                }
                Err(error) => return Err(self.failure(&error)),
            }
        }
        bad.sort_by_key(|bad| bad.index);
        Ok(bad)
    }

    fn failure(&self, error: &PostError) -> Failure {
        if self.stop.load(Ordering::Relaxed) {
            return Failure::interrupted("interrupted; run it again to go on");
        }
        Failure::unavailable(format!("{}: {error}; run it again to go on", self.url))
    }
}

/// What can be posted of a part that was refused, the last first: the part without the records that the server names, or
/// if it names none, its halves. A single record that is refused is bad.
fn without_bad(mut part: Vec<usize>, problem: &Problem, bad: &mut Vec<Bad>) -> Vec<Vec<usize>> {
    let before = bad.len();
    for error in &problem.errors {
        if let Some(index) = usize::try_from(error.index).ok().and_then(|place| part.get(place)) {
            let field = error.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
            bad.push(Bad { index: *index, reason: format!("{field}{}", error.detail) });
        }
    }
    let named = bad.get(before..).unwrap_or_default();
    if !named.is_empty() {
        part.retain(|index| named.iter().all(|bad| bad.index != *index));
        return vec![part];
    }
    if let [index] = part.as_slice() {
        bad.push(Bad { index: *index, reason: problem.to_string() });
        return Vec::new();
    }
    let second = part.split_off(part.len() / 2);
    vec![second, part]
}

#[cfg(test)]
mod tests {
    use sluice_client::BadRecord;

    use super::*;

    fn problem(errors: &[(u64, &str)]) -> Problem {
        let error = |(index, field): &(u64, &str)| BadRecord {
            index: *index,
            field: Some((*field).to_owned()),
            detail: "is wrong".to_owned(),
        };
        let errors = errors.iter().map(error).collect();
        Problem { status: 400, title: "Bad".to_owned(), detail: String::new(), errors }
    }

    #[test]
    fn named_records_are_left_out() {
        let mut bad = Vec::new();
        assert_eq!(without_bad(vec![2, 4, 6], &problem(&[(1, "level"), (9, "x")]), &mut bad), [[2, 6]]);
        assert_eq!(bad, [Bad { index: 4, reason: "level: is wrong".to_owned() }]);
    }

    #[test]
    fn a_refusal_without_names_is_narrowed_down() {
        let mut bad = Vec::new();
        assert_eq!(without_bad(vec![2, 4, 6], &problem(&[]), &mut bad), [vec![4, 6], vec![2]]);
        assert_eq!(bad, []);
        assert!(without_bad(vec![2], &problem(&[]), &mut bad).is_empty());
        assert_eq!(bad, [Bad { index: 2, reason: "400: Bad".to_owned() }]);
    }
}
