//! The configuration: read once, checked whole, then handed out by section.
//!
//! Every key has three forms: a flag (`--spool-durability os`), an environment variable
//! (`SLUICE_SPOOL__DURABILITY=os`, or `…_FILE` with the path of a file that holds the value) and a line in the file that
//! `--config` names (`[spool]`, `durability = "os"`). Flags win over the environment, that over the file, that over the
//! defaults. [`keys::KEYS`] is the one list of them.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod keys;
mod layers;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use sluice_model::Severity;

pub use layers::{ConfigError, Layers};
pub use value::{ByteSize, Period, StoreTarget};

/// The whole configuration, valid.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// The folder of everything that Sluice keeps.
    pub data_dir: PathBuf,
    /// Which store the records go to.
    pub store: StoreTarget,
    /// How log lines look.
    pub log_format: LogFormat,
    /// How long a stop may take.
    pub shutdown_timeout: Duration,
    /// The spool.
    pub spool: SpoolSettings,
    /// The worker pools.
    pub workers: WorkerSettings,
    /// The circuit breakers.
    pub breaker: BreakerSettings,
    /// What a sender may do.
    pub limits: LimitSettings,
    /// What a reader may do.
    pub query: QuerySettings,
    /// Live tails.
    pub tail: TailSettings,
    /// How long records are kept.
    pub retention: RetentionSettings,
    /// The embedded engine.
    pub embedded: EmbeddedSettings,
    /// MongoDB.
    pub mongodb: MongoSettings,
    /// Every key with its effective value, secrets redacted.
    pub effective: Vec<(&'static str, String)>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What a 202 promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The records survive a crash of the machine: `fdatasync` came before the reply.
    Fsync,
    /// The records survive a crash of the process, but not of the machine: the operating system has them.
    Os,
}

/// The section `[spool]`.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// What a 202 promises.
    pub durability: Durability,
    /// How many bytes of segments there may be; past it nothing is accepted.
    pub bytes_max: u64,
    /// The size at which a segment is closed and the next one opened.
    pub segment_bytes: u64,
    /// How many bytes of batches stay in memory on their way to the store; past it they are read back from disk.
    pub memory_bytes: u64,
    /// How much of the disk stays free; `None` means the smaller of 1 GiB and 5 % of the file system.
    pub free_disk_floor: Option<u64>,
    /// How long an `Idempotency-Key` is remembered.
    pub idempotency_window: Duration,
    /// How many keys are remembered at most.
    pub idempotency_keys_max: usize,
}

/// The section `[workers]`.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// How many actors write to the store.
    pub store: usize,
    /// How many actors search it.
    pub query: usize,
    /// How many batches are with the writing actors at a time.
    pub inflight: usize,
}

/// The section `[breaker]`.
#[derive(Debug, Clone)]
pub struct BreakerSettings {
    /// After how many failures in a row a breaker opens.
    pub failures: u32,
    /// The share of failing calls at which it opens too.
    pub failure_share: f64,
    /// Over how long that share is taken.
    pub window: Duration,
    /// How long it stays open at first.
    pub backoff_min: Duration,
    /// How long it stays open at most.
    pub backoff_max: Duration,
}

/// The section `[limits]`.
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// The size of a body after decompression.
    pub body_bytes: usize,
    /// How many records a batch has.
    pub batch_records: usize,
    /// The size of one record's JSON.
    pub record_bytes: usize,
    /// How many attributes a record has.
    pub record_attributes: usize,
    /// How many different attribute names a batch has.
    pub batch_attribute_names: usize,
    /// How many bytes of bodies are in hand at a time.
    pub inflight_bytes: usize,
    /// The severity under which records of an unknown level are filed; they are refused, if absent.
    pub unknown_level: Option<Severity>,
    /// How long `?ack=stored` waits.
    pub ack_timeout: Duration,
    /// How many connections are open at a time.
    pub connections: usize,
    /// How long a client may take to send a request's head, or leave a body stalled.
    pub client_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
}

/// The section `[query]`.
#[derive(Debug, Clone)]
pub struct QuerySettings {
    /// How many queries wait for a worker.
    pub queue_max: usize,
    /// How long a query runs at most.
    pub timeout: Duration,
    /// How long a read waits to see what was accepted before it.
    pub barrier_timeout: Duration,
    /// How much memory the state of one query takes: groups, distinct values, percentiles, names.
    pub memory_bytes: usize,
    /// How long a streaming answer waits for a client that does not read.
    pub stall_timeout: Duration,
    /// How many exports run at a time.
    pub exports_max: usize,
}

/// The section `[tail]`.
#[derive(Debug, Clone)]
pub struct TailSettings {
    /// How many tails are open at a time.
    pub connections: usize,
    /// How many bytes of matches wait for a tail's reader.
    pub queue_bytes: usize,
    /// How many bytes of records wait to be looked at, for all tails together.
    pub backlog_bytes: usize,
    /// How long a tail is silent before it sends a sign of life.
    pub heartbeat: Duration,
}

/// The section `[retention]`.
#[derive(Debug, Clone, Copy)]
pub struct RetentionSettings {
    /// How long records are kept; for ever, if absent.
    pub age: Option<Duration>,
    /// How many bytes of segments the embedded engine keeps; no limit, if absent.
    pub bytes: Option<u64>,
}

/// The section `[embedded]`.
#[derive(Debug, Clone)]
pub struct EmbeddedSettings {
    /// How many records in memory make a flush.
    pub flush_rows: usize,
    /// How many bytes in memory make a flush.
    pub flush_bytes: usize,
    /// The age of the oldest record in memory that makes a flush.
    pub flush_age: Duration,
    /// How many bytes the memory tier holds; past it the spool waits.
    pub memory_bytes: usize,
}

/// The section `[mongodb]`.
#[derive(Debug, Clone)]
pub struct MongoSettings {
    /// How long a write may take.
    pub write_timeout: Duration,
    /// How long one step of a read may take.
    pub read_timeout: Duration,
}

impl Settings {
    /// Checks the layers and makes the configuration of them.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first key that is wrong.
    pub fn resolve(layers: &Layers) -> Result<Settings, ConfigError> {
        let settings = Settings {
            listen: layers.parse("listen")?,
            data_dir: layers.parse("data_dir")?,
            store: layers.parse("store")?,
            log_format: layers.choice("log_format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])?,
            shutdown_timeout: layers.period("shutdown_timeout")?,
            spool: spool(layers)?,
            workers: workers(layers)?,
            breaker: breaker(layers)?,
            limits: limits(layers)?,
            query: query(layers)?,
            tail: tail(layers)?,
            retention: retention(layers)?,
            embedded: embedded(layers)?,
            mongodb: mongodb(layers)?,
            effective: layers.effective(),
        };
        settings.check_together(layers)?;
        Ok(settings)
    }

    /// Checks what no key can say of itself alone.
    fn check_together(&self, layers: &Layers) -> Result<(), ConfigError> {
        if self.retention.bytes.is_some() && self.store != StoreTarget::Embedded {
            return Err(layers.refuse("retention.bytes", "0 with MongoDB, which has no such limit; use retention.days"));
        }
        if self.breaker.backoff_max < self.breaker.backoff_min {
            return Err(layers.refuse("breaker.backoff_max", "at least breaker.backoff_min"));
        }
        if self.spool.bytes_max < 2 * self.spool.segment_bytes {
            return Err(layers.refuse("spool.bytes_max", "at least twice spool.segment_bytes"));
        }
        // A quarter of the bytes in hand is for small bodies alone.
        if self.limits.inflight_bytes / 4 * 3 < self.limits.body_bytes + self.limits.body_bytes / 2 {
            return Err(layers.refuse("limits.inflight_bytes", "at least twice limits.body_bytes"));
        }
        if self.limits.record_bytes > self.limits.body_bytes {
            return Err(layers.refuse("limits.record_bytes", "at most limits.body_bytes"));
        }
        if self.embedded.memory_bytes < self.embedded.flush_bytes {
            return Err(layers.refuse("embedded.memory_bytes", "at least embedded.flush_bytes"));
        }
        Ok(())
    }
}

fn spool(layers: &Layers) -> Result<SpoolSettings, ConfigError> {
    Ok(SpoolSettings {
        durability: layers.choice("spool.durability", &[("fsync", Durability::Fsync), ("os", Durability::Os)])?,
        bytes_max: layers.bytes("spool.bytes_max", 1 << 20)?,
        segment_bytes: layers.bytes("spool.segment_bytes", 64 << 10)?,
        memory_bytes: layers.bytes("spool.memory_bytes", 0)?,
        free_disk_floor: layers.optional("spool.free_disk_floor", |size: ByteSize| size.0)?,
        idempotency_window: layers.period("spool.idempotency_window")?,
        idempotency_keys_max: layers.number("spool.idempotency_keys_max", 0..=100_000_000)?,
    })
}

fn workers(layers: &Layers) -> Result<WorkerSettings, ConfigError> {
    let processors = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    Ok(WorkerSettings {
        store: layers.number_or("workers.store", 1..=256, processors.min(4))?,
        query: layers.number_or("workers.query", 1..=256, processors)?,
        inflight: layers.number("workers.inflight", 1..=1024)?,
    })
}

fn breaker(layers: &Layers) -> Result<BreakerSettings, ConfigError> {
    Ok(BreakerSettings {
        failures: layers.number("breaker.failures", 1..=1000)? as u32,
        failure_share: layers.share("breaker.failure_share")?,
        window: layers.period("breaker.window")?,
        backoff_min: layers.period_at_least("breaker.backoff_min", Duration::from_millis(500))?,
        backoff_max: layers.period_at_least("breaker.backoff_max", Duration::from_millis(500))?,
    })
}

fn limits(layers: &Layers) -> Result<LimitSettings, ConfigError> {
    Ok(LimitSettings {
        body_bytes: layers.size("limits.body_bytes", 1 << 10, 1 << 30)?,
        batch_records: layers.number("limits.batch_records", 1..=10_000_000)?,
        record_bytes: layers.size("limits.record_bytes", 64, 8 << 20)?,
        record_attributes: layers.number("limits.record_attributes", 1..=10_000)?,
        batch_attribute_names: layers.number("limits.batch_attribute_names", 1..=1_000_000)?,
        inflight_bytes: layers.size("limits.inflight_bytes", 1 << 20, 1 << 40)?,
        unknown_level: layers.optional("limits.unknown_level", |severity: Severity| severity)?,
        ack_timeout: layers.period("limits.ack_timeout")?,
        connections: layers.number("limits.connections", 1..=1_000_000)?,
        client_timeout: layers.period("limits.client_timeout")?,
        keep_alive: layers.period("limits.keep_alive")?,
    })
}

fn query(layers: &Layers) -> Result<QuerySettings, ConfigError> {
    Ok(QuerySettings {
        queue_max: layers.number("query.queue_max", 0..=100_000)?,
        timeout: layers.period("query.timeout")?,
        barrier_timeout: layers.period("query.barrier_timeout")?,
        memory_bytes: layers.size("query.memory_bytes", 64 << 10, 1 << 40)?,
        stall_timeout: layers.period("query.stall_timeout")?,
        exports_max: layers.number("query.exports_max", 1..=1000)?,
    })
}

fn tail(layers: &Layers) -> Result<TailSettings, ConfigError> {
    Ok(TailSettings {
        connections: layers.number("tail.connections", 0..=10_000)?,
        queue_bytes: layers.size("tail.queue_bytes", 64 << 10, 1 << 30)?,
        backlog_bytes: layers.size("tail.backlog_bytes", 64 << 10, 1 << 30)?,
        heartbeat: layers.period("tail.heartbeat")?,
    })
}

fn retention(layers: &Layers) -> Result<RetentionSettings, ConfigError> {
    let days = layers.number("retention.days", 0..=36_500)?;
    let bytes = layers.bytes("retention.bytes", 0)?;
    Ok(RetentionSettings {
        age: (days > 0).then(|| Duration::from_secs(days as u64 * 86_400)),
        bytes: (bytes > 0).then_some(bytes),
    })
}

fn embedded(layers: &Layers) -> Result<EmbeddedSettings, ConfigError> {
    Ok(EmbeddedSettings {
        flush_rows: layers.number("embedded.flush_rows", 1..=524_288)?,
        flush_bytes: layers.size("embedded.flush_bytes", 1 << 10, 1 << 30)?,
        flush_age: layers.period("embedded.flush_age")?,
        memory_bytes: layers.size("embedded.memory_bytes", 1 << 20, 1 << 40)?,
    })
}

fn mongodb(layers: &Layers) -> Result<MongoSettings, ConfigError> {
    Ok(MongoSettings {
        write_timeout: layers.period("mongodb.write_timeout")?,
        read_timeout: layers.period("mongodb.read_timeout")?,
    })
}

/// The effective configuration as the file that would give it, secrets redacted.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for (path, value) in &self.effective {
            let (of, name) = path.split_once('.').unwrap_or(("", path));
            if of != section {
                writeln!(f, "\n[{of}]")?;
                section = of;
            }
            writeln!(f, "{name} = {}", toml::Value::String(value.clone()))?;
        }
        Ok(())
    }
}

impl Default for Settings {
    /// The configuration of a start without any flag, variable or file.
    fn default() -> Self {
        // A test holds the defaults to this.
        Settings::resolve(&Layers::default()).unwrap_or_else(|error| unreachable!("the defaults are valid: {error}"))
    }
}

#[cfg(test)]
mod tests;
