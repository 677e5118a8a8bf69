//! `sluice requeue`: offers dead letters to a running server again.
//!
//! The server's file is moved aside under a name of its own first, `requeue-TIME.ndjson`, so that the server goes on with
//! a new one. Then each record is sent with an `Idempotency-Key` made of its old id: a run that was cut short, or a line
//! that stands in two files, stores nothing twice within the window of keys. How far a file is done stands beside it
//! ([`progress`]), synced every [`PROGRESS_EVERY`] records and whenever the run ends. What the server refuses goes to
//! `refused-TIME.ndjson` with the reason, and so does a line that is damaged, word for word, to `damaged-TIME.lines`. A
//! file is removed when each of its lines is in the server's spool or in one of these.

mod progress;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sluice_client::{Client, Format, PostError};
use sluice_model::Timestamp;

use self::progress::Done;
use super::server::{url_of, without_credentials};
use crate::config::Settings;
use crate::worker::dead_letter::{EXTENSION, FILE_NAME, LINE_BYTES_MAX, Letter};

/// After how many records it is noted how far a file is done.
const PROGRESS_EVERY: u64 = 100;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a server that answered at first may be away or refuse for now before the run gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of the dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requeued {
    /// Records that the server has accepted.
    pub accepted: u64,
    /// Records that it refused, or lines that are damaged: they are kept, with the reason.
    pub kept: u64,
}

/// Why a run ended early. Nothing is lost by it; another run goes on.
#[derive(Debug, thiserror::Error)]
pub enum RequeueError {
    /// The server's URL is none.
    #[error("{0}")]
    Url(String),
    /// Another run has the folder.
    #[error("another requeue is at work in {0}")]
    Held(String),
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The server cannot be reached, or takes nothing now.
    #[error("{0}; run it again later, the rest is kept")]
    Server(String),
}

/// Offers the dead letters of `file`, or all of the data folder, to the server at `url`.
///
/// # Errors
/// [`RequeueError`], with what was done before it.
pub fn requeue(url: Option<&str>, file: Option<&Path>, settings: &Settings) -> (Requeued, Result<(), RequeueError>) {
    let mut done = Requeued::default();
    let result = run(url, file, settings, &mut done);
    (done, result)
}

fn run(url: Option<&str>, file: Option<&Path>, settings: &Settings, done: &mut Requeued) -> Result<(), RequeueError> {
    let url = url_of(url, settings);
    let shown = without_credentials(&url);
    let builder = Client::builder(&url).timeout(TIMEOUT).retry_for(PATIENCE);
    let client = builder.build().map_err(|error| RequeueError::Url(format!("{shown}: {error}")))?;
    let folder = match file {
        Some(file) => file.parent().unwrap_or(Path::new("")).to_owned(),
        None => settings.data_dir.join("dead-letter"),
    };
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
    if !folder.is_dir() {
        return Ok(());
    }
    let _lock = lock(&folder)?;
    let stamp = Timestamp::now().to_string().replace([':', '.'], "-");
    let files = match file {
        Some(file) if file.file_name().is_none_or(|name| name != FILE_NAME) => vec![file.to_owned()],
        // The server may write to that one.
        _ => waiting(&folder, &stamp)?,
    };
    if !files.is_empty() {
        // Where there is none, that is told at once rather than after all patience.
        let probe = builder.retries(0).build().map_err(|error| RequeueError::Url(format!("{shown}: {error}")))?;
        probe.health().map_err(|error| RequeueError::Server(format!("{shown}: {error}")))?;
    }
    let mut run = Run { client, url: shown, kept: folder.join(format!("refused-{stamp}.{EXTENSION}")), done };
    files.iter().try_for_each(|path| run.file(path))
}

/// The files with dead letters, the oldest first; the server's own is moved aside.
fn waiting(folder: &Path, stamp: &str) -> Result<Vec<PathBuf>, RequeueError> {
    let current = folder.join(FILE_NAME);
    match fs::rename(&current, folder.join(format!("requeue-{stamp}.{EXTENSION}"))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of_file(&current)(error)),
        _ => File::open(folder).and_then(|folder| folder.sync_all()).map_err(of_file(folder))?,
    }
    let entries = fs::read_dir(folder).map_err(of_file(folder))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(of_file(folder))?;
    let ours = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == EXTENSION) && path.file_name().is_some_and(|name| name != FILE_NAME)
    };
    let mut paths: Vec<PathBuf> = paths.into_iter().filter(ours).collect();
    paths.sort_unstable();
    Ok(paths)
}

fn lock(folder: &Path) -> Result<File, RequeueError> {
    let path = folder.join("requeue.lock");
    let file = private().create(true).truncate(false).open(&path).map_err(of_file(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RequeueError::Held(folder.display().to_string())),
        Err(TryLockError::Error(error)) => Err(of_file(&path)(error)),
    }
}

struct Run<'a> {
    client: Client,
    url: String,
    /// Where what is refused goes.
    kept: PathBuf,
    done: &'a mut Requeued,
}

/// What the server says of a record.
enum Verdict {
    Accepted,
    /// Why not, as a line.
    Refused(String),
}

impl Run<'_> {
    /// Offers the lines of a file, and removes it.
    fn file(&mut self, path: &Path) -> Result<(), RequeueError> {
        let progress = path.with_extension("progress");
        let file = File::open(path).map_err(of_file(path))?;
        let mut lines = BufReader::new(file);
        let mut done = Done::of(&mut lines, &progress).map_err(of_file(&progress))?;
        let (mut line, mut since) = (Vec::new(), 0);
        let outcome = loop {
            line.clear();
            match lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(of_file(path)(error)),
            }
            if let Err(error) = self.line(&line) {
                break Err(error);
            }
            done.add(&line);
            since += 1;
            if since % PROGRESS_EVERY == 0
                && let Err(error) = done.note(&progress, &mut private())
            {
                break Err(of_file(&progress)(error));
            }
        };
        if outcome.is_err() {
            done.note(&progress, &mut private()).map_err(of_file(&progress))?;
            return outcome;
        }
        // The file goes first: without its progress it would be offered again. A progress without its file does no harm.
        fs::remove_file(path).map_err(of_file(path))?;
        match fs::remove_file(&progress) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(of_file(&progress)(error)),
            _ => Ok(()),
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), RequeueError> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let letter = match Letter::parse(line) {
            Ok(letter) => letter,
            Err(error) => {
                eprintln!("sluice: a line is kept as it is: {error}");
                self.done.kept += 1;
                let ended: &[u8] = if line.ends_with(b"\n") { b"" } else { b"\n" };
                return self.keep(&self.damaged(), &[line, ended].concat());
            }
        };
        match self.offer(&letter)? {
            Verdict::Accepted => self.done.accepted += 1,
            Verdict::Refused(reason) => {
                eprintln!("sluice: {} is refused: {reason}", letter.id);
                self.done.kept += 1;
                self.keep(&self.kept.clone(), &letter.with_reason(&reason))?;
            }
        }
        Ok(())
    }

    /// Where damaged lines go.
    fn damaged(&self) -> PathBuf {
        let name = self.kept.file_stem().unwrap_or_default().to_string_lossy().replacen("refused", "damaged", 1);
        self.kept.with_file_name(format!("{name}.lines"))
    }

    fn keep(&self, path: &Path, line: &[u8]) -> Result<(), RequeueError> {
        let written = private().append(true).create(true).open(path).and_then(|mut file| {
            file.write_all(line)?;
            file.sync_all()
        });
        let folder = path.parent().unwrap_or(Path::new("."));
        written.and_then(|()| File::open(folder)?.sync_all()).map_err(of_file(path))
    }

    /// Sends a record until the server takes it, or refuses it for good.
    fn offer(&mut self, letter: &Letter<'_>) -> Result<Verdict, RequeueError> {
        let key = format!("requeue-{}", letter.id);
        let wait = &mut |pause| {
            thread::sleep(pause);
            true
        };
        match self.client.post_batch_keyed(Format::Json, letter.record.get().as_bytes(), &key, wait) {
            Ok(_) => Ok(Verdict::Accepted),
            Err(PostError::Refused(problem)) if matches!(problem.status, 400 | 409 | 413 | 415) => {
                Ok(Verdict::Refused(problem.to_string()))
            }
            Err(error) => Err(RequeueError::Server(format!("{}: {error}", self.url))),
        }
    }
}

/// Files that only their owner reads.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn of_file(path: &Path) -> impl Fn(io::Error) -> RequeueError {
    let path = path.display().to_string();
    move |error| RequeueError::Io { path: path.clone(), error }
}
