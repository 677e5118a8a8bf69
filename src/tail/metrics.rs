//! The metrics of tails, under `sluice_tail_`.

use std::fmt;
use std::sync::Weak;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Shared;

/// What is counted as it happens; the rest is looked at when it is asked for.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub sent: Counter,
    pub missed: Counter,
    pub passed_over: Counter,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics::default();
        let tail = registry.sub_registry_with_prefix("sluice_tail");
        tail.register("sent_records", "Matches that tails gave to their readers", metrics.sent.clone());
        tail.register("missed_records", "Matches that slow readers of tails missed", metrics.missed.clone());
        let help = "Records that tails did not look at, since filtering fell behind";
        tail.register("passed_over_records", help, metrics.passed_over.clone());
        metrics
    }

    /// Registers what is looked at when it is asked for.
    pub fn register_state(registry: &mut Registry, shared: Weak<Shared>) {
        registry.sub_registry_with_prefix("sluice_tail").register_collector(Box::new(State(shared)));
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
        let (open, queued, backlog) = {
            let state = shared.locked();
            let queued: usize = state.followers.iter().map(|follower| follower.queue.bytes()).sum();
            let backlog = state.subscription.as_ref().map_or(0, |subscription| subscription.backlog_bytes().0);
            (state.followers.len(), queued, backlog)
        };
        for (name, help, value) in [
            ("open", "Open tails", open),
            ("queued_bytes", "Bytes of matches that wait for readers", queued),
            ("backlog_bytes", "Bytes of records that wait to be looked at", backlog),
            (
                "history_bytes",
                "Bytes of earlier records that wait for readers",
                shared.history_bytes.load(Ordering::Relaxed),
            ),
        ] {
            let gauge = ConstGauge::new(value as f64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
