//! The order of a segment's rows.
//!
//! They are sorted by service, timestamp, id. Then, within each [`RUN_ROWS`] rows of a row group, those of one service
//! are sorted by their severity, by the template of their messages ([`super::templates`]), and by their length. Messages of
//! one template and length are mostly alike, and so a fifth smaller when they are compressed side by side; the few errors
//! of a run share a page of messages, or two; and a run covers as short a time as it would without.

use std::collections::HashMap;

use arrow_array::StringArray;
use sluice_model::RecordId;

use super::hash::Seeded;
use super::segment::{ARRANGED_SINCE, FORMAT, SEVERITIES_SINCE, TEMPLATES_SINCE};
use crate::batch::{Place, Records};

/// How many rows of a row group are arranged by themselves: about a page.
pub(super) const RUN_ROWS: usize = 8 << 10;

/// The columns of a part that rows are ordered by.
struct Columns<'a> {
    timestamps: &'a [i64],
    severities: &'a [u8],
    services: &'a StringArray,
}

impl<'a> Columns<'a> {
    fn of(parts: &'a [Records]) -> Vec<Columns<'a>> {
        let columns = |part: &'a Records| Columns {
            timestamps: part.logs.timestamps(),
            severities: part.logs.severities(),
            services: part.logs.services(),
        };
        parts.iter().map(columns).collect()
    }
}

/// The rows at `places` of `parts`, by service, timestamp, id.
pub(super) fn sort(parts: &[Records], places: impl IntoIterator<Item = Place>) -> Vec<Place> {
    let columns = Columns::of(parts);
    let mut by_service: HashMap<&str, Vec<(i64, Place)>, Seeded> = HashMap::default();
    for (part, row) in places {
        let Some(columns) = columns.get(part as usize) else { continue };
        let timestamp = columns.timestamps.get(row as usize).copied().unwrap_or_default();
        by_service.entry(columns.services.value(row as usize)).or_default().push((timestamp, (part, row)));
    }
    let mut services: Vec<(&str, Vec<(i64, Place)>)> = by_service.into_iter().collect();
    services.sort_unstable_by_key(|(service, _)| *service);
    let mut sorted = Vec::with_capacity(services.iter().map(|(_, rows)| rows.len()).sum());
    for (_, mut rows) in services {
        // Within a service records arrive almost in order, which this sort makes use of.
        rows.sort_by(|(time, place), (other_time, other)| {
            time.cmp(other_time).then_with(|| id(parts, *place).cmp(&id(parts, *other)))
        });
        sorted.extend(rows.into_iter().map(|(_, place)| place));
    }
    sorted
}

/// Every row of the parts, as it stands; neither are more than u32 can count.
pub(super) fn all(parts: &[Records]) -> impl Iterator<Item = Place> {
    (0..).zip(parts).flat_map(|(part, records)| (0..records.len() as u32).map(move |row| (part, row)))
}

/// How sorted rows, which begin with those of a row group, are arranged: run by run, by their severity, their template, then
/// by the length of their messages. Each row is named by its place in `sorted`.
pub(super) fn arrange(
    parts: &[Records],
    sorted: &[Place],
    templates: &[u32],
    lengths: impl Iterator<Item = usize>,
) -> Vec<u32> {
    arrange_by(FORMAT, parts, sorted, templates, lengths)
}

/// How it is done in segments of `format`.
fn arrange_by(
    format: u32,
    parts: &[Records],
    sorted: &[Place],
    templates: &[u32],
    lengths: impl Iterator<Item = usize>,
) -> Vec<u32> {
    let columns = Columns::of(parts);
    let service = |place: &Place| columns.get(place.0 as usize).map(|part| part.services.value(place.1 as usize));
    let severity = |place: &Place| columns.get(place.0 as usize)?.severities.get(place.1 as usize).copied();
    // A row group's rows are counted by u32; with their number behind them all keys are different.
    let rows = sorted.iter().zip(templates).zip(lengths).zip(0_u32..);
    let mut keys: Vec<u128> = rows
        .map(|(((place, template), length), row)| {
            let severity = severity(place).filter(|_| format >= SEVERITIES_SINCE).unwrap_or_default();
            let length = length as u32;
            u128::from(severity) << 96 | u128::from(*template) << 64 | u128::from(length) << 32 | u128::from(row)
        })
        .collect();
    for (mut run, mut keys) in sorted.chunks(RUN_ROWS).zip(keys.chunks_mut(RUN_ROWS)) {
        while let Some(first) = run.first().map(service) {
            // They stand by service, so that the end of one's is found by halves.
            let one = run.last().map(service) == Some(first);
            let rows = if one { run.len() } else { run.partition_point(|place| service(place) == first).max(1) };
            let (own, others) = keys.split_at_mut(rows.min(keys.len()));
            own.sort_unstable();
            (run, keys) = (run.get(rows..).unwrap_or_default(), others);
        }
    }
    keys.into_iter().map(|key| key as u32).collect()
}

/// Those at these places of all.
pub(super) fn at<T: Copy>(all: &[T], places: &[u32]) -> Vec<T> {
    places.iter().filter_map(|place| all.get(*place as usize).copied()).collect()
}

fn id(parts: &[Records], place: Place) -> Option<RecordId> {
    parts.get(place.0 as usize).map(|part| part.id(place.1 as usize))
}

/// Whether the row groups of a segment stand as they should.
pub(super) struct OrderCheck {
    format: u32,
    /// The last record so far, by the order without arrangement.
    last: Option<(String, i64, RecordId)>,
}

impl OrderCheck {
    /// For a segment of `format`.
    pub(super) fn new(format: u32) -> OrderCheck {
        OrderCheck { format, last: None }
    }

    /// Whether the next row group, whose rows have these templates, stands as it should.
    pub(super) fn passes(&mut self, group: &Records, templates: &[u32]) -> bool {
        let parts = std::slice::from_ref(group);
        let mut places: Vec<Place> = all(parts).collect();
        let mut right = true;
        if self.format >= ARRANGED_SINCE {
            let stood = places.clone();
            places = places.chunks(RUN_ROWS).flat_map(|run| sort(parts, run.iter().copied())).collect();
            let template =
                |(_, row): &Place| templates.get(*row as usize).copied().filter(|_| self.format >= TEMPLATES_SINCE);
            let templates: Vec<u32> = places.iter().map(|place| template(place).unwrap_or_default()).collect();
            let lengths = places.iter().map(|(_, row)| group.logs.messages().value_length(*row as usize) as usize);
            right = at(&places, &arrange_by(self.format, parts, &places, &templates, lengths)) == stood;
        }
        places.into_iter().fold(right, |right, (_, row)| self.follows(group, row as usize) && right)
    }

    /// Whether a record comes after the last one, whose place it takes.
    fn follows(&mut self, group: &Records, row: usize) -> bool {
        let (timestamp, id) = group.position(row);
        let (service, nanos) = (group.logs.services().value(row), timestamp.as_nanos());
        match &mut self.last {
            Some((last, last_nanos, last_id)) => {
                let follows = (last.as_str(), *last_nanos, *last_id) < (service, nanos, id);
                if last != service {
                    service.clone_into(last);
                }
                (*last_nanos, *last_id) = (nanos, id);
                follows
            }
            none => {
                *none = Some((service.to_owned(), nanos, id));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_model::Severity;

    use super::*;
    use crate::batch::Gatherer;
    use crate::store::embedded::testing::{Row, block, row};

    fn parts() -> Vec<Records> {
        let first = [row(9, "b", "long message"), row(3, "a", "middle"), row(1, "b", "short")];
        let second = [row(2, "a", "longest message"), row(3, "a", "a"), row(2, "b", "short")];
        vec![block(10, &first).records(), block(0, &second).records()]
    }

    fn gathered(parts: &[Records], places: &[Place]) -> Records {
        Gatherer::new(parts).unwrap().gather(places).unwrap()
    }

    fn arranged_by(format: u32, parts: &[Records], sorted: &[Place], templates: &[u32]) -> Vec<u32> {
        let length = |(part, row): &Place| parts[*part as usize].logs.messages().value_length(*row as usize) as usize;
        arrange_by(format, parts, sorted, templates, sorted.iter().map(length))
    }

    #[test]
    fn rows_stand_by_service_time_and_id_and_alike_ones_side_by_side() {
        let parts = Records::unify(&parts()).unwrap();
        let sorted = sort(&parts, all(&parts));
        assert_eq!(sorted, [(1, 0), (1, 1), (0, 1), (0, 2), (1, 2), (0, 0)]);
        for (format, templates, expected) in [
            (TEMPLATES_SINCE, [0, 2, 1, 2, 3, 1], [(1, 0), (0, 1), (1, 1), (0, 0), (0, 2), (1, 2)]),
            (ARRANGED_SINCE, [0; 6], [(1, 1), (0, 1), (1, 0), (0, 2), (1, 2), (0, 0)]),
        ] {
            let arranged = arranged_by(FORMAT, &parts, &sorted, &templates);
            assert_eq!(at(&sorted, &arranged), expected);
            let group = gathered(&parts, &at(&sorted, &arranged));
            let templates = at(&templates, &arranged);
            assert!(OrderCheck::new(format).passes(&group, &templates));
            assert!(!OrderCheck::new(ARRANGED_SINCE - 1).passes(&group, &templates));
        }
    }

    #[test]
    fn the_few_errors_of_a_run_stand_together() {
        let levels = [Severity::Info, Severity::Error, Severity::Info, Severity::Error];
        let row = |(severity, time)| Row { severity, ..row(time, "a", if time % 3 == 0 { "long" } else { "few" }) };
        let parts = [block(0, &levels.into_iter().zip(0..).map(row).collect::<Vec<_>>()).records()];
        for (format, expected, other) in
            [(SEVERITIES_SINCE, [2, 0, 1, 3], TEMPLATES_SINCE), (TEMPLATES_SINCE, [1, 2, 0, 3], SEVERITIES_SINCE)]
        {
            let sorted = sort(&parts, all(&parts));
            let places = at(&sorted, &arranged_by(format, &parts, &sorted, &[0; 4]));
            assert_eq!(places, expected.map(|row| (0, row)));
            let group = gathered(&parts, &places);
            assert!(OrderCheck::new(format).passes(&group, &[0; 4]));
            assert!(!OrderCheck::new(other).passes(&group, &[0; 4]));
        }
    }

    #[test]
    fn a_row_out_of_place_is_noticed() {
        let parts = Records::unify(&parts()).unwrap();
        let sorted = sort(&parts, all(&parts));
        let arranged = at(&sorted, &arranged_by(FORMAT, &parts, &sorted, &[0; 6]));
        for (format, right) in [(ARRANGED_SINCE - 1, sorted), (ARRANGED_SINCE, arranged)] {
            let passes = |places: &[Place]| {
                let group = gathered(&parts, places);
                // Also when the groups are as small as can be.
                let mut check = OrderCheck::new(format);
                let whole = OrderCheck::new(format).passes(&group, &[]);
                whole && check.passes(&group.slice(0, 3), &[]) == check.passes(&group.slice(3, 3), &[])
            };
            assert!(passes(&right));
            for row in 1..right.len() {
                let mut wrong = right.clone();
                wrong.swap(row - 1, row);
                assert!(!passes(&wrong), "rows {} and {row} of format {format}", row - 1);
            }
        }
    }
}
