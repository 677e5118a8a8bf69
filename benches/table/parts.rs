//! The parts of the table. Each measures, and adds its rows to the report.

pub mod beside;
pub mod ingest;
pub mod mongodb;
pub mod queries;
pub mod requests;
pub mod scale;
