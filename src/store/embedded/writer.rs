//! Writes segments.

use std::collections::HashSet;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_schema::DataType;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::xxh3_64;

use super::counts::Counter;
use super::extent::Bounds;
use super::order::{self, RUN_ROWS};
use super::reader::TIMESTAMP;
use super::recovery::{Folders, UNFINISHED};
use super::seal::Sealing;
use super::segment::{self, Age, FOOTER_KEY, FORMAT, Footer, Region, RowGroup, SegmentInfo};
use super::templates::{Found, TemplateBuilder};
use super::timestamps;
use crate::batch::{ATTRIBUTE_PREFIX, BatchError, BlockSet, Gatherer, Near, Place, Records};
use crate::files::{FileWriter, Files};

/// How many rows, and about how many bytes of memory, a row group has at most.
const GROUP_ROWS: usize = 64 << 10;
const GROUP_BYTES: usize = 32 << 20;

/// What a new segment is made of.
pub(super) struct Draft<'a> {
    /// The folder: a day, or `late`.
    pub(super) day: &'a str,
    /// Where the records are, with the same columns in each part.
    pub(super) parts: &'a [Records],
    /// Which of them, sorted.
    pub(super) rows: Vec<Place>,
    pub(super) age: Age,
    /// Exactly these records.
    pub(super) blocks: BlockSet,
    pub(super) replaces: Vec<String>,
    /// Whether it holds what could be saved of a damaged segment.
    pub(super) salvage: bool,
}

/// Why a segment could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("cannot write the footer: {0}")]
    Footer(#[from] serde_json::Error),
    #[error("a segment without records")]
    Empty,
}

impl WriteError {
    /// The failed operation on a file behind it, if that is what it was.
    pub(super) fn io(&self) -> Option<&std::io::Error> {
        match self {
            WriteError::Io(error) => Some(error),
            WriteError::Parquet(ParquetError::External(error)) => error.downcast_ref(),
            _ => None,
        }
    }
}

/// Writes a segment and syncs it; after that it only lacks a place in the manifest.
pub(super) fn write(folders: &Folders, draft: Draft<'_>) -> Result<SegmentInfo, WriteError> {
    let Folders { files, segments, .. } = folders;
    let name = segment::new_name(draft.day);
    let path = segments.join(&name);
    let unfinished = path.with_extension(UNFINISHED);
    let day = segments.join(draft.day);
    files.create_folder_durably(&day)?;
    let written = write_file(&**files, &unfinished, name, draft).and_then(|info| {
        files.rename_durably(&unfinished, &path)?;
        Ok(info)
    });
    if written.is_err() {
        // What cannot be removed now is removed by the next start.
        let _ = files.remove(&unfinished);
        let _ = files.remove(&path);
    }
    written
}

fn write_file(files: &dyn Files, path: &Path, name: String, draft: Draft<'_>) -> Result<SegmentInfo, WriteError> {
    let Draft { parts, rows, age, blocks, replaces, salvage, .. } = draft;
    let unit = timestamps::unit_of(parts);
    let gatherer = Gatherer::new(parts)?;
    let empty = timestamps::to_unit(&gatherer.gather(&[])?.to_arrow()?, TIMESTAMP, unit)?;
    let file = Sealing::new(FileWriter::new(files.create(path)?));
    let mut writer = ArrowWriter::try_new(file, empty.schema(), Some(properties(parts)?))?;
    let size: usize = parts.iter().map(Records::size_bytes).sum();
    let row_bytes = size / parts.iter().map(Records::len).sum::<usize>().max(1);
    let group_rows = (GROUP_BYTES / row_bytes.max(1)).clamp(1, GROUP_ROWS);
    let messages: Vec<&StringArray> = parts.iter().map(|part| part.logs.messages()).collect();
    let (mut near, mut builder) = (Near::default(), TemplateBuilder::default());
    let mut groups = Vec::new();
    for rows in rows.chunks(group_rows) {
        near.fill(texts(&messages, rows));
        let Found { templates, of_rows, filter } = builder.find(near.iter());
        let arranged = order::arrange(parts, rows, &of_rows, near.lengths());
        let mut description = Description::default();
        // Few enough at a time to stay in the processor's cache while they are gathered and encoded.
        for run in arranged.chunks(RUN_ROWS) {
            let run = gatherer.gather_near(&order::at(rows, run), &near, run)?;
            writer.write(&timestamps::to_unit(&run.to_arrow()?, TIMESTAMP, unit)?)?;
            description.add(&run);
        }
        writer.flush()?;
        let description = description.finish().ok_or(WriteError::Empty)?;
        groups.push((description, filter, templates.with_runs(&order::at(&of_rows, &arranged)).encode()?));
    }
    let row_groups = groups
        .into_iter()
        .map(|(group, filter, templates)| {
            let tokens = filter.map(|filter| write_region(&mut writer, &filter)).transpose()?;
            let templates = Some(write_region(&mut writer, &templates)?);
            Ok(RowGroup { tokens, templates, ..group })
        })
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    let mut extent = row_groups.first().ok_or(WriteError::Empty)?.extent.clone();
    row_groups.iter().for_each(|group| extent.cover(&group.extent));
    let segment = SegmentInfo {
        name,
        bytes: 0,
        rows: rows.len() as u64,
        memory_bytes: (row_bytes * rows.len()) as u64,
        extent,
        age,
        ids: segment::id_ranges(&blocks),
        replaces,
        salvage,
    };
    let blocks = write_region(&mut writer, &serde_json::to_vec(&blocks)?)?;
    finish(writer, Footer { format: FORMAT, writer: writer_version(), segment, row_groups, blocks })
}

/// The program that writes, for the footer and for Parquet's own.
fn writer_version() -> String {
    format!("sluice {}", env!("CARGO_PKG_VERSION"))
}

/// Writes the footer and the seal, and syncs the file.
fn finish(mut writer: ArrowWriter<Sealing<FileWriter>>, footer: Footer) -> Result<SegmentInfo, WriteError> {
    let json = serde_json::to_string(&footer)?;
    writer.append_key_value_metadata(KeyValue::new(FOOTER_KEY.to_owned(), json));
    writer.inner_mut().hold();
    writer.finish()?;
    let sealing = writer.inner_mut();
    let bytes = sealing.seal()?;
    sealing.inner().file().sync()?;
    Ok(SegmentInfo { bytes, ..footer.segment })
}

/// The texts of these rows, in order.
fn texts<'a>(parts: &[&'a StringArray], rows: &[Place]) -> impl Iterator<Item = &'a str> {
    rows.iter().filter_map(|(part, row)| parts.get(*part as usize).map(|part| part.value(*row as usize)))
}

/// What the footer says of a row group, whose rows come run by run.
#[derive(Default)]
struct Description {
    rows: usize,
    bounds: Bounds,
    sequences: Option<(u64, u64)>,
    counts: Counter,
}

impl Description {
    /// Takes in the rows of a run.
    fn add(&mut self, part: &Records) {
        self.rows += part.len();
        self.bounds.add(&part.logs);
        self.sequences = match (self.sequences, part.sequences()) {
            (Some((min, max)), Some((least, greatest))) => Some((min.min(least), max.max(greatest))),
            (before, own) => before.or(own),
        };
        self.counts.add(&part.logs);
    }

    /// The footer's entry, whose regions have no place yet; `None`, if there were no rows.
    fn finish(self) -> Option<RowGroup> {
        let (extent, sequences) = self.bounds.extent().zip(self.sequences)?;
        // A row group's rows are counted by u32.
        let counts = Some(self.counts.finish());
        Some(RowGroup { rows: self.rows as u32, extent, sequences, tokens: None, templates: None, counts })
    }
}

fn write_region(writer: &mut ArrowWriter<Sealing<FileWriter>>, bytes: &[u8]) -> Result<Region, std::io::Error> {
    let offset = writer.bytes_written() as u64;
    writer.write_all(bytes)?;
    Ok(Region { offset, length: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) })
}

/// How each column is encoded: what is known to help, and nothing that only costs time.
fn properties(parts: &[Records]) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_created_by(writer_version())
        .set_data_page_row_count_limit(RUN_ROWS)
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_encoding(path("message"), Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .set_column_data_page_row_count_limit(path("message"), 1024);
    for name in ["sequence", "timestamp", "severity", "service", "overflow"] {
        properties = properties.set_column_statistics_enabled(path(name), EnabledStatistics::Chunk);
    }
    for name in ["sequence", "timestamp"] {
        properties = properties.set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    for name in ["run", "severity", "level", "service"] {
        properties = properties.set_column_dictionary_enabled(path(name), true);
    }
    for name in ["run", "sequence", "timestamp", "severity"] {
        // As they are encoded there is next to nothing left to compress.
        properties = properties.set_column_compression(path(name), Compression::UNCOMPRESSED);
    }
    let attributes = parts.iter().map(|part| part.logs.attributes().collect::<Vec<_>>()).collect::<Vec<_>>();
    for (index, (name, column)) in attributes.first().into_iter().flatten().enumerate() {
        let name = path(&format!("{ATTRIBUTE_PREFIX}{name}"));
        if repeats(attributes.iter().filter_map(|part| part.get(index)).map(|(_, column)| *column)) {
            properties = properties.set_column_dictionary_enabled(name, true);
        } else if column.data_type() == &DataType::Int64 {
            properties = properties.set_column_encoding(name, Encoding::DELTA_BINARY_PACKED);
        }
    }
    Ok(properties.build())
}

/// The path of a column at the root, whose name may have points in it.
fn path(name: &str) -> ColumnPath {
    ColumnPath::new(vec![name.to_owned()])
}

/// Whether a column, which comes in parts, has few distinct values, going by a sample, so that a dictionary is worth its
/// work.
fn repeats<'a>(parts: impl Iterator<Item = &'a ArrayRef> + Clone) -> bool {
    const SAMPLE: usize = 512;
    let step = (parts.clone().map(|column| column.len()).sum::<usize>() / SAMPLE).max(1);
    let mut distinct = HashSet::new();
    let mut sampled = 0_usize;
    for (column, row) in parts.flat_map(|column| (0..column.len()).step_by(step).map(move |row| (column, row))) {
        if column.is_null(row) {
            continue;
        }
        sampled += 1;
        distinct.insert(match column.data_type() {
            DataType::Utf8 => xxh3_64(column.as_string::<i32>().value(row).as_bytes()),
            DataType::Int64 => column.as_primitive::<Int64Type>().value(row) as u64,
            DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_bits(),
            _ => return false,
        });
    }
    sampled > 0 && distinct.len() <= sampled / 2
}
