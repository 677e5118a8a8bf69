//! How far a file is imported.
//!
//! Each file has a file of state in `$XDG_STATE_HOME/sluice/import` (`~/.local/state` by default), named after the file's
//! device and inode, the server and the options: a file that is renamed stays the same, another one under its name is
//! another. Lines are appended to it, each with its checksum, and the last whole ones count:
//!
//! - `sending END`: the chunk up to byte END (decompressed) is on its way. A chunk that is sent again ends there too, also
//!   when the file has grown, so that it is the same request under the same key;
//! - `done END HASH`: the server has accepted all up to END, whose bytes have this hash. A run goes on only behind bytes
//!   that are still the same;
//! - `anew`: the file is another one, and begins again;
//! - `again SALT`: so does this one, because it was asked for; the salt makes its keys other ones.
//!
//! It is locked while an import runs. It is synced only at the end: should the last lines be lost in a crash, their chunks
//! are sent again under their keys.

use std::env;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::cli::failure::Failure;

/// How long a server remembers keys if its configuration does not say otherwise.
const KEY_WINDOW: Duration = Duration::from_secs(3600);

/// Which file, which server and how: two imports with the same identity are one.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    hash: u128,
    folder: Option<PathBuf>,
}

/// The state of one import.
#[derive(Debug)]
pub(super) struct State {
    identity: u128,
    log: Option<(PathBuf, File)>,
    facts: Facts,
    /// Whether something was known of the file before.
    resumed: bool,
}

/// What the lines say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Facts {
    done: u64,
    hash: u128,
    sending: Option<u64>,
    salt: u64,
}

impl Identity {
    /// The identity of the file at `path`.
    pub(super) fn of(path: &Path, fingerprint: &str) -> io::Result<Identity> {
        let metadata = fs::metadata(path)?;
        let home = || Some(PathBuf::from(env::var_os("HOME").filter(|home| !home.is_empty())?).join(".local/state"));
        let states = env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or_else(home);
        let text = format!("{}\n{}\n{fingerprint}", metadata.dev(), metadata.ino());
        // A pipe has no beginning to go on from.
        let folder = states.filter(|_| metadata.is_file()).map(|states| states.join("sluice/import"));
        Ok(Identity { hash: xxh3_128(text.as_bytes()), folder })
    }
}

impl State {
    /// The state of what cannot be gone on with, such as standard input.
    pub(super) fn none() -> State {
        State { identity: rand::random(), log: None, facts: Facts::default(), resumed: false }
    }

    /// Reads what is known of a file, and keeps other imports of it away.
    pub(super) fn open(Identity { hash, folder }: Identity) -> Result<State, Failure> {
        let Some(folder) = folder else {
            return Ok(State { identity: hash, log: None, facts: Facts::default(), resumed: false });
        };
        let path = folder.join(format!("{hash:032x}"));
        let of_file = |error: io::Error| Failure::file(&path, &error);
        fs::create_dir_all(&folder).map_err(of_file)?;
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(&path).map_err(of_file)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Failure::held("another import of this file is at work")),
            Err(TryLockError::Error(error)) => return Err(of_file(error)),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(of_file)?;
        let facts = Facts::read(&text);
        let age = file.metadata().and_then(|metadata| metadata.modified()).map(|at| at.elapsed().unwrap_or_default());
        if facts.sending.is_some() && age.is_ok_and(|age| age > KEY_WINDOW) {
            eprintln!(
                "sluice: the last run ended within a chunk more than an hour ago: its records may be stored twice"
            );
        }
        // Half a line must not spoil the next one.
        let ended = text.is_empty() || text.ends_with('\n');
        let mut state = State { identity: hash, log: Some((path, file)), facts, resumed: !text.is_empty() };
        if !ended {
            state.append("")?;
        }
        Ok(state)
    }

    /// Whether a former import has left its state.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// How many bytes of the file are done.
    pub(super) fn done_bytes(&self) -> u64 {
        self.facts.done
    }

    /// Where the chunk ends that was on its way when the last run ended.
    pub(super) fn sending_bytes(&self) -> Option<u64> {
        self.facts.sending
    }

    /// Whether the bytes that are done have this hash.
    pub(super) fn matches(&self, hash: u128) -> bool {
        self.facts.done == 0 || self.facts.hash == hash
    }

    /// The key of a request for what comes next, from its record at `place` on: equal records in two places are two.
    pub(super) fn key(&self, place: usize, body: &[u8]) -> String {
        let mut hash = Xxh3::new();
        hash.update(&self.identity.to_be_bytes());
        hash.update(&self.facts.salt.to_be_bytes());
        hash.update(&self.facts.done.to_be_bytes());
        hash.update(&(place as u64).to_be_bytes());
        hash.update(body);
        format!("import-{:032x}", hash.digest128())
    }

    /// Notes that the chunk up to `end` is on its way.
    pub(super) fn note_sending(&mut self, end: u64) -> Result<(), Failure> {
        if self.facts.sending == Some(end) {
            return Ok(());
        }
        self.note(&format!("sending {end}"))
    }

    /// Notes that all up to `end`, with this hash, is accepted.
    pub(super) fn note_done(&mut self, end: u64, hash: u128) -> Result<(), Failure> {
        self.note(&format!("done {end} {hash:032x}"))
    }

    /// Begins at the start of what has turned out to be another file.
    pub(super) fn begin_anew(&mut self) -> Result<(), Failure> {
        self.note("anew")
    }

    /// Begins again at the start of the file.
    pub(super) fn begin_again(&mut self) -> Result<(), Failure> {
        self.note(&format!("again {}", rand::random::<u64>()))
    }

    /// Makes what is noted survive a power cut.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        let Some((path, file)) = &self.log else { return Ok(()) };
        file.sync_all().map_err(|error| Failure::file(path, &error))
    }

    fn note(&mut self, line: &str) -> Result<(), Failure> {
        self.facts.apply(line);
        self.append(&format!("{line} {:08x}", crc32c::crc32c(line.as_bytes())))
    }

    fn append(&mut self, line: &str) -> Result<(), Failure> {
        let Some((path, file)) = &mut self.log else { return Ok(()) };
        // In one piece: a reader finds the whole line, or a half one at the end.
        file.write_all(format!("{line}\n").as_bytes()).map_err(|error| Failure::file(path, &error))
    }
}

impl Facts {
    /// What the whole lines say together.
    fn read(text: &str) -> Facts {
        let mut facts = Facts::default();
        for line in text.lines() {
            if let Some((line, checksum)) = line.rsplit_once(' ')
                && checksum == format!("{:08x}", crc32c::crc32c(line.as_bytes()))
            {
                facts.apply(line);
            }
        }
        facts
    }

    fn apply(&mut self, line: &str) {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("sending"), Some(end), None) => self.sending = end.parse().ok(),
            (Some("done"), Some(end), Some(hash)) => {
                self.done = end.parse().unwrap_or(0);
                self.hash = u128::from_str_radix(hash, 16).unwrap_or(0);
                self.sending = None;
            }
            (Some("anew"), None, None) => *self = Facts { salt: self.salt, ..Facts::default() },
            (Some("again"), Some(salt), None) => *self = Facts { salt: salt.parse().unwrap_or(0), ..Facts::default() },
            // A later version's, which this one does without.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(folder: &Path) -> State {
        State::open(Identity { hash: 7, folder: Some(folder.to_owned()) }).unwrap()
    }

    #[test]
    fn what_is_noted_is_there_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = state(folder.path());
        assert_eq!((first.done_bytes(), first.is_resumed()), (0, false));
        let key = first.key(0, b"body");
        assert_ne!(first.key(5, b"body"), key);
        first.note_sending(10).unwrap();
        assert_eq!(first.key(0, b"body"), key, "a request has the same key before and after a crash");
        assert!(State::open(Identity { hash: 7, folder: Some(folder.path().to_owned()) }).is_err(), "it is locked");
        drop(first);
        let mut second = state(folder.path());
        assert_eq!((second.done_bytes(), second.sending_bytes(), second.key(0, b"body")), (0, Some(10), key.clone()));
        second.note_done(10, 99).unwrap();
        assert_ne!(second.key(0, b"body"), key);
        drop(second);
        let mut third = state(folder.path());
        assert_eq!((third.done_bytes(), third.sending_bytes()), (10, None));
        assert!(third.matches(99) && !third.matches(98));
        third.begin_anew().unwrap();
        assert_eq!((third.done_bytes(), third.key(0, b"body")), (0, key.clone()));
        third.begin_again().unwrap();
        assert_ne!(third.key(0, b"body"), key);
    }

    #[test]
    fn half_a_line_and_a_damaged_one_count_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut before = state(folder.path());
        before.note_done(10, 99).unwrap();
        drop(before);
        let path = folder.path().join(format!("{:032x}", 7));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{}", text.replace("10", "90").trim_end())).unwrap();
        let mut after = state(folder.path());
        assert_eq!(after.done_bytes(), 10);
        after.note_done(20, 99).unwrap();
        drop(after);
        assert_eq!(state(folder.path()).done_bytes(), 20);
    }
}
