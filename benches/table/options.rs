//! The command line, and what it asks for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Measures Sluice against `zstd -1` on this machine, and prints the table as Markdown.
#[derive(Debug, Parser)]
#[command(name = "table")]
pub struct Options {
    /// Fewer records and seconds, and nothing ten-fold: less than three minutes
    #[arg(long)]
    pub quick: bool,

    /// NDJSON to use instead of the producer's; with --quick the beginning of it
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Measure only these parts, and what they stand on; by comma
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub only: Vec<Part>,

    /// The server to measure, instead of the one that was just built
    #[arg(long, value_name = "PROGRAM", default_value = env!("CARGO_BIN_EXE_sluice"))]
    pub sluice: PathBuf,

    /// Repetitions of everything
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub runs: u64,

    /// What `cargo bench` passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// All records as fast as they are taken: CPU, wall, disk, memory.
    Ingest,
    /// Small requests over 16 connections.
    Requests,
    /// Queries, and the start.
    Queries,
    /// Ingest beside tails and queries.
    Beside,
    /// Ten times as many records.
    Scale,
    /// The MongoDB store.
    Mongodb,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Records that are made, or of a file that are used at most.
    pub records: u64,
    /// Repetitions.
    pub runs: u64,
    /// How often a query is asked again on a server that has answered it.
    pub warm: usize,
    /// How long small requests are sent.
    pub load: Duration,
    /// Documents for MongoDB.
    pub documents: usize,
}

impl Options {
    /// Whether a part was asked for.
    pub fn wants(&self, part: Part) -> bool {
        let scaled = part != Part::Scale || !self.quick;
        scaled && (self.only.is_empty() || self.only.contains(&part))
    }

    /// How much to measure.
    pub fn extent(&self) -> Extent {
        let runs = self.runs;
        if self.quick {
            Extent { records: 400_000, runs, warm: 5, load: Duration::from_secs(1), documents: 4_000 }
        } else {
            Extent { records: 2_000_000, runs, warm: 20, load: Duration::from_secs(5), documents: 100_000 }
        }
    }
}
