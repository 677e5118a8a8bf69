//! Ten times as many records: the same load, day after day.

use crate::Result;
use crate::bench::Bench;
use crate::ingest::{self, Ingested};
use crate::parts::queries::{self as asking, Timings};
use crate::progress;
use crate::queries::queries;
use crate::report::{Goal, Unit, shown};
use crate::samples::Samples;

/// How many times as many.
const TIMES: u64 = 10;
const DAY_NANOS: i64 = 86_400_000_000_000;

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
    let per_record = Goal::at_most(1.15, Unit::Times);
    let parts: [(&str, Goal, f64, fn(&Ingested) -> f64); 3] = [
        ("ingest CPU", per_record, TIMES as f64, |run| run.cpu_seconds),
        ("disk", per_record, TIMES as f64, |run| run.disk_bytes),
        ("RSS (as a whole)", Goal::at_most(1.05, Unit::Times), 1.0, |run| run.peak_rss_bytes),
    ];
    for (name, goal, times, part) in parts {
        let base = base.iter().map(part).collect::<Samples>().median();
        let samples: Samples = runs.iter().map(part).collect();
        let ratio = samples.scaled(1.0 / (times * base));
        let plain = match name {
            "ingest CPU" => format!("{} s", shown(samples.median())),
            _ => format!("{} MB", shown(samples.median() / 1e6)),
        };
        bench.report.row(format!("{cost}: {name}"), goal, ratio, plain);
    }
    let kinds = [("cold", &timings.cold, &base_timings.cold), ("warm", &timings.warm, &base_timings.warm)];
    for (number, query) in queries.iter().enumerate() {
        for (kind, many, few) in kinds {
            let (Some(many), Some(few)) = (many.get(number), few.get(number)) else { continue };
            let ratio = many.scaled(1.0 / (TIMES as f64 * few.median()));
            let plain = format!("{} ms", shown(many.median() * 1e3));
            bench.report.row(format!("{cost}: {}, {kind}", query.name), per_record, ratio, plain);
        }
    }
    Ok(())
}
