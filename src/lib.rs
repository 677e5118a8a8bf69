//! Sluice, a log aggregator that loses nothing it has accepted.
//!
//! The modules in the order in which a record meets them are listed in `ARCHITECTURE.md`; here they stand from the
//! ground up, and each may use only those above it.

pub mod batch;
