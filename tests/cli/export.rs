//! `sluice export`.

use std::fs;

use super::{all, run, send, stderr, stdout};
use crate::support::server::Server;

#[test]
fn an_export_is_whole_before_it_has_its_name() {
    let server = Server::start(&[]);
    send(&server.http, 3_000);
    assert_eq!(stdout(&run(&server, &["export"])).lines().collect::<Vec<_>>(), all(&server.http));

    let path = server.data_dir().join("logs.csv");
    let name = path.to_str().unwrap();
    stdout(&run(&server, &["export", "severity=error", "--output", name, "--fields", "number"]));
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1 + 1_000);
    let refused = run(&server, &["export", "--output", name]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(stderr(&refused).contains("--force"));
    stdout(&run(&server, &["export", "--output", name, "--force"]));
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1 + 3_000);

    let path = server.data_dir().join("logs.parquet");
    stdout(&run(&server, &["export", "--output", path.to_str().unwrap()]));
    assert!(fs::read(&path).unwrap().starts_with(b"PAR1"));
}

#[test]
fn an_export_that_fails_leaves_nothing_behind() {
    let mut server = Server::start(&[]);
    let path = server.data_dir().join("logs.ndjson");
    let refused = run(&server, &["export", "a OR", "--output", path.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(64), "{}", stderr(&refused));
    let nowhere = run(&server, &["export", "--output", "/no/such/folder/logs.ndjson"]);
    assert_eq!(nowhere.status.code(), Some(74), "{}", stderr(&nowhere));
    server.kill();
    let unreachable = run(&server, &["export", "--output", path.to_str().unwrap()]);
    assert_eq!(unreachable.status.code(), Some(69), "{}", stderr(&unreachable));
    assert!(!path.exists() && !path.with_extension("ndjson.part").exists());
}
