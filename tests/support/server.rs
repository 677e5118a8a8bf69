//! The real server, as a process of its own on a free port, in a folder that goes with the test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::http::Http;

/// How long a start or a stop may take here.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running server; killed on drop.
pub struct Server {
    process: Child,
    folder: Arc<TempDir>,
    args: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
    /// Speaks to it.
    pub http: Http,
}

impl Server {
    /// Starts a server with the embedded store and these further arguments.
    pub fn start(args: &[&str]) -> Server {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Server::start_in(folder, args.iter().map(|arg| (*arg).to_owned()).collect())
    }

    /// Starts a server on a data folder that is there.
    pub fn start_on(data_dir: &Path) -> Server {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(data_dir, folder.path().join("data")).unwrap();
        Server::start_in(folder, Vec::new())
    }

    /// Kills the server, if it still runs, and starts it again on the same folder with the same arguments.
    pub fn start_again(self) -> Server {
        let args = self.args.clone();
        self.restart(args)
    }

    /// The same with other arguments.
    pub fn start_again_with(self, args: &[&str]) -> Server {
        self.restart(args.iter().map(|arg| (*arg).to_owned()).collect())
    }

    fn restart(mut self, args: Vec<String>) -> Server {
        let _ = self.process.kill();
        let _ = self.process.wait();
        Server::start_in(self.folder.clone(), args)
    }

    fn start_in(folder: Arc<TempDir>, args: Vec<String>) -> Server {
        let mut process = command(&folder.path().join("data"))
            .args(&args)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server's binary is built with the tests");
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (found, address) = std::sync::mpsc::channel();
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let address = line.split_once("sluice listens on ").map(|(_, rest)| rest.split([' ', '"']).next());
                let address = address.flatten().map(str::to_owned);
                kept.lock().unwrap().push(line);
                if let Some(address) = address {
                    let _ = found.send(address);
                }
            }
        });
        let Ok(url) = address.recv_timeout(PATIENCE) else {
            let _ = process.kill();
            panic!("the server does not start:\n{}", log.lock().unwrap().join("\n"));
        };
        Server { process, folder, args, log, http: Http::new(&url) }
    }

    /// Its base URL.
    pub fn url(&self) -> &str {
        self.http.url()
    }

    /// How much memory it has held at its highest, in MiB.
    pub fn peak_memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        self.signaller().send(name);
    }

    /// What sends signals to it, also while others use it.
    pub fn signaller(&self) -> Signaller {
        Signaller { process: self.process.id() }
    }

    /// Kills it, as by `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends signals to a server.
#[derive(Clone, Copy)]
pub struct Signaller {
    process: u32,
}

impl Signaller {
    /// Sends a signal, by its name.
    pub fn send(self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.process.to_string()]).status();
        assert!(status.unwrap().success());
    }
}

/// The program, told to use a folder and a free port, and none of this process's configuration.
pub fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SLUICE_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    // As a variable: a test that needs a certain port gives it as a flag, which wins.
    command.env("SLUICE_LISTEN", "127.0.0.1:0").arg("--data-dir").arg(data_dir).stdin(Stdio::null());
    command
}

/// Waits until `check` gives something, for as long as a slow machine may need.
pub fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
