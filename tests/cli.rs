//! The command line against the real server: what people type, see and get as an exit code.

mod export;
mod follow;
mod import;
mod query;
mod stats;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::http::Http;
use crate::support::server::Server;

/// The program, told which server to speak to, with nothing of this process's surroundings.
fn sluice(url: &str, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).env("TZ", "UTC").env("LANG", "C.UTF-8").env("SLUICE_URL", url).stdin(Stdio::null());
    command
}

/// Runs it in the server's own folder.
fn run(server: &Server, args: &[&str]) -> Output {
    sluice(server.url(), &server.data_dir()).args(args).output().unwrap()
}

/// What it wrote, if it went well.
fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{:?}: {}", output.status, stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// All records as the server writes them, oldest first.
fn all(http: &Http) -> Vec<String> {
    let answer = http.get_with("/logs?order=asc", &[("accept", "application/x-ndjson")]);
    answer.text().lines().map(str::to_owned).collect()
}

/// Sends records of one service, a millisecond apart, in batches.
fn send(http: &Http, count: usize) {
    let record = |number: usize| {
        let level = ["info", "warn", "error"][number % 3];
        let (second, millisecond) = (number / 1000, number % 1000);
        format!(
            "{{\"timestamp\":\"2024-10-08T07:00:{second:02}.{millisecond:03}Z\",\"level\":\"{level}\",\
             \"service\":\"shop\",\"message\":\"order {number}\",\"number\":{number}}}\n"
        )
    };
    for start in (0..count).step_by(5_000) {
        let body: String = (start..count.min(start + 5_000)).map(record).collect();
        let answer = http.post_with("/logs/batch", body.as_bytes(), &[("content-type", "application/x-ndjson")]);
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

#[test]
fn a_shell_and_man_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| sluice("http://127.0.0.1:9", folder.path()).args(args).output().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&["completions", shell]));
        assert!(script.contains("min-level") && script.contains("requeue"), "{shell}");
    }
    assert!(stdout(&run(&["man"])).starts_with(".ie"), "a page in roff");
    let pages = folder.path().join("pages");
    stdout(&run(&["man", "--dir", pages.to_str().unwrap()]));
    for page in ["sluice.1", "sluice-query.1", "sluice-import.1", "sluice-fsck.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
}

#[test]
fn the_server_is_found_by_flag_variable_and_configuration() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, format!("listen = \"{}\"", server.url().trim_start_matches("http://"))).unwrap();
    let mut by_file = sluice("", folder.path());
    by_file.args(["query", "--config"]).arg(&file);
    assert_eq!(stdout(&by_file.output().unwrap()), "");
    // The flag wins over the variable, and a configuration that is not needed may be wrong.
    let mut by_flag = sluice("http://127.0.0.1:9", folder.path());
    by_flag.env("SLUICE_LISTEN", "nowhere").args(["query", "--url", server.url()]);
    assert_eq!(stdout(&by_flag.output().unwrap()), "");
    assert_eq!(stdout(&sluice(server.url(), folder.path()).arg("health").output().unwrap()), "");

    let nobody = sluice("http://127.0.0.1:9", folder.path()).arg("query").output().unwrap();
    assert_eq!(nobody.status.code(), Some(69));
    assert!(stderr(&nobody).contains("is the server running there?"), "{}", stderr(&nobody));
    for wrong in
        [&["query", "--url", "localhost:8005"][..], &["query", "--no-such-flag"], &["query", "--since", "soon"]]
    {
        let output = sluice(server.url(), folder.path()).args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{wrong:?}: {}", stderr(&output));
    }
}
