//! Makes realistic log records, sends them to Sluice, and checks that all of them arrived.
//!
//! One [`source::Source`] makes the flow of records, which depends on the seed alone; [`send::run`] lets any number of
//! clients carry it to the server; [`verify::verify`] reads it back.

pub mod encode;
pub mod flags;
pub mod generate;
pub mod latency;
pub mod pace;
pub mod print;
mod profile;
pub mod progress;
pub mod send;
pub mod source;
pub mod stop;
pub mod summary;
mod template;
mod text;
pub mod verify;
pub mod weights;

pub use template::UnknownValue;
