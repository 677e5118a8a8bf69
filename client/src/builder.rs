//! The client and its settings.

use std::time::Duration;

use ureq::http::Uri;

use crate::batcher::{Batcher, Limits};
use crate::compress::Compression;
use crate::retry::RetryPolicy;
use crate::transport::Transport;

/// A client that works in its caller's thread. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) transport: Transport,
    pub(crate) policy: RetryPolicy,
    pub(crate) compression: Compression,
}

/// The settings of a [`Client`] or [`Batcher`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    url: String,
    timeout: Duration,
    compression: Compression,
    policy: RetryPolicy,
    limits: Limits,
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address is not one of an HTTP server.
    #[error("not a server's address: use http://HOST:PORT or https://HOST:PORT")]
    Url,
    /// A limit is zero.
    #[error("{0} must be above 0")]
    Zero(&'static str),
    /// The background thread cannot be started.
    #[error("cannot start the sending thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl Client {
    /// Begins with the address of a server, such as `http://127.0.0.1:8005`.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder {
            url: url.to_owned(),
            timeout: Duration::from_secs(30),
            compression: Compression::None,
            policy: RetryPolicy {
                retries: u32::MAX,
                retry_for: Duration::from_secs(60),
                backoff_min: Duration::from_millis(100),
                backoff_max: Duration::from_secs(10),
            },
            limits: Limits {
                batch_records: 1_000,
                batch_bytes: 1 << 20,
                interval: Duration::from_secs(1),
                buffer_bytes_max: 16 << 20,
                closing_max: Duration::ZERO,
            },
        }
    }
}

impl ClientBuilder {
    /// Sends a batch as soon as it has this many records. Default: 1,000.
    pub fn batch_records(mut self, records: usize) -> Self {
        self.limits.batch_records = records;
        self
    }

    /// Sends a batch before it exceeds this many bytes of NDJSON. Default: 1 MiB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.limits.batch_bytes = bytes;
        self
    }

    /// Sends a batch at the latest this long after its first record. Default: 1 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.limits.interval = interval;
        self
    }

    /// Holds at most this many bytes of records that are not delivered yet. Default: 16 MiB.
    pub fn buffer_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.buffer_bytes_max = bytes;
        self
    }

    /// Compresses bodies. Default: not.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Tries again at most this many times. Default: no limit but [`ClientBuilder::retry_for`].
    pub fn retries(mut self, retries: u32) -> Self {
        self.policy.retries = retries;
        self
    }

    /// Tries again for at most this long. Default: 60 s.
    pub fn retry_for(mut self, duration: Duration) -> Self {
        self.policy.retry_for = duration;
        self
    }

    /// Sets the first and the longest pause between two attempts. Default: 100 ms and 10 s.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.policy.backoff_min = min;
        self.policy.backoff_max = max;
        self
    }

    /// Gives up an attempt after this long; when reading, a stream may take longer, but not be silent for so long.
    /// Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes a client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`BuildError`], if the address is none or a limit is zero.
    pub fn build(&self) -> Result<Client, BuildError> {
        if self.timeout.is_zero() {
            return Err(BuildError::Zero("timeout"));
        }
        let uri: Uri = self.url.parse().map_err(|_| BuildError::Url)?;
        let speaks_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !speaks_http || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err(BuildError::Url);
        }
        let base = self.url.trim_end_matches('/').to_owned();
        let transport = Transport::new(base, &uri, self.timeout);
        Ok(Client { transport, policy: self.policy.clone(), compression: self.compression })
    }

    /// Makes a batcher and starts its thread.
    ///
    /// # Errors
    /// [`BuildError`], as [`ClientBuilder::build`], or if the thread cannot be started.
    pub fn batcher(&self) -> Result<Batcher, BuildError> {
        let Limits { batch_records, batch_bytes, buffer_bytes_max, .. } = self.limits;
        let sizes =
            [("batch_records", batch_records), ("batch_bytes", batch_bytes), ("buffer_bytes_max", buffer_bytes_max)];
        if let Some((name, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(BuildError::Zero(name));
        }
        let closing_max = self.policy.retry_for.saturating_add(self.timeout);
        let limits = Limits { closing_max, ..self.limits.clone() };
        Batcher::start(self.build()?, limits).map_err(BuildError::Thread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_http_servers_address_is_taken() {
        for url in ["http://127.0.0.1:8005", "https://logs.example.com/", "http://[::1]:1/prefix"] {
            assert!(Client::builder(url).build().is_ok(), "{url}");
        }
        for url in ["", "127.0.0.1:8005", "ftp://host", "http://", "/logs", "http://host/?a=b", "http://a b"] {
            assert!(matches!(Client::builder(url).build(), Err(BuildError::Url)), "{url}");
        }
    }

    #[test]
    fn a_limit_of_nothing_is_refused_by_name() {
        let error = Client::builder("http://127.0.0.1:1").batch_bytes(0).batcher().unwrap_err();
        assert_eq!(error.to_string(), "batch_bytes must be above 0");
    }
}
