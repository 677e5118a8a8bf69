//! `make bench-micro`: the steps that a record goes through, each beside its physical floor.
//!
//! A floor is what no implementation can go below: copying the same bytes, searching them with `memmem`, compressing them
//! with `zstd -1`, writing and syncing them. Throughput counts the bytes of the body that the records came in, so that all
//! figures can be compared; where a floor works on other bytes, its doc says on which.

// What fails here is a benchmark.
#![allow(clippy::expect_used)]

mod decode;
mod filter;
mod records;
mod scan;
mod segment;
mod spool;

fn main() {
    divan::main();
}
