//! A commit group as blocks: small batches of a lane become one block, large ones a block each.

use std::collections::{BTreeMap, HashSet};

use arrow_buffer::Buffer;
use sluice_model::{RecordId, RunId, Timestamp};

use super::budget::Reservation;
use super::key_file::KeyRecord;
use super::lane::{Lane, PerLane};
use super::queue::{Pending, Reply};
use super::segment::{self, BlockHeader};
use super::{IdempotencyKey, Ordinal, Receipt};
use crate::batch::{BlockId, LogBatch, MAX_ATTRIBUTE_COLUMNS};

/// Batches of fewer records share a block.
const MERGE_ROWS: usize = 1000;
/// Batches share a block only if the columns that some of them lack take no more than this, or as much as the rest.
const MERGE_SLACK_BYTES: usize = 1 << 20;

/// The records of a block to be, and who sent them.
#[derive(Debug)]
pub(super) struct Draft {
    pub lane: Lane,
    pub batch: LogBatch,
    pub parts: Vec<Part>,
    /// Whether its records are accepted again, after a clash of ids.
    pub again: bool,
}

/// The share of one appended batch in a block.
#[derive(Debug)]
pub(super) struct Part {
    /// Its first record's place in the block.
    pub offset: u32,
    pub rows: u32,
    pub key: Option<IdempotencyKey>,
    pub reply: Reply,
    /// Given back when the block is written, or is not.
    _reservation: Reservation,
}

impl Part {
    /// What to answer, when the block is committed.
    pub fn receipt(&self, block: BlockId, ordinal: Ordinal) -> Receipt {
        Receipt { first: self.first(block), rows: self.rows, replayed: false, ordinal }
    }

    fn first(&self, block: BlockId) -> RecordId {
        RecordId { run: block.run, sequence: block.first + u64::from(self.offset) }
    }
}

/// Makes blocks of a group.
pub(super) fn compose(group: Vec<Pending>) -> Vec<Draft> {
    let mut drafts = Vec::new();
    let mut small = PerLane::<Vec<Pending>>::default();
    for pending in group {
        // What is accepted again has a block of its own, which is no news to those who follow.
        if pending.batch.len() < MERGE_ROWS && !pending.fresh_run {
            small.get_mut(pending.lane).push(pending);
        } else {
            drafts.extend(merge(vec![pending]));
        }
    }
    for lane in Lane::ALL {
        let small = std::mem::take(small.get_mut(lane));
        if inflates(&small) {
            by_columns(small).into_iter().for_each(|alike| drafts.extend(merge(alike)));
        } else {
            drafts.extend(merge(small));
        }
    }
    drafts
}

/// Whether the batches take much more room together than each for itself, because their columns differ: every column
/// has a place for every record.
fn inflates(small: &[Pending]) -> bool {
    let rows: usize = small.iter().map(|pending| pending.batch.len()).sum();
    let bytes: u64 = small.iter().map(|pending| pending.bytes).sum();
    let slack = 2 * bytes as usize + MERGE_SLACK_BYTES;
    // As wide as the widest type: a number.
    let takes = |columns: usize| rows * columns.min(MAX_ATTRIBUTE_COLUMNS) * size_of::<i64>();
    if takes(MAX_ATTRIBUTE_COLUMNS) <= slack {
        return false;
    }
    let names = small.iter().flat_map(|pending| pending.batch.attributes());
    takes(names.map(|(name, _)| name).collect::<HashSet<_>>().len()) > slack
}

/// The batches in groups that have the same columns.
fn by_columns(small: Vec<Pending>) -> Vec<Vec<Pending>> {
    let mut groups = BTreeMap::<Vec<String>, Vec<Pending>>::new();
    for pending in small {
        let names = pending.batch.attributes().map(|(name, _)| name.to_owned()).collect();
        groups.entry(names).or_default().push(pending);
    }
    groups.into_values().collect()
}

fn merge(group: Vec<Pending>) -> Vec<Draft> {
    let batches: Vec<LogBatch> = group.iter().map(|pending| pending.batch.clone()).collect();
    let Some((lane, again)) = group.first().map(|pending| (pending.lane, pending.fresh_run)) else { return Vec::new() };
    match LogBatch::concat(&batches) {
        Ok(batch) => {
            let mut offset = 0;
            let parts = group.into_iter().map(|pending| {
                let part = part(pending, offset);
                offset += part.rows;
                part
            });
            vec![Draft { lane, parts: parts.collect(), batch, again }]
        }
        // What cannot be one block can still be many; a single batch is never concatenated.
        Err(_) => group
            .into_iter()
            .map(|pending| Draft { lane, batch: pending.batch.clone(), parts: vec![part(pending, 0)], again })
            .collect(),
    }
}

fn part(pending: Pending, offset: u32) -> Part {
    let rows = u32::try_from(pending.batch.len()).unwrap_or(u32::MAX);
    Part { offset, rows, key: pending.key, reply: pending.reply, _reservation: pending.reservation }
}

/// A block that is ready to be written.
#[derive(Debug)]
pub(super) struct Ready {
    pub id: BlockId,
    pub lane: Lane,
    pub arrival: Timestamp,
    pub batch: LogBatch,
    pub parts: Vec<Part>,
    pub keys: Vec<u8>,
    pub payload: Vec<Buffer>,
    /// Whether its records are accepted again, after a clash of ids.
    pub again: bool,
    body_checksum: u32,
}

impl Ready {
    /// Gives the draft its ids and encodes it; gives its parts back, if it cannot be encoded.
    pub fn new(draft: Draft, run: RunId, first: u64) -> Result<Ready, (Vec<Part>, arrow_schema::ArrowError)> {
        let arrival = Timestamp::now();
        let Draft { lane, batch, parts, again } = draft;
        let id = BlockId { run, first, rows: u32::try_from(batch.len()).unwrap_or(u32::MAX) };
        let payload = match segment::encode_payload(&batch) {
            Ok(payload) => payload,
            Err(error) => return Err((parts, error)),
        };
        let mut ready = Ready { id, lane, arrival, batch, parts, keys: Vec::new(), payload, again, body_checksum: 0 };
        let mut keys = Vec::new();
        ready.key_records().for_each(|record| record.encode(&mut keys));
        ready.keys = keys;
        ready.body_checksum = segment::body_checksum(&ready.keys, &ready.payload);
        Ok(ready)
    }

    /// The keys that came with the block's batches.
    pub fn key_records(&self) -> impl Iterator<Item = KeyRecord> {
        self.parts.iter().filter_map(|part| {
            let key = part.key?;
            Some(KeyRecord { key, first: part.first(self.id), at: self.arrival, rows: part.rows })
        })
    }

    /// The header with which the block stands at `offset`.
    pub fn header(&self, segment: u64, nonce: u64, offset: u64, group: u64) -> BlockHeader {
        BlockHeader {
            body_checksum: self.body_checksum,
            segment,
            offset,
            nonce,
            id: self.id,
            lane: self.lane,
            arrival: self.arrival,
            group,
            payload_bytes: self.payload.iter().map(|part| part.len() as u64).sum(),
            keys: u32::try_from(self.keys.len() / KeyRecord::BYTES).unwrap_or(u32::MAX),
        }
    }
}
