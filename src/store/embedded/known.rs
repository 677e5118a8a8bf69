//! What is known of a segment or row group before its columns are read: its extent, its columns and its tokens; and
//! which attributes are nowhere.

use std::time::{Duration, Instant};

use arrow_buffer::BooleanBuffer;
use bytes::Bytes;

use super::cache::Cache;
use super::extent::Extent;
use super::reader::{OpenSegment, ReadError};
use super::search::Snapshot;
use super::tokens;
use crate::batch::Records;
use crate::query::{Expr, Field, Filter, SeveritySet, Summary, Test, TimeRange, Verdict};

/// How long it is looked for attributes that no record seems to have.
const UNKNOWN_TIMEOUT: Duration = Duration::from_millis(50);

/// What is known of some records.
pub(super) struct Known<'a> {
    extent: &'a Extent,
    /// The segment and the row group in it, once it is open.
    group: Option<(&'a OpenSegment, usize)>,
    /// The bytes of the token filter, once they are read.
    tokens: Option<Bytes>,
}

impl<'a> Known<'a> {
    /// Nothing but the extent.
    pub(super) fn by_extent(extent: &'a Extent) -> Known<'a> {
        Known { extent, group: None, tokens: None }
    }

    /// What is known of a row group. Its token filter is read only if `filter` may find something without it.
    pub(super) fn of_group(
        open: &'a OpenSegment,
        group: usize,
        extent: &'a Extent,
        filter: &Filter,
    ) -> Result<Known<'a>, ReadError> {
        let mut known = Known { extent, group: Some((open, group)), tokens: None };
        if filter.matching.needs_tokens() && filter.verdict(&known) != Verdict::Never {
            let region = open.footer.row_groups.get(group).and_then(|group| group.tokens);
            known.tokens = region.map(|region| open.region(region)).transpose()?;
        }
        Ok(known)
    }

    /// The same again, with the token filter that was read then.
    pub(super) fn again(open: &'a OpenSegment, group: usize, extent: &'a Extent, tokens: Option<Bytes>) -> Known<'a> {
        Known { extent, group: Some((open, group)), tokens }
    }

    /// The bytes of the token filter, if they were read.
    pub(super) fn tokens(self) -> Option<Bytes> {
        self.tokens
    }
}

impl Summary for Known<'_> {
    fn times(&self) -> TimeRange {
        self.extent.times()
    }

    fn severities(&self) -> SeveritySet {
        self.extent.severities()
    }

    fn may_have_service(&self, service: &str) -> bool {
        self.extent.may_have_service(service)
    }

    fn may_have_attribute(&self, name: &str) -> bool {
        self.group.is_none_or(|(open, group)| open.may_have_attribute(group, name))
    }

    fn always_has_attribute(&self, name: &str) -> bool {
        self.group.is_some_and(|(open, group)| open.always_has_attribute(group, name))
    }

    fn may_have_tokens(&self, tokens: &[String]) -> bool {
        self.tokens.as_ref().is_none_or(|filter| tokens::may_have_all(filter, tokens))
    }
}

/// Those of `names` that no record has an attribute of. None, where that takes too long to find out.
pub(super) fn unknown_attributes(snapshot: &Snapshot, cache: &Cache, names: &[String]) -> Vec<String> {
    let started = Instant::now();
    let mut unknown: Vec<(&String, Expr)> =
        names.iter().map(|name| (name, Expr::field(Field::Attribute(name.clone()), Test::Exists))).collect();
    for chunk in &snapshot.chunks {
        unknown.retain(|(_, exists)| !has_any(exists, &chunk.records));
    }
    for segment in snapshot.segments.iter().rev() {
        if unknown.is_empty() || started.elapsed() > UNKNOWN_TIMEOUT {
            return Vec::new();
        }
        // Of a segment that cannot be read nothing is known, and the next search finds out why.
        let Ok(open) = cache.get(segment) else { return Vec::new() };
        let mut failed = false;
        unknown.retain(|(_, exists)| match is_in(&open, exists) {
            Ok(found) => !found,
            Err(_) => {
                failed = true;
                true
            }
        });
        if failed {
            return Vec::new();
        }
    }
    unknown.into_iter().map(|(name, _)| name.clone()).collect()
}

fn has_any(exists: &Expr, records: &Records) -> bool {
    exists.select(records, &BooleanBuffer::new_set(records.len())).count_set_bits() > 0
}

/// Whether the attribute is in the segment, going by the columns and overflows of its row groups.
fn is_in(open: &OpenSegment, exists: &Expr) -> Result<bool, ReadError> {
    for (group, known) in open.footer.row_groups.iter().enumerate() {
        let known = Known { extent: &known.extent, group: Some((open, group)), tokens: None };
        if exists.verdict(&known) == Verdict::Never {
            continue;
        }
        let columns = open.columns(group, None, &open.places(&exists.columns()))?;
        if has_any(exists, &columns) {
            return Ok(true);
        }
    }
    Ok(false)
}
