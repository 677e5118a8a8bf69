//! A segment of the embedded store: sorted, encoded, compressed, indexed, written and synced.

use std::sync::Arc;

use divan::{Bencher, black_box};
use prometheus_client::registry::Registry;
use sluice::batch::{Block, BlockId};
use sluice::config::Settings;
use sluice::files::{Disk, Files};
use sluice::store::Store;
use sluice::store::embedded::EmbeddedStore;

use crate::records::{ARRIVAL, RECORDS, batch, body, counted, run};
use crate::spool::folder;

/// Bodies in a segment.
const BODIES: u64 = 10;

#[divan::bench(sample_size = 1, sample_count = 10)]
fn write(bencher: Bencher<'_, '_>) {
    let batch = batch();
    let files: Arc<dyn Files> = Arc::new(Disk);
    let settings = Settings::default();
    let filled = || {
        let folder = folder();
        let place = folder.path().join("store");
        let store = EmbeddedStore::open(
            &files,
            &place,
            &settings.embedded,
            settings.retention,
            &[run()],
            &mut Registry::default(),
        );
        let store = store.expect("a store");
        for number in 0..BODIES {
            let id = BlockId { run: run(), first: number * RECORDS, rows: RECORDS as u32 };
            store.write(&Block { id, arrival: ARRIVAL, batch: batch.clone() }).expect("room in memory");
        }
        (store, folder)
    };
    counted(bencher, BODIES).with_inputs(filled).bench_local_values(|(store, folder)| {
        store.close().expect("a disk");
        (store, folder)
    });
}

/// To compress the bodies with `zstd -1`.
#[divan::bench(sample_size = 1, sample_count = 10)]
fn floor_zstd(bencher: Bencher<'_, '_>) {
    let bodies = body().repeat(BODIES as usize);
    counted(bencher, BODIES).bench(|| zstd::bulk::compress(black_box(&bodies), 1));
}
