//! `sluice query`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::{all, run, send, sluice, stderr, stdout};
use crate::support::server::Server;

fn numbers(text: &str) -> Vec<u64> {
    let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["attributes"]["number"].as_u64();
    text.lines().map(|line| number(line).unwrap()).collect()
}

#[test]
fn elsewhere_than_on_a_terminal_everything_comes_as_json_oldest_first() {
    let server = Server::start(&[]);
    send(&server.http, 300);
    assert_eq!(stdout(&run(&server, &["query"])).lines().collect::<Vec<_>>(), all(&server.http));
    let some = stdout(&run(&server, &["query", "order", "number<5", "--level", "warn,error", "--service", "shop"]));
    assert_eq!(numbers(&some), [1, 2, 4]);
    let since = ["query", "--since", "2024-10-08 09:00:00.297", "--until", "2024-10-08", "--tz", "Europe/Berlin"];
    assert_eq!(numbers(&stdout(&run(&server, &since))), [297, 298, 299]);
    let fields = stdout(&run(&server, &["query", "number=7", "--fields", "number,message", "--format", "csv"]));
    assert_eq!(fields, "number,message\r\n7,order 7\r\n");
}

#[test]
fn a_limit_takes_the_newest_or_the_first_of_an_order() {
    let server = Server::start(&[]);
    send(&server.http, 12_500);
    let query = |args: &[&str]| run(&server, &[&["query"], args].concat());
    let newest = query(&["-n", "3"]);
    assert_eq!(numbers(&stdout(&newest)), [12_497, 12_498, 12_499]);
    assert_eq!(stderr(&newest), "sluice: these are the newest 3, there are more (--limit N, 0 for all)\n");
    assert_eq!(numbers(&stdout(&query(&["--limit", "2", "--order", "asc"]))), [0, 1]);
    assert_eq!(numbers(&stdout(&query(&["--limit", "2", "--order", "desc"]))), [12_499, 12_498]);
    let exact = query(&["--limit", "2", "number>=12498"]);
    assert_eq!((numbers(&stdout(&exact)).len(), stderr(&exact).as_str()), (2, ""));

    // More than the server has on a page.
    let pages = query(&["--limit", "12345", "--order", "asc"]);
    assert!(numbers(&stdout(&pages)).into_iter().eq(0..12_345));
    assert!(stderr(&pages).contains("these are the oldest 12345, there are more"));
    let table = stdout(&query(&["--limit", "12345", "--order", "asc", "--format", "csv", "--fields", "number"]));
    assert_eq!(table.lines().next(), Some("number"));
    assert!(table.lines().skip(1).map(|line| line.parse::<u64>().unwrap()).eq(0..12_345), "one header, then all");
    assert_eq!(query(&["--limit", "12345"]).status.code(), Some(64), "which ones?");
}

#[test]
fn records_for_people_are_aligned_coloured_and_harmless() {
    let server = Server::start(&[]);
    let body = r#"[{"timestamp":"2024-10-08T07:00:00Z","level":"WARNING","service":"payment","message":"a \u001b[2Jb","user":{"id":7}},
        {"timestamp":"2024-10-08T07:00:01Z","level":"info","service":"web","message":"ok"}]"#;
    assert_eq!(server.http.post("/logs/batch", body).status, 202);
    let shown = stdout(&run(&server, &["query", "--format", "pretty", "--tz", "Europe/Berlin"]));
    let expected = "2024-10-08 09:00:00.000  WARN  payment  a \\u{1b}[2Jb  user.id=7\n\
                    2024-10-08 09:00:01.000  INFO  web      ok\n";
    assert_eq!(shown, expected);
    let coloured = |args: &[&str], variable: Option<(&str, &str)>| {
        let mut command = sluice(server.url(), &server.data_dir());
        command.args(["query", "--format", "pretty"]).args(args).envs(variable);
        stdout(&command.output().unwrap()).contains("\x1b[33mWARN")
    };
    assert!(!coloured(&[], None));
    assert!(coloured(&["--color", "always"], Some(("NO_COLOR", "1"))));
    assert!(coloured(&[], Some(("CLICOLOR_FORCE", "1"))));
    assert!(!coloured(&["--color", "never"], Some(("CLICOLOR_FORCE", "1"))));
}

#[test]
fn a_query_that_cannot_be_read_is_shown_with_a_mark() {
    let server = Server::start(&[]);
    let output = run(&server, &["query", "severity>=warn number>="]);
    assert_eq!(output.status.code(), Some(64));
    let told = stderr(&output);
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("sluice: q: column "), "{told}");
    assert_eq!(lines[1], "  severity>=warn number>=", "{told}");
    let column: usize = lines[0]["sluice: q: column ".len()..].split(':').next().unwrap().parse().unwrap();
    assert_eq!(lines[2].find('^'), Some(column + 1), "{told}");
}

#[test]
fn a_field_that_no_record_has_is_told() {
    let server = Server::start(&[]);
    send(&server.http, 10);
    let output = run(&server, &["query", "nunber=7"]);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("nunber"), "{}", stderr(&output));
}

#[test]
fn a_reader_who_has_seen_enough_ends_it_quietly() {
    let server = Server::start(&[]);
    send(&server.http, 20_000);
    let mut command = sluice(server.url(), &server.data_dir());
    let mut child = command.arg("query").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("order 0"));
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}
