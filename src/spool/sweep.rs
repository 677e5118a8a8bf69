//! Deleting: segments whose blocks are all settled, after their keys are safe, and key files that have expired.

use std::io;
use std::sync::Mutex;

use log::warn;
use sluice_model::Timestamp;

use super::key_file::{self, KeyRecord};
use super::recovery::{key_path, segment_path};
use super::{Shared, locked};

/// How many key files there may be before they are merged.
const KEY_FILES_MAX: usize = 16;

/// A key file that is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyFile {
    pub number: u64,
    /// When its newest key was committed.
    pub newest: Timestamp,
}

/// Deletes what is not needed; one thread at a time.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    key_files: Mutex<Vec<KeyFile>>,
}

impl Sweeper {
    /// Takes over a key file that was found.
    pub fn adopt(&self, file: KeyFile) {
        locked(&self.key_files).push(file);
    }

    /// Deletes what can be deleted. What fails is logged, and tried again the next time.
    pub fn sweep(&self, shared: &Shared) {
        let mut key_files = locked(&self.key_files);
        // Deleting an abandoned segment frees the one that had to outlive it.
        loop {
            let doomed = shared.index.segments(|segments| segments.deletable());
            if doomed.is_empty() {
                break;
            }
            if let Err(error) = delete(shared, &mut key_files, &doomed) {
                warn!(error:%, segments = doomed.len(); "the spool cannot delete what is settled; it tries again");
                return;
            }
        }
        if let Err(error) = expire(shared, &mut key_files) {
            warn!(error:%; "the spool cannot tidy its key files; it tries again");
        }
    }
}

fn delete(shared: &Shared, key_files: &mut Vec<KeyFile>, doomed: &[(u64, u64)]) -> io::Result<()> {
    let records: Vec<KeyRecord> = {
        let mut keys = locked(&shared.keys);
        keys.expire(Timestamp::now());
        doomed.iter().flat_map(|(number, _)| keys.of_segment(*number)).collect()
    };
    let no_room = match write_keys(shared, key_files, &records) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => true,
        other => {
            other?;
            false
        }
    };
    for (number, _) in doomed {
        shared.files.remove(&segment_path(&shared.folder, *number))?;
    }
    // Until this is durable a restart could find the segments again: they count as there, and so do their runs.
    shared.files.sync_folder(&shared.folder)?;
    shared.index.segments(|segments| doomed.iter().for_each(|(number, _)| segments.remove(*number)));
    shared.budget.remove_used(doomed.iter().map(|(_, bytes)| bytes).sum());
    if no_room && write_keys(shared, key_files, &records).is_err() {
        // A full disk must drain all the same. This process still knows the keys; the next one will not.
        locked(&shared.keys).lost(Timestamp::now());
    }
    Ok(())
}

fn write_keys(shared: &Shared, key_files: &mut Vec<KeyFile>, records: &[KeyRecord]) -> io::Result<()> {
    let Some(newest) = records.iter().map(|record| record.at).max() else { return Ok(()) };
    let number = key_files.iter().map(|file| file.number).max().unwrap_or(0) + 1;
    key_file::write(&*shared.files, &key_path(&shared.folder, number), records)?;
    key_files.push(KeyFile { number, newest });
    Ok(())
}

/// Deletes expired key files, and merges the others if they are many.
fn expire(shared: &Shared, key_files: &mut Vec<KeyFile>) -> io::Result<()> {
    let window = i64::try_from(shared.settings.idempotency_window.as_nanos()).unwrap_or(i64::MAX);
    let oldest = Timestamp::from_nanos(Timestamp::now().as_nanos().saturating_sub(window));
    let (mut kept, mut dropped): (Vec<KeyFile>, Vec<KeyFile>) =
        key_files.iter().partition(|file| file.newest >= oldest);
    if kept.len() > KEY_FILES_MAX {
        let mut records = Vec::new();
        for file in &kept {
            let read = key_file::read(&*shared.files, &key_path(&shared.folder, file.number))?;
            records.extend(read.unwrap_or_default().into_iter().filter(|record| record.at >= oldest));
        }
        records.sort_by_key(|record| record.at);
        write_keys(shared, key_files, &records)?;
        dropped.append(&mut kept);
    }
    for file in dropped {
        shared.files.remove(&key_path(&shared.folder, file.number))?;
        key_files.retain(|other| other.number != file.number);
    }
    Ok(())
}
