//! A batch made durable: encoded, checked, written and synced.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use prometheus_client::registry::Registry;
use sluice::batch::BlockSet;
use sluice::config::Settings;
use sluice::files::{Disk, Files};
use sluice::spool::{Entry, Spool};

use crate::records::{batch, body, counted};

/// A batch alone in its commit group, with its `fdatasync`.
#[divan::bench(sample_size = 1)]
fn append(bencher: Bencher<'_, '_>) {
    let (folder, batch, body) = (folder(), batch(), body());
    let files: Arc<dyn Files> = Arc::new(Disk);
    let settings = Settings::default().spool;
    let spool = Spool::open(&files, &folder.path().join("spool"), &settings, &mut Registry::default());
    let spool = spool.expect("a spool");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let entry = || {
        // What was appended before is forgotten, as if the store had it.
        let mut done = BlockSet::new();
        while let Some(block) = spool.next(Duration::ZERO) {
            spool.written(block.id);
            done.insert(block.id);
        }
        spool.settle(&done);
        Entry { batch: batch.clone(), reservation: spool.reserve(body.len()).expect("room"), key: None }
    };
    counted(bencher, 1)
        .with_inputs(entry)
        .bench_local_values(|entry| runtime.block_on(spool.append(entry)).expect("a receipt"));
    spool.close();
}

/// To write as many bytes as the body has to a file that has the room, and to sync them.
#[divan::bench(sample_size = 1)]
fn floor_write_and_fdatasync(bencher: Bencher<'_, '_>) {
    let (folder, body) = (folder(), body());
    let file = File::create(folder.path().join("file")).expect("a file");
    file.write_all_at(&vec![0; body.len()], 0).expect("room");
    file.sync_all().expect("a disk");
    counted(bencher, 1).bench_local(|| file.write_all_at(body, 0).and_then(|()| file.sync_data()).expect("a disk"));
}

/// On the disk that has the target folder: a temporary folder may be in memory.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}
