//! Reads segments: footers, token filters, and the wanted columns of the wanted rows.

mod error;
mod source;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock, OnceLock};

use arrow_array::{
    ArrayRef, FixedSizeBinaryArray, RecordBatch, RecordBatchReader, StringArray, TimestampNanosecondArray, UInt8Array,
    UInt64Array,
};
use arrow_buffer::{BooleanBuffer, Buffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::basic::{Encoding, EncodingMask};
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy};
use parquet::file::statistics::Statistics;
use sluice_model::{RecordId, RunId, Severity};

pub(super) use self::error::ReadError;
use self::source::Source;
use super::seal::Tail;
use super::segment::{FOOTER_KEY, FORMAT, Footer, Region, UNSEALED_FORMAT};
use super::templates::Templates;
use super::timestamps;
use crate::batch::{ATTRIBUTE_PREFIX, BlockSet, LogBatch, Records, coded_text};
use crate::files::{Access, Files};
use crate::query::Columns;
use crate::stats::FieldType;

/// The columns that a search may want, by their place in the file.
pub(super) const RUN: usize = 0;
pub(super) const SEQUENCE: usize = 1;
pub(super) const TIMESTAMP: usize = 2;
const SEVERITY: usize = 3;
const LEVEL: usize = 4;
const SERVICE: usize = 5;
const MESSAGE: usize = 6;
const OVERFLOW: usize = 7;

/// The name of that column, by which it is found among those that were read.
const TIMESTAMP_NAME: &str = "timestamp";

/// The columns that every segment has: ids first, attributes after them.
static FIXED_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let nobody = RecordId { run: RunId::from_bytes([0; RunId::BYTES]), sequence: 0 };
    Records::numbered(nobody, LogBatch::empty()).arrow_schema()
});

/// A segment whose footer is read.
pub(super) struct OpenSegment {
    source: Source,
    metadata: ArrowReaderMetadata,
    /// The same, where attributes of few texts are read as dictionaries.
    coded: Arc<OnceLock<ArrowReaderMetadata>>,
    pub(super) footer: Arc<Footer>,
    footer_bytes: u64,
}

impl OpenSegment {
    /// Opens the file and reads its footer.
    pub(super) fn open(files: &dyn Files, path: &Path) -> Result<OpenSegment, ReadError> {
        guarded(|| {
            let file = files.open(path, Access::Read)?;
            let length = file.size()?;
            let Tail { start, footer, seal } = Tail::read(&*file, length)?;
            let sealed = seal.is_some();
            let footer_bytes = footer.len() as u64;
            let mut source = Source { file, length, seal: seal.map(Arc::new), tail: (start, footer), read_bytes: None };
            let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
            let metadata = ArrowReaderMetadata::load(&source, options)?;
            source.tail = (length, Bytes::new());
            let pairs = metadata.metadata().file_metadata().key_value_metadata();
            let json = pairs.into_iter().flatten().find(|pair| pair.key == FOOTER_KEY);
            let json = json.and_then(|pair| pair.value.as_deref()).unwrap_or_default();
            let format: FormatOnly = serde_json::from_str(json)?;
            if format.format != UNSEALED_FORMAT && !sealed {
                return Err(ReadError::Damaged("its seal is missing".to_owned()));
            }
            if format.format > FORMAT {
                return Err(ReadError::TooNew(format.format));
            }
            let footer: Arc<Footer> = Arc::new(serde_json::from_str(json)?);
            if footer.row_groups.len() != metadata.metadata().num_row_groups() {
                return Err(ReadError::Damaged("the footers do not agree".to_owned()));
            }
            Ok(OpenSegment { source, metadata, coded: Arc::default(), footer, footer_bytes })
        })
    }

    /// The size of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.source.length
    }

    /// The size of the footer, which is read when a segment is opened.
    pub(super) fn footer_bytes(&self) -> u64 {
        self.footer_bytes
    }

    /// The same segment; what is read of it is added to `bytes`.
    pub(super) fn counting(&self, bytes: &Arc<AtomicU64>) -> OpenSegment {
        let source = Source { read_bytes: Some(bytes.clone()), ..self.source.clone() };
        let (metadata, coded, footer) = (self.metadata.clone(), self.coded.clone(), self.footer.clone());
        OpenSegment { source, metadata, coded, footer, ..*self }
    }

    /// Reads all of it, to see that it can be.
    pub(super) fn verify(&self) -> Result<(), ReadError> {
        self.blocks()?;
        for (index, group) in self.footer.row_groups.iter().enumerate() {
            self.rows(index, BooleanBuffer::new_set(group.rows as usize))?;
            group.tokens.map(|region| self.region(region)).transpose()?;
            self.templates(index)?;
        }
        Ok(())
    }

    /// The records within, exactly.
    pub(super) fn blocks(&self) -> Result<BlockSet, ReadError> {
        Ok(serde_json::from_slice(&self.region(self.footer.blocks)?)?)
    }

    /// The bytes of a region, after a check of their checksum.
    pub(super) fn region(&self, region: Region) -> Result<Bytes, ReadError> {
        let end = region.offset.checked_add(region.length);
        if end.is_none_or(|end| end > self.source.length) {
            return Err(ReadError::Damaged("a region lies outside the file".to_owned()));
        }
        let bytes = self.source.read(region.offset, region.length as usize)?;
        if crc32c::crc32c(&bytes) == region.crc32c {
            Ok(bytes)
        } else {
            Err(ReadError::Damaged(format!("the checksum of the bytes from {} on is wrong", region.offset)))
        }
    }

    /// Whether any bytes can be verified. Those of format 1 cannot, but for regions as a whole.
    pub(super) fn is_sealed(&self) -> bool {
        self.source.seal.is_some()
    }

    /// So many bytes of a region from `offset` on, which the seal verifies: only for segments that have one.
    pub(super) fn part_of(&self, region: Region, offset: u64, length: usize) -> Result<Bytes, ReadError> {
        debug_assert!(self.is_sealed());
        let end = offset.checked_add(length as u64).filter(|end| *end <= region.length);
        let start = end.and_then(|_| region.offset.checked_add(offset));
        let start = start.ok_or_else(|| ReadError::Damaged("a region is not as long as it says".to_owned()))?;
        self.source.read(start, length)
    }

    /// The templates of a row group's messages, if it has them.
    pub(super) fn templates(&self, group: usize) -> Result<Option<Templates>, ReadError> {
        let Some(group) = self.footer.row_groups.get(group) else { return Ok(None) };
        let bytes = group.templates.map(|region| self.region(region)).transpose()?;
        bytes.map(|bytes| Templates::decode(&bytes, group.rows)).transpose()
    }

    /// Where bytes stand that do not fit their checksums. A segment of format 1 has none to tell them by.
    pub(super) fn damaged_ranges(&self) -> Result<Vec<Range<u64>>, ReadError> {
        self.source.seal.as_ref().map_or(Ok(Vec::new()), |seal| seal.damaged_ranges(&*self.source.file))
    }

    /// All rows of a row group.
    pub(super) fn all_rows(&self, group: usize) -> Result<Records, ReadError> {
        let rows = self.footer.row_groups.get(group).map_or(0, |group| group.rows as usize);
        self.rows(group, BooleanBuffer::new_set(rows))
    }

    /// Rows of a row group with all their columns: those whose bit is set.
    pub(super) fn rows(&self, group: usize, rows: BooleanBuffer) -> Result<Records, ReadError> {
        let columns = self.read(&self.metadata, group, Some(rows), ProjectionMask::all())?;
        Ok(Records::try_from_arrow(&columns)?)
    }

    /// The ids of the rows of a row group whose bit is set.
    pub(super) fn ids(&self, group: usize, rows: BooleanBuffer) -> Result<Vec<RecordId>, ReadError> {
        let read = self.columns(group, Some(rows), &[RUN, SEQUENCE])?;
        Ok((0..read.len()).map(|row| read.id(row)).collect())
    }

    /// Rows of a row group with all that is in them: those whose bit is set.
    pub(super) fn records(&self, group: usize, rows: BooleanBuffer) -> Result<Records, ReadError> {
        let every: Vec<usize> = (0..self.metadata.schema().fields().len()).collect();
        self.columns(group, Some(rows), &every)
    }

    /// The places of the columns that an evaluation looks at, in ascending order.
    pub(super) fn places(&self, wanted: &Columns) -> Vec<usize> {
        let fixed = [
            (wanted.id, RUN),
            (wanted.id, SEQUENCE),
            (wanted.timestamp, TIMESTAMP),
            (wanted.severity, SEVERITY),
            (wanted.level, LEVEL),
            (wanted.service, SERVICE),
            (wanted.message, MESSAGE),
            (wanted.has_attributes(), OVERFLOW),
        ];
        let fixed = fixed.into_iter().filter_map(|(is_wanted, place)| is_wanted.then_some(place));
        let mut attributes: Vec<usize> = if wanted.every_attribute {
            (OVERFLOW + 1..self.metadata.schema().fields().len()).collect()
        } else {
            wanted.attributes.iter().filter_map(|name| self.place_of(name)).collect()
        };
        attributes.sort_unstable();
        fixed.chain(attributes).collect()
    }

    /// Where the column of an attribute stands, if it has one.
    fn place_of(&self, attribute: &str) -> Option<usize> {
        let is_it = |name: &str| name.strip_prefix(ATTRIBUTE_PREFIX) == Some(attribute);
        self.metadata.schema().fields().iter().position(|field| is_it(field.name()))
    }

    /// Whether a record of the row group may have the attribute: there is a column for it, or something in the overflow.
    pub(super) fn may_have_attribute(&self, group: usize, name: &str) -> bool {
        self.place_of(name).is_some() || self.may_overflow(group)
    }

    /// How many records of the row group have each attribute; `None`, if it does not say, or some are in the overflow.
    pub(super) fn attribute_counts(&self, group: usize) -> Option<Vec<(String, FieldType, u64)>> {
        let counts = self.footer.row_groups.get(group)?.counts.as_ref()?;
        if self.may_overflow(group) {
            return None;
        }
        let fields = self.metadata.schema().fields().iter().skip(OVERFLOW + 1);
        let named = fields.zip(&counts.attributes).map(|(field, rows)| {
            let name = field.name().strip_prefix(ATTRIBUTE_PREFIX).unwrap_or(field.name());
            (name.to_owned(), FieldType::of_column(field.data_type()), u64::from(*rows))
        });
        Some(named.collect())
    }

    /// Whether a record of the row group may have something in the overflow.
    fn may_overflow(&self, group: usize) -> bool {
        let Some(group) = self.metadata.metadata().row_groups().get(group) else { return true };
        let statistics = group.columns().get(OVERFLOW).and_then(ColumnChunkMetaData::statistics);
        let nulls = statistics.and_then(Statistics::null_count_opt);
        nulls.is_none_or(|nulls| i64::try_from(nulls) != Ok(group.num_rows()))
    }

    /// Whether every record of the row group is known to have the attribute.
    pub(super) fn always_has_attribute(&self, group: usize, name: &str) -> bool {
        let counts = self.footer.row_groups.get(group).and_then(|group| Some((group.rows, group.counts.as_ref()?)));
        let place = self.place_of(name).and_then(|place| place.checked_sub(OVERFLOW + 1));
        counts.zip(place).is_some_and(|((rows, counts), place)| counts.attributes.get(place) == Some(&rows))
    }

    /// Rows of a row group (all, or those whose bit is set) of which only the columns at the places in `wanted` are read,
    /// in ascending order; the other fixed ones are filled with something of their type. Nor are those read of which the
    /// footer says that they are the same in every row.
    pub(super) fn columns(
        &self,
        group: usize,
        rows: Option<BooleanBuffer>,
        wanted: &[usize],
    ) -> Result<Records, ReadError> {
        Ok(Records::try_from_arrow(&self.project(&self.metadata, group, rows, wanted)?)?)
    }

    /// The same, where the column of an attribute may be a dictionary of texts.
    pub(super) fn coded_columns(
        &self,
        group: usize,
        rows: Option<BooleanBuffer>,
        wanted: &[usize],
    ) -> Result<Records, ReadError> {
        let metadata = match self.coded.get() {
            Some(metadata) => metadata,
            None => {
                let made = guarded(|| self.with_dictionaries())?;
                self.coded.get_or_init(|| made)
            }
        };
        Ok(Records::try_from_coded(&self.project(metadata, group, rows, wanted)?)?)
    }

    /// How the file is read where the columns of attributes become dictionaries that are nothing else in it.
    fn with_dictionaries(&self) -> Result<ArrowReaderMetadata, ReadError> {
        let groups = self.metadata.metadata().row_groups();
        let is_coded = |place: usize| groups.iter().all(|group| group.columns().get(place).is_some_and(is_dictionary));
        let field = |(place, field): (usize, &Arc<Field>)| {
            if place > OVERFLOW && field.data_type() == &DataType::Utf8 && is_coded(place) {
                Arc::new(field.as_ref().clone().with_data_type(coded_text()))
            } else {
                field.clone()
            }
        };
        let fields: Vec<Arc<Field>> = self.metadata.schema().fields().iter().enumerate().map(field).collect();
        let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
        Ok(ArrowReaderMetadata::try_new(self.metadata.metadata().clone(), options)?)
    }

    fn project(
        &self,
        metadata: &ArrowReaderMetadata,
        group: usize,
        rows: Option<BooleanBuffer>,
        wanted: &[usize],
    ) -> Result<RecordBatch, ReadError> {
        let run = if let [range] = self.footer.segment.ids.as_slice() { Some(range.run) } else { None };
        let overflows = self.may_overflow(group);
        // What is the same in every row need not be read.
        let is_read = |place: &usize| (*place != RUN || run.is_none()) && (*place != OVERFLOW || overflows);
        let read: Vec<usize> = wanted.iter().copied().filter(is_read).collect();
        let (count, found) = if read.is_empty() {
            let all = || self.footer.row_groups.get(group).map_or(0, |group| group.rows as usize);
            let schema = Arc::new(Schema::empty());
            (rows.map_or_else(all, |rows| rows.count_set_bits()), RecordBatch::new_empty(schema))
        } else {
            let mask = ProjectionMask::roots(metadata.parquet_schema(), read.iter().copied());
            let found = self.read(metadata, group, rows, mask)?;
            (found.num_rows(), found)
        };
        let mut found = found.schema_ref().fields().iter().cloned().zip(found.columns().iter().cloned());
        let fixed = FIXED_SCHEMA.fields().iter().cloned().enumerate().map(|(column, field)| {
            let found = if read.contains(&column) { found.next() } else { None };
            found.unwrap_or_else(|| match run.filter(|_| column == RUN && wanted.contains(&RUN)) {
                Some(run) => (
                    field,
                    Arc::new(FixedSizeBinaryArray::new(RunId::BYTES as i32, run.to_bytes().repeat(count).into(), None)),
                ),
                None => (field, filler(column, count)),
            })
        });
        let (mut fields, mut columns): (Vec<_>, Vec<_>) = fixed.unzip();
        found.for_each(|(field, column)| {
            fields.push(field);
            columns.push(column);
        });
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    fn read(
        &self,
        metadata: &ArrowReaderMetadata,
        group: usize,
        rows: Option<BooleanBuffer>,
        mask: ProjectionMask,
    ) -> Result<RecordBatch, ReadError> {
        guarded(|| {
            let all = self.footer.row_groups.get(group).map_or(0, |group| group.rows as usize);
            let expected = rows.as_ref().map_or(all, BooleanBuffer::count_set_bits);
            let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.source.clone(), metadata.clone())
                .with_row_groups(vec![group])
                .with_projection(mask)
                .with_batch_size(expected.max(1));
            if let Some(rows) = rows {
                builder = builder.with_row_selection(RowSelection::from_boolean_buffer(rows));
            }
            let reader = builder.build()?;
            let schema = reader.schema();
            let mut batches = reader.collect::<Result<Vec<_>, _>>()?;
            let columns = match batches.len() {
                1 => batches.swap_remove(0),
                _ => concat_batches(&schema, &batches)?,
            };
            let columns = match columns.schema_ref().index_of(TIMESTAMP_NAME) {
                Ok(place) => timestamps::to_nanos(&columns, place)?,
                Err(_) => columns,
            };
            if columns.num_rows() == expected {
                Ok(columns)
            } else {
                Err(ReadError::Damaged(format!("{} rows where {expected} belong", columns.num_rows())))
            }
        })
    }
}

/// Whether every page of a column chunk has codes of one dictionary.
fn is_dictionary(chunk: &ColumnChunkMetaData) -> bool {
    let only_codes = |encodings: &EncodingMask| encodings.is_only(Encoding::RLE_DICTIONARY);
    chunk.dictionary_page_offset().is_some() && chunk.page_encoding_stats_mask().is_some_and(only_codes)
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
    /// As many rows as nearly all row groups have at most.
    const ROWS: usize = 64 << 10;
    static FILLERS: LazyLock<Vec<ArrayRef>> =
        LazyLock::new(|| (0..=OVERFLOW).map(|column| new_filler(column, ROWS)).collect());
    match FILLERS.get(column) {
        Some(filler) if rows <= ROWS => filler.slice(0, rows),
        _ => new_filler(column, rows),
    }
}

fn new_filler(column: usize, rows: usize) -> ArrayRef {
    match column {
        RUN => Arc::new(FixedSizeBinaryArray::new(RunId::BYTES as i32, vec![0_u8; rows * RunId::BYTES].into(), None)),
        SEQUENCE => Arc::new(UInt64Array::from(vec![0; rows])),
        TIMESTAMP => Arc::new(TimestampNanosecondArray::from(vec![0; rows]).with_timezone("UTC")),
        SEVERITY => Arc::new(UInt8Array::from(vec![Severity::Info.number(); rows])),
        OVERFLOW => Arc::new(StringArray::new_null(rows)),
        _ => Arc::new(StringArray::new(OffsetBuffer::new_zeroed(rows), Buffer::from_vec(Vec::<u8>::new()), None)),
    }
}
