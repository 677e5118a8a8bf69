//! The server that is measured: a process of its own, with its default settings.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Result;
use crate::http::Connection;
use crate::process::{self, Usage};

/// How long a start, a stop or the way into the store may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where servers come from, and where they keep their records.
#[derive(Debug, Clone)]
pub struct Site {
    pub program: PathBuf,
    pub data_dir: PathBuf,
    /// Flags beside the address and the folder.
    pub flags: Vec<String>,
}

/// A running server; killed on drop.
pub struct Server {
    child: Child,
    address: SocketAddr,
    /// From its start until it was ready.
    pub start: Duration,
}

impl Site {
    /// Starts a server on the records that are there.
    pub fn start(&self) -> Result<Server> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = self.data_dir.with_extension("log");
        let mut command = Command::new(&self.program);
        // What the caller's environment says is no default.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SLUICE_")) {
            command.env_remove(name);
        }
        command.args(["--listen", &address.to_string(), "--data-dir"]).arg(&self.data_dir).args(&self.flags);
        let begun = Instant::now();
        let child = command.stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
        let mut server = Server { child, address, start: Duration::ZERO };
        while !server.is_ready() {
            if begun.elapsed() > PATIENCE || server.child.try_wait()?.is_some() {
                return Err(format!("the server does not start: {}", fs::read_to_string(log)?).into());
            }
            thread::sleep(Duration::from_micros(500));
        }
        server.start = begun.elapsed();
        Ok(server)
    }

    /// Starts a server without records.
    pub fn start_empty(&self) -> Result<Server> {
        if self.data_dir.exists() {
            fs::remove_dir_all(&self.data_dir)?;
        }
        self.start()
    }

    /// The size of all files; of each what it holds or what it takes, whichever is more.
    pub fn disk_bytes(&self) -> Result<u64> {
        folder_bytes(&self.data_dir)
    }
}

impl Server {
    /// A connection to it.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// User and system time so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        process::cpu_seconds(self.child.id())
    }

    /// Waits until the store has all that was accepted.
    pub fn drain(&self) -> Result<()> {
        let mut connection = self.connect()?;
        let begun = Instant::now();
        loop {
            let ready: Value = serde_json::from_slice(connection.get_ok("/ready")?)?;
            match ready.get("queue_records").and_then(Value::as_u64) {
                Some(0) => return Ok(()),
                Some(_) if begun.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(5)),
                _ => return Err("the store does not get what was accepted".into()),
            }
        }
    }

    /// Ends it in its own way, after which every record is in its final segment, and says what it has used.
    pub fn stop(mut self) -> Result<Usage> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        process::finish(&mut self.child, PATIENCE)
    }

    fn is_ready(&self) -> bool {
        let answer = self.connect().and_then(|mut connection| Ok(connection.get("/ready")?.status));
        answer.is_ok_and(|status| status == 200)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Of one that has ended, both fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes +=
            if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len().max(metadata.blocks() * 512) };
    }
    Ok(bytes)
}
