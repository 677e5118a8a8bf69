//! The embedded engine: recent batches in memory, the rest in immutable Parquet segments.
