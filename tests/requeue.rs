//! `sluice requeue` beside a running server.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::server::{Server, wait_for};

/// A dead letter of a version that gave its lines no checksum.
fn letter(number: u64, record: &str) -> String {
    let id = format!("01M7Z7780ZYZ4MDT000000{number:04}");
    format!(
        "{{\"id\":\"{id}\",\"time\":\"2024-10-08T00:00:00.000000000Z\",\"reason\":\"too odd\",\"record\":{record}}}\n"
    )
}

fn record(number: u64) -> String {
    format!(
        "{{\"id\":\"01M7Z7780ZYZ4MDT000000{number:04}\",\"timestamp\":\"2024-10-07T21:00:00.00000{number:04}Z\",\
         \"level\":\"WARNING\",\"service\":\"shop\",\"message\":\"m {number}\",\
         \"attributes\":{{\"big\":12345678901234567890123,\"user.id\":1.0}}}}"
    )
}

/// A record with a number.
const REGULAR: &str = r#"{"timestamp":"2024-10-07T21:00:00Z","message":"m","n":NUMBER}"#;

fn requeue(server: &Server, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(["requeue", "--url", server.url(), "--data-dir"]).arg(server.data_dir()).args(args);
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn dead_letters(server: &Server) -> u64 {
    server.http.get("/ready").json()["dead_letter_records"].as_u64().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn dead_letters_are_accepted_once_word_for_word_and_those_refused_stay() {
    let server = Server::start(&[]);
    let folder = server.data_dir().join("dead-letter");
    let mut lines: String = (1..=3).map(|number| letter(number, &record(number))).collect();
    lines.push_str(&letter(4, "{\"level\":\"no such level\",\"message\":\"m\"}"));
    // Half a line, as a crash leaves it, becomes no record.
    lines.push_str("{\"id\":\"01M7Z7780Z");
    fs::write(folder.join("records.ndjson"), &lines).unwrap();
    wait_for("the letters to be counted", || (dead_letters(&server) == 4).then_some(()));

    let output = requeue(&server, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("3 accepted, 2 refused and kept"), "{}", text(&output));
    let answer = server.http.get_with("/logs?order=asc", &[("accept", "application/x-ndjson")]);
    let found: Vec<&str> = answer.text().lines().collect();
    assert_eq!(found.len(), 3);
    for (number, line) in (1..).zip(found) {
        let without_id = |text: &str| text.split_once(",\"timestamp\"").unwrap().1.to_owned();
        assert_eq!(without_id(line), without_id(&record(number)));
    }
    wait_for("the refused one to be counted", || (dead_letters(&server) == 1).then_some(()));
    let kept = names(&folder);
    assert_eq!(kept.len(), 3, "{kept:?}");
    let refused = fs::read_to_string(folder.join(&kept[1])).unwrap();
    assert!(kept[1].starts_with("refused-") && refused.contains("no such level"), "{kept:?}");

    // The same lines once more, as after a run that was cut short: the keys know them.
    fs::write(folder.join("records.ndjson"), &lines).unwrap();
    let output = requeue(&server, &[]);
    assert!(text(&output).contains("3 accepted, 3 refused and kept"), "{}", text(&output));
    let answer = server.http.get_with("/logs", &[("accept", "application/x-ndjson")]);
    assert_eq!(answer.text().lines().count(), 3, "nothing is stored twice");
}

#[test]
fn without_a_server_nothing_is_lost_and_a_later_run_goes_on() {
    let mut server = Server::start(&[]);
    let folder = server.data_dir().join("dead-letter");
    assert_eq!(requeue(&server, &[]).status.code(), Some(0), "there is nothing to offer");
    let lines: String = (1..=5).map(|number| letter(number, &record(number))).collect();
    fs::write(folder.join("records.ndjson"), &lines).unwrap();
    server.kill();
    let output = requeue(&server, &[]);
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
    assert!(text(&output).contains("0 accepted"), "{}", text(&output));
    let server = server.start_again();
    assert_eq!(dead_letters(&server), 5);
    let output = requeue(&server, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("5 accepted, 0 refused"), "{}", text(&output));
    assert_eq!(names(&folder), ["requeue.lock"]);
}

#[test]
fn a_run_that_is_killed_again_and_again_loses_no_letter_and_stores_none_twice() {
    const LETTERS: u64 = 240;
    let server = Server::start(&[]);
    let folder = server.data_dir().join("dead-letter");
    let is_bad = |number: u64| number.is_multiple_of(40);
    let line = |number| {
        letter(number, if is_bad(number) { r#"{"level":"no such level"}"# } else { REGULAR })
            .replace("NUMBER", &number.to_string())
    };
    let (first, rest) = (1..=LETTERS / 2, LETTERS / 2 + 1..=LETTERS);
    fs::write(folder.join("records.ndjson"), first.map(line).collect::<String>()).unwrap();
    let mut rest = Some(rest.map(line).collect::<String>());
    let (mut kills, mut patience) = (0, Duration::from_millis(60));
    loop {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.args(["requeue", "--url", server.url(), "--data-dir"]).arg(server.data_dir());
        let mut run = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Longer each time, so that it comes to its end on any machine.
        patience = patience.mul_f64(1.25);
        std::thread::sleep(patience.mul_f64(rand::random()));
        if let Some(status) = run.try_wait().unwrap()
            && rest.is_none()
        {
            assert_eq!(status.code(), Some(1), "some are refused");
            break;
        }
        run.kill().unwrap();
        run.wait().unwrap();
        kills += 1;
        // The server puts more of them there meanwhile.
        if kills == 3 {
            let mut file =
                fs::OpenOptions::new().append(true).create(true).open(folder.join("records.ndjson")).unwrap();
            file.write_all(rest.take().unwrap().as_bytes()).unwrap();
        }
    }
    assert!(kills >= 3);
    let answer = server.http.get_with("/logs?order=asc&fields=n", &[("accept", "text/csv")]);
    let mut found: Vec<u64> = answer.text().lines().skip(1).map(|line| line.parse().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, (1..=LETTERS).filter(|number| !is_bad(*number)).collect::<Vec<_>>(), "after {kills} kills");
    // Those that are refused stay: each once at least, as a run may have been killed before it noted that it kept one.
    let kept = names(&folder).into_iter().filter(|name| name.ends_with(".ndjson"));
    let kept: String = kept.map(|name| fs::read_to_string(folder.join(name)).unwrap()).collect();
    for number in (1..=LETTERS).filter(|number| is_bad(*number)) {
        assert!(kept.contains(&format!("01M7Z7780ZYZ4MDT000000{number:04}")), "{number} is lost");
    }
}

#[test]
fn a_file_from_elsewhere_can_be_offered() {
    let server = Server::start(&[]);
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("saved.ndjson");
    fs::write(&path, letter(7, &record(7))).unwrap();
    let output = requeue(&server, &["--file", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(!path.exists());
    assert_eq!(server.http.get_with("/logs", &[("accept", "application/x-ndjson")]).text().lines().count(), 1);
}
