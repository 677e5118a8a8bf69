//! A dead letter's line, as `worker::dead_letter` specifies it.

use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_model::{RecordId, Timestamp};

/// What a line begins with: the record's id follows.
pub(super) const ID_PREFIX: &[u8] = b"{\"id\":\"";

const CHECKSUM_PREFIX: &[u8] = b"\",\"crc32c\":\"";
const CHECKSUM_END: &[u8] = b"\",";
const CHECKSUM_DIGITS: usize = 8;

/// A dead letter.
#[derive(Debug, Deserialize)]
pub struct Letter<'a> {
    /// The record's id.
    pub id: RecordId,
    /// When it was put away.
    pub time: &'a str,
    /// What the store said, as JSON.
    #[serde(borrow)]
    pub reason: &'a RawValue,
    /// The record as every answer shows it, as JSON.
    #[serde(borrow)]
    pub record: &'a RawValue,
}

/// Why a line is none.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not what was written.
    #[error("the checksum of the line is wrong")]
    Checksum,
    /// It is no such JSON.
    #[error("the line is no dead letter: {0}")]
    Json(#[from] serde_json::Error),
}

impl<'a> Letter<'a> {
    /// Reads a line, with or without its end. Lines of versions that gave them no checksum are taken as they are.
    ///
    /// # Errors
    /// [`LineError`], if it is damaged.
    pub fn parse(line: &'a [u8]) -> Result<Letter<'a>, LineError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let letter: Letter<'a> = serde_json::from_slice(line)?;
        match checksum_of(line) {
            Some((stated, actual)) if stated != actual => Err(LineError::Checksum),
            // A line that has the name somewhere has it where it belongs, or is damaged.
            None if line
                .get(..64.min(line.len()))
                .is_some_and(|head| memchr::memmem::find(head, b"crc32c").is_some()) =>
            {
                Err(LineError::Checksum)
            }
            _ => Ok(letter),
        }
    }
}

impl Letter<'_> {
    /// The line of the same record, put away now for another reason.
    pub fn with_reason(&self, reason: &str) -> Vec<u8> {
        let (now, reason) = (Timestamp::now(), serde_json::Value::from(reason));
        let rest = format!("\"time\":\"{now}\",\"reason\":{reason},\"record\":{}}}", self.record.get());
        let mut line = Vec::new();
        write(self.id.encode(&mut [0; RecordId::TEXT_LENGTH]), rest.as_bytes(), &mut line);
        line
    }
}

/// Writes a line: `rest` is what stands behind the checksum.
pub(super) fn write(id: &str, rest: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(ID_PREFIX);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(CHECKSUM_PREFIX);
    out.extend_from_slice(format!("{:08x}", checksum(id.as_bytes(), rest)).as_bytes());
    out.extend_from_slice(CHECKSUM_END);
    out.extend_from_slice(rest);
    out.push(b'\n');
}

/// The id at the front of a line.
pub(super) fn id(line: &[u8]) -> Option<RecordId> {
    let text = line.strip_prefix(ID_PREFIX)?.get(..RecordId::TEXT_LENGTH)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The checksum that a line states, and the one that it has.
fn checksum_of(line: &[u8]) -> Option<(u32, u32)> {
    let (id, rest) = line.strip_prefix(ID_PREFIX)?.split_at_checked(RecordId::TEXT_LENGTH)?;
    let (digits, rest) = rest.strip_prefix(CHECKSUM_PREFIX)?.split_at_checked(CHECKSUM_DIGITS)?;
    let rest = rest.strip_prefix(CHECKSUM_END)?;
    let stated = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((stated, checksum(id, rest)))
}

fn checksum(id: &[u8], rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(id), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01M7Z7780ZYZ4MDT0000000000";
    const REST: &[u8] = b"\"time\":\"2024\",\"reason\":\"r\",\"record\":{\"message\":\"m\",\"n\":1.0}}";

    #[test]
    fn a_line_comes_back_and_no_flipped_bit_does() {
        let mut line = Vec::new();
        write(ID, REST, &mut line);
        let letter = Letter::parse(&line).unwrap();
        let again = letter.with_reason("an \"other\"");
        let again = Letter::parse(&again).unwrap();
        assert_eq!((again.record.get(), again.reason.get()), (letter.record.get(), "\"an \\\"other\\\"\""));
        assert_eq!((letter.id.to_string().as_str(), letter.record.get()), (ID, "{\"message\":\"m\",\"n\":1.0}"));
        for place in 0..line.len() - 1 {
            for bit in 0..8 {
                let mut flipped = line.clone();
                flipped[place] ^= 1 << bit;
                // The digits of a checksum may be written in upper case too.
                if let Ok(same) = Letter::parse(&flipped) {
                    assert_eq!((same.id, same.record.get()), (letter.id, letter.record.get()), "byte {place}");
                }
            }
        }
    }

    #[test]
    fn a_line_without_a_checksum_is_an_older_version_s() {
        let line = [ID_PREFIX, ID.as_bytes(), b"\",", REST].concat();
        assert_eq!(Letter::parse(&line).unwrap().time, "2024");
        assert!(Letter::parse(&line[..40]).is_err());
    }
}
