//! A server under attack: a folder that outlives it, its log in a file, and the address at which it is found.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::context::Stop;
use crate::rss::Rss;
use crate::support::http::Http;
use crate::support::server::command;

/// How long a start or a stop may take, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where the clients find the server now; shared with them, because the port changes with each start.
#[derive(Clone, Default)]
pub struct Route(Arc<RwLock<Option<SocketAddr>>>);

impl Route {
    /// The address, while there is one.
    pub fn get(&self) -> Option<SocketAddr> {
        *self.0.read().unwrap()
    }

    /// Changes it.
    pub fn set(&self, address: Option<SocketAddr>) {
        *self.0.write().unwrap() = address;
    }
}

/// A place for a server: its data folder, how it is started, and where its log goes.
pub struct Bed {
    /// The data folder.
    pub data: PathBuf,
    /// The log of all its starts.
    pub log: PathBuf,
    /// The arguments of a start, the store's included.
    pub args: Vec<String>,
    /// Further environment variables.
    pub environment: Vec<(String, String)>,
    /// Where the clients find it.
    pub route: Route,
    pub(crate) rss: Arc<Rss>,
}

/// A server process; killed on drop.
pub struct Target {
    process: Child,
    log: PathBuf,
    /// Where its own part of the log begins.
    log_from: u64,
    route: Route,
    rss: Arc<Rss>,
    address: Option<SocketAddr>,
}

impl Bed {
    /// Starts the process, and does not wait for it.
    pub fn spawn(&self) -> Target {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let log_from = log.metadata().unwrap().len();
        let process = command(&self.data)
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server's binary is built with the tests");
        self.rss.watch(process.id());
        Target {
            process,
            log: self.log.clone(),
            log_from,
            route: self.route.clone(),
            rss: self.rss.clone(),
            address: None,
        }
    }

    /// Starts the process and waits until it listens.
    ///
    /// # Errors
    /// If it does not.
    pub fn start(&self) -> Result<Target, Stop> {
        let mut target = self.spawn();
        target.wait_ready()?;
        Ok(target)
    }

    /// Everything that was logged.
    pub fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Target {
    /// Waits until the server listens, and tells the clients where.
    ///
    /// # Errors
    /// If it ends, or takes too long.
    pub fn wait_ready(&mut self) -> Result<(), Stop> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(address) = listens_on(&self.own_log()) {
                self.address = Some(address);
                self.route.set(Some(address));
                return Ok(());
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                return Err(Stop::failed(format!("the server ended at its start with {status}")));
            }
            if Instant::now() > deadline {
                return Err(Stop::failed("the server does not start in time"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens; it must have started.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the server has started")
    }

    /// Speaks to it.
    pub fn http(&self) -> Http {
        Http::new(&format!("http://{}", self.address()))
    }

    /// What this process has logged.
    pub fn own_log(&self) -> String {
        let mut bytes = Vec::new();
        let mut log = File::open(&self.log).unwrap();
        log.seek(SeekFrom::Start(self.log_from)).and_then(|_| log.read_to_end(&mut bytes)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills it as `kill -9` does, and waits for its end.
    pub fn kill(mut self) {
        self.end();
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(status.unwrap().success(), "kill -{name}");
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it has not ended in time.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, Stop> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                self.route.set(None);
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(Stop::failed(format!("the server has not ended after {limit:?}")));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to stop, waits, and expects it to say that all is well.
    ///
    /// # Errors
    /// If it takes too long, or its exit code is another than 0.
    pub fn stop(mut self) -> Result<(), Stop> {
        self.rss.sample();
        self.signal("TERM");
        let status = self.wait(PATIENCE)?;
        if status.success() { Ok(()) } else { Err(Stop::failed(format!("the server stopped with {status}"))) }
    }

    fn end(&mut self) {
        self.rss.sample();
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.route.set(None);
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.end();
    }
}

/// The lines of a log that tell of a bug: a panic, wherever it was caught.
pub fn panics(log: &Path) -> Vec<String> {
    let text = File::open(log).and_then(std::io::read_to_string).unwrap_or_default();
    text.lines().filter(|line| line.contains("panicked at")).take(5).map(str::to_owned).collect()
}

fn listens_on(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("sluice listens on http://")?;
    // The line may be half written.
    let (address, _) = rest.split_once([' ', '\n', '"'])?;
    address.parse().ok()
}
