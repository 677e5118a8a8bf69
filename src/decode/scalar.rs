//! Values that are read in one step, and what they are as a field.

use std::borrow::Cow;

use sluice_model::{RecordId, Timestamp, TimestampError};

use super::number;
use super::text::{Text, compact};
use crate::batch::AttributeRef;

/// A value without members of its own; an array counts as one, by its text.
#[derive(Debug, Clone, Copy)]
pub enum Scalar<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, by its exact text.
    Number(&'a str),
    /// A string.
    Text(Text<'a>),
    /// An array, by its exact text.
    Array(&'a str),
}

impl<'a> Scalar<'a> {
    /// The value as an attribute; what cannot be borrowed is written to `scratch`.
    #[inline]
    pub fn attribute<'s>(self, scratch: &'s mut String) -> AttributeRef<'s>
    where
        'a: 's,
    {
        match self {
            Scalar::Bool(value) => AttributeRef::Bool(value),
            Scalar::Number(text) => number::attribute(text),
            Scalar::Text(text) => AttributeRef::Text(text.resolve(scratch)),
            Scalar::Null | Scalar::Array(_) => AttributeRef::Json(self.text(scratch)),
        }
    }

    /// A string's text; of any other value the JSON text.
    pub fn text<'s>(self, scratch: &'s mut String) -> &'s str
    where
        'a: 's,
    {
        match self {
            Scalar::Text(text) => text.resolve(scratch),
            Scalar::Number(text) => text,
            Scalar::Bool(true) => "true",
            Scalar::Bool(false) => "false",
            Scalar::Null => "null",
            Scalar::Array(json) => {
                scratch.clear();
                compact(json, scratch);
                scratch
            }
        }
    }

    /// The value as a moment; `None` if no value of its kind can be one.
    pub fn timestamp(self) -> Option<Result<Timestamp, TimestampError>> {
        match self {
            Scalar::Text(text) => Some(text.resolve(&mut String::new()).parse()),
            Scalar::Number(text) => Some(Timestamp::from_decimal(text)),
            _ => None,
        }
    }

    /// Whether it is an id as Sluice writes it.
    pub fn is_our_id(self) -> bool {
        let Scalar::Text(Text::Plain(text)) = self else { return false };
        text.parse().is_ok_and(|id: RecordId| id.encode(&mut [0; RecordId::TEXT_LENGTH]) == text)
    }

    /// What kind of value it is, with its article.
    pub fn kind(self) -> &'static str {
        match self {
            Scalar::Null => "null",
            Scalar::Bool(_) => "a boolean",
            Scalar::Number(_) => "a number",
            Scalar::Text(_) => "a string",
            Scalar::Array(_) => "an array",
        }
    }
}

/// Equal as attributes are: of one kind and the same text.
impl PartialEq for Scalar<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.attribute(&mut String::new()) == other.attribute(&mut String::new())
    }
}

/// Shortens a text for an error.
pub fn shown(text: &str) -> Cow<'_, str> {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}
