//! The columns that every batch has, under construction.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{Array, ArrayRef, StringArray};

use super::AttributeRef;
use crate::batch::json::{write_json_float, write_json_text};

/// A column of texts under construction.
#[derive(Default)]
pub(super) struct TextColumn(StringBuilder);

impl TextColumn {
    pub(super) fn push(&mut self, text: &str) {
        // A batch comes from a body of at most 2 GiB, by the limits of the configuration: it is never too long.
        self.0.append_value(text);
    }

    /// The column, which takes no more memory than it must: it may wait for the store for long.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let mut column = self.0.finish();
        column.shrink_to_fit();
        Arc::new(column)
    }
}

/// The overflow column under construction: a JSON object for each row that has any.
pub(in crate::batch) struct OverflowBuilder {
    rows: usize,
    /// Empty until there is one, as there is none in most batches.
    objects: Vec<Option<Vec<u8>>>,
}

impl OverflowBuilder {
    pub(in crate::batch) fn new(rows: usize) -> OverflowBuilder {
        OverflowBuilder { rows, objects: Vec::new() }
    }

    fn object(&mut self, row: usize) -> Option<&mut Vec<u8>> {
        if self.objects.is_empty() {
            self.objects.resize(self.rows, None);
        }
        self.objects.get_mut(row).map(|object| object.get_or_insert_with(Vec::new))
    }

    /// Adds an attribute to the object of `row`.
    pub(in crate::batch) fn push(&mut self, row: usize, name: &str, value: AttributeRef<'_>) {
        let Some(object) = self.object(row) else { return };
        object.push(if object.is_empty() { b'{' } else { b',' });
        write_json_text(object, name);
        object.push(b':');
        match value {
            AttributeRef::Text(text) => write_json_text(object, text),
            AttributeRef::Int(value) => drop(write!(object, "{value}")),
            AttributeRef::Float(value) => write_json_float(object, value),
            AttributeRef::Bool(value) => object.extend_from_slice(if value { b"true" } else { b"false" }),
            AttributeRef::Json(text) => object.extend_from_slice(text.as_bytes()),
        }
    }

    /// Adds all attributes of an object that is in an overflow column already.
    pub(in crate::batch) fn push_object(&mut self, row: usize, text: &str) {
        let Some(object) = self.object(row) else { return };
        let members = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
        if !members.is_empty() {
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.extend_from_slice(members.as_bytes());
        }
    }

    pub(in crate::batch) fn finish(self) -> ArrayRef {
        if self.objects.is_empty() {
            return Arc::new(StringArray::new_null(self.rows));
        }
        let mut column = StringBuilder::with_capacity(self.objects.len(), 0);
        for object in self.objects {
            match object.filter(|object| !object.is_empty()) {
                Some(mut object) => {
                    object.push(b'}');
                    column.append_value(String::from_utf8(object).unwrap_or_default());
                }
                None => column.append_null(),
            }
        }
        Arc::new(column.finish())
    }
}
