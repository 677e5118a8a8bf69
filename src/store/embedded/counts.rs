//! How many rows of a row group have what: written with it, so that many questions need no look at its columns.

use std::collections::BTreeMap;

use arrow_array::{Array, StringArray};
use sluice_model::Severity;

use super::extent::{min_max, severity_bit};
use super::order::RUN_ROWS;
use super::segment::{GroupCounts, Piece, TimeCounts};
use crate::batch::LogBatch;
use crate::stats::{Counted, TimeCell};

/// How many pairs of service and severity are counted at most; where there are more, none is.
const LEVELS_MAX: usize = 256;
/// How many bytes their services have at most.
const SERVICES_BYTES_MAX: usize = 16 << 10;
/// How many severity numbers there can be.
const SEVERITIES: usize = 1 << u8::BITS;
/// How many cells of time there are at most, and how many pieces.
const CELLS_MAX: i64 = 128;
const PIECES_MAX: usize = 128;
/// How long a cell is, in seconds: periods that most others are made of.
const STEPS_S: [u32; 9] = [1, 5, 15, 60, 300, 900, 3_600, 21_600, 86_400];
const SECOND_NS: i64 = 1_000_000_000;

/// Counts the rows of a group, run by run.
#[derive(Default)]
pub(super) struct Counter {
    levels: Levels,
    services: u32,
    messages: u32,
    attributes: Vec<u32>,
    times: Vec<i64>,
    pieces: Pieces,
}

/// Pieces, as fine as there may be.
#[derive(Default)]
struct Pieces {
    /// With what begins where each begins.
    pieces: Vec<(Begins, Piece)>,
    /// What has to begin for a piece to begin.
    least: Begins,
}

/// What begins with a row, the least of it first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Begins {
    #[default]
    Severity,
    Service,
    Run,
}

/// Rows by service and severity number; `too_many` are none.
#[derive(Default)]
struct Levels {
    rows: BTreeMap<(String, u8), u32>,
    too_many: bool,
}

impl Counter {
    /// Counts the rows of the next run.
    pub(super) fn add(&mut self, run: &LogBatch) {
        self.levels.add(run);
        self.services += not_empty(run.services());
        self.messages += not_empty(run.messages());
        // A row group's rows are counted by u32.
        let values = run.attributes().map(|(_, column)| (column.len() - column.null_count()) as u32);
        if self.attributes.is_empty() {
            self.attributes = values.collect();
        } else {
            self.attributes.iter_mut().zip(values).for_each(|(rows, more)| *rows += more);
        }
        self.times.extend_from_slice(run.timestamps());
        self.pieces.add(run, PIECES_MAX);
    }

    pub(super) fn finish(self) -> GroupCounts {
        GroupCounts {
            levels: self.levels.finish(),
            services: self.services,
            messages: self.messages,
            attributes: self.attributes,
            times: times(&self.times),
            pieces: self.pieces.finish(),
        }
    }
}

/// Counts the rows of a whole group.
pub(super) fn of(logs: &LogBatch) -> GroupCounts {
    let mut counter = Counter::default();
    runs(logs).for_each(|run| counter.add(&run));
    counter.finish()
}

fn runs(logs: &LogBatch) -> impl Iterator<Item = LogBatch> {
    (0..logs.len()).step_by(RUN_ROWS).map(|start| logs.slice(start, RUN_ROWS.min(logs.len() - start)))
}

/// Whether a group has what is said of it. Where nothing is said nothing is wrong.
pub(super) fn agree(said: &GroupCounts, logs: &LogBatch) -> bool {
    let found = of(logs);
    (said.services, said.messages, &said.attributes) == (found.services, found.messages, &found.attributes)
        && (said.levels.is_empty() || said.levels == found.levels)
        && (said.times.is_none() || said.times == found.times)
        && agree_in_pieces(&said.pieces, logs)
}

/// Whether a group has these pieces, as fine as they are: those of older files are of services.
fn agree_in_pieces(said: &[Piece], logs: &LogBatch) -> bool {
    let has = |least| {
        let mut pieces = Pieces { least, ..Pieces::default() };
        runs(logs).for_each(|run| pieces.add(&run, usize::MAX));
        pieces.finish() == said
    };
    said.is_empty() || [Begins::Severity, Begins::Service, Begins::Run].into_iter().any(has)
}

fn not_empty(texts: &StringArray) -> u32 {
    texts.value_offsets().windows(2).filter(|pair| pair.first() != pair.last()).count() as u32
}

impl Levels {
    fn add(&mut self, run: &LogBatch) {
        // Rows are sorted by service, so most stretches of one are long.
        let mut stretch: Option<(&str, [u32; SEVERITIES])> = None;
        for (service, severity) in run.services().iter().flatten().zip(run.severities()) {
            if stretch.as_ref().is_none_or(|(other, _)| *other != service) {
                self.add_stretch(stretch.replace((service, [0; SEVERITIES])));
            }
            if let Some(rows) = stretch.as_mut().and_then(|(_, rows)| rows.get_mut(usize::from(*severity))) {
                *rows += 1;
            }
        }
        self.add_stretch(stretch);
    }

    fn add_stretch(&mut self, stretch: Option<(&str, [u32; SEVERITIES])>) {
        let Some((service, by_severity)) = stretch else { return };
        for (severity, rows) in (0..=u8::MAX).zip(by_severity).filter(|(_, rows)| *rows > 0) {
            if !self.too_many {
                *self.rows.entry((service.to_owned(), severity)).or_default() += rows;
                self.too_many = self.rows.len() > LEVELS_MAX;
            }
        }
    }

    fn finish(self) -> Vec<(String, u8, u32)> {
        let bytes: usize = self.rows.keys().map(|(service, _)| service.len()).sum();
        if self.too_many || bytes > SERVICES_BYTES_MAX {
            return Vec::new();
        }
        self.rows.into_iter().map(|((service, severity), rows)| (service, severity, rows)).collect()
    }
}

/// By cells of time, as fine as there may be.
fn times(timestamps: &[i64]) -> Option<TimeCounts> {
    let (first, last) = min_max(timestamps.iter().copied())?;
    let cell = |nanos: i64, step_s: u32| nanos.div_euclid(SECOND_NS).div_euclid(step_s.into());
    let cells = |step_s: u32| cell(last, step_s) - cell(first, step_s) + 1;
    let step_s = STEPS_S.into_iter().find(|step_s| cells(*step_s) <= CELLS_MAX)?;
    let start = cell(first, step_s);
    let mut rows = vec![0_u32; usize::try_from(cells(step_s)).unwrap_or_default()];
    for nanos in timestamps {
        let place = usize::try_from(cell(*nanos, step_s) - start).unwrap_or_default();
        rows.get_mut(place).into_iter().for_each(|rows| *rows += 1);
    }
    Some(TimeCounts { step_s, start_s: start * i64::from(step_s), rows })
}

impl Pieces {
    /// Adds those of a run, which become coarser where there would be more than `most`.
    fn add(&mut self, run: &LogBatch, most: usize) {
        let mut last = None;
        for ((service, nanos), severity) in run.services().iter().flatten().zip(run.timestamps()).zip(run.severities())
        {
            let begins = match last.replace((service, severity)) {
                None => Some(Begins::Run),
                Some((last, _)) if last != service => Some(Begins::Service),
                Some((_, last)) if last != severity => Some(Begins::Severity),
                Some(_) => None,
            };
            let row = Piece(1, *nanos, *nanos, severity_bit(*severity));
            match (self.pieces.last_mut(), begins.filter(|begins| *begins >= self.least)) {
                (Some((_, piece)), None) => piece.join(row),
                (_, begins) => self.pieces.push((begins.unwrap_or(Begins::Run), row)),
            }
        }
        while self.pieces.len() > most && self.least < Begins::Run {
            self.least = if self.least == Begins::Severity { Begins::Service } else { Begins::Run };
            self.pieces.dedup_by(|(begins, next), (_, piece)| {
                let joins = *begins < self.least;
                if joins {
                    piece.join(*next);
                }
                joins
            });
        }
    }

    fn finish(self) -> Vec<Piece> {
        self.pieces.into_iter().map(|(_, piece)| piece).collect()
    }
}

impl Piece {
    /// Takes in the rows that come after it.
    fn join(&mut self, next: Piece) {
        let (Piece(rows, first, last, severities), Piece(more, other_first, other_last, others)) = (self, next);
        *rows += more;
        *first = (*first).min(other_first);
        *last = (*last).max(other_last);
        *severities |= others;
    }
}

/// The counts by time, as a tally takes them.
pub(super) fn cells(counts: &TimeCounts) -> Vec<TimeCell> {
    let step = i64::from(counts.step_s);
    let cells = (0..).zip(&counts.rows).filter(|(_, rows)| **rows > 0).map(|(place, rows)| {
        let start = counts.start_s.saturating_add(step.saturating_mul(place));
        let end = start.saturating_add(step);
        TimeCell {
            first: start.saturating_mul(SECOND_NS),
            last: end.saturating_mul(SECOND_NS).saturating_sub(1),
            rows: u64::from(*rows),
        }
    });
    cells.collect()
}

/// The counts by service and severity, as a tally takes them.
pub(super) fn counted(counts: &GroupCounts) -> Vec<Counted> {
    let counted = counts.levels.iter().filter_map(|(service, severity, rows)| {
        let severity = Severity::from_number(*severity)?;
        Some(Counted { service: service.clone(), severity, rows: u64::from(*rows) })
    });
    counted.collect()
}

#[cfg(test)]
mod tests {
    use sluice_model::Timestamp;

    use super::*;
    use crate::batch::{AttributeRef, LogBatchBuilder};

    #[test]
    fn rows_are_counted_unless_there_are_too_many_kinds() {
        let mut builder = LogBatchBuilder::new();
        for (service, severity) in
            [("", Severity::Info), ("a", Severity::Info), ("a", Severity::Warn), ("a", Severity::Info)]
        {
            if severity == Severity::Warn {
                builder.attribute("x", AttributeRef::Int(1)).unwrap();
            }
            builder.commit(Timestamp::default(), severity, "", service, if service.is_empty() { "m" } else { "" });
        }
        let logs = builder.finish();
        let counts = of(&logs);
        let mut counter = Counter::default();
        [0, 2].iter().for_each(|start| counter.add(&logs.slice(*start, 2)));
        // In another division there are other pieces, and the same counts.
        assert_eq!(GroupCounts { pieces: counts.pieces.clone(), ..counter.finish() }, counts);
        let level = |service: &str, number, rows| (service.to_owned(), number, rows);
        assert_eq!(counts.levels, [level("", 9, 1), level("a", 9, 2), level("a", 13, 1)]);
        assert_eq!((counts.services, counts.messages, counts.attributes.as_slice()), (3, 1, [1].as_slice()));
        let mut many = LogBatchBuilder::new();
        (0..300).for_each(|n| many.commit(Timestamp::default(), Severity::Info, "", &format!("s{n}"), ""));
        let many = many.finish();
        assert_eq!((of(&many).levels, of(&many).pieces.len()), (Vec::new(), 1));
        // In runs there are too many as soon as there are in all of them.
        let mut counter = Counter::default();
        [0, 100, 200].iter().for_each(|start| counter.add(&many.slice(*start, 100)));
        assert_eq!(counter.finish().levels, []);
    }

    #[test]
    fn rows_are_counted_by_time_and_by_piece() {
        let mut builder = LogBatchBuilder::new();
        for (seconds, service, severity) in
            [(-1, "a", Severity::Info), (3, "a", Severity::Warn), (1, "b", Severity::Info), (899, "b", Severity::Info)]
        {
            builder.commit(Timestamp::from_nanos(seconds * SECOND_NS), severity, "", service, "m");
        }
        let logs = builder.finish();
        let counts = of(&logs);
        let mut rows = vec![0; 61];
        (rows[0], rows[1], rows[60]) = (1, 2, 1);
        assert_eq!(counts.times, Some(TimeCounts { step_s: 15, start_s: -15, rows }));
        let times: Vec<_> = cells(counts.times.as_ref().unwrap()).iter().map(|cell| (cell.first, cell.rows)).collect();
        assert_eq!(times, [(-15 * SECOND_NS, 1), (0, 2), (885 * SECOND_NS, 1)]);
        let (info, warn) = (1 << 9, 1 << 13);
        let b = Piece(2, SECOND_NS, 899 * SECOND_NS, info);
        let a = [Piece(1, -SECOND_NS, -SECOND_NS, info), Piece(1, 3 * SECOND_NS, 3 * SECOND_NS, warn)];
        assert_eq!(counts.pieces, [a[0], a[1], b]);
        let by_service = [Piece(2, -SECOND_NS, 3 * SECOND_NS, info | warn), b];
        let whole = [Piece(4, -SECOND_NS, 899 * SECOND_NS, info | warn)];
        for (most, expected) in [(3, &counts.pieces[..]), (2, &by_service), (1, &whole), (0, &whole)] {
            let mut pieces = Pieces::default();
            pieces.add(&logs, most);
            let coarser = GroupCounts { pieces: pieces.finish(), ..counts.clone() };
            assert_eq!(coarser.pieces, expected);
            assert!(agree(&coarser, &logs));
        }
        let unsaid = GroupCounts { levels: Vec::new(), times: None, pieces: Vec::new(), ..counts.clone() };
        assert!(agree(&unsaid, &logs));
        let mut lies = vec![counts.clone(); 4];
        lies[0].levels[0].2 += 1;
        lies[1].times.as_mut().unwrap().rows[3] += 1;
        lies[2].pieces[1].1 -= 1;
        lies[3].messages -= 1;
        lies.iter().for_each(|lie| assert!(!agree(lie, &logs), "{lie:?}"));
    }

    #[test]
    fn a_row_group_of_an_older_file_says_nothing() {
        let json = r#"{"rows":1,"time_min":0,"time_max":0,"severities":2,"service_min":"","service_max":"","sequences":[0,0],"tokens":null}"#;
        let group: crate::store::embedded::segment::RowGroup = serde_json::from_str(json).unwrap();
        assert_eq!(group.counts, None);
        assert!(!serde_json::to_string(&group).unwrap().contains("counts"));
    }
}
