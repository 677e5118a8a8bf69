//! The tests that see Sluice from outside: one crate, so that it links once.

// Everything here is a test, also the helpers, which clippy cannot tell.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod cli;
mod contract;
mod fsck;
mod hostile;
mod http;
mod lifecycle;
mod mongodb;
mod outage;
mod producer;
mod requeue;
mod support;
mod tidy;
