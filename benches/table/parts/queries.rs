//! Queries on a server that has just started, and on one that has answered them before.

use crate::Result;
use crate::bench::Bench;
use crate::options::Part;
use crate::parts::ingest::FOLDER;
use crate::progress;
use crate::queries::{Query, queries};
use crate::report::{Goal, Report, Unit, shown};
use crate::samples::{Samples, timed};
use crate::server::Site;

/// How long starts and answers took, in seconds.
pub struct Timings {
    pub start: Samples,
    /// By query: first after a start.
    pub cold: Vec<Samples>,
    /// By query: all later ones.
    pub warm: Vec<Samples>,
}

/// Asks what the ingest has left.
pub fn measure(bench: &mut Bench) -> Result<Timings> {
    let site = bench.site(FOLDER);
    let queries = queries(&bench.terms, &bench.truth, 0);
    let timings = time(&site, &queries, bench.extent.runs, bench.extent.warm, &mut bench.report)?;
    if bench.wants(Part::Queries) {
        add_rows(bench, &queries, &timings, "");
        let start = Goal::at_most(0.5, Unit::Seconds);
        let work = format!("start with {} records on disk until `/ready` is 200", shown(bench.truth.records as f64));
        bench.report.row(work, start, timings.start.clone(), "");
        bench.report.note(
            "Cold is the first query after the server's start, with the files in the system's cache; warm the same query \
             again.",
        );
    }
    Ok(timings)
}

/// Asks each query of a server that was started for it, and then again.
pub fn time(site: &Site, queries: &[Query], runs: u64, warm: usize, report: &mut Report) -> Result<Timings> {
    let mut timings = Timings {
        start: Samples::default(),
        cold: vec![Samples::default(); queries.len()],
        warm: vec![Samples::default(); queries.len()],
    };
    for number in 0..runs {
        progress(format_args!("queries {}", number + 1));
        for (query, (cold, later)) in queries.iter().zip(timings.cold.iter_mut().zip(&mut timings.warm)) {
            let server = site.start()?;
            timings.start.extend([server.start.as_secs_f64()]);
            let mut connection = server.connect()?;
            for repetition in 0..=warm {
                let (took, answer) = timed(|| connection.get_ok(&query.path));
                if let Err(error) = answer.and_then(|body| query.check(body)) {
                    report.wrong(error);
                }
                let timing = if repetition == 0 { &mut *cold } else { &mut *later };
                timing.extend([took.as_secs_f64()]);
            }
            server.stop()?;
        }
    }
    Ok(timings)
}

/// Adds two rows for each query; `suffix` says of what records.
pub fn add_rows(bench: &mut Bench, queries: &[Query], timings: &Timings, suffix: &str) {
    let w = bench.w();
    for (query, (cold, warm)) in queries.iter().zip(timings.cold.iter().zip(&timings.warm)) {
        let factor = if query.goal.unit == Unit::W { 1.0 / w } else { 1e3 };
        for (kind, samples) in [("cold", cold), ("warm", warm)] {
            let plain = if query.goal.unit == Unit::W {
                format!("{} ms", shown(samples.median() * 1e3))
            } else {
                String::new()
            };
            bench.report.row(format!("{}{suffix}, {kind}", query.name), query.goal, samples.scaled(factor), plain);
        }
    }
}
