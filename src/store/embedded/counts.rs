//! How many rows of a row group have what: written with it, so that many questions need no look at its columns.

use std::collections::BTreeMap;

use arrow_array::{Array, StringArray};
use sluice_model::Severity;

use super::segment::GroupCounts;
use crate::batch::LogBatch;
use crate::stats::Counted;

/// How many pairs of service and severity are counted at most; where there are more, none is.
const LEVELS_MAX: usize = 256;
/// How many bytes their services have at most.
const SERVICES_BYTES_MAX: usize = 16 << 10;
/// How many severity numbers there can be.
const SEVERITIES: usize = 1 << u8::BITS;

/// Counts the rows of a group.
pub(super) fn of(logs: &LogBatch) -> GroupCounts {
    GroupCounts {
        levels: levels(logs),
        services: not_empty(logs.services()),
        messages: not_empty(logs.messages()),
        // A row group's rows are counted by u32.
        attributes: logs.attributes().map(|(_, column)| (column.len() - column.null_count()) as u32).collect(),
    }
}

fn not_empty(texts: &StringArray) -> u32 {
    texts.value_offsets().windows(2).filter(|pair| pair.first() != pair.last()).count() as u32
}

fn levels(logs: &LogBatch) -> Vec<(String, u8, u32)> {
    let mut counts: BTreeMap<(&str, u8), u32> = BTreeMap::new();
    // Rows are sorted by service, so most runs of one are long.
    let mut run: Option<(&str, [u32; SEVERITIES])> = None;
    for (service, severity) in logs.services().iter().flatten().zip(logs.severities()) {
        if run.as_ref().is_none_or(|(other, _)| *other != service) {
            add_run(&mut counts, run.replace((service, [0; SEVERITIES])));
            if counts.len() > LEVELS_MAX {
                return Vec::new();
            }
        }
        if let Some(rows) = run.as_mut().and_then(|(_, rows)| rows.get_mut(usize::from(*severity))) {
            *rows += 1;
        }
    }
    add_run(&mut counts, run);
    kept(counts.into_iter().map(|((service, severity), rows)| (service.to_owned(), severity, rows)).collect())
}

fn add_run<'a>(counts: &mut BTreeMap<(&'a str, u8), u32>, run: Option<(&'a str, [u32; SEVERITIES])>) {
    let Some((service, by_severity)) = run else { return };
    for (severity, rows) in (0..=u8::MAX).zip(by_severity).filter(|(_, rows)| *rows > 0) {
        *counts.entry((service, severity)).or_default() += rows;
    }
}

/// The counts, unless there are too many.
fn kept(levels: Vec<(String, u8, u32)>) -> Vec<(String, u8, u32)> {
    let bytes: usize = levels.iter().map(|(service, ..)| service.len()).sum();
    if levels.len() > LEVELS_MAX || bytes > SERVICES_BYTES_MAX { Vec::new() } else { levels }
}

/// The counts of a group of which these are the counts of two parts, neither without rows.
pub(super) fn together(first: GroupCounts, second: GroupCounts) -> GroupCounts {
    let mut levels = BTreeMap::new();
    if !first.levels.is_empty() && !second.levels.is_empty() {
        for (service, severity, rows) in first.levels.into_iter().chain(second.levels) {
            *levels.entry((service, severity)).or_default() += rows;
        }
    }
    GroupCounts {
        levels: kept(levels.into_iter().map(|((service, severity), rows)| (service, severity, rows)).collect()),
        services: first.services + second.services,
        messages: first.messages + second.messages,
        attributes: first.attributes.into_iter().zip(second.attributes).map(|(first, second)| first + second).collect(),
    }
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
        assert_eq!(together(of(&logs.slice(0, 2)), of(&logs.slice(2, 2))), counts);
        let level = |service: &str, number, rows| (service.to_owned(), number, rows);
        assert_eq!(counts.levels, [level("", 9, 1), level("a", 9, 2), level("a", 13, 1)]);
        assert_eq!((counts.services, counts.messages, counts.attributes.as_slice()), (3, 1, [1].as_slice()));
        let mut many = LogBatchBuilder::new();
        (0..300).for_each(|n| many.commit(Timestamp::default(), Severity::Info, "", &format!("s{n}"), ""));
        let many = many.finish();
        assert_eq!(of(&many).levels, []);
        // In parts there are too many as soon as there are in all of them.
        let parts = [(0, 100), (100, 100), (200, 100), (0, 1)].map(|(offset, rows)| of(&many.slice(offset, rows)));
        assert!(parts.iter().all(|part| !part.levels.is_empty()));
        assert_eq!(parts.into_iter().reduce(together).unwrap().levels, []);
    }

    #[test]
    fn a_row_group_of_an_older_file_says_nothing() {
        let json = r#"{"rows":1,"time_min":0,"time_max":0,"severities":2,"service_min":"","service_max":"","sequences":[0,0],"tokens":null}"#;
        let group: crate::store::embedded::segment::RowGroup = serde_json::from_str(json).unwrap();
        assert_eq!(group.counts, None);
        assert!(!serde_json::to_string(&group).unwrap().contains("counts"));
    }
}
