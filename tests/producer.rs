//! The producer against the real server: what it sends is there, once.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::mongo::MongoServer;
use crate::support::server::Server;

/// The producer's binary, beside the server's; built if it is not there.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = Path::new(env!("CARGO_BIN_EXE_sluice")).with_file_name("producer");
        // A test of the whole workspace has built it already.
        if !path.exists() {
            let built = Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "producer"]).status().unwrap();
            assert!(built.success() && path.exists(), "the producer is built at {}", path.display());
        }
        path
    })
}

fn produce(url: &str, args: &[&str]) -> Output {
    Command::new(binary()).args(["--url", url]).args(args).output().unwrap()
}

fn verified(output: &Output, count: &str) {
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    assert!(told.contains("0 missing") && told.contains("0 double") && told.contains(count), "{told}");
}

#[test]
fn everything_it_sends_is_there_once() {
    let server = Server::start(&[]);
    let output =
        produce(server.url(), &["--count", "20000", "--clients", "3", "--batch", "300", "--seed", "7", "--verify"]);
    verified(&output, "20000");
}

#[test]
fn single_records_from_many_clients_are_there_once() {
    let server = Server::start(&[]);
    let output =
        produce(server.url(), &["--count", "2000", "--clients", "8", "--batch", "1", "--interval", "0", "--verify"]);
    verified(&output, "2000");
}

#[test]
fn nothing_is_lost_or_doubled_while_mongodb_is_away() {
    let Some(mut mongo) = MongoServer::start("nothing_is_lost_or_doubled_while_mongodb_is_away") else { return };
    let store = mongo.uri();
    let server = Server::start(&["--store", &store, "--breaker-failures", "1", "--breaker-backoff-max", "2s"]);
    let url = server.url().to_owned();
    let sender =
        std::thread::spawn(move || produce(&url, &["--count", "6000", "--rate", "1000", "--batch", "100", "--verify"]));
    std::thread::sleep(Duration::from_secs(2));
    mongo.stop();
    std::thread::sleep(Duration::from_secs(3));
    mongo.start_again();
    verified(&sender.join().unwrap(), "6000");
    assert!(server.log().contains("breaker"), "the outage was seen:\n{}", server.log());
}

#[test]
fn what_is_refused_makes_its_exit_code() {
    let server = Server::start(&["--limits-batch-records", "10"]);
    let output = produce(server.url(), &["--count", "100", "--batch", "50"]);
    assert!(!output.status.success());
}
