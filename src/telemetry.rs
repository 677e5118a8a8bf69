//! What Sluice says of itself: log lines on standard error, and the registry of its metrics.

mod process;

use std::io::Write;
use std::sync::Arc;

use env_logger::{Builder, Env, WriteStyle};
use log::kv::{Key, Value, VisitSource};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use serde_json::{Map, json};
use sluice_model::Timestamp;

use crate::config::LogFormat;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Sends log lines to standard error; `RUST_LOG` says which, `info` by default.
pub fn init_logging(format: LogFormat) {
    // The servers below us log each connection and topology change at info; that is debug to our users. The HTTP parser
    // logs each malformed request as an error, with which anyone could fill the log; the client is told all the same.
    let default = "info,actix_http=off,actix_server=warn,actix_web=warn,mongodb=warn,tracing=warn";
    let mut builder = Builder::from_env(Env::default().default_filter_or(default));
    match format {
        LogFormat::Text => builder.format(|out, record| {
            let style = out.default_level_style(record.level());
            let time = Timestamp::now();
            write!(out, "{time} {style}{:5}{style:#} {}", record.level(), printable(&record.args().to_string()))?;
            let mut fields = Fields::default();
            // Collecting fields into a map cannot fail.
            let _ = record.key_values().visit(&mut fields);
            for (name, value) in fields.0 {
                write!(out, " {name}={value}")?;
            }
            writeln!(out)
        }),
        LogFormat::Json => builder.write_style(WriteStyle::Never).format(|out, record| {
            let mut fields = Fields::default();
            let _ = record.key_values().visit(&mut fields);
            let line = json!({
                "timestamp": Timestamp::now(),
                "level": record.level().as_str(),
                "target": record.target(),
                "message": record.args().to_string(),
                "fields": fields.0,
            });
            writeln!(out, "{line}")
        }),
    };
    // A second initialisation, as by several servers in one test process, keeps the first.
    let _ = builder.try_init();
}

/// The text with its control characters escaped, so that nothing can forge a line.
fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// The named fields of a log line, as JSON values: a text with spaces or quotes stays one value.
#[derive(Default)]
struct Fields(Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let json = if let Some(number) = value.to_i64() {
            number.into()
        } else if let Some(number) = value.to_u64() {
            number.into()
        } else if let Some(number) = value.to_f64() {
            number.into()
        } else if let Some(flag) = value.to_bool() {
            flag.into()
        } else {
            value.to_string().into()
        };
        self.0.insert(key.as_str().to_owned(), json);
        Ok(())
    }
}

/// The metrics of all parts, as Prometheus scrapes them. Shared as `web::Data<Metrics>`.
pub struct Metrics {
    registry: Arc<Registry>,
}

impl Metrics {
    /// The media type of [`Metrics::render`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Takes the registry in which all parts have registered, and adds what is true of the whole process.
    pub fn new(mut registry: Registry) -> Metrics {
        registry.register("sluice_build", "The version that runs", Info::new([("version", VERSION)]));
        registry.register_collector(Box::new(process::ProcessCollector));
        Metrics { registry: Arc::new(registry) }
    }

    /// The present values in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_in_a_message_cannot_forge_a_line() {
        assert_eq!(printable("a\nb\u{1b}[0m é"), "a\\nb\\u{1b}[0m é");
    }

    #[test]
    fn the_process_is_among_the_metrics() {
        let text = Metrics::new(Registry::default()).render();
        assert!(text.contains(&format!("sluice_build_info{{version=\"{VERSION}\"}} 1")), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }
}
