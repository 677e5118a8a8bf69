//! What is known of a segment or row group before its columns are read: its extent, its columns and its tokens; and
//! which attributes are nowhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_buffer::BooleanBuffer;

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
    /// Tokens that no message has; of others nothing is known.
    absent: Arc<[String]>,
}

impl<'a> Known<'a> {
    /// Nothing but the extent.
    pub(super) fn by_extent(extent: &'a Extent) -> Known<'a> {
        Known { extent, group: None, absent: Arc::default() }
    }

    /// What is known of a row group. Its token filter is asked for `tokens`, which are those of `filter`, only if that may
    /// find something without it.
    pub(super) fn of_group(
        open: &'a OpenSegment,
        group: usize,
        extent: &'a Extent,
        filter: &Filter,
        tokens: &[String],
    ) -> Result<Known<'a>, ReadError> {
        let mut known = Known::again(open, group, extent, Arc::default());
        if !tokens.is_empty() && filter.verdict(&known) != Verdict::Never {
            let region = open.footer.row_groups.get(group).and_then(|group| group.tokens);
            if let Some(region) = region {
                known.absent = tokens::absent(open, region, tokens)?;
            }
        }
        Ok(known)
    }

    /// The same again, with the tokens that were found to be absent then.
    pub(super) fn again(open: &'a OpenSegment, group: usize, extent: &'a Extent, absent: Arc<[String]>) -> Known<'a> {
        Known { extent, group: Some((open, group)), absent }
    }

    /// The tokens that are known to be absent.
    pub(super) fn absent(self) -> Arc<[String]> {
        self.absent
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
        !tokens.iter().any(|token| self.absent.contains(token))
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
        let known = Known::again(open, group, &known.extent, Arc::default());
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
