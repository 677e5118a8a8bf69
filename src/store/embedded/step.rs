//! One step of an evaluation over a row group: which of its rows pass a part of the filter.

use arrow_buffer::BooleanBuffer;

use super::bits::spread;
use super::known::Known;
use super::reader::{OpenSegment, ReadError};
use super::templates::Judged;
use crate::query::Expr;

/// What a step has found.
pub(super) struct Stepped {
    /// The rows that pass it.
    pub(super) passing: BooleanBuffer,
    /// How many it had to read.
    pub(super) read: usize,
}

/// Takes the rows `passing` of a row group through a step. Where templates tell enough, no message is read.
pub(super) fn take(
    open: &OpenSegment,
    group: usize,
    known: &Known<'_>,
    step: &Expr,
    passing: BooleanBuffer,
) -> Result<Stepped, ReadError> {
    let columns = step.columns();
    let templates = if columns.message { open.templates(group)? } else { None };
    let (sure, unsure) = match templates.map(|templates| templates.judge(step, known)) {
        Some(Judged { sure, open }) => (Some(&sure & &passing), &open & &passing),
        None => (None, passing),
    };
    let read = unsure.count_set_bits();
    let mut passing = sure.unwrap_or_else(|| BooleanBuffer::new_unset(unsure.len()));
    if read > 0 {
        let selection = (read < unsure.len()).then(|| unsure.clone());
        let records = open.columns(group, selection, &open.places(&columns))?;
        passing = &passing | &spread(&unsure, &step.select(&records, &BooleanBuffer::new_set(read)));
    }
    Ok(Stepped { passing, read })
}
