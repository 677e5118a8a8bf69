//! The connection: the URI's checks, a client that is built when it is first needed, and a deadline for every call.

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::store::StoreError;

/// The database, where the URI names none.
const DATABASE: &str = "logdb";
/// The collection of all records.
pub(super) const COLLECTION: &str = "logs";

/// How long a server is looked for, a connection may take to open, and the pause between two looks at each server.
const STEP: Duration = Duration::from_secs(2);
/// How long a majority may take to have a write.
pub(super) const WRITE_CONCERN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long resolving a `mongodb+srv` URI may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a look at the server's health may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// How many connections there are to one server at most, unless the URI says otherwise.
const CONNECTIONS_MAX: u32 = 64;
/// The server does not know the command.
const COMMAND_NOT_FOUND: i32 = 59;
/// How much of a driver's message is shown.
const MESSAGE_CHARS: usize = 400;

/// What is wrong with the configuration of MongoDB. No message holds the URI's credentials.
#[derive(Debug, thiserror::Error)]
pub enum MongoConfigError {
    /// The URI cannot be understood.
    #[error("the MongoDB URI is malformed: {0}")]
    Uri(String),
    /// The URI asks for writes that could be lost.
    #[error("the MongoDB URI asks for {0}, but every write is w=majority and journal=true: leave it out")]
    WeakWrites(String),
    /// The threads of the driver cannot be started.
    #[error("cannot start the threads for MongoDB: {0}")]
    Threads(#[from] std::io::Error),
}

/// Why a call gave nothing.
pub(super) enum CallError {
    /// The deadline passed.
    TimedOut(Duration),
    /// The store is closed.
    Closed,
    /// The driver or the server says so.
    Driver(Box<Error>),
}

impl CallError {
    /// The error for a caller who cannot do anything about it but wait.
    pub(super) fn unavailable(&self) -> StoreError {
        StoreError::Unavailable(match self {
            CallError::TimedOut(deadline) => format!("MongoDB did not answer within {deadline:?}"),
            CallError::Closed => "the store is closed".to_owned(),
            // The whole error shows the server's answer too, which may hold records.
            CallError::Driver(error) => error.kind.to_string().chars().take(MESSAGE_CHARS).collect(),
        })
    }

    /// The server's code, if it refused the command as a whole.
    pub(super) fn command_code(&self) -> Option<i32> {
        match self {
            CallError::Driver(error) => match &*error.kind {
                ErrorKind::Command(error) => Some(error.code),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        error.unavailable()
    }
}

/// A checked URI, a runtime for the driver, and the client once there is one.
///
/// The driver has no deadline for an operation, and a frozen server would hang a call for ever; so every call goes
/// through [`Connection::call`], from a plain thread. The call's own work is done on that thread; a thread of the
/// runtime's waits for sockets and timers, and looks after the driver's tasks.
pub(super) struct Connection {
    uri: String,
    runtime: Handle,
    client: Mutex<Option<Database>>,
    closed: watch::Sender<bool>,
    /// How many calls are under way: the driver panics in a call whose runtime goes away.
    calls: watch::Sender<usize>,
}

impl Connection {
    pub(super) fn new(uri: &str) -> Result<Connection, MongoConfigError> {
        check(uri)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (closed, calls) = (watch::Sender::new(false), watch::Sender::new(0));
        let (mut closing, mut running) = (closed.subscribe(), calls.subscribe());
        std::thread::Builder::new().name("mongodb".to_owned()).spawn(move || {
            runtime.block_on(async {
                // An error means that the connection is gone, which is an end too.
                let _ = closing.wait_for(|closed| *closed).await;
                let _ = running.wait_for(|calls| *calls == 0).await;
            });
            runtime.shutdown_background();
        })?;
        Ok(Connection { uri: uri.to_owned(), runtime: handle, client: Mutex::new(None), closed, calls })
    }

    /// Waits for `operation`, but not past `deadline`, nor past the end of the store.
    pub(super) fn call<T>(
        &self,
        deadline: Duration,
        operation: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, CallError> {
        self.calls.send_modify(|calls| *calls += 1);
        let answer = self.run(deadline, operation);
        self.calls.send_modify(|calls| *calls -= 1);
        answer
    }

    fn run<T>(
        &self,
        deadline: Duration,
        operation: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, CallError> {
        let mut closed = self.closed.subscribe();
        self.runtime.block_on(async {
            let operation = pin!(tokio::time::timeout(deadline, operation));
            // The end is looked at first: after it nothing drives the operation, nor its deadline.
            match select(pin!(closed.wait_for(|closed| *closed)), operation).await {
                Either::Left(_) => Err(CallError::Closed),
                Either::Right((Ok(Ok(answer)), _)) => Ok(answer),
                Either::Right((Ok(Err(error)), _)) => Err(CallError::Driver(Box::new(error))),
                Either::Right((Err(_), _)) => Err(CallError::TimedOut(deadline)),
            }
        })
    }

    /// The collection of all records. The client is built here, and not earlier: a `mongodb+srv` URI is resolved then.
    pub(super) fn collection(&self) -> Result<Collection<RawDocumentBuf>, CallError> {
        self.database().map(|database| database.collection(COLLECTION))
    }

    /// The database of the collection.
    pub(super) fn database(&self) -> Result<Database, CallError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*client {
            return Ok(database.clone());
        }
        let database = self.call(RESOLVE_TIMEOUT, async {
            let mut options = ClientOptions::parse(&self.uri).await?;
            complete(&mut options);
            let name = options.default_database.clone().unwrap_or_else(|| DATABASE.to_owned());
            // Spawns the driver's tasks, so it must happen on the runtime.
            Ok(Client::with_options(options)?.database(&name))
        })?;
        *client = Some(database.clone());
        Ok(database)
    }

    /// Asks whether there is a primary that takes writes.
    pub(super) fn health(&self) -> Result<(), StoreError> {
        let database = self.database()?;
        let ask = |name: &str| self.call(HEALTH_TIMEOUT, async { database.run_command(doc! { name: 1 }).await });
        let hello = match ask("hello") {
            // The name that it had before version 5.
            Err(error) if error.command_code() == Some(COMMAND_NOT_FOUND) => ask("isMaster"),
            answer => answer,
        }?;
        let writable = |name| hello.get_bool(name).unwrap_or(false);
        if writable("isWritablePrimary") || writable("ismaster") {
            Ok(())
        } else {
            Err(StoreError::Unavailable("the MongoDB server is not a writable primary".to_owned()))
        }
    }

    /// Ends all calls, now and later.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Sleeps; wakes up early at the end of the store.
    pub(super) fn pause(&self, length: Duration) {
        // Whether it was the pause or the store that ended is asked of `is_closed`.
        let _ = self.call(length, std::future::pending::<mongodb::error::Result<()>>());
    }
}

/// Refuses what must be wrong, without asking any server.
pub(super) fn check(uri: &str) -> Result<(), MongoConfigError> {
    let options =
        ConnectionString::parse(uri).map_err(|error| MongoConfigError::Uri(without_credentials(&error, uri)))?;
    let Some(concern) = options.write_concern else { return Ok(()) };
    match concern.w {
        None | Some(Acknowledgment::Majority) => {}
        Some(Acknowledgment::Nodes(nodes)) => return Err(MongoConfigError::WeakWrites(format!("w={nodes}"))),
        Some(Acknowledgment::Custom(name)) => return Err(MongoConfigError::WeakWrites(format!("w={name}"))),
        Some(_) => return Err(MongoConfigError::WeakWrites("another w".to_owned())),
    }
    if concern.journal == Some(false) {
        return Err(MongoConfigError::WeakWrites("journal=false".to_owned()));
    }
    Ok(())
}

/// The driver's message, unless any piece of what stands before the URI's last `@` may be in it.
fn without_credentials(error: &Error, uri: &str) -> String {
    let message = error.kind.to_string();
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let secret = rest.rsplit_once('@').map_or("", |(secret, _)| secret);
    let mut pieces = secret.split([':', '/', '@', '?', '&', '=', ',']).filter(|piece| !piece.is_empty());
    if pieces.any(|piece| message.contains(piece)) {
        "percent-encode special characters in user name and password, and check hosts and options".to_owned()
    } else {
        message
    }
}

/// Fills in what the URI leaves open, and what is not open to it.
fn complete(options: &mut ClientOptions) {
    options.app_name.get_or_insert_with(|| "sluice".to_owned());
    options.server_selection_timeout.get_or_insert(STEP);
    options.connect_timeout.get_or_insert(STEP);
    options.heartbeat_freq.get_or_insert(STEP);
    options.max_pool_size.get_or_insert(CONNECTIONS_MAX);
    // The spool sends again, and knows better when.
    options.retry_writes.get_or_insert(false);
    let asked = options.write_concern.as_ref().and_then(|concern| concern.w_timeout);
    let mut concern = WriteConcern::majority();
    concern.journal = Some(true);
    concern.w_timeout = Some(asked.unwrap_or(WRITE_CONCERN_TIMEOUT));
    options.write_concern = Some(concern);
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(uri: &str) -> String {
        check(uri).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_uri_with_weaker_writes_is_refused() {
        for (option, shown) in [
            ("w=0", "w=0"),
            ("w=1", "w=1"),
            ("w=2", "w=2"),
            ("w=rack", "w=rack"),
            ("journal=false", "journal=false"),
            ("w=majority&journal=false", "journal=false"),
        ] {
            let refusal = refusal(&format!("mongodb://user:secret@localhost/db?{option}"));
            assert!(refusal.contains(&format!("asks for {shown},")), "{option}: {refusal}");
            assert!(!refusal.contains("secret"), "{refusal}");
        }
        for option in ["w=majority", "journal=true", "retryWrites=true", "wtimeoutMS=100", "replicaSet=rs0"] {
            assert_eq!(refusal(&format!("mongodb://user:secret@localhost/db?{option}")), "", "{option}");
        }
    }

    #[test]
    fn no_message_about_a_bad_uri_shows_credentials() {
        for uri in [
            "mongodb://user:se/cret@localhost/db",
            "mongodb://user:se@cret@localhost/db",
            "mongodb://user:se?cret@localhost/db",
            "mongodb://user:secret@localhost:port/db",
            "mongodb://user:se%zzcret@localhost/db",
            "mongodb://user:secret@localhost/db?socketTimeoutMS=no",
            "mongodb://user:secret@/db",
            "mongodb+srv://user:secret@a,b/db",
            "mongodb://:secret@localhost",
        ] {
            let refusal = refusal(uri);
            assert!(refusal.starts_with("the MongoDB URI is malformed: "), "{uri}: {refusal}");
            assert!(!refusal.contains("se") || !refusal.contains("cret"), "{uri}: {refusal}");
        }
    }

    #[test]
    fn what_the_uri_leaves_open_is_filled_in() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let options = |uri: &str| {
            let mut options = runtime.block_on(async { ClientOptions::parse(uri).await }).unwrap();
            complete(&mut options);
            options
        };
        let open = options("mongodb://localhost");
        assert_eq!(open.server_selection_timeout, Some(STEP));
        assert_eq!(open.retry_writes, Some(false));
        let given = options(
            "mongodb://localhost/?retryWrites=true&serverSelectionTimeoutMS=7&wtimeoutMS=9&readPreference=secondary",
        );
        assert_eq!(given.server_selection_timeout, Some(Duration::from_millis(7)));
        assert_eq!(given.retry_writes, Some(true));
        assert_eq!(given.selection_criteria, Some(SelectionCriteria::ReadPreference(ReadPreference::Primary)));
        let mut concern = WriteConcern::majority();
        concern.journal = Some(true);
        concern.w_timeout = Some(Duration::from_millis(9));
        assert_eq!(given.write_concern, Some(concern));
    }
}
