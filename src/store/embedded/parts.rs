//! Parts of a row group: which of its rows can pass a filter, going by the footer alone.
//!
//! Rows stand by service and, run by run, by time, and the footer counts them by service and by piece ([`super::counts`]).
//! So a search for one service or a short time reads the pages where its rows are, and the newest records are sought
//! where they can be.

use std::ops::Range;

use arrow_buffer::BooleanBuffer;

use sluice_model::Timestamp;

use super::bits;
use super::extent::severities_of;
use super::segment::{GroupCounts, Piece, RowGroup};
use crate::query::{Filter, Order, SeveritySet, TimeRange};

/// How many rows are looked at before it is asked again which others are worth a look, at least.
const ROWS_AT_ONCE: usize = 8 << 10;

/// Some rows of a row group, side by side.
#[derive(Debug, Clone, PartialEq)]
struct Part<'a> {
    rows: Range<usize>,
    times: TimeRange,
    severities: SeveritySet,
    /// Their service, if it is known.
    service: Option<&'a str>,
}

/// The parts of a row group that have not been looked at.
pub(super) struct Parts<'a> {
    rows: usize,
    parts: Vec<Part<'a>>,
}

/// Rows that may pass a filter.
pub(super) struct Candidates {
    /// A bit for each row of the row group; `None`, if all may pass.
    pub(super) rows: Option<BooleanBuffer>,
    /// What they have to pass yet.
    pub(super) filter: Filter,
}

impl<'a> Parts<'a> {
    /// All parts of a row group.
    pub(super) fn of(group: &'a RowGroup) -> Parts<'a> {
        let whole = Part {
            rows: 0..group.rows as usize,
            times: group.extent.times(),
            severities: group.extent.severities(),
            service: group.extent.only_service(),
        };
        let mut parts = group.counts.as_ref().map(|counts| split(counts, &whole)).unwrap_or_default();
        if parts.last().is_none_or(|last| last.rows.end != whole.rows.end) {
            parts = vec![whole];
        }
        Parts { rows: group.rows as usize, parts }
    }

    /// All rows that may pass `filter`; nothing, if there are none.
    pub(super) fn all(mut self, filter: &Filter) -> Option<Candidates> {
        self.parts.retain(|part| part.may_pass(filter));
        let parts = std::mem::take(&mut self.parts);
        self.candidates(&parts, filter)
    }

    /// The next rows that may pass `filter`, the best in `order` first, about `rows` of them at least; nothing, if there
    /// are no more.
    pub(super) fn next(&mut self, filter: &Filter, order: Order, rows: usize) -> Option<Candidates> {
        self.parts.retain(|part| part.may_pass(filter));
        match order {
            Order::Ascending => self.parts.sort_by_key(|part| part.times.start),
            Order::Descending => self.parts.sort_by_key(|part| std::cmp::Reverse(part.times.end)),
        }
        let mut sum = 0;
        let enough = |part: &Part<'_>| {
            sum += part.rows.len();
            sum >= rows.max(ROWS_AT_ONCE)
        };
        let last = self.parts.iter().position(enough).unwrap_or(self.parts.len());
        let rest = self.parts.split_off((last + 1).min(self.parts.len()));
        let parts = std::mem::replace(&mut self.parts, rest);
        self.candidates(&parts, filter)
    }

    fn candidates(&self, parts: &[Part<'_>], filter: &Filter) -> Option<Candidates> {
        if parts.is_empty() {
            return None;
        }
        let count: usize = parts.iter().map(|part| part.rows.len()).sum();
        let rows = (count < self.rows).then(|| {
            let rows = parts.iter().flat_map(|part| part.rows.clone());
            bits::of(self.rows, rows)
        });
        let mut filter = filter.clone();
        if parts.iter().all(|part| filter.range.start <= part.times.start && part.times.end <= filter.range.end) {
            filter.range = TimeRange::ALL;
        }
        if parts.iter().all(|part| part.severities.and(filter.severities) == part.severities) {
            filter.severities = SeveritySet::ALL;
        }
        if parts.iter().all(|part| part.service.is_some()) {
            // Those of other services are not among them.
            filter.services.clear();
        }
        Some(Candidates { rows, filter })
    }
}

impl Part<'_> {
    fn may_pass(&self, filter: &Filter) -> bool {
        self.times.overlaps(filter.range)
            && self.severities.and(filter.severities) != SeveritySet::NONE
            && self.service.is_none_or(|service| {
                filter.services.is_empty() || filter.services.iter().any(|wanted| wanted == service)
            })
    }
}

/// The parts that the counts tell of, from the first row on: pieces, or else services.
fn split<'a>(counts: &'a GroupCounts, whole: &Part<'a>) -> Vec<Part<'a>> {
    let mut services: Vec<Part<'a>> = Vec::new();
    for (service, severity, rows) in &counts.levels {
        let severity = severities_of(1_u32.checked_shl(u32::from(*severity)).unwrap_or_default());
        match services.last_mut().filter(|last| last.service == Some(service)) {
            Some(last) => {
                last.rows.end += *rows as usize;
                last.severities = last.severities.or(severity);
            }
            None => {
                let start = services.last().map_or(0, |last| last.rows.end);
                let rows = start..start + *rows as usize;
                services.push(Part { rows, severities: severity, service: Some(service), ..whole.clone() });
            }
        }
    }
    if counts.pieces.is_empty() {
        return services;
    }
    let mut start = 0;
    let piece = |Piece(rows, first, last, severities): &Piece| {
        let rows = start..start + *rows as usize;
        start = rows.end;
        let service = services.iter().find(|part| part.rows.start <= rows.start && rows.end <= part.rows.end);
        let service = service.map_or(whole.service, |part| part.service);
        let times = TimeRange { start: Timestamp::from_nanos(*first), end: Timestamp::from_nanos(*last) };
        Part { rows, times, severities: severities_of(*severities), service }
    };
    counts.pieces.iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use sluice_model::Severity;

    use super::*;

    /// Two services, the second one in two pieces.
    fn group(pieces: bool) -> RowGroup {
        let json = r#"{"rows":100,"time_min":0,"time_max":90,"severities":131584,"service_min":"a","service_max":"b",
            "sequences":[0,99],"tokens":null,"counts":{"levels":[["a",9,30],["b",9,60],["b",17,10]],"services":100,
            "messages":100,"attributes":[],"pieces":[[30,0,90,512],[40,5,40,512],[30,50,80,131584]]}}"#;
        let mut group: RowGroup = serde_json::from_str(json).unwrap();
        group.counts.as_mut().unwrap().pieces.truncate(if pieces { 3 } else { 0 });
        group
    }

    fn filter(services: &[&str], severities: SeveritySet, start: i64) -> Filter {
        let range = TimeRange { start: Timestamp::from_nanos(start), ..TimeRange::ALL };
        let services = services.iter().map(|service| (*service).to_owned()).collect();
        Filter { range, severities, services, ..Filter::default() }
    }

    fn rows(candidates: &Candidates) -> Vec<usize> {
        candidates.rows.as_ref().map_or_else(|| (0..100).collect(), |rows| rows.set_indices().collect())
    }

    #[test]
    fn the_rows_that_may_pass_are_told_and_what_they_have_to_pass() {
        let errors = SeveritySet::at_least(Severity::Error);
        let all = Filter::default();
        for (pieces, wanted, expected, left) in [
            (true, all.clone(), 0..100, all.clone()),
            (true, filter(&["b"], SeveritySet::ALL, i64::MIN), 30..100, all.clone()),
            (true, filter(&["b"], SeveritySet::ALL, 45), 70..100, all.clone()),
            (true, filter(&[], SeveritySet::ALL, 60), 0..100, filter(&[], SeveritySet::ALL, 60)),
            (true, filter(&["b", "x"], errors, 60), 70..100, filter(&[], errors, 60)),
            (false, filter(&["a"], SeveritySet::ALL, i64::MIN), 0..30, all.clone()),
            (false, filter(&[], errors, i64::MIN), 30..100, filter(&[], errors, i64::MIN)),
        ] {
            let group = group(pieces);
            let found = Parts::of(&group).all(&wanted).unwrap();
            let expected: Vec<usize> =
                expected.filter(|row| wanted.range.start.as_nanos() < 60 || !(30..70).contains(row)).collect();
            assert_eq!((rows(&found), &found.filter), (expected, &left), "{wanted:?}");
        }
        assert!(Parts::of(&group(true)).all(&filter(&["a"], errors, i64::MIN)).is_none());
        assert!(Parts::of(&group(true)).all(&filter(&["aa"], SeveritySet::ALL, i64::MIN)).is_none());
    }

    #[test]
    fn the_best_rows_come_first_and_each_once() {
        let group = group(true);
        let mut parts = Parts::of(&group);
        // All are fewer than are looked at at once.
        assert_eq!(rows(&parts.next(&Filter::default(), Order::Descending, 1).unwrap()).len(), 100);
        assert!(parts.next(&Filter::default(), Order::Descending, 1).is_none());
        let mut large = group.clone();
        large.rows = 30_000;
        let counts = large.counts.as_mut().unwrap();
        counts.levels = vec![("a".to_owned(), 9, 30_000)];
        counts.pieces = (0..3).map(|n| Piece(10_000, n * 10, n * 10 + 9, 512)).collect();
        for (order, firsts) in [(Order::Descending, [20_000, 10_000, 0]), (Order::Ascending, [0, 10_000, 20_000])] {
            let mut parts = Parts::of(&large);
            let next = |_| parts.next(&Filter::default(), order, 100).unwrap().rows.unwrap().set_indices().next();
            assert_eq!([0, 1, 2].map(next), firsts.map(Some));
            assert!(parts.next(&Filter::default(), order, 100).is_none());
        }
    }

    #[test]
    fn counts_that_do_not_add_up_split_nothing() {
        let mut group = group(true);
        group.rows = 120;
        let found = Parts::of(&group).all(&filter(&["b"], SeveritySet::ALL, i64::MIN)).unwrap();
        assert_eq!((found.rows.is_none(), found.filter.services), (true, vec!["b".to_owned()]));
    }
}
