//! The whole server in this process, over HTTP, on a disk that fails when a test says so.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;
use crate::config::Durability;
use crate::files::faulty::{EIO, ENOSPC, Fault, Faults};
use crate::files::{Disk, Operation};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server in a folder that goes with the test.
struct Running {
    url: String,
    folder: tempfile::TempDir,
    faults: Faults,
    stop: StopSignal,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start() -> Running {
        let folder = tempfile::tempdir().unwrap();
        let (faults, stop) = (Faults::default(), StopSignal::default());
        let (files, signal, data_dir) = (faults.over(Arc::new(Disk)), stop.clone(), folder.path().join("data"));
        let (found, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let listen = "127.0.0.1:0".parse().unwrap();
            let mut settings = Settings { data_dir, listen, ..Settings::default() };
            settings.spool.durability = Durability::Fsync;
            settings.spool.free_disk_floor = Some(0);
            // Nothing stays in memory alone: what is read comes from segments.
            settings.embedded.flush_rows = 1;
            actix::System::new().block_on(async {
                let app = App::build_on(files, &settings).unwrap();
                found.send(app.address()).unwrap();
                app.run(&settings, signal).await.unwrap();
            });
        });
        let url = format!("http://{}", address.recv_timeout(PATIENCE).unwrap());
        Running { url, folder, faults, stop, thread: Some(thread) }
    }

    fn call(&self, request: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, String) {
        let mut response = request.unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn agent(&self) -> ureq::Agent {
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into()
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.call(self.agent().get(format!("{}{path}", self.url)).call())
    }

    fn post(&self, message: &str) -> u16 {
        let body = format!("[{{\"level\":\"INFO\",\"message\":\"{message}\"}}]");
        let request = self.agent().post(format!("{}/logs/batch", self.url)).content_type("application/json");
        self.call(request.send(&body)).0
    }

    /// The messages that are found, in order.
    fn messages(&self) -> Vec<String> {
        let (status, body) = self.get("/logs/retrieve?order=asc");
        assert_eq!(status, 200, "{body}");
        let records: Vec<Value> = serde_json::from_str(&body).unwrap();
        records.iter().map(|record| record["message"].as_str().unwrap().to_owned()).collect()
    }

    /// The failure of `folder` and `operation` that `/ready` names.
    fn failure(&self, folder: &str, operation: &str) -> Option<Value> {
        let ready: Value = serde_json::from_str(&self.get("/ready").1).unwrap();
        let failures = ready["io_failures"].as_array().cloned().unwrap_or_default();
        failures.into_iter().find(|failure| failure["folder"] == folder && failure["operation"] == operation)
    }

    fn counted(&self, folder: &str, operation: &str) -> bool {
        let sample = format!("sluice_io_errors_total{{folder=\"{folder}\",operation=\"{operation}\"}}");
        self.get("/metrics").1.lines().any(|line| line.starts_with(&sample))
    }

    fn fail(&self, operation: Operation, within: &'static str, times: usize, error: i32) {
        self.faults.add(Fault { operation, within, after: 0, times, error });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.faults.heal();
        self.stop.give();
        let ended = self.thread.take().unwrap().join();
        assert!(std::thread::panicking() || ended.is_ok());
    }
}

fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_failed_write_or_sync_of_the_spool_is_never_acknowledged_and_passes() {
    let server = Running::start();
    let mut acknowledged = Vec::new();
    for (number, (operation, error)) in
        [(Operation::Sync, EIO), (Operation::Write, EIO), (Operation::Write, ENOSPC)].into_iter().enumerate()
    {
        let name = operation.name();
        let (before, refused, after) =
            (format!("before {number}"), format!("refused {number}"), format!("after {number}"));
        assert_eq!(server.post(&before), 202);
        server.fail(operation, "spool", usize::MAX, error);
        assert_eq!(server.post(&refused), 503);
        assert_eq!(server.get("/health").0, 200);
        let (status, ready) = server.get("/ready");
        assert_eq!(status, 503, "{ready}");
        let failure = server.failure("spool", name).unwrap();
        assert_eq!(failure["lasting"], true, "{failure}");
        assert!(server.counted("spool", name));
        server.faults.heal();
        eventually("it accepts again", || server.post(&after) == 202);
        assert_eq!(server.get("/ready").0, 200);
        acknowledged.extend([before, after]);
        assert_eq!(server.messages(), acknowledged, "what was refused is nowhere");
    }
}

#[test]
fn a_store_that_cannot_write_for_a_while_loses_nothing() {
    for operation in [Operation::Write, Operation::Sync, Operation::Rename, Operation::Create] {
        let server = Running::start();
        server.fail(operation, "store", usize::MAX, ENOSPC);
        assert_eq!(server.post("kept"), 202, "the spool takes it");
        eventually("it is said", || server.failure("store", operation.name()).is_some());
        assert!(server.counted("store", operation.name()));
        assert_eq!(server.get("/ready").0, 200);
        assert_eq!(server.messages(), ["kept"]);
        server.faults.heal();
        eventually("the store writes again", || {
            server.failure("store", operation.name()).is_none_or(|failure| failure["lasting"] == false)
        });
        assert_eq!(server.messages(), ["kept"]);
    }
}

#[test]
fn a_segment_that_cannot_be_read_for_a_while_is_not_set_aside() {
    let server = Running::start();
    assert_eq!(server.post("on disk"), 202);
    let segments = server.folder.path().join("data/store/segments");
    eventually("it is flushed", || find(&segments).iter().any(|path| path.ends_with(".parquet")));
    // One that passes is not noticed.
    server.fail(Operation::Read, ".parquet", 2, EIO);
    assert_eq!(server.messages(), ["on disk"]);
    server.fail(Operation::Read, ".parquet", usize::MAX, EIO);
    server.fail(Operation::Open, ".parquet", usize::MAX, EIO);
    eventually("searches go on without it", || server.messages().is_empty());
    assert!(server.counted("store", "read") || server.counted("store", "open"));
    std::thread::sleep(Duration::from_millis(1500));
    assert!(find(&segments).iter().any(|path| path.ends_with(".parquet")), "it stays where it is");
    server.faults.heal();
    eventually("it is found again", || server.messages() == ["on disk"]);
}

#[test]
fn only_the_owner_may_use_the_data_folder() {
    let server = Running::start();
    assert_eq!(server.post("private"), 202);
    let data = server.folder.path().join("data");
    let flushed = || find(&data).iter().any(|path| path.ends_with(".parquet")) && data.join("store/manifest").exists();
    eventually("it is flushed", flushed);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for path in find(&data) {
        // A segment of the spool may go meanwhile.
        let Ok(found) = std::fs::metadata(&path) else { continue };
        let expected = if found.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(found.permissions().mode() & 0o777, expected, "{path}");
    }
}

/// Everything below a folder.
fn find(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path().to_str().unwrap().to_owned());
        found.extend(find(&entry.path()));
    }
    found
}
