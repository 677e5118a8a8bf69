//! The whole server: connects the parts, binds the port, and stops everything in one order.

mod descriptors;
mod lock;
mod stop;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Server;
use actix_web::middleware::{Compress, from_fn};
use actix_web::{App as Routes, HttpServer, web};
use log::{info, warn};
use prometheus_client::registry::Registry;

use crate::api::{self, Connections};
use crate::config::{Settings, StoreTarget};
use crate::files::{Disk, Files, Scratch, Watched};
use crate::ingest::Ingest;
use crate::spool::{Spool, SpoolError};
use crate::store::Store;
use crate::store::embedded::EmbeddedStore;
use crate::store::mongodb::MongoStore;
use crate::tail::Tails;
use crate::telemetry::{Metrics, VERSION};
use crate::worker::{Sections, Workers, WorkersError};

pub use lock::{FolderLock, LockError};
pub use stop::StopSignal;

/// The server, ready to run.
pub struct App {
    address: SocketAddr,
    server: Server,
    spool: Arc<Spool>,
    tails: Arc<Tails>,
    workers: Arc<Workers>,
    store: Arc<dyn Store>,
    shutdown_timeout: Duration,
    _lock: FolderLock,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The data folder cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The spool cannot be opened.
    #[error("spool: {0}")]
    Spool(#[from] SpoolError),
    /// The store's configuration or files cannot be used.
    #[error("store: {0}")]
    Store(String),
    /// The workers cannot be started.
    #[error("workers: {0}")]
    Workers(#[from] WorkersError),
    /// The thread of the tails cannot be started.
    #[error("tails: {0}")]
    Tails(std::io::Error),
    /// The port cannot be bound, or the server not be started.
    #[error("{listen}: {error}")]
    Bind {
        /// Where it was to listen.
        listen: SocketAddr,
        /// Why it cannot.
        error: std::io::Error,
    },
}

impl App {
    /// Builds the server: takes the folder, recovers the spool, opens the store, starts the workers and binds the port.
    /// To be called on a running actix system.
    ///
    /// # Errors
    /// [`BuildError`]; nothing runs then.
    pub fn build(settings: &Settings) -> Result<App, BuildError> {
        App::build_on(Arc::new(Disk), settings)
    }

    /// The same on any file system; only the folder's lock is the operating system's.
    ///
    /// # Errors
    /// As for [`App::build`].
    pub fn build_on(files: Arc<dyn Files>, settings: &Settings) -> Result<App, BuildError> {
        let lock = FolderLock::take(&settings.data_dir)?;
        let listener = bind(settings.listen)?;
        let address = listener.local_addr().map_err(|error| BuildError::Bind { listen: settings.listen, error })?;
        let mut registry = Registry::default();
        let watched = Arc::new(Watched::new(files, &settings.data_dir, &mut registry));
        let files: Arc<dyn Files> = watched.clone();
        let spool = Spool::open(&files, &settings.data_dir.join("spool"), &settings.spool, &mut registry)?;
        let store = open_store(&files, settings, &spool, &mut registry)?;
        let sections = Sections {
            workers: &settings.workers,
            breaker: &settings.breaker,
            query: &settings.query,
            retention: &settings.retention,
        };
        let dead_letters = settings.data_dir.join("dead-letter");
        let workers = Arc::new(Workers::start(&spool, &store, sections, &files, &dead_letters, &mut registry)?);
        sync_entries(&*files, &settings.data_dir)?;
        let scratch = settings.data_dir.join("tmp");
        let scratch = Scratch::open(files.clone(), &scratch)
            .map_err(|error| LockError::Io { folder: scratch.display().to_string(), error })?;
        let ingest = Ingest::new(spool.clone(), &settings.limits, &mut registry);
        let tails = Tails::start(spool.clone(), &settings.tail, &mut registry).map_err(BuildError::Tails)?;
        let tails = Arc::new(tails);
        let parts = api::Parts {
            ingest: web::Data::new(ingest),
            reader: web::Data::from(workers.reader().clone()),
            spool: web::Data::from(spool.clone()),
            tails: web::Data::from(tails.clone()),
            workers: web::Data::from(workers.clone()),
            settings: web::Data::new(settings.clone()),
            files: web::Data::from(watched),
            metrics: web::Data::new(Metrics::new(registry)),
            scratch: web::Data::new(scratch),
            streams: web::Data::new(api::Streams::new(settings.query.exports_max)),
        };
        let server = serve(listener, settings, parts)?;
        let shutdown_timeout = settings.shutdown_timeout;
        Ok(App { address, server, spool, tails, workers, store, shutdown_timeout, _lock: lock })
    }

    /// Where the server really listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is given, then stops: the HTTP server finishes what it has in hand, the workers what is with
    /// them; the store makes durable what it holds; the spool keeps the rest.
    ///
    /// # Errors
    /// If the HTTP server fails.
    pub async fn run(self, settings: &Settings, stop: StopSignal) -> std::io::Result<()> {
        announce(self.address, settings);
        let handle = self.server.handle();
        let mut server = std::pin::pin!(self.server);
        tokio::select! {
            ended = &mut server => return ended,
            () = stop.given() => {}
        }
        let deadline = Instant::now() + self.shutdown_timeout;
        info!(timeout_s = self.shutdown_timeout.as_secs(); "stopping");
        // They have no end of their own, and the HTTP server waits for what it has in hand.
        self.tails.close();
        let (stopped, ()) = tokio::join!(server, handle.stop(true));
        stopped?;
        let (spool, workers, store) = (self.spool, self.workers, self.store);
        let rest = web::block(move || stop_parts(&spool, &workers, store.as_ref(), deadline));
        let left = deadline.saturating_duration_since(Instant::now());
        if tokio::time::timeout(left, rest).await.is_err() {
            warn!("the stop took too long; what is not in the store stays in the spool");
        }
        info!("stopped");
        Ok(())
    }
}

/// Stops what stands behind the HTTP server, in the order in which records travel.
fn stop_parts(spool: &Spool, workers: &Workers, store: &dyn Store, deadline: Instant) {
    let stopped = workers.stop(deadline);
    if let Err(error) = store.close() {
        warn!(error:% = error; "the store could not make everything durable; the rest stays in the spool");
    }
    let mut settled = store.durable();
    settled.extend(&stopped.released);
    spool.settle(&settled);
    spool.close();
}

/// Makes the entries of the folders that the parts have made survive a crash of the machine, before anything is accepted.
fn sync_entries(files: &dyn Files, data_dir: &Path) -> Result<(), BuildError> {
    files.sync_folder(data_dir).map_err(|error| LockError::Io { folder: data_dir.display().to_string(), error }.into())
}

fn bind(listen: SocketAddr) -> Result<TcpListener, BuildError> {
    TcpListener::bind(listen).map_err(|error| BuildError::Bind { listen, error })
}

fn open_store(
    files: &Arc<dyn Files>,
    settings: &Settings,
    spool: &Spool,
    registry: &mut Registry,
) -> Result<Arc<dyn Store>, BuildError> {
    let folder = settings.data_dir.join("store");
    match &settings.store {
        StoreTarget::Embedded => {
            let runs = spool.open_runs();
            let opened = EmbeddedStore::open(files, &folder, &settings.embedded, settings.retention, &runs, registry);
            Ok(opened.map_err(|error| BuildError::Store(error.to_string()))?)
        }
        StoreTarget::MongoDb(uri) => {
            warn_of_records_left(&**files, &folder);
            let opened = MongoStore::new(uri, &settings.mongodb, settings.retention, registry);
            Ok(opened.map_err(|error| BuildError::Store(error.to_string()))?)
        }
    }
}

/// Says so when the folder has records of the embedded store, which MongoDB will not show.
fn warn_of_records_left(files: &dyn Files, folder: &Path) {
    if let Some(records) = EmbeddedStore::records_in(files, folder).filter(|records| *records > 0) {
        warn!(
            records;
            "the data folder has records of the embedded store that this store does not show; to move them, give this \
             server a --data-dir of its own, start a second one on that folder with --store embedded and another --listen, \
             and send its GET /logs/retrieve (Accept: application/x-ndjson) in batches to POST /logs/batch here"
        );
    }
}

fn serve(listener: TcpListener, settings: &Settings, parts: api::Parts) -> Result<Server, BuildError> {
    let limits = &settings.limits;
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let connections = Connections::new(descriptors::allow(limits.connections));
    let accepted_max = connections.accepted_max();
    let limit_stall = api::limit_stall(settings.query.stall_timeout);
    let server = HttpServer::new(move || {
        Routes::new()
            .wrap(Compress::default())
            .wrap(from_fn(api::refuse_past_limit))
            .configure(|routes| api::configure(routes, &parts))
    })
    .workers(threads)
    .max_connections(accepted_max.div_ceil(threads))
    .keep_alive(limits.keep_alive)
    .client_request_timeout(limits.client_timeout)
    .client_disconnect_timeout(Duration::from_secs(5))
    // A client that does not read may use it up; the rest of the stop needs some time too.
    .shutdown_timeout((settings.shutdown_timeout * 2 / 3).as_secs().max(1))
    .on_connect(move |io, connection| {
        limit_stall(io, connection);
        connections.enter(connection);
    })
    .disable_signals()
    .listen(listener);
    Ok(server.map_err(|error| BuildError::Bind { listen: settings.listen, error })?.run())
}

fn announce(address: SocketAddr, settings: &Settings) {
    let folder: PathBuf = std::fs::canonicalize(&settings.data_dir).unwrap_or_else(|_| settings.data_dir.clone());
    info!(
        version = VERSION, address:% = address, data_dir:% = folder.display(), store:% = settings.store;
        "sluice listens on http://{address}"
    );
    if !address.ip().is_loopback() {
        warn!(address:% = address; "there is no authentication: whoever reaches this address can read and write");
    }
}
