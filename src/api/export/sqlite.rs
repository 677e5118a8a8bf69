//! The answer that is a SQLite database: built in a temporary file, then sent.
//!
//! While it is built nothing of it can be sent but its first bytes, which are the same in every such file. They go out one
//! by one, ever more slowly: a client that is gone is noticed by that alone, and a proxy sees that there is life.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::rt;
use actix_web::rt::task::JoinHandle;
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use bytes::{Buf, Bytes};
use futures_util::stream::try_unfold;
use log::warn;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::database::{Database, DatabaseError, HEAD};
use crate::api::encode::Field;
use crate::api::stall::Pace;
use crate::api::windows::{Windows, lost_thread};
use crate::batch::Records;
use crate::error::{Problem, ProblemKind};
use crate::files::Scratch;
use crate::spool::Spool;
use crate::worker::ReadError;

/// What is read of the file at a time.
const READ_BYTES: usize = 256 << 10;
/// How long the status waits for the outcome: a failure by then is an error like any.
const STATUS_WAIT: Duration = Duration::from_secs(1);
/// How long after the one sign of life the next comes, at least.
const SIGN_WAIT: Duration = Duration::from_secs(1);
/// How much of the disk must be left beside what is written next.
const SPARE_BYTES: u64 = 64 << 20;
/// How often the client is told to ask again where the disk is full.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Where temporary files go, and who says how much room there is.
pub(super) struct Disk {
    pub scratch: Arc<Scratch>,
    pub spool: Arc<Spool>,
}

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
enum SqliteError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the disk has no room for a database: {spare} bytes are left above spool.free_disk_floor and its reserve")]
    DiskFull { spare: u64 },
    #[error("the client did not read for {0:?}")]
    Stalled(Duration),
    #[error("the database begins otherwise than expected")]
    OtherHead,
}

impl From<io::Error> for SqliteError {
    fn from(error: io::Error) -> Self {
        SqliteError::Database(error.into())
    }
}

impl From<SqliteError> for Problem {
    fn from(error: SqliteError) -> Self {
        match error {
            SqliteError::Read(error) => error.into(),
            full @ SqliteError::DiskFull { .. } => Problem::unavailable(full.to_string(), RETRY_AFTER),
            other => Problem::new(ProblemKind::Internal, other.to_string()),
        }
    }
}

/// Answers with a database of what is found.
pub(super) async fn answer(
    mut windows: Windows,
    fields: Option<Vec<Field>>,
    disk: Disk,
    stall_timeout: Duration,
    is_head: bool,
    place: OwnedSemaphorePermit,
    mut response: HttpResponseBuilder,
) -> Result<HttpResponse, Problem> {
    let first = windows.next().await?.unwrap_or_default();
    if is_head {
        let none = try_unfold((), |()| async { Ok::<Option<(Bytes, ())>, SqliteError>(None) });
        return Ok(response.streaming(none));
    }
    disk.check(0)?;
    let (sender, mut parts) = channel(2);
    let work = Work(rt::spawn(work(windows, first, fields, disk, place, sender)));
    let next = match tokio::time::timeout(STATUS_WAIT, parts.recv()).await {
        Ok(part) => Some(part.unwrap_or_else(|| Err(lost_thread().into()))?),
        Err(_) => None,
    };
    let body = Body { parts, next, signs: Signs::new(), pace: Pace::new(stall_timeout), _work: work };
    Ok(response.streaming(try_unfold(body, Body::next)))
}

/// A part of the file, or its end.
type Part = Result<Option<Bytes>, SqliteError>;

/// The task that builds and reads the file; it ends when it is dropped, and the file is removed.
struct Work(JoinHandle<()>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn work(
    windows: Windows,
    first: Vec<Records>,
    fields: Option<Vec<Field>>,
    disk: Disk,
    place: OwnedSemaphorePermit,
    parts: Sender<Part>,
) {
    let outcome = build_and_send(windows, first, fields, disk, place, &parts).await;
    // Whoever has gone away needs no end.
    let _ = parts.send(outcome.map(|()| None)).await;
}

async fn build_and_send(
    mut windows: Windows,
    first: Vec<Records>,
    fields: Option<Vec<Field>>,
    disk: Disk,
    place: OwnedSemaphorePermit,
    parts: &Sender<Part>,
) -> Result<(), SqliteError> {
    let scratch = disk.scratch.clone();
    let mut database = blocking(move || Ok(Database::create(scratch.file("sqlite")?, fields, place)?)).await?;
    let mut found = Some(first);
    while let Some(window) = found {
        for records in window {
            disk.check(records.size_bytes())?;
            database = blocking(move || database.insert(&records).map(|()| database).map_err(Into::into)).await?;
        }
        found = windows.next().await?;
    }
    let file = Arc::new(blocking(move || Ok(database.finish()?)).await?);
    let mut offset = 0;
    while offset < file.bytes() {
        let reader = file.clone();
        let part = blocking(move || Ok(reader.read(offset, READ_BYTES)?)).await?;
        offset += part.len() as u64;
        if parts.send(Ok(Some(Bytes::from(part)))).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Runs what may block where it holds nobody up.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, SqliteError> + Send + 'static,
) -> Result<T, SqliteError> {
    web::block(run).await.map_err(|_| lost_thread())?
}

impl Disk {
    /// Whether records of `size_bytes` may be written.
    fn check(&self, size_bytes: usize) -> Result<(), SqliteError> {
        let spare = self.spool.spare_disk_bytes();
        // Records take about as much in a database as in memory.
        if spare < SPARE_BYTES + 2 * size_bytes as u64 { Err(SqliteError::DiskFull { spare }) } else { Ok(()) }
    }
}

/// What is left of an answer.
struct Body {
    parts: Receiver<Part>,
    /// What came before the status.
    next: Option<Option<Bytes>>,
    signs: Signs,
    pace: Pace,
    _work: Work,
}

impl Body {
    /// The next chunk, and the rest; an error cuts the connection.
    async fn next(mut self) -> Result<Option<(Bytes, Body)>, SqliteError> {
        match self.advance().await {
            Ok(Some(chunk)) => {
                self.pace.gave();
                Ok(Some((chunk, self)))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                warn!(error:% = error; "an export is cut");
                Err(error)
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, SqliteError> {
        self.pace.check().map_err(SqliteError::Stalled)?;
        let part = match self.next.take() {
            Some(part) => part,
            None => tokio::select! {
                biased;
                part = self.parts.recv() => part.unwrap_or_else(|| Err(lost_thread().into()))?,
                sign = self.signs.next() => return Ok(Some(sign)),
            },
        };
        part.map(|part| self.signs.cut(part)).transpose()
    }
}

/// The signs of life: the file's first bytes, before it is there.
struct Signs {
    begun: Instant,
    sent: usize,
    /// Whether the file is there.
    over: bool,
}

impl Signs {
    fn new() -> Signs {
        Signs { begun: Instant::now(), sent: 0, over: false }
    }

    /// Waits, and gives the next byte; for ever, when there are none left.
    async fn next(&mut self) -> Bytes {
        let sign = HEAD.get(self.sent).filter(|_| !self.over);
        let Some(sign) = sign else { return std::future::pending().await };
        rt::time::sleep(SIGN_WAIT.max(self.begun.elapsed() / 4)).await;
        self.sent += 1;
        Bytes::copy_from_slice(&[*sign])
    }

    /// The file's first part without what was sent of it; any other as it is.
    fn cut(&mut self, mut part: Bytes) -> Result<Bytes, SqliteError> {
        if !self.over {
            self.over = true;
            if !part.starts_with(HEAD.get(..self.sent).unwrap_or_default()) {
                return Err(SqliteError::OtherHead);
            }
            part.advance(self.sent);
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_out_as_a_sign_is_not_sent_again() {
        let file = Bytes::from([&HEAD[..], b"rest"].concat());
        for sent in [0, 1, HEAD.len()] {
            let mut signs = Signs { sent, ..Signs::new() };
            assert_eq!(signs.cut(file.clone()).unwrap(), file.slice(sent..));
            assert_eq!(signs.cut(file.clone()).unwrap(), file, "only the first part begins the file");
        }
        let mut signs = Signs { sent: 1, ..Signs::new() };
        assert!(matches!(signs.cut(Bytes::from_static(b"other")), Err(SqliteError::OtherHead)));
    }

    #[actix_web::test]
    async fn signs_are_the_first_bytes_and_end_with_them() {
        let mut signs = Signs::new();
        assert_eq!(signs.next().await, &HEAD[..1]);
        assert_eq!(signs.sent, 1);
        signs.sent = HEAD.len();
        let none = tokio::time::timeout(SIGN_WAIT * 2, signs.next()).await;
        assert!(none.is_err(), "there are no more");
    }
}
