//! The evaluator: which rows of a batch pass a filter.

use arrow_buffer::BooleanBuffer;

use super::{Filter, TimeRange};
use crate::batch::LogBatch;

impl Filter {
    /// A bit for each record of `logs`: whether it passes every part of the filter.
    ///
    /// The parts are taken column by column, the cheapest first, and each looks only at the rows that still pass.
    pub fn select(&self, logs: &LogBatch) -> BooleanBuffer {
        let mut selection = Selection { rows: logs.len(), passing: None };
        if self.range != TimeRange::ALL {
            let (times, start, end) = (logs.timestamps(), self.range.start.as_nanos(), self.range.end.as_nanos());
            selection.keep(|row| times.get(row).is_some_and(|time| start <= *time && *time <= end));
        }
        if !self.severities.is_all() {
            let severities = logs.severities();
            selection.keep(|row| severities.get(row).is_some_and(|number| self.severities.contains_number(*number)));
        }
        if !self.services.is_empty() {
            let services = logs.services();
            selection.keep(|row| self.services.iter().any(|wanted| wanted == services.value(row)));
        }
        if !self.terms.is_empty() {
            let messages = logs.messages();
            selection.keep(|row| {
                let message = messages.value(row);
                self.terms.iter().all(|term| term.matches(message))
            });
        }
        selection.passing.unwrap_or_else(|| BooleanBuffer::new_set(logs.len()))
    }
}

/// The rows that pass the parts so far; absent while all do.
struct Selection {
    rows: usize,
    passing: Option<BooleanBuffer>,
}

impl Selection {
    fn keep(&mut self, passes: impl Fn(usize) -> bool) {
        let kept = match &self.passing {
            None => BooleanBuffer::collect_bool(self.rows, passes),
            Some(passing) if passing.count_set_bits() == 0 => return,
            Some(passing) => BooleanBuffer::collect_bool(self.rows, |row| passing.value(row) && passes(row)),
        };
        self.passing = (kept.count_set_bits() < self.rows).then_some(kept);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluice_model::{Severity, Timestamp};

    use super::*;
    use crate::batch::LogBatchBuilder;
    use crate::query::{SeveritySet, Term};

    type Row = (i64, Severity, &'static str, &'static str);

    fn row() -> impl Strategy<Value = Row> {
        (
            -3_i64..4,
            prop::sample::select(Severity::ALL.to_vec()),
            prop::sample::select(vec!["", "web", "auth"]),
            prop::sample::select(vec!["", "disk full", "Disk ok", "full of it"]),
        )
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let services = prop::sample::subsequence(vec!["web".to_owned(), String::new()], 0..=2);
        let terms = prop::sample::subsequence(vec![Term::new("DISK"), Term::new("full")], 0..=2);
        let severities = prop::sample::subsequence(Severity::ALL.to_vec(), 0..=6);
        let range = prop_oneof![Just(None), (-3_i64..4, -3_i64..4).prop_map(Some)];
        (range, severities, services, terms).prop_map(|(range, severities, services, terms)| Filter {
            range: range.map_or(TimeRange::ALL, |(start, end)| TimeRange {
                start: Timestamp::from_nanos(start),
                end: Timestamp::from_nanos(end),
            }),
            severities: severities.into_iter().fold(SeveritySet::NONE, SeveritySet::with),
            services,
            terms,
        })
    }

    proptest! {
        #[test]
        fn a_row_is_selected_if_it_passes_every_part(rows in prop::collection::vec(row(), 0..80), filter in filter()) {
            let mut builder = LogBatchBuilder::new();
            for (time, severity, service, message) in &rows {
                builder.commit(Timestamp::from_nanos(*time), *severity, severity.name(), service, message);
            }
            let expected: Vec<bool> = rows
                .iter()
                .map(|(time, severity, service, message)| {
                    filter.range.contains(Timestamp::from_nanos(*time))
                        && filter.severities.contains(*severity)
                        && (filter.services.is_empty() || filter.services.iter().any(|wanted| wanted == service))
                        && filter.terms.iter().all(|term| term.matches(message))
                })
                .collect();
            let selected = filter.select(&builder.finish());
            prop_assert_eq!(selected.iter().collect::<Vec<_>>(), expected);
        }
    }
}
