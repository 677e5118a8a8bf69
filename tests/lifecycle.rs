//! Start, stop and everything that can go wrong with them, on the real program.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::server::{Server, command, wait_for};

fn sluice(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.current_dir(folder.path()).args(args).envs(environment.iter().copied());
    let output = command.output().unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{args:?} left files: {left:?}");
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_bad_configuration_is_one_line_and_exit_64() {
    for (args, environment, expected) in [
        (vec!["--listen", "here"], vec![], "listen = \"here\": use an address and port"),
        (vec!["serve", "--workers-inflight", "0"], vec![], "workers.inflight = \"0\": use 1 to 1024"),
        (vec![], vec![("SLUICE_STORE", "redis://x")], "store = \"redis://x\": use embedded, or a mongodb://"),
        (vec!["--store", "mongodb://u:secret@db/x?w=1"], vec![], "asks for w=1, but every write is w=majority"),
        (vec!["config", "--check", "--config", "none.toml"], vec![], "none.toml"),
    ] {
        let output = sluice(&args, &environment);
        let line = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {line}");
        assert!(line.contains(expected) && line.trim_end().lines().count() == 1, "{args:?}: {line}");
        assert!(!line.contains("secret"), "{line}");
    }
    assert_eq!(sluice(&["--no-such-flag"], &[]).status.code(), Some(64));
}

#[test]
fn the_effective_configuration_is_printed() {
    let output = sluice(&["config", "--check", "--spool-durability", "os"], &[("SLUICE_BREAKER__FAILURES", "9")]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(shown.contains("[spool]\ndurability = \"os\"\n") && shown.contains("failures = \"9\"\n"), "{shown}");
}

#[test]
fn help_names_every_key() {
    let help = sluice(&["--help"], &[]);
    for key in sluice::config::keys::KEYS {
        assert!(text(&help.stdout).contains(&format!("--{}", key.flag())), "{}", key.path);
    }
}

#[test]
fn a_folder_is_for_one_process() {
    let server = Server::start(&[]);
    let second = command(&server.data_dir()).output().unwrap();
    assert_eq!(second.status.code(), Some(65), "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("is in use by process "), "{}", text(&second.stderr));
}

#[test]
fn the_container_check_asks_a_running_server() {
    let server = Server::start(&[]);
    let healthy = sluice(&["health", "--url", server.url()], &[]);
    assert_eq!(healthy.status.code(), Some(0), "{}", text(&healthy.stderr));
    let url = server.url().to_owned();
    drop(server);
    assert_eq!(sluice(&["health", "--url", &url], &[]).status.code(), Some(1));
}

#[test]
fn the_log_can_be_json() {
    let server = Server::start(&["--log-format", "json"]);
    let log = server.log();
    let line: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(line["fields"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(line["fields"]["store"], "embedded");
}

/// Sends records one by one until `stop`; counts those that were acknowledged.
fn send_until(server: &Server, stop: &AtomicBool, acknowledged: &AtomicU64, name: usize) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let record = format!("{{\"message\":\"from {name}\",\"number\":{number}}}");
        let headers = [("content-type", "application/json")];
        match server.http.try_post("/logs", record.as_bytes(), &headers) {
            Ok(answer) if answer.status == 202 => acknowledged.fetch_add(1, Ordering::Relaxed),
            _ => return,
        };
        number += 1;
    }
}

fn stored(server: &Server) -> u64 {
    let answer = server.http.get_with("/logs?fields=message", &[("accept", "text/csv")]);
    answer.text().lines().count() as u64 - 1
}

/// Ends a loaded server by `end`, starts it again, and compares what it acknowledged with what it has.
fn survives(end: impl FnOnce(&mut Server)) {
    let mut server = Server::start(&["--embedded-flush-rows", "50"]);
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let sender = &server;
        let (stop, acknowledged) = (&stop, &acknowledged);
        let sending: Vec<_> =
            (0..4).map(|name| scope.spawn(move || send_until(sender, stop, acknowledged, name))).collect();
        wait_for("some records", || (acknowledged.load(Ordering::Relaxed) > 200).then_some(()));
        stop.store(true, Ordering::Relaxed);
        sending.into_iter().for_each(|sender| sender.join().unwrap());
    });
    end(&mut server);
    let server = server.start_again();
    let (acknowledged, stored) = (acknowledged.load(Ordering::Relaxed), stored(&server));
    assert_eq!(acknowledged, stored, "acknowledged and stored differ:\n{}", server.log());
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    survives(Server::kill);
}

#[test]
fn nothing_acknowledged_is_lost_by_a_stop() {
    survives(|server| {
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        assert!(server.log().contains("stopped"), "{}", server.log());
    });
}

#[test]
fn a_kill_amid_senders_loses_nothing_acknowledged() {
    let mut server = Server::start(&["--embedded-flush-rows", "100", "--spool-segment-bytes", "256KiB"]);
    for round in 0..3 {
        let before = stored(&server);
        let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
        let running = server.signaller();
        std::thread::scope(|scope| {
            let (server, stop, acknowledged) = (&server, &stop, &acknowledged);
            for name in 0..4 {
                scope.spawn(move || send_until(server, stop, acknowledged, name));
            }
            wait_for("some records", || (acknowledged.load(Ordering::Relaxed) > 100 + 50 * round).then_some(()));
            running.send("KILL");
            stop.store(true, Ordering::Relaxed);
        });
        server = server.start_again();
        let (acknowledged, stored) = (acknowledged.load(Ordering::Relaxed), stored(&server) - before);
        // Each sender may have had one record whose acknowledgement the kill cut off.
        assert!((acknowledged..=acknowledged + 4).contains(&stored), "{acknowledged} acknowledged, {stored} stored");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&[]);
    // A request whose body never comes holds up the stop.
    let mut connection = std::net::TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    std::io::Write::write_all(&mut connection, head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    server.signal("TERM");
    wait_for("the stop to begin", || server.log().contains("stopping").then_some(()));
    let asked = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(1));
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[test]
fn records_of_the_other_store_are_told_at_start() {
    let mut server = Server::start(&[]);
    assert_eq!(server.http.post("/logs", "{\"message\":\"kept by the embedded store\"}").status, 202);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let server = server.start_again_with(&["--store", "mongodb://127.0.0.1:1/"]);
    let log = server.log();
    assert!(log.contains("records of the embedded store") && log.contains("records=1"), "{log}");
}
