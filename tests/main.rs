//! The tests that see Sluice from outside.

mod tidy;
