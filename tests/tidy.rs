//! The house's style, as far as a program can check it: layers, lengths, docs, lints, and the README's table.
//!
//! The checkers are pure functions from text to complaints, each tested on bad input beside it. Here they are run on the
//! repository.

mod code;
mod layers;
mod manifest;
mod readme;
mod style;

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository: its path from the root, with `/` between the parts, and its text.
struct Source {
    path: String,
    text: String,
}

#[test]
fn modules_import_only_what_lies_below_them() {
    assert_clean(layers::check(&rust_files(&["src"])));
}

#[test]
fn rust_files_are_short_and_in_their_place() {
    let files = rust_files(&["src", "model", "client", "producer", "tests", "benches"]);
    assert_clean(files.iter().flat_map(|file| style::check_file(&file.path, &file.text)).collect());
}

#[test]
fn sources_say_what_they_are_for_and_keep_the_lints() {
    let files = rust_files(&["src", "model/src", "client/src", "producer/src"]);
    assert_clean(files.iter().flat_map(|file| style::check_source(&file.path, &file.text)).collect());
}

#[test]
fn every_package_inherits_the_lints() {
    let root = read("Cargo.toml");
    let mut complaints = manifest::check_root(&root);
    for member in manifest::members(&root) {
        let path = format!("{member}/Cargo.toml");
        complaints.extend(manifest::check_package(&path, &read(&path)));
    }
    assert_clean(complaints);
}

#[test]
fn the_readme_lists_every_key_of_the_configuration() {
    // A README that is missing lacks every row, and the complaints say which.
    let readme = fs::read_to_string(root().join("README.md")).unwrap_or_default();
    assert_clean(readme::check(&readme, sluice::config::keys::KEYS));
}

/// Fails with every complaint on a line of its own.
fn assert_clean(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// The Rust files under some folders of the repository, those of build output left out.
fn rust_files(folders: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut files);
    }
    assert!(!files.is_empty(), "no Rust file under {folders:?}");
    files
}

fn collect(folder: &Path, files: &mut Vec<Source>) {
    if !folder.exists() {
        return;
    }
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            files.push(Source { text: read(&relative), path: relative });
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
