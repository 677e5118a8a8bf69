//! The fields that an answer may name, and their values in the rows of a batch.

use sluice_model::{RecordId, Timestamp};

use crate::batch::{ATTRIBUTE_PREFIX, AttributeReader, Records, RowWriter, write_json_text};
use crate::error::Problem;

use crate::api::params::{Pairs, shown};

/// How many fields a request may name.
const FIELDS_MAX: usize = 256;

/// A field of an answer: a column, or a member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum Field {
    Id,
    Timestamp,
    /// As sent.
    Level,
    /// One of the six.
    Severity,
    Service,
    Message,
    /// All of them, as a JSON object.
    Attributes,
    /// One attribute. It keeps the name that it was asked for by.
    Attribute {
        name: String,
        heading: String,
    },
}

impl Field {
    /// The columns of a table where none are named.
    pub const TABLE: [Field; 7] =
        [Field::Id, Field::Timestamp, Field::Level, Field::Severity, Field::Service, Field::Message, Field::Attributes];

    /// The field that `name` names: a fixed one, or else an attribute. `attributes.NAME` always means the attribute.
    pub fn named(name: &str) -> Field {
        match name {
            "id" => Field::Id,
            "timestamp" => Field::Timestamp,
            "level" => Field::Level,
            "severity" => Field::Severity,
            "service" => Field::Service,
            "message" => Field::Message,
            "attributes" => Field::Attributes,
            heading => Field::Attribute {
                name: heading.strip_prefix(ATTRIBUTE_PREFIX).unwrap_or(heading).to_owned(),
                heading: heading.to_owned(),
            },
        }
    }

    /// The fields that the parameter `fields` names, by comma or by repeating; `None`, if it is not given.
    ///
    /// # Errors
    /// There are none or too many, or one is named twice.
    pub fn of(pairs: &Pairs) -> Result<Option<Vec<Field>>, Problem> {
        let mut fields: Vec<Field> = Vec::new();
        let mut is_given = false;
        for name in pairs.all(&["fields"]).flat_map(|list| list.split(',')).map(str::trim) {
            is_given = true;
            if name.is_empty() || fields.len() == FIELDS_MAX {
                return Err(Problem::invalid_parameter(format!("fields: name 1 to {FIELDS_MAX} fields, by comma")));
            }
            let field = Field::named(name);
            if fields.contains(&field) {
                return Err(Problem::invalid_parameter(format!("fields: {} is named twice", shown(name))));
            }
            fields.push(field);
        }
        Ok(is_given.then_some(fields))
    }

    /// The name that the field has in an answer.
    pub fn heading(&self) -> &str {
        match self {
            Field::Id => "id",
            Field::Timestamp => "timestamp",
            Field::Level => "level",
            Field::Severity => "severity",
            Field::Service => "service",
            Field::Message => "message",
            Field::Attributes => "attributes",
            Field::Attribute { heading, .. } => heading,
        }
    }
}

/// The values of some fields in the rows of a batch.
pub(in crate::api) struct Cells<'a> {
    records: &'a Records,
    writer: RowWriter<'a>,
    columns: Vec<Column<'a>>,
}

/// A field, and the reader of its attribute, if it is one.
struct Column<'a> {
    field: &'a Field,
    attribute: Option<AttributeReader<'a>>,
}

impl<'a> Cells<'a> {
    /// Prepares to read `fields` of `records`.
    pub fn new(fields: &'a [Field], records: &'a Records) -> Cells<'a> {
        let writer = RowWriter::new(records);
        let columns = fields.iter().map(|field| {
            let attribute = match field {
                Field::Attribute { name, .. } => Some(writer.attribute(name)),
                _ => None,
            };
            Column { field, attribute }
        });
        Cells { records, columns: columns.collect(), writer }
    }

    /// How many fields there are.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The writer of whole rows.
    pub fn writer(&self) -> &RowWriter<'a> {
        &self.writer
    }

    /// The value of the field at `place` in `row` as text, if it has one: a text as it is, an attribute of another type
    /// and all attributes as JSON. What has to be made is made in `scratch`.
    pub fn text<'s>(&'s self, place: usize, row: usize, scratch: &'s mut Vec<u8>) -> Option<&'s str> {
        let logs = &self.records.logs;
        let column = self.columns.get(place)?;
        scratch.clear();
        match column.field {
            Field::Id => {
                scratch.extend_from_slice(self.records.id(row).encode(&mut [0; RecordId::TEXT_LENGTH]).as_bytes());
            }
            Field::Timestamp => {
                let (timestamp, _) = self.records.position(row);
                scratch.extend_from_slice(timestamp.encode(&mut [0; Timestamp::TEXT_LENGTH]).as_bytes());
            }
            Field::Level => return Some(logs.levels().value(row)),
            Field::Severity => return Some(logs.severity(row).name()),
            Field::Service => return Some(logs.services().value(row)),
            Field::Message => return Some(logs.messages().value(row)),
            Field::Attributes => self.writer.write_attributes(row, scratch),
            Field::Attribute { .. } => column.attribute.as_ref()?.value(row)?.write_text(scratch),
        }
        // All of it was text before.
        std::str::from_utf8(scratch).ok()
    }

    /// Appends the fields that `row` has as a JSON object, in their order.
    pub fn write_object(&self, row: usize, out: &mut Vec<u8>) {
        let mut scratch = Vec::new();
        out.push(b'{');
        let empty = out.len();
        for (place, column) in self.columns.iter().enumerate() {
            let value = column.attribute.as_ref().map(|attribute| attribute.value(row));
            if value == Some(None) {
                continue;
            }
            if out.len() > empty {
                out.push(b',');
            }
            write_json_text(out, column.field.heading());
            out.push(b':');
            match (column.field, value.flatten()) {
                (_, Some(value)) => value.write_json(out),
                (Field::Attributes, None) => self.writer.write_attributes(row, out),
                _ => write_json_text(out, self.text(place, row, &mut scratch).unwrap_or_default()),
            }
        }
        out.push(b'}');
    }
}
