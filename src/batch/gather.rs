//! Rows of several batches, side by side in another order.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::interleave::interleave;

use super::ids::Ids;
use super::{BatchError, LogBatch, MESSAGE, Place, Records};
use crate::buffers::Recycled;

/// How many texts are brought near together.
const AT_ONCE: usize = 32;
const CACHE_LINE: usize = 64;

/// Gathers rows of several batches.
pub struct Gatherer<'a> {
    schema: SchemaRef,
    /// The parts of each column.
    columns: Vec<Vec<&'a dyn Array>>,
    ids: Vec<&'a Ids>,
}

impl<'a> Gatherer<'a> {
    /// For the parts that [`Records::unify`] gave.
    ///
    /// # Errors
    /// [`BatchError::Layout`], if there are none.
    pub fn new(parts: &'a [Records]) -> Result<Gatherer<'a>, BatchError> {
        let first = parts.first().ok_or_else(|| BatchError::Layout("no batches".to_owned()))?;
        let schema = first.logs.columns.schema_ref().clone();
        let column = |place: usize| parts.iter().map(|part| part.logs.columns.column(place).as_ref()).collect();
        let columns = (0..schema.fields().len()).map(column).collect();
        Ok(Gatherer { schema, columns, ids: parts.iter().map(|part| &part.ids).collect() })
    }

    /// The records at `places`, in that order.
    ///
    /// # Panics
    /// If one of them is not there.
    ///
    /// # Errors
    /// As for [`LogBatch::concat`].
    pub fn gather(&self, places: &[Place]) -> Result<Records, BatchError> {
        self.records(places, None)
    }

    /// The same, where their messages have been brought near: they stand in `rows` of `messages`.
    pub(crate) fn gather_near(&self, places: &[Place], messages: &Near, rows: &[u32]) -> Result<Records, BatchError> {
        self.records(places, messages.column(rows))
    }

    fn records(&self, places: &[Place], messages: Option<ArrayRef>) -> Result<Records, BatchError> {
        let rows: Vec<(usize, usize)> = places.iter().map(|(part, row)| (*part as usize, *row as usize)).collect();
        let columns = self.columns.iter().zip(self.schema.fields()).enumerate();
        let columns = columns.map(|(place, (parts, field))| match &messages {
            Some(messages) if place == MESSAGE => Ok(messages.clone()),
            _ => gather(field.data_type(), parts, &rows),
        });
        let logs = LogBatch { columns: RecordBatch::try_new(self.schema.clone(), columns.collect::<Result<_, _>>()?)? };
        Ok(Records { ids: Ids::gather(&self.ids, places)?, logs })
    }
}

/// The values at `places` of a column of this type.
fn gather(of_type: &DataType, parts: &[&dyn Array], places: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
    // Most services have few of the attributes that all services have together.
    if is_null(parts, places) {
        return Ok(new_null_array(of_type, places.len()));
    }
    let texts = if of_type == &DataType::Utf8 { texts(parts, places) } else { None };
    texts.map_or_else(|| interleave(parts, places), Ok)
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
    column(&places.iter().filter_map(|(part, row)| Some(parts.get(*part)?.value(*row))).collect::<Vec<_>>())
}

/// Texts that stood scattered in memory, one behind the other.
#[derive(Default)]
pub(crate) struct Near {
    text: String,
    ends: Vec<usize>,
}

impl Near {
    /// Puts these in the place of those before.
    pub(crate) fn fill<'a>(&mut self, texts: impl Iterator<Item = &'a str>) {
        let texts: Vec<&str> = texts.collect();
        let bytes = texts.iter().map(|text| text.len()).sum();
        let Near { text, ends } = self;
        text.clear();
        ends.clear();
        if text.capacity() < bytes {
            // The two are never there at a time.
            *text = String::new();
            // No bytes are a text.
            *text = String::from_utf8(Recycled::with_capacity(bytes).into_vec()).unwrap_or_default();
        }
        each_near(texts.into_iter(), |next| {
            text.push_str(next);
            ends.push(text.len());
        });
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.spans().map(|(start, end)| self.text.get(start..end).unwrap_or_default())
    }

    /// Where each begins and ends.
    fn spans(&self) -> impl Iterator<Item = (usize, usize)> {
        std::iter::once(0).chain(self.ends.iter().copied()).zip(self.ends.iter().copied())
    }

    fn get(&self, row: usize) -> &str {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        self.ends.get(row).and_then(|end| self.text.get(start..*end)).unwrap_or_default()
    }

    /// The column of those in `rows`; nothing, if they are too long for one.
    fn column(&self, rows: &[u32]) -> Option<ArrayRef> {
        column(&rows.iter().map(|row| self.get(*row as usize)).collect::<Vec<_>>())
    }

    /// How long each is.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.spans().map(|(start, end)| end - start)
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        drop(Recycled::from(std::mem::take(&mut self.text).into_bytes()));
    }
}

/// A column of texts; nothing, if they are too long for one.
fn column(texts: &[&str]) -> Option<ArrayRef> {
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    i32::try_from(bytes).ok()?;
    let mut column = StringBuilder::with_capacity(texts.len(), bytes);
    each_near(texts.iter().copied(), |text| column.append_value(text));
    Some(Arc::new(column.finish()))
}

/// Calls `each` with every text, in order. They lie scattered in memory: a processor can wait for many at the same time,
/// but not while it works on one, so that a little of the next ones is read first.
fn each_near<'a>(mut texts: impl Iterator<Item = &'a str>, mut each: impl FnMut(&'a str)) {
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

#[cfg(test)]
mod tests {
    use sluice_model::{RecordId, Severity, Timestamp};

    use super::*;
    use crate::batch::LogBatchBuilder;

    fn records(messages: &[&str]) -> Records {
        let mut builder = LogBatchBuilder::new();
        for (message, nanos) in messages.iter().zip(0..) {
            builder.commit(Timestamp::from_nanos(nanos), Severity::Info, "INFO", "svc", message);
        }
        Records::numbered(RecordId::from_u128(1), builder.finish())
    }

    #[test]
    fn messages_that_were_brought_near_are_the_same() {
        let parts = [records(&["é", "", "long".repeat(99).as_str()]), records(&["x"])];
        let gatherer = Gatherer::new(&parts).unwrap();
        let mut near = Near::default();
        for places in [&[(0, 2), (1, 0), (0, 1), (0, 0)][..], &[(1, 0), (0, 0)], &[]] {
            let text = |(part, row): &Place| parts[*part as usize].logs.messages().value(*row as usize);
            let texts: Vec<&str> = places.iter().map(text).collect();
            near.fill(texts.iter().copied());
            assert_eq!(near.iter().collect::<Vec<_>>(), texts);
            assert!(near.lengths().eq(texts.iter().map(|text| text.len())));
            let (backwards, rows): (Vec<Place>, Vec<u32>) =
                places.iter().copied().zip(0..places.len() as u32).rev().unzip();
            assert_eq!(gatherer.gather_near(&backwards, &near, &rows).unwrap(), gatherer.gather(&backwards).unwrap());
        }
        assert!(Gatherer::new(&[]).is_err());
    }
}
