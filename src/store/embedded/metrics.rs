//! The engine's metrics.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What the engine counts and measures, under `sluice_store_`.
pub(super) struct Metrics {
    pub(super) segments: Gauge,
    pub(super) segment_bytes: Gauge,
    pub(super) memory_rows: Gauge,
    pub(super) memory_bytes: Gauge,
    pub(super) flushes: Counter,
    pub(super) flush_failures: Counter,
    pub(super) flush_seconds: Histogram,
    pub(super) compactions: Counter,
    pub(super) rows_written: Counter,
    pub(super) bytes_written: Counter,
    pub(super) rows_deleted: Counter,
    pub(super) segments_quarantined: Counter,
    pub(super) quarantined_files: Gauge,
    pub(super) lost_rows: Counter,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            segments: Gauge::default(),
            segment_bytes: Gauge::default(),
            memory_rows: Gauge::default(),
            memory_bytes: Gauge::default(),
            flushes: Counter::default(),
            flush_failures: Counter::default(),
            flush_seconds: Histogram::new(exponential_buckets(0.005, 2.0, 14)),
            compactions: Counter::default(),
            rows_written: Counter::default(),
            bytes_written: Counter::default(),
            rows_deleted: Counter::default(),
            segments_quarantined: Counter::default(),
            quarantined_files: Gauge::default(),
            lost_rows: Counter::default(),
        };
        let store = registry.sub_registry_with_prefix("sluice_store");
        store.register("segments", "Segments on disk", metrics.segments.clone());
        store.register("segments_bytes", "Bytes of the segments on disk", metrics.segment_bytes.clone());
        store.register("memory_rows", "Records in the memory tier", metrics.memory_rows.clone());
        store.register("memory_bytes", "Bytes of the memory tier", metrics.memory_bytes.clone());
        store.register("flushes", "Flushes of the memory tier to disk", metrics.flushes.clone());
        store.register("flush_failures", "Flushes that failed and are tried again", metrics.flush_failures.clone());
        store.register("flush_duration_seconds", "How long a flush takes", metrics.flush_seconds.clone());
        store.register("compactions", "Compactions of small segments", metrics.compactions.clone());
        store.register("written_rows", "Records written to segments", metrics.rows_written.clone());
        store.register("written_bytes", "Bytes written to segments", metrics.bytes_written.clone());
        store.register("deleted_rows", "Records deleted by retention", metrics.rows_deleted.clone());
        store.register("quarantined_segments", "Segments set aside as damaged", metrics.segments_quarantined.clone());
        store.register("quarantined_files", "Files in the store's quarantine", metrics.quarantined_files.clone());
        store.register("lost_rows", "Records lost by damage, as far as is known", metrics.lost_rows.clone());
        metrics
    }
}
