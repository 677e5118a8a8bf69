//! Where lines go that are not accepted.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::chunk::{Bad, Chunk};
use crate::cli::failure::Failure;
use crate::cli::terminal::escape;

/// Reports lines on standard error, or in a file.
pub(super) struct Rejects {
    file: Option<(PathBuf, File)>,
}

impl Rejects {
    /// Adds to the file at `path`, if there is to be one: what an earlier run has put there stays.
    pub(super) fn open(path: Option<&Path>) -> Result<Rejects, Failure> {
        let open = |path: &Path| {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.map(|file| (path.to_owned(), file)).map_err(|error| Failure::file(path, &error))
        };
        Ok(Rejects { file: path.map(open).transpose()? })
    }

    /// Reports the bad lines of a chunk.
    pub(super) fn tell(&mut self, path: &Path, chunk: &Chunk, bad: &[Bad]) -> Result<(), Failure> {
        let mut lines = String::new();
        for (bad, item) in bad.iter().filter_map(|bad| Some((bad, chunk.get(bad.index)?))) {
            let (file, line, reason) = (path.to_string_lossy(), item.line, &bad.reason);
            if self.file.is_none() {
                eprintln!("{}:{line}: {}", escape(&file, false), escape(reason, false));
            } else {
                let text = String::from_utf8_lossy(&item.raw);
                lines.push_str(&json!({"file": file, "line": line, "reason": reason, "text": text}).to_string());
                lines.push('\n');
            }
        }
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.write_all(lines.as_bytes()).map_err(|error| Failure::file(path, &error))
    }
}
