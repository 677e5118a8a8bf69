//! `sluice count`, `stats` and `fields`.

use serde_json::Value;

use super::{run, send, stderr, stdout};
use crate::support::server::Server;

#[test]
fn records_are_counted() {
    let server = Server::start(&[]);
    send(&server.http, 300);
    assert_eq!(stdout(&run(&server, &["count"])), "300\n");
    assert_eq!(stdout(&run(&server, &["count", "severity>=warn", "number<30"])), "20\n");
    assert_eq!(run(&server, &["count", "a OR"]).status.code(), Some(64));
}

#[test]
fn figures_are_a_table_a_chart_or_lines() {
    let server = Server::start(&[]);
    send(&server.http, 3_001);
    let stats = |args: &[&str]| run(&server, &[&["stats"], args].concat());
    let table = stdout(&stats(&["--by", "severity", "--agg", "count,max(number)", "--format", "pretty"]));
    assert_eq!(
        table,
        "severity  count  max(number)\nINFO       1001         3000\nWARN       1000         2998\nERROR      1000         2999\n"
    );
    let lines = stdout(&stats(&["--by", "severity"]));
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((lines.lines().count(), &first["severity"], &first["count"]), (3, &"INFO".into(), &1001.into()));
    let csv = stdout(&stats(&["--format", "csv"]));
    assert_eq!(csv.lines().collect::<Vec<_>>(), ["count", "3001"]);

    let chart = stdout(&stats(&["--step", "1s", "--format", "pretty", "--tz", "Europe/Berlin"]));
    let rows: Vec<&str> = chart.lines().collect();
    assert_eq!(rows.len(), 5, "{chart}");
    assert!(rows[1].starts_with("2024-10-08 09:00:00  ████") && rows[1].ends_with("█   1000"), "{chart}");
    assert!(rows[4].starts_with("2024-10-08 09:00:03  ▏ ") && rows[4].ends_with(" 1"), "{chart}");
}

#[test]
fn the_largest_groups_are_shown_and_the_rest_is_told() {
    let server = Server::start(&[]);
    send(&server.http, 10);
    let output = run(&server, &["stats", "--by", "severity", "--top", "1", "--format", "pretty"]);
    assert_eq!(stdout(&output), "severity  count\nINFO          4\n");
    assert_eq!(stderr(&output), "sluice: 2 more groups with 6 records (--top)\n");
}

#[test]
fn fields_and_their_values_are_listed() {
    let server = Server::start(&[]);
    send(&server.http, 10);
    let fields = stdout(&run(&server, &["fields", "--format", "pretty"]));
    let number: Vec<&str> =
        fields.lines().find(|line| line.starts_with("number")).unwrap().split_whitespace().collect();
    assert_eq!(number, ["number", "integer", "10"]);
    let values = run(&server, &["fields", "severity", "--query", "number<5", "--top", "2"]);
    assert_eq!(stdout(&values), "{\"value\":\"INFO\",\"count\":2}\n{\"value\":\"WARN\",\"count\":2}\n");
    assert_eq!(stderr(&values), "sluice: 1 more value with 1 record (--top)\n");
}
