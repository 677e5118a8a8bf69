//! `sluice fsck` on damaged data folders, as an operator uses it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::server::{Server, wait_for};

/// How many records a batch has, and how many batches there are in each place.
const BATCH: usize = 50;
const SPOOLED: usize = 4;

/// A data folder with two segments in the store and four blocks in the spool, and the messages in it.
fn prepared() -> (Server, BTreeSet<String>) {
    let mut messages = BTreeSet::new();
    let mut send = |server: &Server, part: &str| {
        let records = (0..BATCH).map(|n| format!("{{\"message\":\"record {n} of {part}\",\"n\":{n}}}"));
        messages.extend((0..BATCH).map(|n| format!("record {n} of {part}")));
        let body = format!("[{}]", records.collect::<Vec<_>>().join(","));
        assert_eq!(server.http.post("/logs/batch", &body).status, 202);
    };
    let mut server = Server::start(&["--embedded-flush-age", "1h"]);
    for part in ["the first segment", "the second segment"] {
        send(&server, part);
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        server = server.start_again();
    }
    for block in 0..SPOOLED {
        send(&server, &format!("block {block}"));
    }
    server.kill();
    (server, messages)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => double(&entry.path(), &to.join(entry.file_name())),
        }
    }
}

fn sluice(args: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(args).arg("--data-dir").arg(folder).stdin(Stdio::null()).output().unwrap()
}

/// The exit code, and the report.
fn fsck(folder: &Path, repair: bool) -> (i32, Value) {
    let args: &[&str] = if repair { &["fsck", "--json", "--repair"] } else { &["fsck", "--json"] };
    let output = sluice(args, folder);
    let report = serde_json::from_slice(&output.stdout);
    let code = output.status.code().expect("it ends by itself");
    (code, report.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr))))
}

fn kinds(report: &Value) -> BTreeSet<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

/// The files of a folder whose names end so, in order; `below` in its folders too.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path(), ending)),
            false if entry.path().to_string_lossy().ends_with(ending) => found.push(entry.path()),
            false => {}
        }
    }
    found.sort();
    found
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn double(path: &Path, to: &Path) {
    fs::copy(path, to).unwrap();
}

fn cut(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Where the blocks of a spool segment begin.
fn blocks(path: &Path) -> Vec<usize> {
    let bytes = fs::read(path).unwrap();
    (0..bytes.len()).step_by(4096).filter(|place| bytes[*place..].starts_with(b"SluiceBk")).collect()
}

fn segment(data: &Path, place: usize) -> PathBuf {
    files(&data.join("store/segments"), ".parquet")[place].clone()
}

/// The spool's segment with the blocks.
fn log(data: &Path) -> PathBuf {
    files(&data.join("spool"), ".log").into_iter().find(|path| !blocks(path).is_empty()).unwrap()
}

/// A damage, what it is called, and how many records it costs.
struct Case {
    name: &'static str,
    damage: fn(&Path),
    kind: &'static str,
    lost: Option<u64>,
    gone: usize,
}

const CASES: &[Case] = &[
    Case {
        name: "a block in the middle of the spool",
        damage: |data| flip(&log(data), blocks(&log(data))[1] + 200),
        kind: "damaged",
        lost: Some(BATCH as u64),
        gone: BATCH,
    },
    Case {
        name: "the header of a block",
        damage: |data| flip(&log(data), blocks(&log(data))[2] + 50),
        kind: "damaged",
        lost: None,
        gone: BATCH,
    },
    Case {
        name: "the header of a spool segment",
        damage: |data| flip(&log(data), 30),
        kind: "damaged",
        lost: Some(0),
        gone: 0,
    },
    Case {
        name: "the end of the spool",
        damage: |data| cut(&log(data), blocks(&log(data))[3] as u64 + 300),
        kind: "torn_end",
        lost: Some(0),
        gone: BATCH,
    },
    Case {
        name: "a spool segment twice",
        damage: |data| double(&log(data), &data.join("spool/00000000000000000999.log")),
        kind: "doubled",
        lost: Some(0),
        gone: 0,
    },
    Case {
        name: "a page of a segment",
        damage: |data| flip(&segment(data, 0), 100),
        kind: "damaged",
        lost: Some(BATCH as u64),
        gone: BATCH,
    },
    Case {
        name: "the end of a segment",
        damage: |data| cut(&segment(data, 1), 1000),
        kind: "damaged",
        lost: Some(BATCH as u64),
        gone: BATCH,
    },
    Case {
        name: "a segment that is gone",
        damage: |data| fs::remove_file(segment(data, 0)).unwrap(),
        kind: "missing",
        lost: Some(BATCH as u64),
        gone: BATCH,
    },
    Case {
        name: "a segment twice",
        damage: |data| double(&segment(data, 0), &segment(data, 0).with_file_name("ffffffffffffffffffff.parquet")),
        kind: "doubled",
        lost: Some(0),
        gone: 0,
    },
    Case {
        name: "the manifest",
        damage: |data| flip(&data.join("store/manifest"), 200),
        kind: "damaged",
        lost: Some(0),
        gone: 0,
    },
    Case {
        name: "both manifests gone",
        damage: |data| {
            fs::remove_file(data.join("store/manifest")).unwrap();
            fs::remove_file(data.join("store/manifest.previous")).unwrap();
        },
        kind: "missing",
        lost: Some(0),
        gone: 0,
    },
    Case {
        name: "unfinished files",
        damage: |data| {
            fs::write(data.join("store/manifest.tmp"), "{").unwrap();
            fs::write(segment(data, 0).with_extension("tmp"), "PAR1").unwrap();
            fs::write(data.join("spool/00000000000000000777.log.new"), "SluiceSg").unwrap();
        },
        kind: "unfinished",
        lost: Some(0),
        gone: 0,
    },
];

#[test]
fn each_damage_is_reported_mended_once_and_the_rest_is_served() {
    let (original, messages) = prepared();
    let (code, report) = fsck(&original.data_dir(), false);
    assert_eq!((code, &report["findings"]), (0, &Value::Array(Vec::new())), "{report}");
    let records = (report["records"]["store"].as_u64(), report["records"]["spool"].as_u64());
    assert_eq!(records, (Some(2 * BATCH as u64), Some((SPOOLED * BATCH) as u64)));

    for Case { name, damage, kind, lost, gone } in CASES {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        copy(&original.data_dir(), &data);
        damage(&data);
        let (code, report) = fsck(&data, false);
        let loss = if *lost == Some(0) { 0 } else { 2 };
        assert_eq!(code, 4 | loss, "{name}: {report}");
        assert!(kinds(&report).contains(kind), "{name}: {report}");
        assert_eq!(report["lost_unknown"], lost.is_none(), "{name}: {report}");
        assert_eq!(report["lost_records"], lost.unwrap_or(0), "{name}: {report}");
        let (again, same) = fsck(&data, false);
        assert_eq!((again, &same["findings"]), (code, &report["findings"]), "{name}: a look changes nothing");

        let (code, mended) = fsck(&data, true);
        assert_eq!(code, 1 | loss, "{name}: {mended}");
        assert!(mended["findings"].as_array().unwrap().iter().all(|finding| finding["mended"] == true), "{mended}");
        let (code, clean) = fsck(&data, false);
        assert_eq!((code, &clean["findings"]), (0, &Value::Array(Vec::new())), "{name}: {clean}");
        assert_eq!(*kind == "unfinished" || name.contains("gone"), clean["quarantined_files"] == 0, "{name}: {clean}");

        let server = Server::start_on(&data);
        let drained = || server.http.get("/ready").json()["queue_records"] == 0;
        wait_for("the spool to reach the store", || drained().then_some(()));
        let answer = server.http.get_with("/logs?fields=message", &[("accept", "text/csv")]);
        let found: Vec<_> = answer.text().lines().skip(1).map(str::to_owned).collect();
        assert_eq!(found.len(), messages.len() - gone, "{name}: {}", server.log());
        let distinct: BTreeSet<_> = found.into_iter().collect();
        assert_eq!(distinct.len(), messages.len() - gone, "{name}: no record twice");
        assert!(distinct.is_subset(&messages), "{name}: no record altered");
        let ready = server.http.get("/ready").json();
        assert_eq!(ready["quarantined_files"], clean["quarantined_files"], "{name}");
    }
}

#[test]
fn what_a_newer_version_wrote_and_what_is_not_ours_is_left_alone() {
    let (original, _) = prepared();
    let data = original.data_dir();
    fs::write(data.join("notes.txt"), "mine").unwrap();
    assert_eq!(fsck(&data, true).0, 0);
    let newer = "{\"format\":99,\"crc32c\":1,\"length\":2}\n{}\n";
    fs::write(data.join("store/manifest"), newer).unwrap();
    for repair in [false, true] {
        let (code, report) = fsck(&data, repair);
        assert_eq!(code, 4, "{report}");
        assert!(kinds(&report).contains("newer_format"), "{report}");
    }
    assert_eq!(fs::read_to_string(data.join("store/manifest")).unwrap(), newer);
    assert_eq!(fs::read_to_string(data.join("notes.txt")).unwrap(), "mine");
}

#[test]
fn a_folder_in_use_is_refused_and_one_that_is_not_there_is_not_made() {
    let server = Server::start(&[]);
    assert_eq!(sluice(&["fsck"], &server.data_dir()).status.code(), Some(65));
    let nowhere = server.data_dir().join("nowhere");
    assert_eq!(sluice(&["fsck"], &nowhere).status.code(), Some(8));
    assert!(!nowhere.exists());
    assert_eq!(sluice(&["fsck", "--mend"], &nowhere).status.code(), Some(64));
}

#[test]
fn the_report_for_people_says_what_and_where() {
    let (original, _) = prepared();
    let data = original.data_dir();
    flip(&log(&data), blocks(&log(&data))[1] + 200);
    let output = sluice(&["fsck"], &data);
    let text = String::from_utf8(output.stdout).unwrap();
    let (line, summary) = text.trim_end().split_once('\n').unwrap();
    assert!(line.starts_with("spool/0") && line.contains(".log: damaged at byte "), "{text}");
    assert!(
        line.contains("; lost: 50 records of 0") && line.contains("to mend it: a copy goes to quarantine"),
        "{text}"
    );
    assert!(summary.contains("lost: 50; 1 findings, 0 mended"), "{text}");
}
