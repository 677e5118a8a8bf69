//! Writing: what the server's answer to an `insert` means for each record.
//!
//! A record is written if the server took it, or has the same one already (by its id and hash), and a majority has the
//! outcome in its journal. Whatever is not certain is [`StoreError::Unavailable`]: the spool sends the batch again.

use std::collections::HashMap;
use std::time::Duration;

use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::error::{ErrorKind, IndexedWriteError};
use mongodb::options::ReadConcern;

use super::Shared;
use super::client::CallError;
use super::document::{self, Encoded, Hash};
use crate::batch::{Block, RowWriter};
use crate::store::StoreError;

/// How much is sent in one command.
const CHUNK_ROWS: usize = 5_000;
const CHUNK_BYTES: usize = 8 << 20;
/// What a server takes as one document.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// A document with this `_id`, or this value of another unique index, is there.
const DUPLICATE_KEY: i32 = 11000;
/// The server's disk is full.
const OUT_OF_DISK_SPACE: i32 = 14031;
/// A document is refused for what it is: bad or unparsable value, overflow, type, invalid BSON, `$` or dots in names,
/// invalid id, validation, size, key too long.
const REFUSED_DOCUMENT: &[i32] = &[2, 9, 14, 15, 22, 52, 53, 57, 121, 10334, 17280, 17419, 17420];
/// A command is refused for one of its documents.
const REFUSED_COMMAND: &[i32] = &[22, 52, 57, 121, 10334];

/// Rows that the store will not have, by their place in the block.
#[derive(Default)]
struct Refusals {
    rejected: Vec<u32>,
    reason: String,
    conflicts: Vec<u32>,
}

impl Refusals {
    fn reject(&mut self, row: u32, reason: &str) {
        if self.reason.is_empty() {
            reason.clone_into(&mut self.reason);
        }
        self.rejected.push(row);
    }

    fn into_result(self) -> Result<(), StoreError> {
        if !self.rejected.is_empty() {
            return Err(StoreError::Rejected { rows: self.rejected, reason: self.reason });
        }
        if self.conflicts.is_empty() { Ok(()) } else { Err(StoreError::Conflict { rows: self.conflicts }) }
    }
}

/// Consecutive rows, as far as they can be sent.
#[derive(Default)]
struct Chunk {
    rows: Vec<u32>,
    ids: Vec<String>,
    hashes: Vec<Hash>,
    documents: Vec<RawDocumentBuf>,
    bytes: usize,
}

impl Chunk {
    fn push(&mut self, row: u32, encoded: Encoded) {
        self.bytes += encoded.document.as_bytes().len();
        self.rows.push(row);
        self.ids.push(encoded.id);
        self.hashes.push(encoded.hash);
        self.documents.push(encoded.document);
    }

    fn is_full(&self) -> bool {
        self.documents.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES
    }
}

/// Writes the records of a block.
pub(super) fn write(shared: &Shared, block: &Block) -> Result<(), StoreError> {
    let records = block.records();
    let writer = RowWriter::new(&records);
    let mut refusals = Refusals::default();
    let mut chunk = Chunk::default();
    for row in 0..block.id.rows {
        let index = row as usize;
        let severity = records.logs.severity(index);
        let record = writer.record(index);
        let encoded = document::encode(records.id(index), &record, severity, block.arrival, shared.retention);
        if encoded.document.as_bytes().len() > DOCUMENT_BYTES_MAX {
            refusals.reject(row, "larger than a MongoDB document can be");
            continue;
        }
        chunk.push(row, encoded);
        if chunk.is_full() {
            insert(shared, &std::mem::take(&mut chunk), &mut refusals)?;
        }
    }
    if !chunk.documents.is_empty() {
        insert(shared, &chunk, &mut refusals)?;
    }
    shared.metrics.rejected.inc_by(refusals.rejected.len() as u64);
    shared.metrics.conflicts.inc_by(refusals.conflicts.len() as u64);
    refusals.into_result()
}

fn insert(shared: &Shared, chunk: &Chunk, refusals: &mut Refusals) -> Result<(), StoreError> {
    let collection = shared.connection.collection()?;
    let inserted = shared
        .connection
        .call(shared.write_timeout, async { collection.insert_many(&chunk.documents).ordered(false).await });
    let Err(error) = inserted else { return Ok(()) };
    match write_errors(&error) {
        Some(errors) => sort_out(shared, chunk, errors, refusals),
        None => match error.command_code() {
            Some(code) if REFUSED_COMMAND.contains(&code) => {
                let reason = format!("MongoDB refuses the batch with code {code}");
                chunk.rows.iter().for_each(|row| refusals.reject(*row, &reason));
                Ok(())
            }
            Some(OUT_OF_DISK_SPACE) => Err(StoreError::Full("the disk of the MongoDB server is full".to_owned())),
            _ => Err(error.unavailable()),
        },
    }
}

/// The errors of single documents, if they are all that is wrong.
fn write_errors(error: &CallError) -> Option<&[IndexedWriteError]> {
    let CallError::Driver(error) = error else { return None };
    match &*error.kind {
        ErrorKind::InsertMany(failure) if failure.write_concern_error.is_none() => {
            failure.write_errors.as_deref().filter(|errors| !errors.is_empty())
        }
        _ => None,
    }
}

fn sort_out(
    shared: &Shared,
    chunk: &Chunk,
    errors: &[IndexedWriteError],
    refusals: &mut Refusals,
) -> Result<(), StoreError> {
    let mut duplicates = Vec::new();
    for error in errors {
        let Some(row) = chunk.rows.get(error.index) else { return Err(unknown(error)) };
        match error.code {
            DUPLICATE_KEY => duplicates.push(error),
            OUT_OF_DISK_SPACE => return Err(StoreError::Full("the disk of the MongoDB server is full".to_owned())),
            code if REFUSED_DOCUMENT.contains(&code) => {
                refusals.reject(*row, &format!("MongoDB refuses a document with code {code}"));
            }
            _ => return Err(unknown(error)),
        }
    }
    check_duplicates(shared, chunk, &duplicates, refusals)
}

/// An error of one document that says nothing about the document. The message may quote the record, so it is left out.
fn unknown(error: &IndexedWriteError) -> StoreError {
    StoreError::Unavailable(format!("MongoDB failed to write a document, with code {}", error.code))
}

/// Looks at the documents that stand in the way: a record that is there already is written.
fn check_duplicates(
    shared: &Shared,
    chunk: &Chunk,
    duplicates: &[&IndexedWriteError],
    refusals: &mut Refusals,
) -> Result<(), StoreError> {
    let ids: Vec<&str> = duplicates.iter().filter_map(|error| chunk.ids.get(error.index)).map(String::as_str).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let stored = stored_hashes(shared, &ids, shared.write_timeout)?;
    for error in duplicates {
        let places = (chunk.rows.get(error.index), chunk.ids.get(error.index), chunk.hashes.get(error.index));
        let (Some(row), Some(id), Some(hash)) = places else { return Err(unknown(error)) };
        match stored.get(id) {
            Some(stored) if stored.as_ref() == Some(hash) => {
                shared.metrics.duplicates.inc();
            }
            Some(_) => refusals.conflicts.push(*row),
            // Another unique index than that of ids, which somebody made.
            None if error.message.contains("index: ") && !error.message.contains("_id_") => {
                refusals.reject(*row, "MongoDB has a unique index that another record occupies");
            }
            // Deleted or rolled back in the meantime.
            None => return Err(unknown(error)),
        }
    }
    Ok(())
}

/// The hashes of the documents with `ids` that a majority has; none for a document without.
fn stored_hashes(
    shared: &Shared,
    ids: &[&str],
    deadline: Duration,
) -> Result<HashMap<String, Option<Hash>>, StoreError> {
    let collection = shared.connection.collection()?;
    let found = shared.connection.call(deadline, async {
        let find = collection.find(doc! { "_id": { "$in": ids } }).projection(doc! { "hash": 1 });
        let mut cursor = find.read_concern(ReadConcern::majority()).await?;
        let mut hashes = HashMap::with_capacity(ids.len());
        while cursor.advance().await? {
            if let Ok(id) = cursor.current().get_str("_id") {
                hashes.insert(id.to_owned(), document::stored_hash(cursor.current()));
            }
        }
        Ok(hashes)
    })?;
    Ok(found)
}
