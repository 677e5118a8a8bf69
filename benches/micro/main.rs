//! `make bench-micro`: the steps that a record goes through, each beside its physical floor.
//!
//! A floor is what no implementation can go below: copying the same bytes, searching them with `memmem`, compressing them
//! with `zstd -1`, writing and syncing them. Throughput counts what goes in: the bytes of the NDJSON, or of the columns that are looked at; and
//! records.

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
