//! `sluice export`: everything that matches, into a file or onwards.
//!
//! A file appears under its name only once it is whole and synced; until then it is `NAME.part` beside it.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use sluice_client::{Answer, ExportFormat};

use super::query::OrderChoice;
use super::{SelectionArgs, ZoneArgs, connect};
use crate::cli::failure::Failure;
use crate::cli::progress;
use crate::cli::server::ServerArgs;

const BUFFER_BYTES: usize = 256 << 10;

/// `sluice export`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// The form of the export [default: by the end of FILE's name, else ndjson]
    #[arg(long, value_name = "FORMAT", value_enum, help_heading = "Output")]
    format: Option<FormatChoice>,
    /// Where it goes [default: standard output]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,
    /// Replace FILE if there is one
    #[arg(long, requires = "output", help_heading = "Output")]
    force: bool,
    /// Oldest first (asc, the default) or newest first (desc)
    #[arg(long, value_name = "ORDER", value_enum, help_heading = "Selection")]
    order: Option<OrderChoice>,
    /// These fields only, in this order
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "Output")]
    fields: Vec<String>,
    #[command(flatten)]
    zone: ZoneArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum FormatChoice {
    /// A JSON object a line.
    Ndjson,
    /// A table with a header (RFC 4180).
    Csv,
    /// A line of text a record.
    Text,
    /// An Apache Parquet file.
    Parquet,
    /// An Apache Arrow IPC stream.
    Arrow,
    /// An SQLite database.
    Sqlite,
}

impl FormatChoice {
    /// The form that a file's name asks for.
    fn of_name(path: &Path) -> Option<FormatChoice> {
        Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "ndjson" | "jsonl" | "json" => FormatChoice::Ndjson,
            "csv" => FormatChoice::Csv,
            "txt" | "log" => FormatChoice::Text,
            "parquet" => FormatChoice::Parquet,
            "arrow" | "arrows" => FormatChoice::Arrow,
            "sqlite" | "sqlite3" | "db" => FormatChoice::Sqlite,
            _ => return None,
        })
    }
}

impl From<FormatChoice> for ExportFormat {
    fn from(choice: FormatChoice) -> ExportFormat {
        match choice {
            FormatChoice::Ndjson => ExportFormat::Ndjson,
            FormatChoice::Csv => ExportFormat::Csv,
            FormatChoice::Text => ExportFormat::Text,
            FormatChoice::Parquet => ExportFormat::Parquet,
            FormatChoice::Arrow => ExportFormat::Arrow,
            FormatChoice::Sqlite => ExportFormat::Sqlite,
        }
    }
}

impl ExportArgs {
    /// Writes everything that matches.
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        let by_name = self.output.as_deref().and_then(FormatChoice::of_name);
        let format = self.format.or(by_name).unwrap_or(FormatChoice::Ndjson);
        if self.output.is_none() && io::stdout().is_terminal() {
            return Err(Failure::usage(
                "an export goes to a file or a pipe: use --output FILE (`sluice query` shows records)",
            ));
        }
        // Before anything is asked for.
        if let Some(path) = self.output.as_deref().filter(|path| !self.force && path.symlink_metadata().is_ok()) {
            return Err(Failure::usage(format!("{} exists: --force replaces it", path.display())));
        }
        let query = self.selection.to_query(self.zone.zone())?;
        let query = self.order.into_iter().fold(query, |query, order| query.order(order.into()));
        let query = if self.fields.is_empty() { query } else { query.fields(&self.fields) };
        let (client, url) = connect(&self.server)?;
        let answer = client.export(&query, format.into());
        let mut answer = answer.map_err(|error| Failure::reading(&url, &self.selection.text(), error))?;
        match &self.output {
            Some(path) => self.to_file(path, &mut answer, &url),
            None => copy(&mut answer, &mut io::stdout(), &url, &mut |_| {}, |error| Failure::output(&error)).map(drop),
        }
    }

    fn to_file(&self, path: &Path, answer: &mut Answer, url: &str) -> Result<(), Failure> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let of_part = |error: io::Error| Failure::file(&part, &error);
        let mut file = File::create(&part).map_err(of_part)?;
        let progress = progress::bytes();
        let copied = copy(answer, &mut file, url, &mut |count| progress.inc(count), of_part);
        progress.finish_and_clear();
        let placed = copied.and_then(|bytes| {
            file.sync_all().map_err(of_part)?;
            self.place(&part, path).map(|()| bytes)
        });
        match placed {
            Ok(bytes) => {
                eprintln!("sluice: {}: {}", path.display(), progress::size(bytes));
                Ok(())
            }
            Err(failure) => {
                // Half an export is of no use; what it failed of is told.
                let _ = fs::remove_file(&part);
                Err(failure)
            }
        }
    }

    /// Gives the whole file its name; without `--force`, also one that has come up meanwhile is kept.
    fn place(&self, part: &Path, path: &Path) -> Result<(), Failure> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Unlike a rename, a link never replaces anything; but not every file system has them.
        let placed = match fs::hard_link(part, path) {
            Ok(()) => fs::remove_file(part),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !self.force => Err(error),
            Err(_) => fs::rename(part, path),
        };
        placed.and_then(|()| File::open(folder)?.sync_all()).map_err(|error| Failure::file(path, &error))
    }
}

/// Copies an answer to its end; tells how many bytes came each time, and in the end how many there were.
fn copy(
    answer: &mut impl Read,
    out: &mut impl Write,
    url: &str,
    came: &mut dyn FnMut(u64),
    of_output: impl Fn(io::Error) -> Failure,
) -> Result<u64, Failure> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let count = match answer.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::broke_off(url, &error)),
        };
        out.write_all(buffer.get(..count).unwrap_or_default()).map_err(&of_output)?;
        bytes += count as u64;
        came(count as u64);
    }
    out.flush().map_err(of_output)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_tells_its_form() {
        assert_eq!(FormatChoice::of_name(Path::new("a/logs.Parquet")), Some(FormatChoice::Parquet));
        assert_eq!(FormatChoice::of_name(Path::new("logs.db")), Some(FormatChoice::Sqlite));
        assert_eq!(FormatChoice::of_name(Path::new("logs.gz")), None);
        assert_eq!(FormatChoice::of_name(Path::new("logs")), None);
    }
}
