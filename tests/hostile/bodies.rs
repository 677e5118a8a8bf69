//! Bodies that are small on the wire and large behind it.

use std::io::{Read, Write};

use flate2::Compression;

use super::{RECORD, assert_serves, connect};
use crate::support::http::Answer;
use crate::support::server::Server;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut out, 1 << 16, 5, 22);
    encoder.write_all(bytes).unwrap();
    drop(encoder);
    out
}

/// A frame of zstd that decoders skip, of so many bytes.
fn skipped(bytes: usize) -> Vec<u8> {
    [&0x184d_2a50_u32.to_le_bytes()[..], &(bytes as u32).to_le_bytes(), &vec![0; bytes]].concat()
}

fn send(server: &Server, encoding: &str, body: &[u8]) -> Answer {
    server.http.post_with("/logs/batch", body, &[("content-encoding", encoding), ("content-type", "application/json")])
}

#[test]
fn bombs_of_every_kind_stop_at_the_limit() {
    let server = Server::start(&["--limits-body-bytes", "1MiB"]);
    let spaces = vec![b' '; 64 << 20];
    let twice = gzip(&gzip(&spaces));
    assert!(twice.len() < 4096, "a bomb in a bomb: {} bytes", twice.len());
    let tail = RECORD.as_bytes();
    for (encoding, body, expected) in [
        ("zstd", zstd(&spaces), 413),
        ("br", brotli(&spaces), 413),
        ("deflate", zlib(&spaces), 413),
        ("gzip, gzip", twice.clone(), 413),
        ("zstd, br", brotli(&zstd(&spaces)), 413),
        // What yields nothing has a limit too: 64 MiB that the second decoder skips, and headers without end.
        ("zstd, gzip", gzip(&[skipped(64 << 20), zstd(tail)].concat()), 413),
        ("zstd", skipped(3 << 20), 413),
        ("gzip", gzip(b"").repeat(200_000), 413),
        ("gzip, gzip, gzip", gzip(&twice), 415),
        ("gzip,gzip,,identity,deflate", twice.clone(), 415),
        // A window of 2 GiB.
        ("zstd", vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8, 1, 0, 0], 400),
        // A large window of brotli, which no RFC has.
        ("br", vec![0x11, 0x3e, 0, 0, 0, 0], 400),
        ("gzip", [gzip(tail), tail.to_vec()].concat(), 400),
        ("gzip", gzip(tail)[..20].to_vec(), 400),
        ("gzip", tail.to_vec(), 400),
        ("deflate", gzip(tail), 400),
    ] {
        let answer = send(&server, encoding, &body);
        assert_eq!(answer.status, expected, "{encoding}, {} bytes: {}", body.len(), answer.text());
    }
    assert_eq!(send(&server, "zstd, gzip", &gzip(&[skipped(100), zstd(tail)].concat())).status, 202);
    assert_serves(&server, 1);
    assert!(server.peak_memory_mib() < 200, "{} MiB", server.peak_memory_mib());
}

#[test]
fn many_bombs_at_once_share_what_there_is() {
    let server = Server::start(&["--limits-inflight-bytes", "64MiB", "--limits-body-bytes", "16MiB"]);
    let bombs = [("gzip", gzip(&vec![b' '; 64 << 20])), ("gzip, gzip", gzip(&gzip(&vec![b' '; 64 << 20])))];
    std::thread::scope(|scope| {
        for (encoding, bomb) in bombs.iter().cycle().take(60) {
            scope.spawn(|| {
                let answer = send(&server, encoding, bomb);
                assert!([413, 503].contains(&answer.status), "{}", answer.text());
            });
        }
    });
    assert_serves(&server, 0);
    assert!(server.peak_memory_mib() < 400, "{} MiB", server.peak_memory_mib());
}

#[test]
fn decoders_that_wait_hold_little() {
    let server = Server::start(&["--limits-client-timeout", "2s"]);
    let before = server.peak_memory_mib();
    // The first bytes of streams that ask for the largest window.
    let beginnings: [(&str, &[u8]); 3] =
        [("zstd", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0x68]), ("br", &[0x0f, 0xff]), ("gzip", &[0x1f, 0x8b, 8, 0])];
    let waiting: Vec<_> = beginnings
        .into_iter()
        .cycle()
        .take(300)
        .map(|(encoding, beginning)| {
            let mut connection = connect(&server);
            let head =
                format!("POST /logs HTTP/1.1\r\nHost: x\r\nContent-Encoding: {encoding}\r\nContent-Length: 50\r\n\r\n");
            connection.write_all(&[head.as_bytes(), beginning].concat()).unwrap();
            connection
        })
        .collect();
    assert_serves(&server, 0);
    for mut connection in waiting {
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
    let grown = server.peak_memory_mib() - before;
    assert!(grown < 150, "300 decoders hold {grown} MiB");
}
