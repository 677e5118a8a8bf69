//! The evaluator: which rows of a batch pass a filter.
//!
//! Every part of a tree takes the rows that still matter and gives those of them that pass. An AND takes its cheapest part
//! first and narrows the rows from part to part; an OR leaves out what has passed already.

mod attribute;
mod text;

use arrow_array::Array;
use arrow_buffer::BooleanBuffer;

use super::expr::{Condition, Expr, Field, Needle, Test};
use super::{Filter, TimeRange};
use crate::batch::Records;

impl Filter {
    /// A bit for each of `records`: whether it passes every part of the filter.
    pub fn select(&self, records: &Records) -> BooleanBuffer {
        let logs = &records.logs;
        let mut passing = BooleanBuffer::new_set(records.len());
        if self.range != TimeRange::ALL {
            let (times, start, end) = (logs.timestamps(), self.range.start.as_nanos(), self.range.end.as_nanos());
            passing = keep(&passing, |row| times.get(row).is_some_and(|time| start <= *time && *time <= end));
        }
        if !self.severities.is_all() {
            let severities = logs.severities();
            passing = keep(&passing, |row| {
                severities.get(row).is_some_and(|number| self.severities.contains_number(*number))
            });
        }
        if !self.services.is_empty() {
            let services = logs.services();
            passing = keep(&passing, |row| self.services.iter().any(|wanted| wanted == services.value(row)));
        }
        self.matching.select(records, &passing)
    }
}

impl Expr {
    /// Those of the rows `among` that pass. Only [`Expr::columns`] are looked at.
    pub fn select(&self, records: &Records, among: &BooleanBuffer) -> BooleanBuffer {
        if among.count_set_bits() == 0 {
            return among.clone();
        }
        match self {
            Expr::All => among.clone(),
            Expr::And(parts) => {
                let narrow = |rows: BooleanBuffer, part: &&Expr| part.select(records, &rows);
                by_cost(parts).iter().fold(among.clone(), narrow)
            }
            Expr::Or(parts) => {
                let mut open = among.clone();
                for part in by_cost(parts) {
                    open = &open & &!&part.select(records, &open);
                }
                among & &!&open
            }
            Expr::Not(inner) => among & &!&inner.select(records, among),
            Expr::Condition(condition) => condition.select(records, among),
        }
    }

    /// The parts of an AND in three steps, to be taken one behind the other: what needs only the columns of ids, times,
    /// severities and services; then what needs no message; then the rest.
    #[must_use]
    pub fn steps(&self) -> [Expr; 3] {
        let mut steps = [Vec::new(), Vec::new(), Vec::new()];
        let [keys, fields, messages] = &mut steps;
        for part in self.conjuncts() {
            let columns = part.columns();
            let step = if columns.message {
                &mut *messages
            } else if columns.level || !columns.attributes.is_empty() {
                &mut *fields
            } else {
                &mut *keys
            };
            step.push(part.clone());
        }
        steps.map(Expr::all_of)
    }

    /// About how much work a row is.
    fn cost(&self) -> u32 {
        match self {
            Expr::All => 0,
            Expr::And(parts) | Expr::Or(parts) => parts.iter().map(Expr::cost).fold(0, u32::saturating_add),
            Expr::Not(inner) => inner.cost(),
            Expr::Condition(Condition::Field(field, test)) => {
                let place = if matches!(field, Field::Attribute(_)) { 2 } else { 1 };
                let work = match test {
                    Test::Exists => 1,
                    Test::OneOf(_) | Test::Order(..) => 2,
                    Test::Contains(Needle::Term(_)) => 10,
                    Test::Contains(Needle::Pattern(_)) => 40,
                    Test::Contains(Needle::Fuzzy(_)) => 200,
                };
                place * work
            }
            Expr::Condition(_) => 1,
        }
    }
}

/// The parts, the cheapest first.
fn by_cost(parts: &[Expr]) -> Vec<&Expr> {
    let mut parts: Vec<&Expr> = parts.iter().collect();
    parts.sort_by_cached_key(|part| part.cost());
    parts
}

impl Condition {
    fn select(&self, records: &Records, among: &BooleanBuffer) -> BooleanBuffer {
        let logs = &records.logs;
        match self {
            Condition::Time(comparison, time) => {
                let (times, wanted) = (logs.timestamps(), time.as_nanos());
                keep(among, |row| times.get(row).is_some_and(|time| comparison.holds(time.cmp(&wanted))))
            }
            Condition::Id(comparison, id) => keep(among, |row| comparison.holds(records.id(row).cmp(id))),
            Condition::Severity(set) => {
                let severities = logs.severities();
                keep(among, |row| severities.get(row).is_some_and(|number| set.contains_number(*number)))
            }
            Condition::Field(Field::Message, test) => text::select(test, logs.messages(), None, among),
            Condition::Field(Field::Service, test) => text::select(test, logs.services(), None, among),
            Condition::Field(Field::LevelText, test) => text::select(test, logs.levels(), None, among),
            Condition::Field(Field::Attribute(name), test) => attribute::select(name, test, logs, among),
        }
    }
}

/// Those of the rows `among` that pass.
fn keep(among: &BooleanBuffer, mut passes: impl FnMut(usize) -> bool) -> BooleanBuffer {
    let rows = among.len();
    let few = among.count_set_bits() < rows / 64;
    if few {
        let mut bits = arrow_buffer::BooleanBufferBuilder::new(rows);
        bits.append_n(rows, false);
        among.set_indices().filter(|row| passes(*row)).for_each(|row| bits.set_bit(row, true));
        return bits.finish();
    }
    BooleanBuffer::collect_bool(rows, |row| among.value(row) && passes(row))
}

/// Those of the rows `among` in which `column` has a value.
fn keep_valid(among: &BooleanBuffer, column: &dyn Array) -> BooleanBuffer {
    match column.nulls() {
        Some(nulls) => among & nulls.inner(),
        None => among.clone(),
    }
}

#[cfg(test)]
mod tests;
