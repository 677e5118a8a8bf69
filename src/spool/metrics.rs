//! The spool's metrics, under `sluice_spool_`.

use std::fmt;
use std::sync::Weak;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use sluice_model::Timestamp;

use super::lane::Lane;
use super::{Shared, locked};

/// What is counted as it happens; the rest is read from the index when it is asked for.
#[derive(Debug)]
pub(super) struct Metrics {
    pub fsyncs: Counter,
    pub fsync_seconds: Histogram,
    pub commits: Counter,
    pub group_batches: Histogram,
    pub written_bytes: Counter,
    pub failures: Counter,
    pub quarantined: Counter,
    pub recovered_blocks: Counter,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            fsyncs: Counter::default(),
            fsync_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            commits: Counter::default(),
            group_batches: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            written_bytes: Counter::default(),
            failures: Counter::default(),
            quarantined: Counter::default(),
            recovered_blocks: Counter::default(),
        };
        let spool = registry.sub_registry_with_prefix("sluice_spool");
        spool.register("fsyncs", "Syncs of commit groups", metrics.fsyncs.clone());
        spool.register("fsync_seconds", "How long a sync took", metrics.fsync_seconds.clone());
        spool.register("commits", "Commit groups", metrics.commits.clone());
        spool.register("group_batches", "Batches in a commit group", metrics.group_batches.clone());
        spool.register("written_bytes", "Bytes of blocks written", metrics.written_bytes.clone());
        spool.register("failures", "Writes and syncs that failed", metrics.failures.clone());
        spool.register("quarantined", "Findings that were set aside", metrics.quarantined.clone());
        spool.register("recovered_blocks", "Blocks found at the start", metrics.recovered_blocks.clone());
        metrics
    }

    /// Registers what is read when it is asked for.
    pub fn register_state(registry: &mut Registry, shared: Weak<Shared>) {
        registry.sub_registry_with_prefix("sluice_spool").register_collector(Box::new(State(shared)));
    }
}

struct State(Weak<Shared>);

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        let (keys, covered) = {
            let keys = locked(&shared.keys);
            (keys.len(), keys.covered_seconds(Timestamp::now()))
        };
        let segments = shared.index.segments(|segments| segments.len());
        for (name, help, value) in [
            ("bytes", "Bytes of segments", shared.budget.used() as f64),
            ("bytes_max", "Bytes at which nothing more is accepted", shared.settings.bytes_max as f64),
            ("segments", "Segment files", segments as f64),
            ("quarantined_files", "Files in quarantine", shared.quarantine.count() as f64),
            ("idempotency_keys", "Idempotency keys that are remembered", keys as f64),
            ("idempotency_covered_seconds", "For how long back every key is known", covered),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let lanes = shared.index.lanes();
        let by_lane = |encoder: &mut DescriptorEncoder, name, help, values: [f64; 3]| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (lane, value) in Lane::ALL.into_iter().zip(values) {
                ConstGauge::new(value).encode(family.encode_family(&[("lane", lane.name())])?)?;
            }
            fmt::Result::Ok(())
        };
        let e = &mut encoder;
        by_lane(e, "lane_blocks", "Blocks not in the store yet", lanes.map(|lane| lane.blocks as f64))?;
        by_lane(e, "lane_records", "Records not in the store yet", lanes.map(|lane| lane.records as f64))?;
        by_lane(e, "lane_bytes", "Bytes not in the store yet", lanes.map(|lane| lane.bytes as f64))?;
        by_lane(e, "lane_lag_seconds", "Age of the oldest of them", lanes.map(|lane| lane.lag.as_secs_f64()))
    }
}
