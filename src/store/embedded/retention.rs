//! Retention: whole segments are deleted, the oldest first, once all their records are old or there are too many bytes.

use std::io;
use std::sync::Arc;

use sluice_model::Timestamp;

use super::engine::{Change, Engine};
use super::segment::Segment;

/// Deletes the segments that are before `cutoff` altogether; returns how many records they had.
pub(super) fn delete_before(engine: &Engine, cutoff: Timestamp) -> io::Result<u64> {
    let cutoff = engine.retention_clock.correct(cutoff);
    delete(engine, |segments| {
        let old = |segment: &&Arc<Segment>| segment.info.age.effective(engine.retention.age) < cutoff;
        segments.iter().filter(old).cloned().collect()
    })
}

/// Deletes what the settings no longer keep.
pub(super) fn apply(engine: &Engine) -> io::Result<()> {
    if let Some(age) = engine.retention.age {
        let age_ns = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        let cutoff = Timestamp::from_nanos(Timestamp::now().as_nanos().saturating_sub(age_ns));
        delete_before(engine, cutoff)?;
    }
    if let Some(bytes_max) = engine.retention.bytes {
        delete(engine, |segments| over_budget(engine, segments, bytes_max))?;
    }
    Ok(())
}

/// The oldest segments, as many as it takes for the rest to have at most `bytes_max` bytes.
fn over_budget(engine: &Engine, segments: &[Arc<Segment>], bytes_max: u64) -> Vec<Arc<Segment>> {
    let mut bytes: u64 = segments.iter().map(|segment| segment.info.bytes).sum();
    let mut oldest_first = segments.to_vec();
    oldest_first.sort_by_key(|segment| segment.info.age.effective(engine.retention.age));
    let excess = oldest_first.into_iter().take_while(|segment| {
        let over = bytes > bytes_max;
        bytes = bytes.saturating_sub(segment.info.bytes);
        over
    });
    excess.collect()
}

fn delete(engine: &Engine, choose: impl FnOnce(&[Arc<Segment>]) -> Vec<Arc<Segment>>) -> io::Result<u64> {
    let mut disk = engine.disk();
    let removed = choose(&engine.segments());
    if removed.is_empty() {
        return Ok(0);
    }
    let rows = removed.iter().map(|segment| segment.info.rows).sum();
    log::info!(segments = removed.len(), records = rows; "retention deletes segments");
    engine.commit(&mut disk, Change { removed, ..Change::default() })?;
    engine.metrics.rows_deleted.inc_by(rows);
    Ok(rows)
}
