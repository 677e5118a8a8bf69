//! Which names a record's fixed fields are sent under.

use std::fmt;
use std::sync::{Arc, LazyLock};

use super::ATTRIBUTE_NAME_BYTES_MAX;

/// How many names one field may be given.
const NAMES_MAX: usize = 32;

/// A fixed field of a record; without gaps as [`super::scalar::Scalar`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    /// When it happened.
    Timestamp,
    /// How grave it is.
    Level,
    /// Which program it comes from.
    Service,
    /// Its text.
    Message,
}

impl Field {
    /// All of them, in the order of an answer.
    pub const ALL: [Field; 4] = [Field::Timestamp, Field::Level, Field::Service, Field::Message];

    /// The name in answers.
    pub fn name(self) -> &'static str {
        self.aliases().first().copied().unwrap_or_default()
    }

    /// The names that it is known by, the first one first.
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Field::Timestamp => &["timestamp", "@timestamp", "time", "ts"],
            Field::Level => &["level", "severity", "lvl", "loglevel"],
            Field::Service => &["service", "serviceName", "service_name", "service.name"],
            Field::Message => &["message", "msg", "log"],
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a request's names for a field cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldNamesError {
    /// There is no name between two commas, or none at all.
    #[error("a name is missing in the list of names for {0}")]
    Empty(Field),
    /// Two fields are to be read from the same place.
    #[error("{name:?} cannot be both {first} and {second}")]
    Shared {
        /// The name.
        name: String,
        /// The field that has it already.
        first: Field,
        /// The field that is to have it too.
        second: Field,
    },
    /// The list is too long.
    #[error("more than {NAMES_MAX} names for {0}")]
    TooMany(Field),
    /// A name is longer than an attribute's may be.
    #[error("a name for {0} is longer than {ATTRIBUTE_NAME_BYTES_MAX} bytes")]
    TooLong(Field),
}

/// The names of all fixed fields; [`FieldNames::default`] knows the usual ones.
///
/// A name is a dotted path, from the record's top: `body.text` is found in `{"body":{"text":…}}` and in
/// `{"body.text":…}`. Members of a sent `attributes` object are attributes always, whatever their names.
#[derive(Debug, Clone)]
pub struct FieldNames {
    table: Arc<Table>,
}

/// A field and the place of a name in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) field: Field,
    /// Lower ones win.
    pub(super) rank: usize,
}

#[derive(Debug, Clone, Default)]
struct Table {
    /// Which fields have names of a request's own.
    given: Vec<Field>,
    /// All names, by their length in bytes.
    by_length: Vec<Vec<(Box<str>, Claim)>>,
}

static USUAL: LazyLock<Arc<Table>> = LazyLock::new(|| {
    let mut table = Table::default();
    for field in Field::ALL {
        for (rank, name) in field.aliases().iter().enumerate() {
            table.insert(name, Claim { field, rank });
        }
    }
    Arc::new(table)
});

impl Default for FieldNames {
    fn default() -> Self {
        FieldNames { table: Arc::clone(&USUAL) }
    }
}

impl FieldNames {
    /// Reads `field` from `names` only: one dotted path, or a list by comma of which the first present wins.
    ///
    /// A name that is another field's usual one is taken from it.
    ///
    /// # Errors
    /// [`FieldNamesError`], if the list is empty or too long, or names a place that was given to another field.
    pub fn set(&mut self, field: Field, names: &str) -> Result<(), FieldNamesError> {
        let table = Arc::make_mut(&mut self.table);
        table.by_length.iter_mut().for_each(|names| names.retain(|(_, claim)| claim.field != field));
        table.given.push(field);
        for (rank, name) in names.split(',').map(str::trim).enumerate() {
            if name.is_empty() {
                return Err(FieldNamesError::Empty(field));
            }
            if rank >= NAMES_MAX {
                return Err(FieldNamesError::TooMany(field));
            }
            if name.len() > ATTRIBUTE_NAME_BYTES_MAX {
                return Err(FieldNamesError::TooLong(field));
            }
            match table.find(name).map(|(_, claim)| claim.field) {
                Some(known) if known == field => {}
                Some(first) if table.given.contains(&first) => {
                    return Err(FieldNamesError::Shared { name: name.to_owned(), first, second: field });
                }
                _ => table.insert(name, Claim { field, rank }),
            }
        }
        Ok(())
    }

    /// The field that the value at `path` may be, with the name as it stands in here.
    #[inline]
    pub(super) fn find(&self, path: &str) -> Option<(&str, Claim)> {
        self.table.find(path)
    }
}

impl Table {
    #[inline]
    fn find(&self, path: &str) -> Option<(&str, Claim)> {
        let names = self.by_length.get(path.len())?;
        names.iter().find(|(name, _)| **name == *path).map(|(name, claim)| (&**name, *claim))
    }

    fn insert(&mut self, name: &str, claim: Claim) {
        if self.by_length.len() <= name.len() {
            self.by_length.resize_with(name.len() + 1, Vec::new);
        }
        if let Some(names) = self.by_length.get_mut(name.len()) {
            names.retain(|(known, _)| **known != *name);
            names.push((name.into(), claim));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_keep_their_order() {
        let names = FieldNames::default();
        assert_eq!(names.find("timestamp"), Some(("timestamp", Claim { field: Field::Timestamp, rank: 0 })));
        assert_eq!(names.find("service.name"), Some(("service.name", Claim { field: Field::Service, rank: 3 })));
        assert_eq!(names.find("Message"), None);
        assert_eq!(names.find(""), None);
        assert_eq!(names.find(&"x".repeat(1000)), None);
    }

    #[test]
    fn a_request_names_its_own_fields() {
        let mut names = FieldNames::default();
        names.set(Field::Message, "body.text, time").unwrap();
        assert_eq!(names.find("body.text"), Some(("body.text", Claim { field: Field::Message, rank: 0 })));
        assert_eq!(names.find("time"), Some(("time", Claim { field: Field::Message, rank: 1 })));
        assert_eq!(names.find("message"), None);
        assert_eq!(names.find("ts"), Some(("ts", Claim { field: Field::Timestamp, rank: 3 })));
        assert_eq!(names.set(Field::Level, "a,,b"), Err(FieldNamesError::Empty(Field::Level)));
        assert_eq!(names.set(Field::Level, &"x".repeat(2000)), Err(FieldNamesError::TooLong(Field::Level)));
        let many: Vec<String> = (0..40).map(|n| format!("n{n}")).collect();
        assert_eq!(names.set(Field::Level, &many.join(",")), Err(FieldNamesError::TooMany(Field::Level)));
        assert_eq!(
            names.set(Field::Service, "body.text").unwrap_err().to_string(),
            "\"body.text\" cannot be both message and service"
        );
    }
}
