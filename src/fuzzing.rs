//! The fuzzers' targets: functions that take any bytes and say what must hold for them.
//!
//! `cargo fuzz` runs each on bytes that it makes up (`make fuzz`, see `CONTRIBUTING.md`). The test below runs the very same
//! functions on `fuzz/corpus`, which is what the fuzzers have found worth keeping, and on `fuzz/findings`, which is every
//! input that once broke one of them.

use std::panic::{catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::{LazyLock, Once};

use crate::store::embedded;
use crate::{api, config, decode, query, spool};

/// What a fuzzer runs.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its program in `fuzz/targets` and of its folders.
pub const TARGETS: &[(&str, Target)] = &[
    ("block_payload", spool::fuzzing::payload),
    ("body", decode::fuzzing::body),
    ("config", |data| config::fuzzing::config(data, &SCRATCH)),
    ("cursor", query::fuzzing::cursor),
    ("decompress", decode::fuzzing::decompress),
    ("key_file", spool::fuzzing::key_file),
    ("manifest", embedded::fuzzing::manifest),
    ("params", api::fuzzing::params),
    ("query", query::fuzzing::query),
    ("spool_segment", |data| spool::fuzzing::segment(data, &SCRATCH)),
    ("store_segment", |data| embedded::fuzzing::segment(data, &SCRATCH)),
    ("text", decode::fuzzing::text),
    ("time", query::fuzzing::time),
];

/// Runs the target `name` on `data`.
///
/// # Panics
/// If something does not hold that must, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    // The fuzzer's own hook ends the process also at a panic that is caught, as those of other people's decoders are.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let Some((_, target)) = TARGETS.iter().find(|(target, _)| *target == name) else {
        unreachable!("there is no target {name}");
    };
    if let Err(panic) = catch_unwind(|| target(data)) {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        eprintln!("{}", message.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message"));
        resume_unwind(panic);
    }
}

/// The file of those targets that read files; in memory, where the machine has such a folder.
static SCRATCH: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("sluice-fuzz-{}", std::process::id()))
});

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn folder(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(path)
    }

    fn files(path: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn the_corpus_and_every_finding_hold() {
        let mut count = 0;
        for (name, target) in TARGETS {
            for kind in ["corpus", "findings"] {
                for file in files(&folder(kind).join(name)) {
                    let data = std::fs::read(&file).unwrap();
                    let outcome = std::panic::catch_unwind(|| target(&data));
                    assert!(outcome.is_ok(), "{} no longer holds", file.display());
                    count += 1;
                }
            }
        }
        let _ = std::fs::remove_file(&*SCRATCH);
        assert!(count > 100, "only {count} inputs");
    }

    #[test]
    fn every_target_has_its_program() {
        let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let stems = |path: &str| -> BTreeSet<String> {
            files(&folder(path)).iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(stems("targets"), names);
        assert_eq!(stems("corpus"), names);
        let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
        assert!(names.iter().all(|name| manifest.contains(&format!("name = \"{name}\""))));
    }
}
