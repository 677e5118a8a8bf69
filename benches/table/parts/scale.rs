//! Ten times as many records: the same load, day after day.

use crate::Result;
use crate::bench::Bench;
use crate::ingest::{self, Ingested};
use crate::parts::queries::{self as asking, Timings};
use crate::progress;
use crate::queries::{Query, queries};
use crate::report::{Goal, Unit, shown};
use crate::samples::Samples;

/// How many times as many.
const TIMES: u64 = 10;
const DAY_NANOS: i64 = 86_400_000_000_000;
/// What a record may cost more among many.
const PER_RECORD: Goal = Goal::at_most(1.15, Unit::Times);
/// What a run's memory may differ from another's by chance.
const NO_GROWTH: Goal = Goal::at_most(1.05, Unit::Times);

/// Measures all of it, and what a record costs against `base`.
pub fn measure(bench: &mut Bench, base: &[Ingested], base_timings: &Timings) -> Result<()> {
    let stride = bench.truth.days();
    let truth = bench.truth.repeated(TIMES, stride);
    let records = shown(truth.records as f64);
    let site = bench.site("scale");
    let mut runs = Vec::new();
    for number in 0..bench.extent.runs {
        progress(format_args!("{records} records, {}", number + 1));
        runs.push(ingest::measure(&site, &bench.data, TIMES, stride)?);
    }
    let later = ((TIMES - 1) * stride) as i64 * DAY_NANOS;
    let queries = queries(&bench.terms, &truth, later);
    let timings = asking::time(&site, &queries, bench.extent.runs, bench.extent.warm, &mut bench.report)?;
    std::fs::remove_dir_all(&site.data_dir)?;

    let work = format!("start with {records} records on disk until `/ready` is 200");
    bench.report.row(work, Goal::at_most(0.5, Unit::Seconds), timings.start.clone(), "");
    let cost = format!("cost per record with {records} against {}", shown(bench.truth.records as f64));
    add_ingest(bench, &cost, &runs, base);
    add_queries(bench, &cost, &queries, &timings, base_timings);
    Ok(())
}

fn add_ingest(bench: &mut Bench, cost: &str, many: &[Ingested], few: &[Ingested]) {
    let times = TIMES as f64;
    let samples = |part: fn(&Ingested) -> f64| {
        let base = few.iter().map(part).collect::<Samples>().median();
        let samples: Samples = many.iter().map(part).collect();
        (samples.scaled(1.0 / base), samples.median())
    };
    let (ratio, seconds) = samples(|run| run.cpu_seconds);
    let plain = format!("{} s", shown(seconds));
    bench.report.row(format!("{cost}: ingest CPU"), PER_RECORD, ratio.scaled(1.0 / times), plain);
    let (ratio, bytes) = samples(|run| run.disk_bytes);
    let plain = format!("{} MB", shown(bytes / 1e6));
    bench.report.row(format!("{cost}: disk"), PER_RECORD, ratio.scaled(1.0 / times), plain);
    let (ratio, bytes) = samples(|run| run.peak_rss_bytes);
    let plain = format!("{} MB", shown(bytes / 1e6));
    bench.report.row(format!("{cost}: RSS, as a whole"), NO_GROWTH, ratio, plain);
}

fn add_queries(bench: &mut Bench, cost: &str, queries: &[Query], many: &Timings, few: &Timings) {
    for (number, query) in queries.iter().enumerate() {
        for (kind, many, few) in [("cold", &many.cold, &few.cold), ("warm", &many.warm, &few.warm)] {
            let (Some(many), Some(few)) = (many.get(number), few.get(number)) else { continue };
            let ratio = many.scaled(1.0 / (TIMES as f64 * few.median()));
            let plain = format!("{} ms", shown(many.median() * 1e3));
            bench.report.row(format!("{cost}: {}, {kind}", query.name), PER_RECORD, ratio, plain);
        }
    }
}
