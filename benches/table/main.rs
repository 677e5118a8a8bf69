//! `make bench`: the real server against `zstd -1` on the same records, on the same machine, in the same run.
//!
//! Everything is a ratio to one of three yardsticks, because machines differ: **Z**, the CPU seconds of `zstd -1 -T1` over
//! the file; **W**, its wall seconds; **S**, the size of its output. The server is a process of its own with its default
//! settings, and every answer is compared with that of a naive scan of the file: a fast wrong answer fails the run.
//!
//! Progress goes to standard error, the table to standard output.

mod bench;
mod data;
mod http;
mod ingest;
mod load;
mod machine;
mod naive;
mod options;
mod parts;
mod process;
mod queries;
mod record;
mod report;
mod samples;
mod server;
mod terms;
mod text;
mod yardstick;

use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Instant;

use clap::Parser;

use crate::bench::Bench;
use crate::options::{Options, Part};
use crate::parts::{beside, ingest as ingesting, mongodb, queries as asking, requests, scale};

/// Whatever keeps a figure from being taken.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let measured = Bench::prepare(Options::parse()).and_then(|mut bench| {
        measure(&mut bench)?;
        println!("{bench}");
        Ok(bench.report.is_right())
    });
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the parts that were asked for, and what those stand on.
fn measure(bench: &mut Bench) -> Result<()> {
    let ingested = ingesting::measure(bench)?;
    // What the ingest has left is asked next: the other parts use folders of their own.
    if bench.wants(Part::Queries) || bench.wants(Part::Scale) {
        let timings = asking::measure(bench)?;
        if bench.wants(Part::Scale) {
            scale::measure(bench, &ingested, &timings)?;
        }
    }
    if bench.wants(Part::Requests) {
        requests::measure(bench)?;
    }
    if bench.wants(Part::Beside) {
        beside::measure(bench)?;
    }
    if bench.wants(Part::Mongodb) {
        mongodb::measure(bench)?;
    }
    Ok(())
}

/// Says what is being done, and since when.
fn progress(what: std::fmt::Arguments<'_>) {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    eprintln!("bench: {:>4} s  {what}", BEGUN.elapsed().as_secs());
}
