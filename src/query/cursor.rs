//! Cursors: where a walk over the pages of an answer goes on.
//!
//! A cursor is opaque to clients: base64url, without padding, of these bytes (numbers big-endian):
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | order: 0 descending, 1 ascending |
//! | 16 | hash of the query's conditions |
//! | 8, 8 | first and last moment of its range, as fixed on the first page |
//! | 8, 16 | timestamp and id of the last record of the page before |
//! | 4 | CRC-32C of all that |

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sluice_model::{RecordId, Timestamp};

use super::{Order, Position, TimeRange};

const VERSION: u8 = 1;
const BYTES: usize = 62;

/// Where a walk goes on, and of which query it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The order of the walk.
    pub order: Order,
    /// A hash of everything else that the query asks for, as its sender wrote it.
    pub query: u128,
    /// The range of the walk; what was relative is absolute here.
    pub range: TimeRange,
    /// The last record of the page before.
    pub after: Position,
}

/// The text is not a cursor that this version gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: take it unchanged from the Link of the page before")]
pub struct CursorError;

impl Cursor {
    /// The text for clients.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.push(match self.order {
            Order::Descending => 0,
            Order::Ascending => 1,
        });
        bytes.extend(self.query.to_be_bytes());
        bytes.extend(self.range.start.as_nanos().to_be_bytes());
        bytes.extend(self.range.end.as_nanos().to_be_bytes());
        bytes.extend(self.after.0.as_nanos().to_be_bytes());
        bytes.extend(self.after.1.as_u128().to_be_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the text that [`Cursor::encode`] gave.
    ///
    /// # Errors
    /// [`CursorError`], if it is none.
    pub fn decode(text: &str) -> Result<Cursor, CursorError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let (body, sum) = bytes.split_last_chunk::<4>().filter(|_| bytes.len() == BYTES).ok_or(CursorError)?;
        if crc32c::crc32c(body).to_be_bytes() != *sum {
            return Err(CursorError);
        }
        let mut fields = Fields(body);
        let order = match fields.take()? {
            [VERSION, 0] => Order::Descending,
            [VERSION, 1] => Order::Ascending,
            _ => return Err(CursorError),
        };
        Ok(Cursor {
            order,
            query: u128::from_be_bytes(fields.take()?),
            range: TimeRange { start: fields.time()?, end: fields.time()? },
            after: (fields.time()?, RecordId::from_u128(u128::from_be_bytes(fields.take()?))),
        })
    }
}

/// The fields that are still to be read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CursorError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(CursorError)?;
        self.0 = rest;
        Ok(*field)
    }

    fn time(&mut self) -> Result<Timestamp, CursorError> {
        self.take().map(|bytes| Timestamp::from_nanos(i64::from_be_bytes(bytes)))
    }
}

/// The text of a cursor of these bytes, whatever they are, with the checksum that belongs to them.
#[cfg(any(test, fuzzing))]
pub(super) fn sealed(body: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode([body, &crc32c::crc32c(body).to_be_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_was_and_no_other_does(
            ascending: bool, query: u128, start: i64, end: i64, time: i64, id: u128, at in 0_usize..83, to in "[A-Za-z0-9_-]",
        ) {
            let cursor = Cursor {
                order: if ascending { Order::Ascending } else { Order::Descending },
                query,
                range: TimeRange { start: Timestamp::from_nanos(start), end: Timestamp::from_nanos(end) },
                after: (Timestamp::from_nanos(time), RecordId::from_u128(id)),
            };
            let text = cursor.encode();
            prop_assert_eq!(Cursor::decode(&text), Ok(cursor));
            let mut tampered = text.clone();
            tampered.replace_range(at..=at, &to);
            prop_assert!(tampered == text || Cursor::decode(&tampered).is_err());
            prop_assert!(Cursor::decode(&text[..at]).is_err());
        }

        #[test]
        fn no_text_panics(text: String) {
            prop_assert!(Cursor::decode(&text).is_err());
        }
    }
}
