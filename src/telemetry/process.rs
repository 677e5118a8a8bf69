//! What the operating system says of this process, read when it is asked for.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads the process's memory, threads and open files from `/proc`; gives nothing where that is not there.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<i64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name| field(&status, name).map(|kib| kib * 1024);
        gauge("process_resident_memory", "Memory in use", Some(&Unit::Bytes), kib("VmRSS:"))?;
        gauge("process_resident_memory_peak", "Most memory in use so far", Some(&Unit::Bytes), kib("VmHWM:"))?;
        gauge("process_virtual_memory", "Address space in use", Some(&Unit::Bytes), kib("VmSize:"))?;
        gauge("process_threads", "Threads", None, field(&status, "Threads:"))?;
        let open = std::fs::read_dir("/proc/self/fd").ok().and_then(|folder| i64::try_from(folder.count()).ok());
        gauge("process_open_fds", "Open file descriptors", None, open)
    }
}

/// The number behind `name` in the text of `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
