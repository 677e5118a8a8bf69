//! The evaluator: which rows of a batch pass a filter.

use arrow_buffer::BooleanBuffer;
use sluice_model::Timestamp;

use super::Filter;
use crate::batch::LogBatch;

impl Filter {
    /// A bit for each record of `logs`: whether it passes every part of the filter.
    pub fn select(&self, logs: &LogBatch) -> BooleanBuffer {
        BooleanBuffer::collect_bool(logs.len(), |row| self.passes(logs, row))
    }

    fn passes(&self, logs: &LogBatch, row: usize) -> bool {
        let time = Timestamp::from_nanos(logs.timestamps().get(row).copied().unwrap_or_default());
        let service = logs.services().value(row);
        self.range.contains(time)
            && self.severities.contains(logs.severity(row))
            && (self.services.is_empty() || self.services.iter().any(|wanted| wanted == service))
            && self.terms.iter().all(|term| term.matches(logs.messages().value(row)))
    }
}
