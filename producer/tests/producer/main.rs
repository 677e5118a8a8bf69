//! The producer's command against a small HTTP peer that keeps what it accepts, and can be told to lose some of it:
//! what a server must never do cannot be shown with a real one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod keeper;

use std::process::{Command, Output};

use keeper::{Fault, Keeper};

fn producer(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_producer"));
    command.env_clear().args(arguments.split_whitespace()).output().unwrap()
}

fn run(keeper: &Keeper, arguments: &str) -> (Option<i32>, String, String) {
    let output = producer(&format!("--url {} {arguments}", keeper.url));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_run_that_arrives_is_verified() {
    let keeper = Keeper::start(Fault::None);
    let (code, stdout, stderr) = run(&keeper, "--verify --count 5030 --batch 100 --clients 3");
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.starts_with("sent      5030 records in "), "{stdout}");
    assert!(stdout.contains("\naccepted  5030 ("), "{stdout}");
    assert!(stdout.contains("verified  5030 records of run ") && stdout.ends_with("0 missing, 0 double\n"), "{stdout}");
}

#[test]
fn the_clients_number_does_not_change_the_records() {
    let sent = |clients: u64| {
        let keeper = Keeper::start(Fault::None);
        let flags = format!("--count 2000 --batch 30 --seed 9 --start 2024-10-08T00:00:00Z --clients {clients}");
        assert_eq!(run(&keeper, &flags).0, Some(0));
        let mut lines = keeper.lines();
        lines.sort();
        lines
    };
    let one = sent(1);
    assert_eq!(one.len(), 2000);
    assert_eq!(sent(4), one);
    let mut printed: Vec<String> =
        String::from_utf8(producer("--stdout --count 2000 --seed 9 --start 2024-10-08T00:00:00Z").stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
    printed.sort();
    assert_eq!(printed, one);
}

#[test]
fn what_is_missing_or_double_is_named() {
    let keeper = Keeper::start(Fault::Lose { from: 17, to: 19 });
    let (code, stdout, _) = run(&keeper, "--verify --count 1000");
    assert_eq!(code, Some(1));
    assert!(stdout.ends_with("3 missing, 0 double\nmissing   17-19\n"), "{stdout}");

    let keeper = Keeper::start(Fault::Repeat { number: 42 });
    let (code, stdout, _) = run(&keeper, "--verify --count 1000");
    assert_eq!(code, Some(1));
    assert!(stdout.ends_with("0 missing, 1 double\ndouble    42\n"), "{stdout}");
}

#[test]
fn a_reading_that_breaks_off_or_is_incomplete_is_repeated() {
    for fault in [Fault::CutFirstReading, Fault::FirstReadingIncomplete] {
        let keeper = Keeper::start(fault);
        let (code, stdout, stderr) = run(&keeper, "--verify --count 300");
        assert_eq!(code, Some(0), "{fault:?}: {stdout}");
        assert_eq!(keeper.readings(), 2);
        assert!(stderr.contains("verifying: "), "it says what it waits for: {stderr}");
    }
}

#[test]
fn a_refusal_is_told_and_counted_and_the_rest_is_sent() {
    let keeper = Keeper::start(Fault::RefuseFirstBatch);
    let (code, stdout, stderr) = run(&keeper, "--count 500 --batch 100");
    assert_eq!(code, Some(1));
    assert!(stdout.contains("sent      500 ") && stdout.contains("accepted  400 "), "{stdout}");
    assert!(stdout.contains("refused   100\n"), "{stdout}");
    assert!(stderr.contains("records 0 to 99: refused: 400: Bad batch"), "{stderr}");
}

#[test]
fn a_server_out_of_reach_ends_the_run() {
    // Port 9 is "discard", which nobody serves.
    let output = producer("--url http://127.0.0.1:9 --count 500 --retry-for 100ms");
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("sent      100 ") && stdout.contains("failed    100\n"), "{stdout}");
}

#[test]
fn a_wrong_command_line_is_told_apart() {
    for arguments in ["--nope", "--batch 0", "--url nowhere --count 1", "--burst 2x1s/2s --count 1"] {
        assert_eq!(producer(arguments).status.code(), Some(64), "{arguments}");
    }
    assert_eq!(producer("--help").status.code(), Some(0));
}

#[test]
fn the_environment_stands_in_for_flags() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_producer"));
    command.env_clear().env("PRODUCER_STDOUT", "true").env("PRODUCER_COUNT", "3").env("PRODUCER_FORMAT", "csv");
    let output = command.output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("timestamp,level,"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_run_with_a_summary() {
    let keeper = Keeper::start(Fault::None);
    let mut command = Command::new(env!("CARGO_BIN_EXE_producer"));
    command.env_clear().args(["--url", &keeper.url, "--rate", "1000", "--batch", "10"]);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    keeper.wait_for_lines(50);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains(&format!("accepted  {} ", keeper.lines().len())));
}
