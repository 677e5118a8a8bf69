//! Tallies: every match once, in no order, with no more columns than are asked for.
//!
//! A tally takes a snapshot and goes through its chunks and segments. Where all records of a segment or row group match
//! and so much is known of them that the tally needs no look, no column is opened. Of the other row groups the columns
//! are read as a search does it: the key columns that the filter needs, then step by step what it needs besides, only of
//! the rows that have passed, and in the end what the tally asks for.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_buffer::BooleanBuffer;

use super::bits::{gather, spread};
use super::cache::Cache;
use super::counts;
use super::extent::Extent;
use super::known::Known;
use super::memory::Chunk;
use super::parallel;
use super::parts::{Candidates, Parts};
use super::reader::{OpenSegment, ReadError};
use super::search::{Failure, Snapshot};
use super::segment::Segment;
use super::step;
use crate::batch::Records;
use crate::query::{Columns, Expr, Filter, Verdict};
use crate::stats::{Census, Counted, FieldCounts, Tally, TimeCell, Wants};
use crate::store::StoreError;

/// How many row groups are gathered before they are looked at, at least: with each goes its token filter, of up to about a
/// quarter of a MiB.
const GROUPS_AT_ONCE: usize = 32;

/// Gives every match to `tally`; tells `damaged` of each segment that had to be passed over.
pub(super) fn tally(
    snapshot: &Snapshot,
    cache: &Cache,
    filter: &Filter,
    tally: &mut dyn Tally,
    damaged: &dyn Fn(&Segment, &str),
) -> Result<(), StoreError> {
    let question = Question::new(filter, tally);
    let mut passed_over: Vec<Arc<Segment>> = Vec::new();
    loop {
        match question.ask(snapshot, cache, &passed_over, tally) {
            Ok(()) => return Ok(()),
            Err(Failure::Store(error)) => return Err(error),
            Err(Failure::Damaged(segment, reason)) => {
                damaged(&segment, &reason);
                // A part of it must not count: it is there as a whole or not at all.
                passed_over.push(segment);
                tally.reset();
            }
        }
    }
}

/// A row group that it takes a look at.
struct Group {
    segment: Arc<Segment>,
    open: Arc<OpenSegment>,
    index: usize,
    verdict: Verdict,
    /// The tokens of the filter that are known to be absent.
    absent: Arc<[String]>,
}

/// What is asked of each source.
struct Question<'a> {
    filter: &'a Filter,
    /// The tokens that it may ask for.
    tokens: Vec<String>,
    /// The part of the filter for key columns, and what has to be passed besides, step by step.
    keys_only: Filter,
    later: Vec<Expr>,
    wanted: Columns,
    wants: Wants,
    takes_codes: bool,
}

impl<'a> Question<'a> {
    fn new(filter: &'a Filter, tally: &dyn Tally) -> Question<'a> {
        let [keys, fields, messages] = filter.matching.steps();
        let keys_only = Filter { matching: keys, ..filter.clone() };
        Question {
            filter,
            tokens: filter.matching.tokens().into_iter().collect(),
            keys_only,
            later: [fields, messages].into_iter().filter(|step| *step != Expr::All).collect(),
            wanted: tally.columns(),
            wants: tally.wants(),
            takes_codes: tally.takes_codes(),
        }
    }

    fn ask(
        &self,
        snapshot: &Snapshot,
        cache: &Cache,
        passed_over: &[Arc<Segment>],
        tally: &mut dyn Tally,
    ) -> Result<(), Failure> {
        let is_sound = |segment: &&Arc<Segment>| {
            !segment.is_damaged() && !passed_over.iter().any(|other| Arc::ptr_eq(other, segment))
        };
        for chunk in &snapshot.chunks {
            if tally.is_over() || self.ask_chunk(chunk, tally).is_break() {
                return Ok(());
            }
        }
        let mut open_groups = Vec::new();
        for segment in snapshot.segments.iter().filter(is_sound) {
            if tally.is_over() {
                return Ok(());
            }
            self.ask_segment(segment, cache, &mut open_groups, tally)?;
            if open_groups.len() >= GROUPS_AT_ONCE && self.look(&std::mem::take(&mut open_groups), tally)?.is_break() {
                return Ok(());
            }
        }
        self.look(&open_groups, tally).map(drop)
    }

    fn ask_chunk(&self, chunk: &Chunk, tally: &mut dyn Tally) -> ControlFlow<()> {
        let rows = match self.filter.verdict(&Known::by_extent(&chunk.extent)) {
            Verdict::Never => return ControlFlow::Continue(()),
            Verdict::Always => {
                if self.take(&chunk.extent, chunk.records.len() as u64, Details::default(), tally) {
                    return ControlFlow::Continue(());
                }
                BooleanBuffer::new_set(chunk.records.len())
            }
            Verdict::Maybe => self.filter.select(&chunk.records),
        };
        if rows.count_set_bits() == 0 { ControlFlow::Continue(()) } else { tally.add(&chunk.records, &rows) }
    }

    /// Asks of a segment what needs no look at its columns, and puts the row groups that do to `open_groups`.
    fn ask_segment(
        &self,
        segment: &Arc<Segment>,
        cache: &Cache,
        open_groups: &mut Vec<Group>,
        tally: &mut dyn Tally,
    ) -> Result<(), Failure> {
        let extent = &segment.info.extent;
        match self.filter.verdict(&Known::by_extent(extent)) {
            Verdict::Never => return Ok(()),
            Verdict::Always if self.take(extent, segment.info.rows, Details::default(), tally) => return Ok(()),
            _ => {}
        }
        let open = cache.get(segment).map_err(|error| Failure::of(segment, error))?;
        for (index, group) in open.footer.row_groups.iter().enumerate() {
            let known = Known::of_group(&open, index, &group.extent, self.filter, &self.tokens);
            let known = known.map_err(|error| Failure::of(segment, error))?;
            match self.filter.verdict(&known) {
                Verdict::Never => continue,
                Verdict::Always if self.take(&group.extent, group.rows.into(), self.details(&open, index), tally) => {}
                verdict => {
                    let (segment, open) = (segment.clone(), open.clone());
                    open_groups.push(Group { segment, open, index, verdict, absent: known.absent() });
                }
            }
        }
        Ok(())
    }

    /// Looks at row groups, and gives `tally` what matches.
    fn look(&self, groups: &[Group], tally: &mut dyn Tally) -> Result<ControlFlow<()>, Failure> {
        let mut outcome = Ok(ControlFlow::Continue(()));
        let find = |group: &Group| self.find(group).map_err(|error| Failure::of(&group.segment, error));
        parallel::each(groups, find, |found| {
            outcome = found.map(|found| match found {
                _ if tally.is_over() => ControlFlow::Break(()),
                Some((records, rows)) => tally.add(&records, &rows),
                None => ControlFlow::Continue(()),
            });
            matches!(outcome, Ok(ControlFlow::Continue(())))
        });
        outcome
    }

    /// The matches of a row group: some records, and which of them match.
    fn find(&self, group: &Group) -> Result<Option<(Records, BooleanBuffer)>, ReadError> {
        let Group { open, index, verdict, absent, .. } = group;
        let (open, index) = (&**open, *index);
        let Some(row_group) = open.footer.row_groups.get(index) else { return Ok(None) };
        let rows = row_group.rows as usize;
        if *verdict == Verdict::Always {
            return Ok(Some((self.read_wanted(open, index, None)?, BooleanBuffer::new_set(rows))));
        }
        let known = Known::again(open, index, &row_group.extent, absent.clone());
        let Some(candidates) = Parts::of(row_group).all(&self.keys_only) else { return Ok(None) };
        let Candidates { rows: selection, filter: keys_only } = candidates;
        // What is read for the filter serves the tally too, if that needs nothing but key columns.
        let all_at_once = !self.wanted.message && !self.wanted.level && !self.wanted.has_attributes();
        let keys = keys_only.columns();
        let places = open.places(&if all_at_once { keys.and(&self.wanted) } else { keys });
        let mut read = None;
        let looked = selection.unwrap_or_else(|| BooleanBuffer::new_set(rows));
        let mut passing = looked.clone();
        if !places.is_empty() {
            let count = looked.count_set_bits();
            let records = open.columns(index, (count < rows).then(|| looked.clone()), &places)?;
            passing = spread(&looked, &keys_only.select(&records));
            read = Some(records);
        }
        for step in self.later.iter().filter(|step| step.verdict(&known) != Verdict::Always) {
            if passing.count_set_bits() == 0 {
                return Ok(None);
            }
            passing = step::take(open, index, &known, step, passing)?.passing;
        }
        let count = passing.count_set_bits();
        if count == 0 {
            return Ok(None);
        }
        if let Some(records) = read.filter(|_| all_at_once) {
            return Ok(Some((records, gather(&looked, &passing))));
        }
        let selection = (count < rows).then_some(passing);
        Ok(Some((self.read_wanted(open, index, selection)?, BooleanBuffer::new_set(count))))
    }

    /// Rows of a row group with the columns that the tally looks at.
    fn read_wanted(&self, open: &OpenSegment, group: usize, rows: Option<BooleanBuffer>) -> Result<Records, ReadError> {
        let places = open.places(&self.wanted);
        if self.takes_codes { open.coded_columns(group, rows, &places) } else { open.columns(group, rows, &places) }
    }

    /// Offers records, all of which match, by what is known of them: whether they were taken.
    fn take(&self, extent: &Extent, rows: u64, details: Details, tally: &mut dyn Tally) -> bool {
        if self.wants == Wants::Records {
            return false;
        }
        tally.take(&Census {
            rows,
            times: extent.times(),
            service: extent.only_service(),
            severity: extent.only_severity(),
            counts: &details.counts,
            cells: &details.cells,
            fields: details.fields.as_ref(),
        })
    }

    /// What the footer says of a row group, as far as the tally can use it.
    fn details(&self, open: &OpenSegment, index: usize) -> Details {
        let Some(known) = open.footer.row_groups.get(index).and_then(|group| group.counts.as_ref()) else {
            return Details::default();
        };
        match &self.wants {
            Wants::Records => Details::default(),
            Wants::Counts(dimensions) => Details {
                counts: if dimensions.service || dimensions.severity { counts::counted(known) } else { Vec::new() },
                cells: match (&dimensions.step, &known.times) {
                    (Some(_), Some(times)) => counts::cells(times),
                    _ => Vec::new(),
                },
                fields: None,
            },
            Wants::Fields => {
                let fields = open.attribute_counts(index).map(|attributes| FieldCounts {
                    services: known.services.into(),
                    messages: known.messages.into(),
                    attributes,
                });
                Details { fields, ..Details::default() }
            }
        }
    }
}

/// What is known of records beside their extent.
#[derive(Default)]
struct Details {
    counts: Vec<Counted>,
    cells: Vec<TimeCell>,
    fields: Option<FieldCounts>,
}
