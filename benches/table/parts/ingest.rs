//! All records as fast as they are taken.

use crate::Result;
use crate::bench::Bench;
use crate::ingest::{self, Ingested};
use crate::options::Part;
use crate::progress;
use crate::report::{Goal, Unit, shown};
use crate::samples::Samples;
use crate::yardstick::Zstd;

/// The folder that keeps the records.
pub const FOLDER: &str = "data";

/// Takes the yardsticks and all records in turn, and leaves those of the last run in [`FOLDER`].
pub fn measure(bench: &mut Bench) -> Result<Vec<Ingested>> {
    let wanted = bench.wants(Part::Ingest);
    let site = bench.site(FOLDER);
    let (mut runs, mut pairs) = (Vec::new(), Vec::new());
    for number in 0..if wanted { bench.extent.runs } else { 1 } {
        progress(format_args!("ingest {}", number + 1));
        let zstd = bench.measure_zstd()?;
        let ingested = ingest::measure(&site, &bench.data, 1, 0)?;
        runs.push(ingested);
        pairs.push((ingested, zstd));
    }
    if wanted {
        add_rows(bench, &runs, &pairs);
    }
    Ok(runs)
}

fn add_rows(bench: &mut Bench, runs: &[Ingested], pairs: &[(Ingested, Zstd)]) {
    let median = |part: fn(&Ingested) -> f64| runs.iter().map(part).collect::<Samples>().median();
    let ratio = |part: fn(&(Ingested, Zstd)) -> f64| pairs.iter().map(part).collect::<Samples>();
    let rate = shown(bench.truth.records as f64 / median(|run| run.wall_seconds));
    bench.report.row(
        "CPU to ingest all, until every record is in its final segment",
        Goal::at_most(2.2, Unit::Z),
        ratio(|(run, zstd)| run.cpu_seconds / zstd.z),
        format!("{} s", shown(median(|run| run.cpu_seconds))),
    );
    bench.report.row(
        "wall for the same until the last 202",
        Goal::at_most(1.3, Unit::W),
        ratio(|(run, zstd)| run.wall_seconds / zstd.w),
        format!("{} s, {rate} records/s", shown(median(|run| run.wall_seconds))),
    );
    bench.report.row(
        "bytes on disk after it (all files)",
        Goal::at_most(0.65, Unit::S),
        ratio(|(run, zstd)| run.disk_bytes / zstd.s),
        format!("{} MB", shown(median(|run| run.disk_bytes) / 1e6)),
    );
    bench.report.row(
        "peak RSS meanwhile",
        Goal::at_most(300.0, Unit::Mb),
        ratio(|(run, _)| run.peak_rss_bytes / 1e6),
        "",
    );
}
