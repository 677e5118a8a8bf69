//! The key journal on disk: keys whose segment is gone.
//!
//! A key is written in its batch's block, in the same commit, so the two are durable together. Before a segment is
//! deleted, the keys in it that have not expired are written to a key file, `NNNNNNNNNNNNNNNNNNNN.keys`, under a
//! growing number of its own. A key file is deleted when its newest key has expired; many of them are merged into a
//! new one. A key that stands in several files is the same key.
//!
//! | offset | bytes | key file |
//! |---|---|---|
//! | 0 | 8 | magic `SluiceKy` |
//! | 8 | 4 | CRC32C of bytes 12 to 64 |
//! | 12 | 4 | version of the format: 1 |
//! | 16 | 8 | number of keys |
//! | 24 | 4 | CRC32C of the keys |
//! | 28 | 36 | zero |
//! | 64 | 64 each | keys |
//!
//! | offset | bytes | key |
//! |---|---|---|
//! | 0 | 16 | hash of the key |
//! | 16 | 16 | hash of the request |
//! | 32 | 16 | id of the first record |
//! | 48 | 8 | time of the commit, ns since the Unix epoch |
//! | 56 | 4 | number of records |
//! | 60 | 4 | zero |
//!
//! The file is written under a `.new` name, synced, renamed, and the folder synced.

use std::io::IoSlice;
use std::path::Path;

use sluice_model::{RecordId, Timestamp};

use super::IdempotencyKey;
use super::segment::{Fields, seal, unseal};
use crate::files::Files;

const MAGIC: [u8; 8] = *b"SluiceKy";
const VERSION: u32 = 1;
const HEADER: usize = 64;

/// A key whose request has been committed, and with what outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyRecord {
    pub key: IdempotencyKey,
    pub first: RecordId,
    pub at: Timestamp,
    pub rows: u32,
}

impl KeyRecord {
    pub const BYTES: usize = 64;

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.key.key.to_le_bytes());
        out.extend(self.key.request.to_le_bytes());
        out.extend(self.first.as_u128().to_le_bytes());
        out.extend(self.at.as_nanos().to_le_bytes());
        out.extend(self.rows.to_le_bytes());
        out.extend([0; 4]);
    }

    /// Reads all keys in `bytes`, whose checksum has been verified.
    pub fn decode_all(bytes: &[u8]) -> impl Iterator<Item = KeyRecord> {
        bytes.chunks_exact(KeyRecord::BYTES).filter_map(|chunk| KeyRecord::decode(Fields(chunk)))
    }

    fn decode(mut fields: Fields<'_>) -> Option<KeyRecord> {
        let key = u128::from_le_bytes(fields.take()?);
        let request = u128::from_le_bytes(fields.take()?);
        let first = RecordId::from_u128(u128::from_le_bytes(fields.take()?));
        let at = Timestamp::from_nanos(i64::from_le_bytes(fields.take()?));
        Some(KeyRecord { key: IdempotencyKey { key, request }, first, at, rows: fields.u32()? })
    }
}

/// Writes a key file and makes it durable.
pub(super) fn write(files: &dyn Files, path: &Path, keys: &[KeyRecord]) -> std::io::Result<()> {
    let mut body = Vec::with_capacity(keys.len() * KeyRecord::BYTES);
    keys.iter().for_each(|key| key.encode(&mut body));
    let mut checked = Vec::with_capacity(HEADER);
    checked.extend(VERSION.to_le_bytes());
    checked.extend((keys.len() as u64).to_le_bytes());
    checked.extend(crc32c::crc32c(&body).to_le_bytes());
    let header = seal(MAGIC, checked, HEADER);
    files.write_whole(path, &mut [IoSlice::new(&header), IoSlice::new(&body)])
}

/// Reads a key file; `None`, if it is damaged.
pub(super) fn read(files: &dyn Files, path: &Path) -> std::io::Result<Option<Vec<KeyRecord>>> {
    let bytes = files.read(path)?;
    Ok(decode(&bytes))
}

fn decode(bytes: &[u8]) -> Option<Vec<KeyRecord>> {
    let (header, body) = bytes.split_at_checked(HEADER)?;
    let mut fields = unseal(MAGIC, header, HEADER)?;
    let (version, count, checksum) = (fields.u32()?, fields.u64()?, fields.u32()?);
    let whole = version == VERSION
        && body.len() as u64 == count.checked_mul(KeyRecord::BYTES as u64)?
        && crc32c::crc32c(body) == checksum;
    whole.then(|| KeyRecord::decode_all(body).collect())
}
