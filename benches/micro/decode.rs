//! A body of NDJSON to columns.

use divan::{Bencher, black_box};
use sluice::decode::json;

use crate::records::{body, counted, options};

#[divan::bench]
fn a_body(bencher: Bencher<'_, '_>) {
    let (body, options) = (body(), options());
    counted(bencher, 1).bench(|| json(black_box(body), &options));
}

/// To look at each byte of it once.
#[divan::bench]
fn floor_utf8_check(bencher: Bencher<'_, '_>) {
    let body = body();
    counted(bencher, 1).bench(|| simdutf8::basic::from_utf8(black_box(body)).is_ok());
}

/// To copy it.
#[divan::bench]
fn floor_memcpy(bencher: Bencher<'_, '_>) {
    let body = body();
    let mut copy = vec![0; body.len()];
    counted(bencher, 1).bench_local(|| copy.copy_from_slice(black_box(body)));
}
