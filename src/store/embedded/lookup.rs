//! Looks one record up by its id.

use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use sluice_model::RecordId;

use super::cache::Cache;
use super::reader::{OpenSegment, RUN, ReadError, SEQUENCE};
use super::search::{Failure, Snapshot};
use super::segment::Segment;
use crate::batch::Records;
use crate::store::StoreError;

/// Finds one record.
pub(super) fn get(
    snapshot: &Snapshot,
    cache: &Cache,
    id: RecordId,
    damaged: &dyn Fn(&Segment, &str),
) -> Result<Option<Records>, StoreError> {
    for chunk in &snapshot.chunks {
        if let Some(row) = chunk.find(id) {
            return Ok(Some(chunk.records.slice(row as usize, 1)));
        }
    }
    for segment in snapshot.segments.iter().filter(|segment| !segment.is_damaged() && segment.info.may_have(id)) {
        match cache.get(segment).and_then(|open| get_from(&open, id)) {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) => match Failure::of(segment, error) {
                Failure::Damaged(segment, reason) => damaged(&segment, &reason),
                Failure::Store(error) => return Err(error),
            },
        }
    }
    Ok(None)
}

fn get_from(open: &OpenSegment, id: RecordId) -> Result<Option<Records>, ReadError> {
    for (index, group) in open.footer.row_groups.iter().enumerate() {
        let (min, max) = group.sequences;
        if !(min..=max).contains(&id.sequence) {
            continue;
        }
        let keys = open.columns(index, None, &[RUN, SEQUENCE])?;
        if let Some(row) = (0..keys.len()).find(|row| keys.id(*row) == id) {
            return open.rows(index, one_bit(keys.len(), row)).map(Some);
        }
    }
    Ok(None)
}

fn one_bit(length: usize, place: usize) -> BooleanBuffer {
    let mut bits = BooleanBufferBuilder::new(length);
    bits.append_n(length, false);
    bits.set_bit(place, true);
    bits.finish()
}
