//! What can be wrong with a JSON text.

/// How deep the objects and arrays of a record may be nested.
pub const DEPTH_MAX: usize = 64;

/// Where and why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntaxError {
    /// The offset in bytes.
    pub at: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The text ends within a value.
    #[error("the JSON ends too early")]
    End,
    /// Something else belongs here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A line ends within a string.
    #[error("a string is not closed at the end of its line")]
    OpenString,
    /// A byte below 0x20 stands in a string.
    #[error("a control character in a string must be escaped")]
    Control,
    /// A backslash with something after it that JSON does not know.
    #[error("no such escape in a string")]
    Escape,
    /// A `\uD800` to `\uDFFF` without its other half.
    #[error("half of a surrogate pair stands alone")]
    Surrogate,
    /// Bytes that are no UTF-8.
    #[error("not valid UTF-8")]
    Utf8,
    /// More than [`DEPTH_MAX`] objects and arrays within each other.
    #[error("nested deeper than {DEPTH_MAX} levels")]
    Depth,
}

impl Fault {
    /// Whether the end of the record can be found all the same.
    pub fn keeps_place(self) -> bool {
        matches!(self, Fault::Control | Fault::Escape | Fault::Surrogate | Fault::Utf8 | Fault::Depth)
    }
}
