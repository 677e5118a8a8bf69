//! Sluice, a log aggregator that loses nothing it has accepted.
//!
//! How a record travels through these modules is told in `ARCHITECTURE.md`. Here they stand from the ground up: each may
//! use only those above it.

pub mod buffers;
pub mod config;
pub mod files;
pub mod priority;
pub mod telemetry;

pub mod batch;
pub mod finding;
pub mod query;
pub mod stats;

pub mod spool;
pub mod store;

pub mod ingest;
pub mod tail;
pub mod worker;

pub mod decode;
pub mod error;

pub mod api;

pub mod app;
pub mod cli;
pub mod fsck;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
