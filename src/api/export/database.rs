//! A SQLite database with one table, written row after row to a temporary file.
//!
//! `CREATE TABLE logs (id, timestamp, timestamp_ns, level, severity, service, message, attributes)`: all are TEXT but
//! `timestamp_ns`, an INTEGER of ns since 1970; `timestamp` has nine digits and `Z`, so that its order as text is that of
//! time. Named fields are the columns instead, all of them TEXT; an attribute is NULL where a record lacks it. There is one
//! transaction and no journal: a database that is not finished is thrown away.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::Null;
use tokio::sync::OwnedSemaphorePermit;

use crate::api::encode::{Cells, Field};
use crate::api::params::shown;
use crate::batch::Records;
use crate::error::Problem;
use crate::files::{Access, File, ScratchFile};

/// How many bytes of pages stay in memory: what is more goes to the file at once.
const CACHE_KIB: i64 = 8 << 10;
/// The size of a page, which stands in [`HEAD`] too.
const PAGE_BYTES: i64 = 8192;

/// What every such file begins with: the magic, the size of a page, that there is no write-ahead log, no reserved bytes, and
/// three constants of the format.
pub(super) const HEAD: [u8; 24] = *b"SQLite format 3\0\x20\0\x01\x01\0\x40\x20\x20";

/// Why a database cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the temporary file: {0}")]
    Io(#[from] io::Error),
}

/// Refuses columns that a table cannot have.
///
/// # Errors
/// Two names are the same to SQLite, or one cannot be written in SQL.
pub(super) fn check_names(fields: &[Field]) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    for name in fields.iter().map(Field::heading) {
        if name.contains('\0') {
            return Err(Problem::invalid_parameter("fields: a column of SQLite has no NUL in its name"));
        }
        if !seen.insert(name.to_ascii_lowercase()) {
            let name = shown(name);
            return Err(Problem::invalid_parameter(format!(
                "fields: columns of SQLite must not differ in their case only: {name}"
            )));
        }
    }
    Ok(())
}

/// A database that is being written.
pub(super) struct Database {
    connection: Connection,
    fields: Vec<Field>,
    /// Whether there is a column of integers behind the timestamp.
    has_nanos: bool,
    insert: String,
    // Behind the connection, so that the file is closed before it is removed.
    file: ScratchFile,
    place: OwnedSemaphorePermit,
}

impl Database {
    /// Begins a database with the fields that were named, or with all. It keeps its place until it is dropped.
    pub fn create(
        file: ScratchFile,
        fields: Option<Vec<Field>>,
        place: OwnedSemaphorePermit,
    ) -> Result<Database, DatabaseError> {
        let connection = Connection::open(file.path())?;
        connection.execute_batch(&format!(
            "PRAGMA page_size = {PAGE_BYTES}; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA journal_mode = OFF;
             PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY;"
        ))?;
        let has_nanos = fields.is_none();
        let fields = fields.unwrap_or_else(|| Field::TABLE.to_vec());
        let mut columns: Vec<String> = fields.iter().map(column).collect();
        if has_nanos {
            columns.insert(2, "\"timestamp_ns\" INTEGER NOT NULL".to_owned());
        }
        connection.execute_batch(&format!("CREATE TABLE logs ({}); BEGIN", columns.join(", ")))?;
        let insert = format!("INSERT INTO logs VALUES ({})", vec!["?"; columns.len()].join(", "));
        Ok(Database { connection, fields, has_nanos, insert, file, place })
    }

    /// Appends rows.
    pub fn insert(&self, records: &Records) -> Result<(), DatabaseError> {
        let cells = Cells::new(&self.fields, records);
        let mut statement = self.connection.prepare(&self.insert)?;
        let mut scratch = Vec::new();
        for row in 0..records.len() {
            let mut parameter = 1;
            for (place, field) in self.fields.iter().enumerate() {
                match cells.text(place, row, &mut scratch) {
                    Some(text) => statement.raw_bind_parameter(parameter, text)?,
                    None => statement.raw_bind_parameter(parameter, Null)?,
                }
                parameter += 1;
                if self.has_nanos && *field == Field::Timestamp {
                    let (timestamp, _) = records.position(row);
                    statement.raw_bind_parameter(parameter, timestamp.as_nanos())?;
                    parameter += 1;
                }
            }
            statement.raw_execute()?;
        }
        Ok(())
    }

    /// Ends the database.
    pub fn finish(self) -> Result<Finished, DatabaseError> {
        self.connection.execute_batch("COMMIT")?;
        self.connection.close().map_err(|(_, error)| error)?;
        // It is read to its end from here on, although its name goes now.
        let opened = self.file.files().open(self.file.path(), Access::Read)?;
        Ok(Finished { bytes: opened.size()?, file: opened, _place: self.place })
    }
}

fn column(field: &Field) -> String {
    let not_null = if matches!(field, Field::Attribute { .. }) { "" } else { " NOT NULL" };
    format!("\"{}\" TEXT{not_null}", field.heading().replace('"', "\"\""))
}

/// A whole database, to be read.
pub(super) struct Finished {
    file: Arc<dyn File>,
    bytes: u64,
    _place: OwnedSemaphorePermit,
}

impl Finished {
    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A part of it, `length` bytes at most.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, DatabaseError> {
        let rest = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut part = vec![0; length.min(rest)];
        if self.file.read_at(&mut part, offset)? < part.len() {
            return Err(DatabaseError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use sluice_model::{RecordId, Severity, Timestamp};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::batch::LogBatchBuilder;
    use crate::files::{Disk, Scratch};

    #[test]
    fn a_database_begins_as_said_and_its_file_goes() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(Arc::new(Disk), folder.path()).unwrap();
        let places = Arc::new(Semaphore::new(1));
        let begin = || {
            let place = places.clone().try_acquire_owned().unwrap();
            Database::create(scratch.file("sqlite").unwrap(), None, place).unwrap()
        };
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut builder = LogBatchBuilder::new();
        (0..20_000).for_each(|nanos| {
            builder.commit(Timestamp::from_nanos(nanos), Severity::Info, "INFO", "", &"x".repeat(1000));
        });
        let records = Records::numbered(RecordId::from_u128(1), builder.finish());

        let database = begin();
        database.insert(&records).unwrap();
        let written = std::fs::metadata(database.file.path()).unwrap().len();
        assert!(written > 8 << 20, "what does not fit the cache is in the file: {written}");
        drop(database);
        assert_eq!((files(), places.available_permits()), (0, 1), "given up");

        let database = begin();
        database.insert(&records).unwrap();
        let finished = database.finish().unwrap();
        assert_eq!((files(), places.available_permits()), (0, 0), "it has no name any more");
        assert_eq!(finished.read(0, HEAD.len()).unwrap(), HEAD);
        assert_eq!(finished.read(finished.bytes() - 5, 100).unwrap().len(), 5);
        drop(finished);
        assert_eq!(places.available_permits(), 1);
    }
}
