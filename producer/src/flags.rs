//! The command line, and the plan that it makes. Every flag is also an environment variable: `PRODUCER_` and its name.

use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use sluice_client::{BuildError, Client, ClientBuilder, Compression};
use sluice_model::{Severity, Timestamp};

use crate::encode::Format;
use crate::generate::Choice;
use crate::pace::{Burst, Pace, parse_duration};
use crate::profile::PROFILES;
use crate::source::Plan;
use crate::weights::Weights;

/// Makes realistic log records and sends them to Sluice.
///
/// Runs until Ctrl-C unless --batches, --count or --duration say otherwise. Exits with 0 if all records were accepted
/// (and, with --verify, found), 1 if not, 64 if the command line is wrong.
#[derive(Debug, Clone, Parser)]
#[command(name = "producer", version)]
pub struct Flags {
    /// The server's address
    #[arg(long, env = "PRODUCER_URL", default_value = "http://127.0.0.1:8005")]
    pub url: String,
    /// Records a batch
    #[arg(long, env = "PRODUCER_BATCH", value_name = "RECORDS", default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub batch: u64,
    /// Milliseconds between two batches of one client; 0 is as fast as the server takes them [default: 1000, or 0 with
    /// --count]
    #[arg(long, env = "PRODUCER_INTERVAL", value_name = "MS", conflicts_with = "rate")]
    pub interval: Option<u64>,
    /// Clients that send at the same time, each over its own connection
    #[arg(long, env = "PRODUCER_CLIENTS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub clients: u64,
    /// Ends after this many batches of all clients together
    #[arg(long, env = "PRODUCER_BATCHES", value_name = "BATCHES", conflicts_with = "count")]
    pub batches: Option<u64>,
    /// Ends after this many records
    #[arg(long, env = "PRODUCER_COUNT", value_name = "RECORDS")]
    pub count: Option<u64>,
    /// Ends after this time, such as 30s
    #[arg(long, env = "PRODUCER_DURATION", value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// The same seed makes the same records, whatever the clients, batches and pace are; with the same --start also at
    /// the same times
    #[arg(long, env = "PRODUCER_SEED", default_value_t = 1)]
    pub seed: u64,
    /// The first record's time, in RFC 3339; later records follow at 1,000 a second of the log's own clock [default:
    /// records carry the time at which they are made]
    #[arg(long, env = "PRODUCER_START", value_name = "TIME")]
    pub start: Option<Timestamp>,
    /// Records a second, of all clients together, instead of --interval
    #[arg(long, env = "PRODUCER_RATE", value_name = "RECORDS", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Spikes: 10x5s/60s sends ten times as fast for the first 5 s of every 60 s
    #[arg(long, env = "PRODUCER_BURST", value_name = "FACTORxLENGTH/PERIOD")]
    pub burst: Option<Burst>,
    /// Only these levels, instead of the profiles' natural flow; weighted like info=90,error=10
    #[arg(long, env = "PRODUCER_LEVELS", value_name = "LEVEL[=WEIGHT],…", value_parser = parse_levels)]
    pub levels: Option<Weights<Severity>>,
    /// These service names instead of the profiles' own; weighted like web=3,db=1
    #[arg(long, env = "PRODUCER_SERVICES", value_name = "SERVICE[=WEIGHT],…", value_parser = parse_services)]
    pub services: Option<Weights<String>>,
    /// What programs to imitate: web, auth, payment, worker, database; weighted like web=3,auth=1 [default: all]
    #[arg(long, env = "PRODUCER_PROFILE", value_name = "PROFILE[=WEIGHT],…", value_parser = parse_profiles)]
    pub profile: Option<Weights<usize>>,
    /// Print the records, don't send them
    #[arg(long, env = "PRODUCER_STDOUT", conflicts_with = "verify")]
    pub stdout: bool,
    /// How --stdout prints them
    #[arg(long, env = "PRODUCER_FORMAT", value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// After sending, read everything back, and say which records are missing or double
    #[arg(long, env = "PRODUCER_VERIFY")]
    pub verify: bool,
    /// How bodies are compressed
    #[arg(long, env = "PRODUCER_COMPRESSION", value_enum, default_value_t = Encoding::None)]
    pub compression: Encoding,
    /// How long a batch is tried again while the server is overloaded or out of reach; then the run ends
    #[arg(long, env = "PRODUCER_RETRY_FOR", value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    pub retry_for: Duration,
}

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Flags {
    /// What to make, and how fast. `run` marks the records of a run that is verified.
    ///
    /// # Errors
    /// A text for the user, if flags don't go together.
    pub fn plan(&self, run: Option<String>) -> Result<Plan, String> {
        let pace = self.pace()?;
        let choice = Choice {
            seed: self.seed,
            profiles: self.profile.clone(),
            levels: self.levels.clone(),
            services: self.services.clone(),
        };
        let count = self.count.or(self.batches.map(|batches| batches.saturating_mul(self.batch)));
        let format = if self.stdout { self.format } else { Format::Json };
        Ok(Plan { choice, batch: self.batch, count, pace, start: self.start, format, run })
    }

    /// The settings of the clients that send.
    ///
    /// # Errors
    /// [`BuildError`], if the address is none.
    pub fn client(&self) -> Result<Client, BuildError> {
        self.client_builder().retry_for(self.retry_for).build()
    }

    /// The settings that sending and reading have in common.
    pub fn client_builder(&self) -> ClientBuilder {
        Client::builder(&self.url).compression(match self.compression {
            Encoding::None => Compression::None,
            Encoding::Gzip => Compression::Gzip,
            Encoding::Zstd => Compression::Zstd,
        })
    }

    fn pace(&self) -> Result<Pace, String> {
        let interval_ms = self.interval.unwrap_or(if self.count.is_some() { 0 } else { 1000 });
        let by_interval = match interval_ms {
            0 => None,
            ms => Some((self.clients * self.batch) as f64 * 1000.0 / ms as f64),
        };
        let rate = self.rate.or(by_interval);
        if self.burst.is_some() && rate.is_none() {
            return Err("--burst needs a --rate or --interval to be a multiple of".to_owned());
        }
        Ok(Pace { rate, burst: self.burst })
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| *rate > 0.0 && rate.is_finite());
    rate.ok_or_else(|| "use a number of records a second above 0".to_owned())
}

/// How often levels are in nature, for those that are named without a weight.
fn natural_share(severity: Severity) -> u32 {
    match severity {
        Severity::Trace => 25,
        Severity::Debug => 80,
        Severity::Info => 860,
        Severity::Warn => 20,
        Severity::Error => 14,
        Severity::Fatal => 1,
    }
}

fn parse_levels(text: &str) -> Result<Weights<Severity>, String> {
    parse_weights(text, |name| {
        let severity = Severity::from_str(name).map_err(|error| error.to_string())?;
        Ok((severity, natural_share(severity)))
    })
}

fn parse_services(text: &str) -> Result<Weights<String>, String> {
    parse_weights(text, |name| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b':');
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(format!("{name:?} is no service name: use letters, digits and - _ . / :"));
        }
        Ok((name.to_owned(), 1))
    })
}

fn parse_profiles(text: &str) -> Result<Weights<usize>, String> {
    parse_weights(text, |name| {
        let index = PROFILES.iter().position(|profile| profile.name == name);
        let known = || PROFILES.map(|profile| profile.name).join(", ");
        let index = index.ok_or_else(|| format!("no profile is called {name:?}: use {}", known()))?;
        Ok((index, PROFILES.get(index).map_or(1, |profile| profile.share)))
    })
}

/// Reads `NAME[=WEIGHT],…`; `parse` reads a name and says its weight if none is given.
fn parse_weights<T>(text: &str, parse: impl Fn(&str) -> Result<(T, u32), String>) -> Result<Weights<T>, String> {
    let one = |item: &str| {
        let (name, weight) = item.split_once('=').map_or((item, None), |(name, weight)| (name, Some(weight)));
        let (thing, natural) = parse(name.trim())?;
        let weight = match weight {
            None => natural,
            Some(text) => text.trim().parse().map_err(|_| format!("{text:?} is no weight: use a whole number"))?,
        };
        Ok((thing, weight))
    };
    let weights = Weights::new(text.split(',').map(one).collect::<Result<Vec<_>, String>>()?);
    if weights.is_empty() { Err("at least one weight must be above 0".to_owned()) } else { Ok(weights) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, clap::Error> {
        Flags::try_parse_from(format!("producer {line}").split_whitespace())
    }

    #[test]
    fn the_documented_command_lines_are_understood() {
        for line in [
            "",
            "--url http://127.0.0.1:8005 --batch 100 --interval 1000 --clients 1 --batches 5",
            "--verify --count 1000000 --clients 4 --compression zstd",
            "--duration 30s --seed 7 --rate 500 --burst 10x5s/60s",
            "--stdout --format csv --levels info=90,error --services web,db=3 --profile payment,web=2",
            "--start 2024-10-08T00:00:00Z --retry-for 5m",
        ] {
            parse(line).unwrap().plan(None).unwrap();
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (line, reason) in [
            ("--batch 0", "0 is not in 1..=100000"),
            ("--clients 0", "0 is not in"),
            ("--interval 5 --rate 5", "cannot be used with"),
            ("--batches 5 --count 5", "cannot be used with"),
            ("--stdout --verify", "cannot be used with"),
            ("--rate 0", "above 0"),
            ("--levels loud", "unknown level"),
            ("--levels info=0", "at least one weight"),
            ("--services a\"b", "no service name"),
            ("--profile shop", "use web, auth, payment, worker, database"),
            ("--duration 30", "no duration"),
            ("--start soon", "not a time"),
            ("--nope", "unexpected argument"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
        let error = parse("--burst 2x1s/2s --interval 0").unwrap().plan(None).unwrap_err();
        assert!(error.contains("--burst needs"), "{error}");
    }

    #[test]
    fn the_pace_comes_from_rate_or_interval() {
        for (line, rate) in [
            ("", Some(100.0)),
            ("--clients 3 --batch 10 --interval 500", Some(60.0)),
            ("--interval 0", None),
            ("--count 5", None),
            ("--count 5 --interval 1000", Some(100.0)),
            ("--rate 7.5 --clients 9", Some(7.5)),
        ] {
            assert_eq!(parse(line).unwrap().plan(None).unwrap().pace.rate, rate, "{line}");
        }
    }

    #[test]
    fn batches_are_counted_over_all_clients() {
        assert_eq!(parse("--batches 5 --batch 30 --clients 4").unwrap().plan(None).unwrap().count, Some(150));
    }
}
