//! The circuit breaker around the store, over the `failsafe` crate.
