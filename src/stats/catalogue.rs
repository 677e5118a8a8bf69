//! The catalogue: which fields there are, of which types, and how many records have them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use arrow_array::Array;
use arrow_array::StringArray;
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;

use super::aggregation::GroupField;
use super::{Census, Gather, LimitError, Tally, Wants};
use crate::batch::{ATTRIBUTE_PREFIX, Records};
use crate::query::Columns;

/// About how many bytes a name takes beside its own.
const NAME_BYTES: usize = 160;

/// Finds out which fields there are.
pub struct Catalogue {
    records: u64,
    services: u64,
    messages: u64,
    attributes: HashMap<Box<str>, [u64; FieldType::ALL.len()]>,
    bytes: usize,
    bytes_max: usize,
    failure: Option<LimitError>,
}

/// A JSON type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldType {
    /// A text.
    String,
    /// A number without a point or an exponent.
    Integer,
    /// Any other number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
    /// An array.
    Array,
    /// An object; as its members are fields of their own, an empty one.
    Object,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldEntry {
    /// Its name, by which it can be asked for.
    pub name: String,
    /// How many records have it with a value of each type.
    pub types: Vec<(FieldType, u64)>,
    /// How many records have it.
    pub records: u64,
}

impl FieldType {
    /// All of them.
    pub const ALL: [FieldType; 7] = [
        FieldType::String,
        FieldType::Integer,
        FieldType::Number,
        FieldType::Boolean,
        FieldType::Null,
        FieldType::Array,
        FieldType::Object,
    ];

    /// The name, as in answers.
    pub fn name(self) -> &'static str {
        match self {
            FieldType::String => "string",
            FieldType::Integer => "integer",
            FieldType::Number => "number",
            FieldType::Boolean => "boolean",
            FieldType::Null => "null",
            FieldType::Array => "array",
            FieldType::Object => "object",
        }
    }

    /// The type of the values of an attribute's column.
    pub fn of_column(column: &DataType) -> FieldType {
        match column {
            DataType::Int64 => FieldType::Integer,
            DataType::Float64 => FieldType::Number,
            DataType::Boolean => FieldType::Boolean,
            _ => FieldType::String,
        }
    }

    fn of_json(json: &str) -> FieldType {
        match json.as_bytes().first() {
            Some(b'"') | None => FieldType::String,
            Some(b't' | b'f') => FieldType::Boolean,
            Some(b'n') => FieldType::Null,
            Some(b'[') => FieldType::Array,
            Some(b'{') => FieldType::Object,
            Some(_) if json.contains(['.', 'e', 'E']) => FieldType::Number,
            Some(_) => FieldType::Integer,
        }
    }
}

impl Catalogue {
    /// Nothing yet. Its state may take `bytes_max` bytes, about.
    pub fn new(bytes_max: usize) -> Catalogue {
        Catalogue {
            records: 0,
            services: 0,
            messages: 0,
            attributes: HashMap::new(),
            bytes: 0,
            bytes_max,
            failure: None,
        }
    }

    fn count(&mut self, name: &str, kind: FieldType, records: u64) {
        if records == 0 {
            return;
        }
        if !self.attributes.contains_key(name) {
            self.bytes += NAME_BYTES + name.len();
            self.attributes.insert(name.into(), Default::default());
        }
        let counts = self.attributes.get_mut(name);
        if let Some(count) = counts.and_then(|counts| counts.get_mut(kind as usize)) {
            *count += records;
        }
    }

    /// Whether there is room for more; if not, why is kept.
    fn check(&mut self) -> ControlFlow<()> {
        if self.bytes > self.bytes_max {
            self.failure = Some(LimitError::Memory { limit: self.bytes_max });
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn count_overflow(&mut self, records: &Records, rows: &BooleanBuffer) {
        let overflow = records.logs.overflow();
        if overflow.null_count() == overflow.len() {
            return;
        }
        for row in rows.set_indices() {
            for (name, json) in records.logs.overflow_members(row) {
                self.count(&name, FieldType::of_json(json.get()), 1);
            }
        }
    }
}

impl Tally for Catalogue {
    fn columns(&self) -> Columns {
        Columns { service: true, message: true, every_attribute: true, ..Columns::default() }
    }

    fn wants(&self) -> Wants {
        Wants::Fields
    }

    fn take(&mut self, census: &Census<'_>) -> bool {
        let Some(fields) = census.fields else { return false };
        self.records += census.rows;
        self.services += fields.services;
        self.messages += fields.messages;
        for (name, kind, records) in &fields.attributes {
            self.count(name, *kind, *records);
        }
        let _ = self.check();
        true
    }

    fn add(&mut self, records: &Records, rows: &BooleanBuffer) -> ControlFlow<()> {
        let logs = &records.logs;
        self.records += rows.count_set_bits() as u64;
        self.services += not_empty(logs.services(), rows);
        self.messages += not_empty(logs.messages(), rows);
        for (name, column) in logs.attributes() {
            let filled = match column.nulls() {
                Some(nulls) => (rows & nulls.inner()).count_set_bits(),
                None => rows.count_set_bits(),
            };
            self.count(name, FieldType::of_column(column.data_type()), filled as u64);
        }
        self.count_overflow(records, rows);
        self.check()
    }

    fn is_over(&self) -> bool {
        self.failure.is_some()
    }

    fn reset(&mut self) {
        *self = Catalogue::new(self.bytes_max);
    }
}

impl Gather for Catalogue {
    type Answer = Vec<FieldEntry>;

    /// The most frequent field first, then by name.
    fn finish(self) -> Result<Vec<FieldEntry>, LimitError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let every = [("id", self.records), ("timestamp", self.records), ("level", self.records)];
        let fixed = every.into_iter().chain([("service", self.services), ("message", self.messages)]);
        let fixed = fixed.filter(|(_, records)| *records > 0).map(|(name, records)| FieldEntry {
            name: name.to_owned(),
            types: vec![(FieldType::String, records)],
            records,
        });
        let attributes = self.attributes.into_iter().map(|(name, counts)| FieldEntry {
            name: unambiguous(&name),
            types: FieldType::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect(),
            records: counts.iter().sum(),
        });
        let mut fields: Vec<FieldEntry> = fixed.chain(attributes).collect();
        fields.sort_by(|a, b| b.records.cmp(&a.records).then_with(|| a.name.cmp(&b.name)));
        Ok(fields)
    }
}

/// The name by which an attribute is asked for: with a prefix, where it would mean something else without.
fn unambiguous(name: &str) -> String {
    match GroupField::named(name) {
        GroupField::Attribute(same) if same == name => same,
        _ => format!("{ATTRIBUTE_PREFIX}{name}"),
    }
}

fn not_empty(texts: &StringArray, rows: &BooleanBuffer) -> u64 {
    let offsets = texts.value_offsets();
    let is_filled = |row: usize| offsets.get(row) != offsets.get(row + 1);
    rows.set_indices().filter(|row| is_filled(*row)).count() as u64
}
