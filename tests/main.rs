//! The tests that see Sluice from outside.

// Everything here is a test, also the helpers, which clippy cannot tell.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod http;
mod lifecycle;
mod support;
mod tidy;
