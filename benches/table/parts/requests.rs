//! Small requests over 16 connections.

use crate::Result;
use crate::bench::Bench;
use crate::load::{self, Load};
use crate::progress;
use crate::report::{Goal, Unit, shown};
use crate::samples::Samples;
use crate::yardstick;

/// An `fdatasync` up to which the goals hold as they are.
const FAST_SYNC_SECONDS: f64 = 0.3e-3;

/// Measures requests of 100 records and of one.
pub fn measure(bench: &mut Bench) -> Result<()> {
    let mut all_syncs = Samples::default();
    for (records, rate, p99_ms) in [(100, 6_000.0, 10.0), (1, 12_000.0, 8.0)] {
        let site = bench.site("requests");
        let (mut loads, mut syncs) = (Vec::new(), Samples::default());
        for number in 0..bench.extent.runs {
            progress(format_args!("requests of {records}, {}", number + 1));
            let sync = yardstick::fdatasync(bench.folder())?.median();
            syncs.extend([sync]);
            all_syncs.extend([sync]);
            match load::measure(&site, &bench.data, records, bench.extent.load) {
                Ok(load) => loads.push(load),
                Err(error) => bench.report.wrong(error),
            }
        }
        let f = syncs.median();
        let (rate, p99_ms) = if f <= FAST_SYNC_SECONDS {
            (rate, p99_ms)
        } else {
            (f64::min(rate, 0.7 * 8.0 / f), f64::max(p99_ms, 20e3 * f + 4.0))
        };
        let samples = |part: fn(&Load) -> f64| loads.iter().map(part).collect::<Samples>();
        let work = format!("16 connections, {records}-record requests");
        let share = shown(100.0 * samples(|load| load.generator_share).median());
        let rates = samples(|load| load.requests_per_second);
        let per_second =
            format!("{} records/s; sending took {share} % of a core", shown(rates.median() * records as f64));
        bench.report.row(&work, Goal::at_least(rate, Unit::PerSecond), rates, per_second);
        let p99 = samples(|load| load.p99_seconds * 1e3);
        bench.report.row(format!("{work}: p99"), Goal::at_most(p99_ms, Unit::Ms), p99, "");
    }
    let f = all_syncs.scaled(1e3);
    bench.report.note(format!(
        "F, an `fdatasync` of 4 KiB: {} ms ({} – {}).",
        shown(f.median()),
        shown(f.min()),
        shown(f.max())
    ));
    Ok(())
}
