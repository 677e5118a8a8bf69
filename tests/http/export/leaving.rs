//! Clients that hang up or stall, stores that stop, disks without room.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{FORMATS, export, fill, until_searchable};
use crate::support::mongo::MongoServer;
use crate::support::server::{Server, wait_for};

/// How soon what nobody waits for must be over: far sooner than any timeout of the server's.
const SOON: Duration = Duration::from_secs(15);

/// Asks for an export and reads nothing of it.
fn begin(server: &Server, parameters: &str) -> TcpStream {
    let address = server.url().strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET /logs/export?{parameters} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    connection
}

/// Whether the only place for an export is free.
fn is_free(server: &Server) -> bool {
    let answer = server.http.get("/logs/export?limit=1&format=csv");
    assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
    answer.status == 200
}

fn temporary_files(server: &Server) -> usize {
    std::fs::read_dir(server.data_dir().join("tmp")).unwrap().count()
}

fn soon(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !check() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn hanging_up_ends_the_work_and_frees_the_place() {
    let server = Server::start(&["--query-exports-max", "1"]);
    // More than the sockets' buffers take.
    fill(&server.http, 40_000, 600);
    for (format, _) in FORMATS {
        let mut connection = begin(&server, &format!("format={format}&order=desc"));
        let mut some = [0; 1000];
        connection.read_exact(&mut some).unwrap();
        assert!(some.starts_with(b"HTTP/1.1 200 OK\r\n"), "{format}");
        // A table of so many equal letters is small: it may be through already.
        if format != "parquet" {
            let refused = server.http.get("/logs/export");
            assert_eq!(refused.status, 429, "{format}");
            assert!(refused.text().contains("query.exports_max is reached: 1 exports are running"));
            assert!(refused.headers.contains_key("retry-after"));
        }
        drop(connection);
        soon("the place", || is_free(&server));
        soon("the file to go", || temporary_files(&server) == 0);
    }
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let server = Server::start(&["--query-exports-max", "1", "--query-stall-timeout", "1s"]);
    fill(&server.http, 40_000, 600);
    for format in ["ndjson", "sqlite"] {
        let mut connection = begin(&server, &format!("format={format}"));
        let mut answer = vec![0; 15];
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK", "{format}");
        wait_for("the place", || is_free(&server).then_some(()));
        assert_eq!(temporary_files(&server), 0);
        // What the sockets hold may still come, or an error.
        let _ = connection.read_to_end(&mut answer);
        assert!(!answer.ends_with(b"\r\n0\r\n\r\n"), "{format}: {} bytes with a clean end", answer.len());
    }
}

#[test]
fn a_database_goes_with_its_client_while_it_is_built() {
    let Some(mongo) = MongoServer::start("a_database_goes_with_its_client_while_it_is_built") else { return };
    let server = Server::start(&["--store", &mongo.uri(), "--query-exports-max", "1"]);
    fill(&server.http, 20_000, 10);
    until_searchable(&server);
    let connection = begin(&server, "format=sqlite");
    soon("the file", || temporary_files(&server) == 1);
    // From here on no window comes any more, for as long as the timeouts are.
    mongo.freeze();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(temporary_files(&server), 1, "the database is being built");
    drop(connection);
    soon("the file to go", || temporary_files(&server) == 0);
    mongo.thaw();
    wait_for("the place", || (server.http.get("/logs/export?limit=1").status == 200).then_some(()));
}

#[test]
fn what_fails_midway_is_cut_without_its_end() {
    let Some(mongo) = MongoServer::start("what_fails_midway_is_cut_without_its_end") else { return };
    let server = Server::start(&["--store", &mongo.uri(), "--query-timeout", "6s"]);
    fill(&server.http, 20_000, 600);
    until_searchable(&server);
    for format in ["ndjson", "arrow"] {
        let mut connection = begin(&server, &format!("format={format}"));
        let mut answer = vec![0; 1000];
        connection.read_exact(&mut answer).unwrap();
        mongo.freeze();
        // An error at the end of what came is as good as an end.
        let _ = connection.read_to_end(&mut answer);
        mongo.thaw();
        assert!(!answer.ends_with(b"\r\n0\r\n\r\n"), "{format}: {} bytes with a clean end", answer.len());
        wait_for("reads", || (server.http.get("/logs/export?limit=1").status == 200).then_some(()));
    }
    assert!(server.log().contains("a streaming answer is cut"), "{}", server.log());
}

#[test]
fn a_database_needs_room_on_the_disk() {
    let server = Server::start(&[]);
    fill(&server.http, 100, 10);
    assert_eq!(export(&server.http, "format=sqlite").body[..15], *b"SQLite format 3");
    let tmp = server.data_dir().join("tmp");
    std::fs::write(tmp.join("7.sqlite"), "left by a server that was killed").unwrap();
    let server = server.start_again_with(&["--spool-free-disk-floor", "1000TiB"]);
    assert_eq!(temporary_files(&server), 0);
    let refused = server.http.get("/logs/export?format=sqlite");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("spool.free_disk_floor"), "{}", refused.text());
    assert_eq!(temporary_files(&server), 0);
    assert_eq!(export(&server.http, "format=ndjson").text().lines().count(), 100);
}
