//! The one list of configuration keys, from which flags, variables, the file's schema and the README's table come.

/// A configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name: the section, a point, the name in the section.
    pub path: &'static str,
    /// The value that holds where nothing else is said.
    pub default: &'static str,
    /// What may be said.
    pub allowed: &'static str,
    /// What it is for.
    pub help: &'static str,
}

impl Key {
    /// The name of its flag, without the two dashes.
    pub fn flag(&self) -> String {
        self.path.replace(['.', '_'], "-")
    }

    /// The name of its environment variable.
    pub fn variable(&self) -> String {
        format!("SLUICE_{}", self.path.replace('.', "__").to_uppercase())
    }
}

const SIZE: &str = "a number of bytes, or one with KiB, MiB, GiB or TiB";
const PERIOD: &str = "a number with ms, s, m, h or d, above 0";
const COUNT: &str = "a whole number";

const fn key(path: &'static str, default: &'static str, allowed: &'static str, help: &'static str) -> Key {
    Key { path, default, allowed, help }
}

/// Every key there is, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key("listen", "127.0.0.1:8005", "an address and port; port 0 takes a free one", "where HTTP is served"),
    key("data_dir", "./data", "a folder", "where everything is kept"),
    key("store", "embedded", "embedded, or a mongodb:// or mongodb+srv:// URI", "where records go"),
    key("log_format", "text", "text or json", "how log lines look"),
    key("shutdown_timeout", "30s", PERIOD, "how long a stop may take"),
    key("spool.durability", "fsync", "fsync or os", "what a 202 survives: a crash of the machine, or of the process"),
    key("spool.bytes_max", "10GiB", SIZE, "how large the spool may grow; past it nothing is accepted"),
    key("spool.segment_bytes", "64MiB", SIZE, "the size of a spool segment"),
    key("spool.memory_bytes", "16MiB", SIZE, "batches kept in memory on their way to the store"),
    key(
        "spool.free_disk_floor",
        "auto",
        "auto, or a size",
        "free disk below which nothing is accepted; auto: the smaller of 1 GiB and 5 %",
    ),
    key("spool.idempotency_window", "1h", PERIOD, "how long an Idempotency-Key is remembered"),
    key("spool.idempotency_keys_max", "1000000", COUNT, "how many keys are remembered"),
    key("workers.store", "auto", "auto, or 1 to 256", "actors that write to the store"),
    key("workers.query", "auto", "auto, or 1 to 256", "actors that search the store"),
    key("workers.inflight", "4", "1 to 1024", "batches that are with the writing actors at a time"),
    key("breaker.failures", "3", "1 to 1000", "failures in a row that open a breaker"),
    key("breaker.failure_share", "0.5", "above 0, up to 1", "share of failing calls that opens it too"),
    key("breaker.window", "30s", PERIOD, "over how long that share is taken"),
    key("breaker.backoff_min", "1s", "a period of at least 500ms", "how long a breaker stays open at first"),
    key("breaker.backoff_max", "30s", "a period of at least 500ms", "how long it stays open at most"),
    key("limits.body_bytes", "32MiB", "1KiB to 1GiB", "size of a body after decompression"),
    key("limits.batch_records", "100000", "1 to 10000000", "records in a batch"),
    key("limits.record_bytes", "1MiB", "64 to 8MiB", "size of a record's JSON"),
    key("limits.record_attributes", "256", "1 to 10000", "attributes of a record"),
    key("limits.batch_attribute_names", "16384", "1 to 1000000", "different attribute names in a batch"),
    key("limits.inflight_bytes", "128MiB", "a size of at least 1MiB", "bodies in hand at a time"),
    key(
        "limits.unknown_level",
        "none",
        "none, or a severity",
        "severity under which unknown levels are filed; none: refused",
    ),
    key("limits.ack_timeout", "10s", PERIOD, "how long ?ack=stored waits"),
    key("limits.connections", "10000", "1 to 1000000", "open connections"),
    key("limits.client_timeout", "30s", PERIOD, "how long a client may stall in a request"),
    key("limits.keep_alive", "75s", PERIOD, "how long an idle connection is kept"),
    key("query.queue_max", "64", "0 to 100000", "queries that wait for a worker"),
    key("query.timeout", "30s", PERIOD, "how long a query may run"),
    key("query.barrier_timeout", "500ms", PERIOD, "how long a read waits for what was accepted before it"),
    key("query.exports_max", "4", "1 to 1000", "exports at a time"),
    key(
        "query.memory_bytes",
        "256MiB",
        "a size of at least 64KiB",
        "memory of a query's groups, distinct values, percentiles and names",
    ),
    key("query.stall_timeout", "30s", PERIOD, "how long a stream waits for a client that does not read"),
    key("tail.connections", "64", "0 to 10000", "tails that are open at a time"),
    key("tail.queue_bytes", "4MiB", "64KiB to 1GiB", "matches that wait for a tail's reader; past it they are missed"),
    key("tail.backlog_bytes", "32MiB", "64KiB to 1GiB", "records that wait to be looked at for all tails"),
    key("tail.heartbeat", "5s", PERIOD, "how long a tail is silent before it sends a sign of life"),
    key("retention.days", "0", "0 (for ever) to 36500", "how long records are kept"),
    key("retention.bytes", "0", "0 (no limit), or a size", "how much the embedded store keeps"),
    key("embedded.flush_rows", "262144", "1 to 524288", "records in memory that make a flush"),
    key("embedded.flush_bytes", "48MiB", "1KiB to 1GiB", "bytes in memory that make a flush"),
    key("embedded.flush_age", "60s", PERIOD, "age in memory that makes a flush"),
    key("embedded.memory_bytes", "96MiB", "a size of at least 1MiB", "size of the memory tier"),
    key("mongodb.write_timeout", "10s", PERIOD, "how long a write may take"),
    key("mongodb.read_timeout", "30s", PERIOD, "how long a step of a read may take"),
];
