//! Reads segments: footers, token filters, and the wanted columns of the wanted rows.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow_array::{
    ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray, TimestampNanosecondArray, UInt8Array, UInt64Array,
};
use arrow_buffer::{BooleanBuffer, Buffer, OffsetBuffer};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::concat_batches;
use bytes::{Buf, Bytes};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::reader::{ChunkReader, Length};
use sluice_model::{RecordId, RunId, Severity};

use super::segment::{FOOTER_KEY, FORMAT, Footer, Region};
use crate::batch::{BatchError, BlockSet, LogBatch, Records};
use crate::files::{Access, File, Files};

/// The columns that a search may want, by their place in the file.
pub(super) const RUN: usize = 0;
pub(super) const SEQUENCE: usize = 1;
pub(super) const TIMESTAMP: usize = 2;
pub(super) const SEVERITY: usize = 3;
pub(super) const SERVICE: usize = 5;
pub(super) const MESSAGE: usize = 6;

/// The columns that every segment has: ids first, attributes after them.
static FIXED_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let nobody = RecordId { run: RunId::from_bytes([0; RunId::BYTES]), sequence: 0 };
    Records::numbered(nobody, LogBatch::empty()).arrow_schema()
});

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The segment is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// A newer Sluice wrote it.
    #[error("it has format {0}, and this version reads up to {FORMAT}")]
    TooNew(u32),
    /// The operating system could not do its part; the segment may be sound.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        const EIO: i32 = 5;
        let lost =
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
                || error.raw_os_error() == Some(EIO);
        if lost { ReadError::Damaged(error.to_string()) } else { ReadError::Io(error) }
    }
}

impl From<ParquetError> for ReadError {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(error) => match error.downcast::<io::Error>() {
                Ok(error) => ReadError::from(*error),
                Err(error) => ReadError::Damaged(error.to_string()),
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

/// A segment whose footer is read.
pub(super) struct OpenSegment {
    source: Source,
    metadata: ArrowReaderMetadata,
    pub(super) footer: Footer,
}

impl OpenSegment {
    /// Opens the file and reads its footer.
    pub(super) fn open(files: &dyn Files, path: &Path) -> Result<OpenSegment, ReadError> {
        guarded(|| {
            let file = files.open(path, Access::Read)?;
            let source = Source { length: file.size()?, file };
            let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
            let metadata = ArrowReaderMetadata::load(&source, options)?;
            let pairs = metadata.metadata().file_metadata().key_value_metadata();
            let json = pairs.into_iter().flatten().find(|pair| pair.key == FOOTER_KEY);
            let json = json.and_then(|pair| pair.value.as_deref()).unwrap_or_default();
            let format: FormatOnly = serde_json::from_str(json)?;
            if format.format > FORMAT {
                return Err(ReadError::TooNew(format.format));
            }
            let footer: Footer = serde_json::from_str(json)?;
            if footer.row_groups.len() != metadata.metadata().num_row_groups() {
                return Err(ReadError::Damaged("the footers do not agree".to_owned()));
            }
            Ok(OpenSegment { source, metadata, footer })
        })
    }

    /// The size of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.source.length
    }

    /// The records within, exactly.
    pub(super) fn blocks(&self) -> Result<BlockSet, ReadError> {
        Ok(serde_json::from_slice(&self.region(self.footer.blocks)?)?)
    }

    /// The bytes of a region, after a check of their checksum.
    pub(super) fn region(&self, region: Region) -> Result<Vec<u8>, ReadError> {
        let end = region.offset.checked_add(region.length);
        if end.is_none_or(|end| end > self.source.length) {
            return Err(ReadError::Damaged("a region lies outside the file".to_owned()));
        }
        let mut bytes = vec![0; region.length as usize];
        self.source.file.read_exact_at(&mut bytes, region.offset)?;
        if crc32c::crc32c(&bytes) == region.crc32c {
            Ok(bytes)
        } else {
            Err(ReadError::Damaged(format!("the checksum of the bytes from {} on is wrong", region.offset)))
        }
    }

    /// Rows of a row group with all their columns: those whose bit is set.
    pub(super) fn rows(&self, group: usize, rows: BooleanBuffer) -> Result<Records, ReadError> {
        let columns = self.read(group, Some(rows), ProjectionMask::all(), self.metadata.schema())?;
        Ok(Records::try_from_arrow(&columns)?)
    }

    /// Rows of a row group (all, or those whose bit is set) of which only the fixed columns in `wanted` are read, in
    /// ascending order; the others are filled with something of their type.
    pub(super) fn columns(
        &self,
        group: usize,
        rows: Option<BooleanBuffer>,
        wanted: &[usize],
    ) -> Result<Records, ReadError> {
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), wanted.iter().copied());
        let schema = Arc::new(self.metadata.schema().project(wanted)?);
        let read = self.read(group, rows, mask, &schema)?;
        let mut found = read.columns().iter();
        let columns = (0..FIXED_SCHEMA.fields().len()).map(|column| {
            let found = if wanted.contains(&column) { found.next().cloned() } else { None };
            found.unwrap_or_else(|| filler(column, read.num_rows()))
        });
        Ok(Records::try_from_arrow(&RecordBatch::try_new(FIXED_SCHEMA.clone(), columns.collect())?)?)
    }

    fn read(
        &self,
        group: usize,
        rows: Option<BooleanBuffer>,
        mask: ProjectionMask,
        schema: &SchemaRef,
    ) -> Result<RecordBatch, ReadError> {
        guarded(|| {
            let all = self.footer.row_groups.get(group).map_or(0, |group| group.rows as usize);
            let expected = rows.as_ref().map_or(all, BooleanBuffer::count_set_bits);
            let mut builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(self.source.clone(), self.metadata.clone())
                    .with_row_groups(vec![group])
                    .with_projection(mask)
                    .with_batch_size(expected.max(1));
            if let Some(rows) = rows {
                builder = builder.with_row_selection(RowSelection::from_boolean_buffer(rows));
            }
            let mut batches = builder.build()?.collect::<Result<Vec<_>, _>>()?;
            let columns = match batches.len() {
                1 => batches.swap_remove(0),
                _ => concat_batches(schema, &batches)?,
            };
            if columns.num_rows() == expected {
                Ok(columns)
            } else {
                Err(ReadError::Damaged(format!("{} rows where {expected} belong", columns.num_rows())))
            }
        })
    }
}

/// The footer's number of format, which tells whether the rest can be understood.
#[derive(serde::Deserialize)]
struct FormatOnly {
    format: u32,
}

/// Decoders of damaged bytes may panic; to a search that is damage like any other.
fn guarded<T>(read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ReadError::Damaged("the decoder could not go on".to_owned())))
}

/// Something to stand in a column that is not read.
fn filler(column: usize, rows: usize) -> ArrayRef {
    match column {
        RUN => Arc::new(FixedSizeBinaryArray::new(RunId::BYTES as i32, vec![0_u8; rows * RunId::BYTES].into(), None)),
        SEQUENCE => Arc::new(UInt64Array::from(vec![0; rows])),
        TIMESTAMP => Arc::new(TimestampNanosecondArray::from(vec![0; rows]).with_timezone("UTC")),
        SEVERITY => Arc::new(UInt8Array::from(vec![Severity::Info.number(); rows])),
        _ => Arc::new(StringArray::new(OffsetBuffer::new_zeroed(rows), Buffer::from_vec(Vec::<u8>::new()), None)),
    }
}

/// A file that many readers share: every read says where.
#[derive(Clone)]
struct Source {
    file: Arc<dyn File>,
    length: u64,
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Source {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        // Page headers are read this way: short, and only where a file has no index of its pages.
        const AHEAD_BYTES: u64 = 16 << 10;
        let length = AHEAD_BYTES.min(self.length.saturating_sub(start));
        Ok(self.get_bytes(start, length as usize)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} on are not all there")));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}
