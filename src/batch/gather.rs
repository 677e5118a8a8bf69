//! Rows of several batches, side by side in another order.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::interleave::interleave;

use super::Place;

/// How many texts are brought near together.
const AT_ONCE: usize = 32;
const CACHE_LINE: usize = 64;

/// The rows at `places` of `parts`, which all have this schema: each place says the part, and the row in it.
pub(super) fn gather(schema: &SchemaRef, parts: &[&RecordBatch], places: &[Place]) -> Result<RecordBatch, ArrowError> {
    let places: Vec<(usize, usize)> = places.iter().map(|(part, row)| (*part as usize, *row as usize)).collect();
    let column = |column: usize| -> Result<ArrayRef, ArrowError> {
        let parts: Vec<&dyn Array> = parts.iter().map(|part| part.column(column).as_ref()).collect();
        // Most services have few of the attributes that all services have together.
        if is_null(&parts, &places) {
            return Ok(new_null_array(schema.field(column).data_type(), places.len()));
        }
        let texts = if schema.field(column).data_type() == &DataType::Utf8 { texts(&parts, &places) } else { None };
        texts.map_or_else(|| interleave(&parts, &places), Ok)
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

/// Whether a column has nothing but nulls there.
fn is_null(parts: &[&dyn Array], places: &[(usize, usize)]) -> bool {
    if parts.iter().all(|part| part.null_count() == 0) {
        return false;
    }
    let nulls: Vec<Option<&NullBuffer>> = parts.iter().map(|part| part.nulls()).collect();
    let mut rows = places.iter().map(|(part, row)| nulls.get(*part).copied().flatten().map(|nulls| (nulls, *row)));
    rows.all(|row| row.is_some_and(|(nulls, row)| row < nulls.len() && nulls.is_null(row)))
}

/// The texts at `places`, where none is null; nothing, if there may be nulls, or if they are too long for a column.
fn texts(parts: &[&dyn Array], places: &[(usize, usize)]) -> Option<ArrayRef> {
    if parts.iter().any(|part| part.null_count() > 0) {
        return None;
    }
    let parts: Vec<&StringArray> = parts.iter().map(|part| part.as_string()).collect();
    let texts: Vec<&str> = places.iter().filter_map(|(part, row)| Some(parts.get(*part)?.value(*row))).collect();
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    i32::try_from(bytes).ok()?;
    let mut column = StringBuilder::with_capacity(texts.len(), bytes);
    each_near(texts.into_iter(), |text| column.append_value(text));
    Some(Arc::new(column.finish()))
}

/// Calls `each` with every text, in order. They lie scattered in memory: a processor can wait for many at the same time,
/// but not while it works on one, so that a little of the next ones is read first.
pub(crate) fn each_near<'a>(mut texts: impl Iterator<Item = &'a str>, mut each: impl FnMut(&'a str)) {
    let mut some = Vec::with_capacity(AT_ONCE);
    loop {
        some.extend(texts.by_ref().take(AT_ONCE));
        if some.is_empty() {
            return;
        }
        touch(&some);
        some.drain(..).for_each(&mut each);
    }
}

/// Reads a little of each text, as far as most of them go.
fn touch(texts: &[&str]) {
    let byte = |text: &str, place: usize| text.as_bytes().get(place).copied().unwrap_or_default();
    let some = |text: &str| byte(text, 0) ^ byte(text, CACHE_LINE) ^ byte(text, text.len().saturating_sub(1));
    std::hint::black_box(texts.iter().fold(0, |all, text| all ^ some(text)));
}
