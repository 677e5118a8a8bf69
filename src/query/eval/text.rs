//! Conditions on columns of texts.

use std::collections::HashSet;

use arrow_array::{Array, StringArray};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};

use super::{keep, keep_valid};
use crate::query::Term;
use crate::query::expr::{Needle, Test};
use crate::query::fuzzy::Scratch;
use crate::query::literal::{Literal, Value};
use crate::query::quantity::Unit;

/// Those of the rows `among` whose text passes; what is null does not. Numeric texts are in `unit`.
///
/// A text that is empty is not there, unless the column may have nulls.
pub(super) fn select(test: &Test, texts: &StringArray, unit: Option<Unit>, among: &BooleanBuffer) -> BooleanBuffer {
    match test {
        Test::Exists => keep(among, |row| !texts.value(row).is_empty()),
        Test::Contains(Needle::Term(term)) => find(term, texts, among),
        Test::Contains(Needle::Pattern(pattern)) => keep(among, |row| pattern.matches(texts.value(row))),
        Test::Contains(Needle::Fuzzy(fuzzy)) => {
            let mut scratch = Scratch::default();
            keep(among, |row| fuzzy.matches(texts.value(row), &mut scratch))
        }
        Test::OneOf(wanted) if wanted.iter().all(Literal::is_one_text) => one_of(wanted, texts, among),
        Test::OneOf(wanted) => {
            keep(among, |row| wanted.iter().any(|wanted| wanted.equals(&Value::Text(texts.value(row)), unit)))
        }
        Test::Order(comparison, literal) => keep(among, |row| {
            literal.order(&Value::Text(texts.value(row)), unit).is_some_and(|order| comparison.holds(order))
        }),
    }
}

fn one_of(wanted: &[Literal], texts: &StringArray, among: &BooleanBuffer) -> BooleanBuffer {
    /// From how many texts on looking one up is faster than a comparison with each.
    const MANY: usize = 8;
    if wanted.len() < MANY {
        return keep(among, |row| wanted.iter().any(|wanted| wanted.text() == texts.value(row)));
    }
    let wanted: HashSet<&str> = wanted.iter().map(Literal::text).collect();
    keep(among, |row| wanted.contains(texts.value(row)))
}

/// Those of the rows `among` whose text has the term.
fn find(term: &Term, texts: &StringArray, among: &BooleanBuffer) -> BooleanBuffer {
    let among = keep_valid(among, texts);
    let dense = among.count_set_bits() * 4 > among.len();
    if dense && let Some(found) = find_in_all(term, texts, &among) {
        return found;
    }
    keep(&among, |row| term.matches(texts.value(row)))
}

/// The same by one pass over the buffer that all texts stand in; `None`, where the term cannot be looked for so.
fn find_in_all(term: &Term, texts: &StringArray, among: &BooleanBuffer) -> Option<BooleanBuffer> {
    let offsets = texts.value_offsets();
    let offset = |row: usize| offsets.get(row).map_or(usize::MAX, |offset| *offset as usize);
    let (first, last) = (offset(0), offset(texts.len()));
    let scan = term.scan(texts.value_data().get(first..last)?)?;
    let mut bits = BooleanBufferBuilder::new(texts.len());
    bits.append_n(texts.len(), false);
    let (mut row, mut from) = (0, 0);
    while let Some(place) = scan.next_place(from) {
        while offset(row + 1) <= first + place {
            row += 1;
        }
        from = place + 1;
        if !among.value(row) {
            from = offset(row + 1) - first;
        } else if scan.holds(texts.value(row), first + place - offset(row)) {
            bits.set_bit(row, true);
            from = offset(row + 1) - first;
        }
    }
    Some(bits.finish())
}
