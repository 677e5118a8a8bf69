//! Conditions on the columns that are no messages: time, severity, service.

use divan::{Bencher, black_box};
use sluice::batch::Records;
use sluice::query::{Filter, parse};

use crate::records::{counted_columns, records};

#[divan::bench(args = [
    "level>=error",
    "service=web",
    "service=web AND level>=warn AND timestamp>=2024-10-08T00:00:05Z",
])]
fn keys(bencher: Bencher<'_, '_>, query: &str) {
    let records = records();
    let filter = Filter::default().and(&parse(query).expect("a query"));
    counted_columns(bencher, key_bytes(&records)).bench(|| filter.select(black_box(&records)));
}

/// To copy the three columns.
#[divan::bench]
fn floor_memcpy(bencher: Bencher<'_, '_>) {
    let records = records();
    let logs = &records.logs;
    let (mut times, mut severities) = (vec![0; logs.len()], vec![0; logs.len()]);
    let mut services = vec![0; logs.services().values().len()];
    counted_columns(bencher, key_bytes(&records)).bench_local(|| {
        times.copy_from_slice(black_box(logs.timestamps()));
        severities.copy_from_slice(black_box(logs.severities()));
        services.copy_from_slice(black_box(logs.services().values()));
    });
}

/// The size of the three columns.
fn key_bytes(records: &Records) -> usize {
    let logs = &records.logs;
    size_of_val(logs.timestamps()) + logs.severities().len() + logs.services().values().len()
}
