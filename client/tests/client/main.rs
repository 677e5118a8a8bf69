//! The client against a small HTTP peer that answers as it is told: failures that a real server shows too rarely.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod batching;
mod peer;
mod posting;
mod reading;
