//! Values that are read in one step, and what they are as a field.

use std::borrow::Cow;

use sluice_model::{RecordId, Timestamp, TimestampError, TimestampReader};

use super::number;
use super::text::{Text, compact};
use crate::batch::AttributeRef;

/// A value without members of its own; an array counts as one.
///
/// It is laid out flat and without gaps, so that it is passed on in registers: a copy of a few bytes that were written
/// one by one makes a processor wait.
#[derive(Debug, Clone, Copy)]
pub struct Scalar<'a> {
    pub kind: Kind,
    /// What stands between the quotes of a string; of any other value its exact text.
    pub text: &'a str,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// `null`
    Null,
    /// `true`
    True,
    /// `false`
    False,
    /// A number.
    Number,
    /// A string without escapes.
    Plain,
    /// A string with escapes.
    Escaped,
    /// An array.
    Array,
}

impl<'a> From<Text<'a>> for Scalar<'a> {
    #[inline]
    fn from(text: Text<'a>) -> Self {
        match text {
            Text::Plain(text) => Scalar { kind: Kind::Plain, text },
            Text::Escaped(text) => Scalar { kind: Kind::Escaped, text },
        }
    }
}

impl<'a> Scalar<'a> {
    /// The value as an attribute; what cannot be borrowed is written to `scratch`.
    #[inline]
    pub fn attribute<'s>(self, scratch: &'s mut String) -> AttributeRef<'s>
    where
        'a: 's,
    {
        match self.kind {
            Kind::True => AttributeRef::Bool(true),
            Kind::False => AttributeRef::Bool(false),
            Kind::Number => number::attribute(self.text),
            Kind::Plain | Kind::Escaped => AttributeRef::Text(self.as_text(scratch)),
            Kind::Null | Kind::Array => AttributeRef::Json(self.as_text(scratch)),
        }
    }

    /// A string's text; of any other value the JSON text.
    #[inline]
    pub fn as_text<'s>(self, scratch: &'s mut String) -> &'s str
    where
        'a: 's,
    {
        match self.kind {
            Kind::Escaped => Text::Escaped(self.text).resolve(scratch),
            Kind::Array => {
                scratch.clear();
                compact(self.text, scratch);
                scratch
            }
            _ => self.text,
        }
    }

    /// The value as a moment; `None` if no value of its kind can be one.
    pub fn timestamp(self, reader: &mut TimestampReader) -> Option<Result<Timestamp, TimestampError>> {
        match self.kind {
            Kind::Plain | Kind::Escaped => Some(reader.read(self.as_text(&mut String::new()))),
            Kind::Number => Some(Timestamp::from_decimal(self.text)),
            _ => None,
        }
    }

    /// Whether it is an id as Sluice writes it.
    pub fn is_our_id(self) -> bool {
        let same = |id: RecordId| id.encode(&mut [0; RecordId::TEXT_LENGTH]) == self.text;
        self.kind == Kind::Plain && self.text.parse().is_ok_and(same)
    }

    /// What kind of value it is, with its article.
    pub fn kind_name(self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::True | Kind::False => "a boolean",
            Kind::Number => "a number",
            Kind::Plain | Kind::Escaped => "a string",
            Kind::Array => "an array",
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
