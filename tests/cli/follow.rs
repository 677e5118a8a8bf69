//! `sluice query --follow`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{send, sluice};
use crate::support::server::Server;

/// A command that follows; ended when the test does.
struct Follower {
    process: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Follower {
    fn start(server: &Server, args: &[&str]) -> Follower {
        let mut command = sluice(server.url(), &server.data_dir());
        command.args(["query", "--follow"]).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (stdout, stderr) = (lines(process.stdout.take().unwrap()), lines(process.stderr.take().unwrap()));
        Follower { process, stdout, stderr }
    }

    /// The next line of standard output.
    fn line(&self) -> String {
        self.stdout.recv_timeout(Duration::from_secs(40)).expect("a line in time")
    }

    /// Waits for a line of standard error.
    fn told(&self, part: &str) {
        while !self.stderr.recv_timeout(Duration::from_secs(40)).expect("a line in time").contains(part) {}
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}

fn post(server: &Server, message: &str) {
    let body = format!("{{\"service\":\"live\",\"message\":\"{message}\"}}");
    assert_eq!(server.http.post("/logs", &body).status, 202);
}

#[test]
fn what_is_accepted_is_shown_at_once_and_over_a_restart() {
    let server = Server::start(&[]);
    let listen = server.url().trim_start_matches("http://").to_owned();
    send(&server.http, 5);
    let follower = Follower::start(&server, &["--last", "2", "--format", "pretty"]);
    assert!(follower.line().contains("order 3"));
    assert!(follower.line().contains("order 4"));
    post(&server, "first");
    assert!(follower.line().ends_with("INFO  live  first"));

    let server = server.start_again_with(&["--listen", &listen]);
    post(&server, "second");
    follower.told("connected again");
    post(&server, "third");
    assert!(follower.line().ends_with("second"), "accepted while nobody was connected");
    assert!(follower.line().ends_with("third"), "nothing is shown twice");
}

#[test]
fn only_what_matches_and_the_fields_that_are_asked_for() {
    let server = Server::start(&[]);
    let follower = Follower::start(&server, &["message:b", "--fields", "message,service,absent"]);
    // The tail is open once a record has come through it.
    let first = loop {
        post(&server, "b 0");
        if let Ok(line) = follower.stdout.recv_timeout(Duration::from_millis(500)) {
            break line;
        }
    };
    assert_eq!(first, "{\"message\":\"b 0\",\"service\":\"live\"}");
    post(&server, "a 1");
    post(&server, "b 2");
    while follower.line() != "{\"message\":\"b 2\",\"service\":\"live\"}" {}
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let server = Server::start(&[]);
    for args in [&["--format", "csv"][..], &["--since", "1h"], &["--limit", "5"], &["a OR"]] {
        let mut command = sluice(server.url(), &server.data_dir());
        let output = command.args(["query", "--follow"]).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{args:?}");
    }
}
