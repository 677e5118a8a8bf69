//! Codes: the values of a column as small integers, one code for each different value of a batch.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, DictionaryArray, StringArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use memchr::memmem::Finder;
use smallvec::SmallVec;

use super::aggregation::GroupField;
use super::cell::Cell;
use super::fast::Fast;
use super::step::{Bucket, Step};
use crate::batch::{LogBatch, Records, overflow_member, write_json_text};

/// Up to so many combinations, or integers of a range, are looked up in a table rather than a map.
const TABLE_MAX: usize = 1 << 17;
/// No code yet.
const NONE: u32 = u32::MAX;

/// The rows of a batch that count.
pub(super) enum Rows {
    All(usize),
    Some(Vec<u32>),
}

impl Rows {
    pub(super) fn of(bits: &BooleanBuffer) -> Rows {
        let set = bits.count_set_bits();
        if set == bits.len() {
            Rows::All(set)
        } else {
            // A batch's rows are counted by u32.
            Rows::Some(bits.set_indices().map(|row| row as u32).collect())
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Rows::All(rows) => *rows,
            Rows::Some(rows) => rows.len(),
        }
    }

    /// Calls `visit` with each row's place among them and its place in the batch.
    #[inline]
    pub(super) fn each(&self, mut visit: impl FnMut(usize, usize)) {
        match self {
            Rows::All(rows) => (0..*rows).for_each(|row| visit(row, row)),
            Rows::Some(rows) => rows.iter().enumerate().for_each(|(place, row)| visit(place, *row as usize)),
        }
    }

    /// The same of those rows where `column` has a value.
    #[inline]
    pub(super) fn each_valid(&self, column: &dyn Array, mut visit: impl FnMut(usize, usize)) {
        match column.nulls() {
            None => self.each(visit),
            Some(nulls) => self.each(|place, row| {
                if nulls.is_valid(row) {
                    visit(place, row);
                }
            }),
        }
    }
}

/// A code for each row, and what each code stands for.
pub(super) struct Coded<'a> {
    pub(super) codes: Vec<u32>,
    pub(super) cells: Vec<Cell<'a>>,
}

impl<'a> Coded<'a> {
    fn nulls(rows: &Rows) -> Coded<'a> {
        Coded { codes: vec![0; rows.len()], cells: vec![Cell::Null] }
    }

    #[inline]
    fn set(&mut self, place: usize, code: u32) {
        if let Some(slot) = self.codes.get_mut(place) {
            *slot = code;
        }
    }

    #[inline]
    fn new_code(&mut self, cell: Cell<'a>) -> u32 {
        self.cells.push(cell);
        // There are no more than rows.
        (self.cells.len() - 1) as u32
    }
}

/// The values of `field`.
pub(super) fn of_field<'a>(field: &GroupField, records: &'a Records, rows: &Rows) -> Coded<'a> {
    let logs = &records.logs;
    let mut coded = Coded::nulls(rows);
    match field {
        GroupField::Timestamp => {
            let times = logs.timestamps();
            of_integers(rows, None, |row| times.get(row).copied().unwrap_or_default(), Cell::Time, &mut coded);
        }
        GroupField::Severity => of_severities(logs.severities(), rows, &mut coded),
        GroupField::LevelText => of_texts(logs.levels(), rows, &mut coded),
        GroupField::Service => of_texts(logs.services(), rows, &mut coded),
        GroupField::Message => of_texts(logs.messages(), rows, &mut coded),
        GroupField::Id => rows.each(|place, row| {
            let code = coded.new_code(Cell::Id(records.id(row)));
            coded.set(place, code);
        }),
        GroupField::Attribute(name) => {
            if let Some((_, column)) = logs.attributes().find(|(other, _)| other == name) {
                of_column(column, rows, &mut coded);
            }
            of_overflow(name, logs, rows, &mut coded);
        }
    }
    coded
}

/// The buckets of the times.
pub(super) fn of_times<'a>(step: &Step, records: &Records, rows: &Rows) -> Coded<'a> {
    let times = records.logs.timestamps();
    let mut coded = Coded::nulls(rows);
    let mut known: HashMap<i64, u32, Fast> = HashMap::default();
    let mut last: Option<(Bucket, u32)> = None;
    rows.each(|place, row| {
        let time = times.get(row).copied().unwrap_or_default();
        let code = match last {
            Some((bucket, code)) if bucket.contains(time) => code,
            _ => {
                let bucket = step.bucket(time);
                let code = *known.entry(bucket.start).or_insert_with(|| coded.new_code(Cell::Time(bucket.start)));
                last = Some((bucket, code));
                code
            }
        };
        coded.set(place, code);
    });
    coded
}

fn of_severities(severities: &[u8], rows: &Rows, coded: &mut Coded<'_>) {
    let mut table = [NONE; 256];
    rows.each(|place, row| {
        let number = severities.get(row).copied().unwrap_or_default();
        let Some(slot) = table.get_mut(usize::from(number)) else { return };
        if *slot == NONE {
            *slot = coded.new_code(Cell::Severity(number));
        }
        coded.set(place, *slot);
    });
}

fn of_column<'a>(column: &'a ArrayRef, rows: &Rows, coded: &mut Coded<'a>) {
    match column.data_type() {
        DataType::Utf8 => of_texts(column.as_string(), rows, coded),
        DataType::Dictionary(..) => {
            if let Some(column) = column.as_dictionary_opt::<Int32Type>() {
                of_dictionary(column, rows, coded);
            }
        }
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>().values();
            of_integers(rows, Some(column), |row| values.get(row).copied().unwrap_or_default(), Cell::Int, coded);
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().values();
            let bits = |row: usize| values.get(row).copied().unwrap_or_default().to_bits() as i64;
            of_integers(rows, Some(column), bits, |bits| Cell::Float(f64::from_bits(bits as u64)), coded);
        }
        DataType::Boolean => {
            let values = column.as_boolean();
            let codes = [false, true].map(|value| coded.new_code(Cell::Bool(value)));
            let [no, yes] = codes;
            rows.each_valid(column, |place, row| coded.set(place, if values.value(row) { yes } else { no }));
        }
        _ => {}
    }
}

/// Codes for what is, or can be told apart by, an integer.
fn of_integers<'a>(
    rows: &Rows,
    column: Option<&ArrayRef>,
    value: impl Fn(usize) -> i64,
    cell: impl Fn(i64) -> Cell<'a>,
    coded: &mut Coded<'a>,
) {
    let each = |visit: &mut dyn FnMut(usize, usize)| match column {
        Some(column) => rows.each_valid(column, visit),
        None => rows.each(visit),
    };
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    each(&mut |_, row| {
        let value = value(row);
        min = min.min(value);
        max = max.max(value);
    });
    if min > max {
        return;
    }
    let range = max.abs_diff(min);
    if range < TABLE_MAX as u64 {
        let mut table = vec![NONE; range as usize + 1];
        each(&mut |place, row| {
            let value = value(row);
            let Some(slot) = table.get_mut(value.abs_diff(min) as usize) else { return };
            if *slot == NONE {
                *slot = coded.new_code(cell(value));
            }
            coded.set(place, *slot);
        });
        return;
    }
    let mut known: HashMap<i64, u32, Fast> = HashMap::default();
    each(&mut |place, row| {
        let value = value(row);
        let code = *known.entry(value).or_insert_with(|| coded.new_code(cell(value)));
        coded.set(place, code);
    });
}

/// Codes for a column that has some of its own.
fn of_dictionary<'a>(column: &'a DictionaryArray<Int32Type>, rows: &Rows, coded: &mut Coded<'a>) {
    let Some(texts) = column.values().as_string_opt::<i32>() else { return };
    let codes = column.keys().values();
    if let Rows::All(count) = rows
        && column.null_count() == 0
        && texts.len() <= *count
    {
        // As they are, one further on: the first is that of nothing.
        coded.cells.extend(texts.iter().map(|text| Cell::Text(text.unwrap_or_default().into())));
        coded.codes = codes.iter().map(|code| (*code as u32).saturating_add(1)).collect();
        return;
    }
    let mut table = vec![NONE; texts.len()];
    rows.each_valid(column, |place, row| {
        let code = codes.get(row).map_or(0, |code| *code as usize);
        let Some(slot) = table.get_mut(code) else { return };
        if *slot == NONE {
            *slot = coded.new_code(Cell::Text(texts.value(code).into()));
        }
        coded.set(place, *slot);
    });
}

fn of_texts<'a>(column: &'a StringArray, rows: &Rows, coded: &mut Coded<'a>) {
    let mut known: HashMap<&'a str, u32, Fast> = HashMap::default();
    let mut last: Option<(&'a str, u32)> = None;
    rows.each_valid(column, |place, row| {
        let text = column.value(row);
        // Rows of a segment are sorted by service, and neighbours are often alike.
        let code = match last {
            Some((other, code)) if other == text => code,
            _ => *known.entry(text).or_insert_with(|| coded.new_code(Cell::Text(text.into()))),
        };
        last = Some((text, code));
        coded.set(place, code);
    });
}

/// Codes of those rows whose attribute stands in the overflow.
fn of_overflow<'a>(name: &str, logs: &'a LogBatch, rows: &Rows, coded: &mut Coded<'a>) {
    let mut known: HashMap<Vec<u8>, u32> = HashMap::new();
    each_in_overflow(name, logs, rows, |place, json| {
        let cell = Cell::of_json(json);
        if cell.is_null() {
            return;
        }
        let mut encoded = Vec::new();
        cell.encode(&mut encoded);
        let code = *known.entry(encoded).or_insert_with(|| coded.new_code(cell));
        coded.set(place, code);
    });
}

/// Calls `visit` with each row's place and the JSON of its attribute, where that stands in the overflow.
pub(super) fn each_in_overflow<'a>(name: &str, logs: &'a LogBatch, rows: &Rows, mut visit: impl FnMut(usize, &'a str)) {
    let overflow = logs.overflow();
    if overflow.null_count() == overflow.len() {
        return;
    }
    let mut key = Vec::new();
    write_json_text(&mut key, name);
    key.push(b':');
    let finder = Finder::new(&key);
    rows.each_valid(overflow, |place, row| {
        let object = overflow.value(row);
        // Names are always written in the same way, so that most objects need not be parsed.
        let member = if finder.find(object.as_bytes()).is_some() { overflow_member(object, name) } else { None };
        if let Some(json) = member {
            visit(place, json);
        }
    });
}

/// Rows by the combination of their codes in several columns.
pub(super) struct Combined {
    /// The combination of each row.
    pub(super) codes: Vec<u32>,
    /// The codes of each combination, a column each.
    pub(super) parts: Vec<SmallVec<[u32; 4]>>,
}

impl Combined {
    /// The combinations of `rows` rows in all of the columns; the codes of the first one are taken from it.
    pub(super) fn of(columns: &mut [Coded<'_>], rows: usize) -> Combined {
        let Some((first, rest)) = columns.split_first_mut() else {
            return Combined { codes: vec![0; rows], parts: vec![SmallVec::new()] };
        };
        // There are no more codes than rows.
        let parts = (0..first.cells.len()).map(|code| SmallVec::from_iter([code as u32]));
        let one = Combined { codes: std::mem::take(&mut first.codes), parts: parts.collect() };
        rest.iter().fold(one, Combined::and)
    }

    /// Tells rows apart by another column too.
    #[must_use]
    fn and(mut self, coded: &Coded<'_>) -> Combined {
        let pairs = combine(&mut self.codes, self.parts.len(), &coded.codes, coded.cells.len());
        let part = |(left, right): (u32, u32)| {
            let mut codes = self.parts.get(left as usize).cloned().unwrap_or_default();
            codes.push(right);
            codes
        };
        Combined { parts: pairs.into_iter().map(part).collect(), codes: self.codes }
    }
}

/// Gives each row in `codes`, which are below `count`, the code of its combination with that in `others`; returns the
/// combinations.
pub(super) fn combine(codes: &mut [u32], count: usize, others: &[u32], other_count: usize) -> Vec<(u32, u32)> {
    let mut pairs = Vec::new();
    let mut new_code = |left: u32, right: u32| {
        pairs.push((left, right));
        (pairs.len() - 1) as u32
    };
    let combinations = count.saturating_mul(other_count);
    if combinations <= TABLE_MAX {
        let mut table = vec![NONE; combinations];
        for (code, other) in codes.iter_mut().zip(others) {
            let Some(slot) = table.get_mut(*code as usize * other_count + *other as usize) else { continue };
            if *slot == NONE {
                *slot = new_code(*code, *other);
            }
            *code = *slot;
        }
    } else {
        let mut known: HashMap<u64, u32, Fast> = HashMap::default();
        for (code, other) in codes.iter_mut().zip(others) {
            let pair = u64::from(*code) << 32 | u64::from(*other);
            *code = *known.entry(pair).or_insert_with(|| new_code(*code, *other));
        }
    }
    pairs
}
