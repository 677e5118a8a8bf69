//! `sluice import`: everything once, and every bad line is named.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::{all, run, sluice, stderr, stdout};
use crate::support::server::Server;

/// A file in the server's folder, and its name.
fn file(server: &Server, name: &str, content: &[u8]) -> String {
    let path = server.data_dir().join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn lines(range: std::ops::Range<usize>) -> String {
    range.map(|number| format!("{{\"level\":\"info\",\"message\":\"m {number}\",\"number\":{number}}}\n")).collect()
}

fn numbers(server: &Server) -> Vec<u64> {
    let number = |line: &String| serde_json::from_str::<Value>(line).unwrap()["attributes"]["number"].as_u64().unwrap();
    let mut numbers: Vec<u64> = all(&server.http).iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

fn state_file(server: &Server) -> PathBuf {
    let folder = server.data_dir().join(".local/state/sluice/import");
    fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_file_is_imported_once_and_then_what_it_has_grown_by() {
    let server = Server::start(&[]);
    let path = file(&server, "a.ndjson", lines(0..15_000).as_bytes());
    let import = |args: &[&str]| run(&server, &[&["import", path.as_str()], args].concat());
    let first = import(&[]);
    assert!(first.status.success(), "{}", stderr(&first));
    assert_eq!(stderr(&first), format!("sluice: {path}: 15000 records imported, 0 lines refused\n"));
    let again = stderr(&import(&[]));
    assert!(again.contains("0 records imported") && again.contains("nothing new"), "{again}");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(lines(15_000..15_010).as_bytes()).unwrap();
    // Under another name it is the same file.
    let moved = format!("{path}.1");
    fs::rename(&path, &moved).unwrap();
    assert!(stderr(&run(&server, &["import", &moved])).contains(": 10 records imported"));
    assert!(numbers(&server).into_iter().eq(0..15_010));
    // Another file in its place is another.
    fs::write(&moved, lines(20_000..20_005)).unwrap();
    let other = stderr(&run(&server, &["import", &moved]));
    assert!(other.contains("another file") && other.contains(": 5 records imported"), "{other}");
    assert!(stderr(&run(&server, &["import", &moved, "--again"])).contains(": 5 records imported"));
    assert_eq!(numbers(&server).len(), 15_020);
}

#[test]
fn an_import_that_is_killed_goes_on_and_doubles_nothing() {
    let server = Server::start(&[]);
    let path = file(&server, "a.ndjson", lines(0..60_000).as_bytes());
    for pause_ms in [60, 90, 120, 180, 250] {
        let mut command = sluice(server.url(), &server.data_dir());
        let mut child = command.args(["import", &path]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause_ms));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    stdout(&run(&server, &["import", &path]));
    assert!(numbers(&server).into_iter().eq(0..60_000));

    // As after a crash between the server's answer and its note.
    let state = state_file(&server);
    let noted = fs::read_to_string(&state).unwrap();
    let before_last = noted.trim_end().rfind('\n').unwrap() + 1;
    assert!(noted[before_last..].starts_with("done "), "{noted}");
    fs::write(&state, &noted[..before_last]).unwrap();
    assert!(stderr(&run(&server, &["import", &path])).contains(": 10000 records imported"));
    assert!(numbers(&server).into_iter().eq(0..60_000), "the server knows the request");
}

#[test]
fn an_import_waits_for_a_server_that_restarts() {
    let mut server = Server::start(&[]);
    let path = file(&server, "a.ndjson", lines(0..10).as_bytes());
    let listen = server.url().trim_start_matches("http://").to_owned();
    let mut command = sluice(server.url(), &server.data_dir());
    server.kill();
    let child = command.args(["import", &path]).stderr(Stdio::piped()).spawn().unwrap();
    let server = server.start_again_with(&["--listen", &listen]);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(numbers(&server).len(), 10);
}

#[test]
fn every_bad_line_is_named_and_the_others_are_there() {
    let server = Server::start(&[]);
    let mut content = String::from("{\"level\":\"info\"\n\nplain\n");
    // More than a refusal names at once.
    (0..250).for_each(|number| content.push_str(&format!("{{\"level\":\"loud\",\"number\":{number}}}\n")));
    content.push_str(&lines(0..20));
    let path = file(&server, "a.log", b"");
    fs::write(&path, content).unwrap();
    let output = run(&server, &["import", &path, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let told = stderr(&output);
    let named: Vec<&str> = told.lines().collect();
    assert_eq!(named.len(), 253, "{told}");
    assert!(named[0].starts_with(&format!("{path}:1: not JSON: ")), "{}", named[0]);
    assert!(named[1].starts_with(&format!("{path}:3: not JSON: ")), "{}", named[1]);
    for (line, named) in (4..254).zip(&named[2..]) {
        assert!(named.starts_with(&format!("{path}:{line}: level: ")) && named.contains("loud"), "{named}");
    }
    assert_eq!(named[252], format!("sluice: {path}: 20 records imported, 252 lines refused"));
    assert!(numbers(&server).into_iter().eq(0..20));

    let rejected = server.data_dir().join("bad.ndjson");
    let again = ["import", &path, "--format", "json", "--again", "--rejected", rejected.to_str().unwrap()];
    let output = run(&server, &again);
    assert_eq!((output.status.code(), stderr(&output).lines().count()), (Some(1), 1));
    let lines = fs::read_to_string(&rejected).unwrap();
    let third: Value = serde_json::from_str(lines.lines().nth(2).unwrap()).unwrap();
    assert_eq!(
        (lines.lines().count(), &third["line"], &third["text"]),
        (252, &4.into(), &"{\"level\":\"loud\",\"number\":0}".into())
    );
}

#[test]
fn what_is_over_a_limit_is_narrowed_down_to_its_line() {
    let server = Server::start(&["--limits-batch-records", "7", "--limits-record-bytes", "1KiB"]);
    let long = format!("{{\"message\":\"{}\"}}\n", "x".repeat(2_000));
    let path = file(&server, "a.ndjson", format!("{}{long}{}", lines(0..20), lines(20..30)).as_bytes());
    let output = run(&server, &["import", &path]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains(&format!("{path}:21: ")), "{}", stderr(&output));
    assert!(numbers(&server).into_iter().eq(0..30));
    // Parts of a chunk that are equal are not one and the same.
    let path = file(&server, "same.log", "the same\n".repeat(28).as_bytes());
    stdout(&run(&server, &["import", &path, "--service", "same"]));
    assert_eq!(stdout(&run(&server, &["query", "--service", "same"])).lines().count(), 28);
}

#[test]
fn text_tables_and_arrays_are_understood_also_compressed() {
    let server = Server::start(&[]);
    let text = "2024-10-08 09:00:00,250 WARN disk is full\n\tat Disk.java:1\n";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let log = file(&server, "app.log.gz", &gzip.finish().unwrap());
    let table =
        file(&server, "t.csv", b"ts,level,msg,user.id,zip\n2024-10-08T07:00:02Z,error,\"a, \"\"b\"\"\",7,007\n");
    let array = "[\n  {\n    \"time\": \"2024-10-08T07:00:03Z\",\n    \"msg\": \"in an array\",\n    \"service\": \"own\"\n  }\n]\n";
    let array = file(&server, "array.json.zst", &zstd::encode_all(array.as_bytes(), 1).unwrap());
    stdout(&run(&server, &["import", &log, &table, &array, "--service", "given", "--tz", "Europe/Berlin"]));
    let found: Vec<Value> = all(&server.http).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let field = |name: &str| -> Vec<&str> { found.iter().map(|record| record[name].as_str().unwrap()).collect() };
    let expected = ["2024-10-08 09:00:00,250 WARN disk is full", "\tat Disk.java:1", "a, \"b\"", "in an array"];
    assert_eq!(field("message"), expected);
    assert_eq!(field("service"), ["given", "given", "given", "own"]);
    assert_eq!(field("level"), ["WARN", "INFO", "error", "INFO"]);
    assert!(field("timestamp")[..2].iter().all(|time| *time == "2024-10-08T07:00:00.250000000Z"));
    assert_eq!(found[2]["attributes"], serde_json::json!({"user.id": 7, "zip": "007"}));
}

#[test]
fn what_was_found_goes_back_in_as_it_was() {
    let (from, to) = (Server::start(&[]), Server::start(&[]));
    let body = r#"{"timestamp":"2024-10-08T07:00:00.123456789Z","level":"WARNING","service":"s","message":"a\n,\"b\"","n":1.0,"big":12345678901234567890123}"#;
    assert_eq!(from.http.post("/logs/batch", body).status, 202);
    let without_id = |line: &String| line.split_once(",\"timestamp\"").unwrap().1.to_owned();
    let sent: Vec<String> = all(&from.http).iter().map(without_id).collect();
    for (format, name) in [("json", "a.ndjson"), ("csv", "a.csv")] {
        let path = file(&to, name, &run(&from, &["query", "--format", format]).stdout);
        stdout(&run(&to, &["import", &path]));
        assert_eq!(without_id(all(&to.http).last().unwrap()), sent[0], "{format}");
    }
}

#[test]
fn standard_input_and_missing_files() {
    let server = Server::start(&[]);
    let import = |args: &[&str], input: &Path| -> Output {
        let mut command = sluice(server.url(), &server.data_dir());
        command.arg("import").args(args).stdin(fs::File::open(input).unwrap()).output().unwrap()
    };
    let path = file(&server, "a", lines(0..5).as_bytes());
    stdout(&import(&["-"], Path::new(&path)));
    stdout(&import(&["-"], Path::new(&path)));
    assert_eq!(all(&server.http).len(), 10, "nothing is known of what came before");
    let missing = import(&["no such file"], Path::new("/dev/null"));
    assert_eq!(missing.status.code(), Some(74), "{}", stderr(&missing));
}
