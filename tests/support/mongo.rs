//! A MongoDB-protocol server for a test: `$MONGODB_URI`, else `mongod` or `ferretdb` on the path, else mongo-java-server
//! by `java` and `mvn`.
//!
//! A server of ours runs on a free port over a temporary folder, below a shell that ends it when this process ends in
//! whatever way. All three answer a write only when its data would survive a kill of the server: `mongod` by its
//! journal (`j: true`), `ferretdb` by SQLite's, and mongo-java-server because its launcher commits before the answer.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to start; the Java one compiles its launcher first.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Starts `"$@"` with no input, says its process id, and ends it when our own input ends: when the test process does.
const WATCHDOG: &str = r#"trap : TERM INT HUP; folder=$1; shift; "$@" >/dev/null 2>&1 & echo $!; read -r _; kill -9 $! 2>/dev/null; wait; [ -z "$folder" ] || rm -rf -- "$folder""#;

/// A running server.
pub struct MongoServer {
    /// Where it listens, without a database.
    base: String,
    /// What runs, if it is ours to stop.
    own: Option<Own>,
}

struct Own {
    kind: Kind,
    port: u16,
    folder: PathBuf,
    /// Removes the folder; a shared server's goes with the watchdog.
    _folder: Option<TempDir>,
    process: Option<Process>,
}

/// A server process, and the shell above it.
struct Process {
    watchdog: Child,
    id: String,
}

#[derive(Clone)]
enum Kind {
    Mongod,
    Ferret,
    /// With the folder of the jars.
    Java(PathBuf),
}

impl MongoServer {
    /// The server that most tests share, each with a database of its own; `None`, and a line that says so, if none can
    /// be had.
    ///
    /// # Panics
    /// If none can be had and `CI` is `true`.
    pub fn shared(test: &str) -> Option<&'static MongoServer> {
        static SHARED: OnceLock<Option<MongoServer>> = OnceLock::new();
        let server = SHARED.get_or_init(|| MongoServer::external().or_else(|| MongoServer::launch(true)));
        server.as_ref().or_else(|| skip(test, "no MongoDB-protocol server"))
    }

    /// A server of the test's own, which it may stop; `None`, and a line that says so, if none can be had.
    ///
    /// # Panics
    /// If none can be had and `CI` is `true`, but not when `$MONGODB_URI` says which server to use.
    pub fn start(test: &str) -> Option<MongoServer> {
        if env::var_os("MONGODB_URI").is_some() {
            say_skipped(test, "the server at $MONGODB_URI cannot be stopped");
            return None;
        }
        MongoServer::launch(false).or_else(|| skip(test, "no MongoDB-protocol server"))
    }

    /// A URI with a database that no other test uses.
    pub fn uri(&self) -> String {
        static DATABASES: AtomicUsize = AtomicUsize::new(0);
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        self.uri_of(&format!("sluice_test_{}_{number}", std::process::id()))
    }

    /// A URI with the database `name`.
    pub fn uri_of(&self, name: &str) -> String {
        let (base, options) = self.base.split_once('?').unwrap_or((&self.base, ""));
        let (scheme, rest) = base.split_once("://").expect("a URI");
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        // Who is authenticated against the URI's database still is, when another one is used.
        let source = (hosts.contains('@') && !options.contains("authSource"))
            .then(|| format!("authSource={}", if database.is_empty() { "admin" } else { database }));
        let options: Vec<&str> =
            [Some(options), source.as_deref()].into_iter().flatten().filter(|o| !o.is_empty()).collect();
        format!("{scheme}://{hosts}/{name}?{}", options.join("&"))
    }

    /// Ends the server as `kill` does, and waits for it.
    pub fn stop(&mut self) {
        self.end("TERM");
    }

    /// Ends the server as `kill -9` does.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    /// Starts the server again, on the same port over the same data.
    pub fn start_again(&mut self) {
        let own = self.own.as_mut().expect("a server of our own");
        assert!(own.process.is_none(), "it runs already");
        own.process = Some(Process::spawn(own, false));
        assert!(wait_for(own.port), "the server did not start again");
    }

    /// Stops the server's time: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets the server go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn end(&mut self, signal: &str) {
        self.signal(signal);
        let own = self.own.as_mut().expect("a server of our own");
        let process = own.process.take().expect("it runs");
        process.wait();
        drop(process);
    }

    fn signal(&self, signal: &str) {
        let process = self.own.as_ref().and_then(|own| own.process.as_ref()).expect("a server of our own, running");
        process.signal(signal);
    }

    fn external() -> Option<MongoServer> {
        let base = env::var("MONGODB_URI").ok().filter(|uri| !uri.is_empty())?;
        Some(MongoServer { base, own: None })
    }

    fn launch(shared: bool) -> Option<MongoServer> {
        let kind = Kind::find()?;
        let folder = tempfile::Builder::new().prefix("sluice-mongo-").tempdir().expect("a temporary folder");
        let port = free_port();
        let path = folder.path().to_owned();
        let keep = if shared {
            drop(folder.keep());
            None
        } else {
            Some(folder)
        };
        let mut own = Own { kind, port, folder: path, _folder: keep, process: None };
        own.process = Some(Process::spawn(&own, shared));
        assert!(wait_for(port), "the MongoDB-protocol server did not start");
        Some(MongoServer { base: format!("mongodb://127.0.0.1:{port}"), own: Some(own) })
    }
}

impl Kind {
    fn find() -> Option<Kind> {
        if on_path("mongod") {
            Some(Kind::Mongod)
        } else if on_path("ferretdb") {
            Some(Kind::Ferret)
        } else if on_path("java") && on_path("mvn") {
            jars().map(Kind::Java)
        } else {
            None
        }
    }

    fn command(&self, port: u16, folder: &Path) -> Vec<String> {
        let folder = folder.display();
        let words: Vec<String> = match self {
            Kind::Mongod => vec![
                "mongod".into(),
                "--bind_ip=127.0.0.1".into(),
                format!("--port={port}"),
                format!("--dbpath={folder}"),
            ],
            Kind::Ferret => vec![
                "ferretdb".into(),
                "--handler=sqlite".into(),
                format!("--sqlite-url=file:{folder}/"),
                format!("--listen-addr=127.0.0.1:{port}"),
                format!("--state-dir={folder}"),
                "--telemetry=disable".into(),
                "--debug-addr=-".into(),
            ],
            Kind::Java(jars) => vec![
                "java".into(),
                "-XX:TieredStopAtLevel=1".into(),
                "-cp".into(),
                format!("{}/*", jars.display()),
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mongo/MongoServer.java").into(),
                port.to_string(),
                format!("{folder}/data.h2"),
            ],
        };
        words
    }
}

impl Process {
    fn spawn(own: &Own, removes_folder: bool) -> Process {
        let removed = if removes_folder { own.folder.as_os_str() } else { "".as_ref() };
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(removed)
            .args(own.kind.command(own.port, &own.folder))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut id = String::new();
        BufReader::new(watchdog.stdout.take().expect("its output")).read_line(&mut id).expect("a process id");
        Process { watchdog, id: id.trim().to_owned() }
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.id]).status().expect("kill");
        assert!(status.success(), "kill -s {signal}");
    }

    /// Waits until the server is gone: a zombie, until the shell takes notice.
    fn wait(&self) {
        let gone = || match fs::read_to_string(format!("/proc/{}/stat", self.id)) {
            Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')),
            Err(_) => true,
        };
        assert!(poll(START_TIMEOUT, gone), "the server does not end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its input tells the shell to end the server.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

fn skip<T>(test: &str, why: &str) -> Option<T> {
    say_skipped(test, why);
    assert!(env::var("CI").as_deref() != Ok("true"), "{test}: {why}, but CI needs one");
    None
}

/// Past the capture of a passing test's output, because nobody would see it.
fn say_skipped(test: &str, why: &str) {
    // In one piece: other tests write there too.
    let _ = io::stderr().write_all(format!("skipped: {test}: {why}\n").as_bytes());
}

fn on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// The folder with mongo-java-server's jars, fetched once for each target folder.
fn jars() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mongo-java-server-1.47.0");
    if folder.is_dir() {
        return Some(folder);
    }
    // Fetched beside it and then renamed: a half-filled folder must not be taken for a full one.
    let unfinished = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let fetched = Command::new("mvn")
        .args(["-q", "-B", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mongo/pom.xml")])
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", unfinished.path().join("jars").display()))
        // Where it prints, somebody may be printing a table.
        .stdout(io::stderr())
        .status();
    let fetched = fetched.is_ok_and(|status| status.success());
    // Another process may have been faster.
    let moved = fetched && (fs::rename(unfinished.path().join("jars"), &folder).is_ok() || folder.is_dir());
    moved.then_some(folder)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn wait_for(port: u16) -> bool {
    poll(START_TIMEOUT, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// Waits until `done`, at most for `limit`.
pub fn poll(limit: Duration, done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
