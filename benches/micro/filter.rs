//! Conditions on the columns that are no messages: time, severity, service.

use divan::{Bencher, black_box};
use sluice::query::{Filter, parse};

use crate::records::{counted, records};

#[divan::bench(args = [
    "level>=error",
    "service=web",
    "service=web AND level>=warn AND timestamp>=2024-10-08T00:00:05Z",
])]
fn keys(bencher: Bencher<'_, '_>, query: &str) {
    let records = records();
    let filter = Filter::default().and(&parse(query).expect("a query"));
    counted(bencher, 1).bench(|| filter.select(black_box(&records)));
}

/// To copy the three columns.
#[divan::bench]
fn floor_memcpy(bencher: Bencher<'_, '_>) {
    let records = records();
    let logs = &records.logs;
    let (mut times, mut severities) = (vec![0; logs.len()], vec![0; logs.len()]);
    let mut services = vec![0; logs.services().values().len()];
    counted(bencher, 1).bench_local(|| {
        times.copy_from_slice(black_box(logs.timestamps()));
        severities.copy_from_slice(black_box(logs.severities()));
        services.copy_from_slice(black_box(logs.services().values()));
    });
}
