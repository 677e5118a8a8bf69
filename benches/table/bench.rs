//! What all parts of the table have in common.

use std::fmt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Result;
use crate::data::Data;
use crate::machine;
use crate::naive::Truth;
use crate::options::{Extent, Options, Part};
use crate::progress;
use crate::report::{Report, shown};
use crate::samples::Samples;
use crate::server::Site;
use crate::terms::Terms;
use crate::yardstick::{self, Zstd};

/// A run of the benchmark.
pub struct Bench {
    options: Options,
    pub extent: Extent,
    pub data: Data,
    pub terms: Terms,
    pub truth: Truth,
    pub report: Report,
    yardsticks: Vec<Zstd>,
    machine: String,
    /// Everything that is written; gone at the end.
    scratch: TempDir,
}

impl Bench {
    /// Has the records made or taken, and scans them.
    pub fn prepare(options: Options) -> Result<Bench> {
        let extent = options.extent();
        let scratch = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        progress(format_args!("records"));
        let data = match &options.file {
            None => Data::make(scratch.path(), extent.records)?,
            Some(file) if options.quick => Data::take(file, scratch.path(), extent.records)?,
            Some(file) => Data::open(file.clone())?,
        };
        progress(format_args!("naive scan of {} MB", data.bytes / 1_000_000));
        let terms = Terms::choose(&data)?;
        let truth = Truth::scan(&data, &terms)?;
        let machine = machine::describe(scratch.path())?;
        let (report, yardsticks) = (Report::default(), Vec::new());
        Ok(Bench { options, extent, data, terms, truth, report, yardsticks, machine, scratch })
    }

    /// Whether a part was asked for.
    pub fn wants(&self, part: Part) -> bool {
        self.options.wants(part)
    }

    /// A place for a server that keeps its records in the folder `name`.
    pub fn site(&self, name: &str) -> Site {
        let (program, data_dir) = (self.options.sluice.clone(), self.scratch.path().join(name));
        Site { program, data_dir, flags: Vec::new() }
    }

    /// Where files may be written.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Measures the yardsticks once more.
    pub fn measure_zstd(&mut self) -> Result<Zstd> {
        let output: PathBuf = self.scratch.path().join("records.zst");
        let zstd = yardstick::zstd(&self.data.path, &output)?;
        self.yardsticks.push(zstd);
        Ok(zstd)
    }

    /// The median of W in seconds.
    pub fn w(&self) -> f64 {
        self.yardstick(|zstd| zstd.w).median()
    }

    fn yardstick(&self, part: fn(&Zstd) -> f64) -> Samples {
        self.yardsticks.iter().map(part).collect()
    }
}

impl fmt::Display for Bench {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = |samples: Samples| {
            format!("{} ({} – {})", shown(samples.median()), shown(samples.min()), shown(samples.max()))
        };
        writeln!(out, "{}.\n", self.machine)?;
        let (records, bytes) = (shown(self.truth.records as f64), shown(self.data.bytes as f64 / 1e6));
        writeln!(out, "{records} records, {bytes} MB, {}. `zstd -1 -T1` of them:", self.data.origin)?;
        let (z, w, s) = (self.yardstick(|zstd| zstd.z), self.yardstick(|zstd| zstd.w), self.yardstick(|zstd| zstd.s));
        let s = s.scaled(1e-6);
        writeln!(out, "Z = {} s of CPU, W = {} s, S = {} MB.\n", spread(z), spread(w), shown(s.median()))?;
        write!(out, "{}", self.report)
    }
}
