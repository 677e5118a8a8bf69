//! Why a segment could not be read.

use std::io;

use arrow_schema::ArrowError;
use parquet::errors::ParquetError;
use rustix::io::Errno;

use crate::batch::BatchError;
use crate::store::embedded::segment::FORMAT;

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::store::embedded) enum ReadError {
    /// The segment is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// A newer Sluice wrote it.
    #[error("it has format {0}, and this version reads up to {FORMAT}")]
    TooNew(u32),
    /// The device cannot read it now; the segment may be sound.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// The operating system could not do its part; the segment may be sound.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                ReadError::Damaged(error.to_string())
            }
            _ if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => ReadError::Unreadable(error),
            _ => ReadError::Io(error),
        }
    }
}

impl From<ParquetError> for ReadError {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(error) => match error.downcast::<io::Error>() {
                Ok(error) => ReadError::from(*error),
                Err(error) => {
                    error.downcast().map_or_else(|error| ReadError::Damaged(error.to_string()), |error| *error)
                }
            },
            error => ReadError::Damaged(error.to_string()),
        }
    }
}

impl From<ArrowError> for ReadError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => ReadError::from(error),
            ArrowError::ExternalError(error) => match error.downcast::<ParquetError>() {
                Ok(error) => ReadError::from(*error),
                Err(error) => ReadError::Damaged(error.to_string()),
            },
            error => ReadError::Damaged(error.to_string()),
        }
    }
}

impl From<BatchError> for ReadError {
    fn from(error: BatchError) -> Self {
        ReadError::Damaged(error.to_string())
    }
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> Self {
        ReadError::Damaged(error.to_string())
    }
}
