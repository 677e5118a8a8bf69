//! The integration tests: one crate, so that it links once.

// As in unit tests: here a failure is a panic.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod contract;
mod mongodb;
mod support;
