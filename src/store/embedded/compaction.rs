//! Compaction: small segments of one day become one.
//!
//! Segments are ranked by size, each rank eight times the one below; once eight of a rank and day are there, they are
//! merged, so that a record is rewritten a few times at most. Large segments are never touched again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::engine::{Change, Engine};
use super::order;
use super::reader::ReadError;
use super::segment::{Age, ROWS_MAX, Segment};
use super::writer::{self, Draft, WriteError};
use crate::batch::{BlockSet, Records};

/// From how many segments of a rank on they are merged.
const SEGMENTS_MIN: usize = 8;

/// Segments of so many rows, or of so many bytes in memory, are large.
const LARGE_ROWS: u64 = 64 << 10;
const LARGE_BYTES: u64 = 32 << 20;

/// How many bytes of memory the inputs of one compaction take at most.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// Merges as long as there is something to merge.
pub(super) fn compact(engine: &Engine) -> Result<(), WriteError> {
    while !engine.state().stopping {
        let mut disk = engine.disk();
        let Some(inputs) = choose(&engine.segments()) else { break };
        let Some(merged) = read(engine, &inputs)? else { continue };
        let draft = Draft {
            day: merged.day,
            parts: &merged.parts,
            rows: order::sort(&merged.parts, order::all(&merged.parts)),
            age: merged.age,
            blocks: merged.blocks,
            replaces: inputs.iter().map(|segment| segment.info.name.clone()).collect(),
            salvage: false,
        };
        let output = writer::write(&engine.folders, draft)?;
        let path = engine.folders.segments.join(&output.name);
        let change = Change { added: vec![output], removed: inputs, ..Change::default() };
        if let Err(error) = engine.commit(&mut disk, change) {
            // The manifest on disk does not have it, and its inputs are all there.
            let _ = engine.folders.files.remove(&path);
            return Err(error.into());
        }
        engine.metrics.compactions.inc();
    }
    Ok(())
}

/// Segments to be merged: the oldest of the first rank and day that has enough.
fn choose(segments: &[Arc<Segment>]) -> Option<Vec<Arc<Segment>>> {
    let mut ranks: BTreeMap<(&str, u32), Vec<&Arc<Segment>>> = BTreeMap::new();
    for segment in segments {
        let info = &segment.info;
        if info.rows < LARGE_ROWS && info.memory_bytes < LARGE_BYTES && !segment.is_damaged() {
            ranks.entry((info.day(), info.rows.max(1).ilog2() / 3)).or_default().push(segment);
        }
    }
    let mut rank = ranks.into_values().find(|rank| rank.len() >= SEGMENTS_MIN)?;
    rank.sort_by(|a, b| a.info.name.cmp(&b.info.name));
    let (mut rows, mut bytes) = (0, 0);
    let fitting = rank.into_iter().take_while(|segment| {
        rows += segment.info.rows;
        bytes += segment.info.memory_bytes;
        rows <= ROWS_MAX as u64 && bytes <= INPUT_BYTES_MAX
    });
    // Two always fit, as none is large.
    Some(fitting.cloned().collect())
}

/// What the inputs hold together.
struct Merged<'a> {
    day: &'a str,
    parts: Vec<Records>,
    age: Age,
    blocks: BlockSet,
}

/// Reads the inputs; `None`, if one turned out damaged, which is noted, so that it is not chosen again.
fn read<'a>(engine: &Engine, inputs: &'a [Arc<Segment>]) -> Result<Option<Merged<'a>>, WriteError> {
    let mut parts = Vec::new();
    let mut blocks = BlockSet::new();
    for segment in inputs {
        match read_segment(engine, segment) {
            Ok((records, covered)) => {
                parts.extend(records);
                blocks.extend(&covered);
            }
            Err(ReadError::Io(error)) => return Err(error.into()),
            Err(error @ ReadError::TooNew(_)) => return Err(std::io::Error::other(error.to_string()).into()),
            Err(error) => {
                engine.report_damage(segment, &error.to_string());
                return Ok(None);
            }
        }
    }
    let age = inputs.iter().map(|segment| segment.info.age).reduce(Age::and).ok_or(WriteError::Empty)?;
    let day = inputs.first().map_or("", |first| first.info.day());
    Ok(Some(Merged { day, parts: Records::unify(&parts)?, age, blocks }))
}

fn read_segment(engine: &Engine, segment: &Segment) -> Result<(Vec<Records>, BlockSet), ReadError> {
    let open = engine.cache.get(segment)?;
    let records = (0..open.footer.row_groups.len()).map(|group| open.all_rows(group));
    Ok((records.collect::<Result<Vec<_>, _>>()?, open.blocks()?))
}
