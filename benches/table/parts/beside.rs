//! Ingest while ten tails and a loop of queries run, against the same without them.

use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::Result;
use crate::bench::Bench;
use crate::data::Data;
use crate::http::{Connection, encoded};
use crate::ingest;
use crate::progress;
use crate::queries::{Query, queries};
use crate::report::{Goal, Unit, shown};
use crate::samples::{Samples, timed};
use crate::server::{Server, Site};
use crate::terms::Terms;

/// How often the queries are asked of the server at rest.
const ROUNDS_AT_REST: usize = 5;

/// How an ingest and queries got on beside each other.
struct Together {
    /// The speed of the ingest, of its own.
    speed: f64,
    /// The time of a round of queries, of its own.
    slowdown: f64,
    rounds: usize,
}

/// Measures both in turn.
pub fn measure(bench: &mut Bench) -> Result<()> {
    let site = bench.site("beside");
    let queries = queries(&bench.terms, &bench.truth, 0);
    let tails = tails(&bench.terms);
    let mut runs = Vec::new();
    for number in 0..bench.extent.runs {
        progress(format_args!("beside {}", number + 1));
        runs.push(together(&site, &bench.data, bench.truth.days(), &queries, &tails)?);
    }
    let samples = |part: fn(&Together) -> f64| runs.iter().map(part).collect::<Samples>();
    let work = format!("{} tails and a query loop running beside the ingest", tails.len());
    let speed = samples(|run| run.speed);
    bench.report.row(format!("{work}: its speed"), Goal::at_least(0.7, Unit::Times), speed, "");
    let rounds = shown(samples(|run| run.rounds as f64).median());
    let slowdown = samples(|run| run.slowdown);
    let plain = format!("{rounds} rounds of {} queries", queries.len());
    bench.report.row(format!("{work}: time of the queries"), Goal::at_most(3.0, Unit::Times), slowdown, plain);
    bench.report.note(
        "The tails beside the ingest: one of everything, three of ERROR and above, three of a service, three of a word. The \
         ingest comes to the same records of the days before. The queries' own time is the mean of those before and after \
         it, at rest.",
    );
    Ok(())
}

/// What the tails follow.
fn tails(terms: &Terms) -> Vec<String> {
    let errors = "/logs/tail?minLevel=error".to_owned();
    let service = format!("/logs/tail?service={}", encoded(&terms.service));
    let word = format!("/logs/tail?q={}", encoded(&terms.word));
    let three = [errors, service, word].into_iter().flat_map(|path| std::iter::repeat_n(path, 3));
    three.chain(["/logs/tail".to_owned()]).collect()
}

fn together(site: &Site, data: &Data, stride: u64, queries: &[Query], tails: &[String]) -> Result<Together> {
    let server = site.start_empty()?;
    let alone = ingest::send(&server, data, 0..1, stride)?;
    server.stop()?;
    let server = site.start()?;
    let before = rounds(&server, queries, |round| round < ROUNDS_AT_REST)?;
    let mut readers = Vec::new();
    for path in tails {
        let stream = server.connect()?.follow(path)?;
        readers.push(thread::spawn(move || discard(stream)));
    }
    let ended = AtomicBool::new(false);
    let (ingested, loaded) = thread::scope(|scope| {
        let asking = scope.spawn(|| rounds(&server, queries, |_| !ended.load(Ordering::Relaxed)));
        let ingested = ingest::send(&server, data, 1..2, stride);
        ended.store(true, Ordering::Relaxed);
        (ingested, asking.join().map_err(|_| "the query loop panicked"))
    });
    let (ingested, loaded) = (ingested?, loaded??);
    server.drain()?;
    let after = rounds(&server, queries, |round| round < ROUNDS_AT_REST)?;
    server.stop()?;
    readers.into_iter().try_for_each(|reader| reader.join().map_err(|_| "a tail panicked"))?;
    let round = |timings: &[Samples]| timings.iter().map(Samples::median).sum::<f64>();
    Ok(Together {
        speed: alone.as_secs_f64() / ingested.as_secs_f64(),
        slowdown: 2.0 * round(&loaded) / (round(&before) + round(&after)),
        rounds: loaded.first().map_or(0, Samples::len),
    })
}

/// Asks all queries, again and again as long as `more` says so; by query the seconds they took.
fn rounds(server: &Server, queries: &[Query], more: impl Fn(usize) -> bool) -> Result<Vec<Samples>> {
    let mut connection: Connection = server.connect()?;
    let mut timings = vec![Samples::default(); queries.len()];
    for round in 0.. {
        for (query, timing) in queries.iter().zip(&mut timings) {
            let (took, answer) = timed(|| connection.get_ok(&query.path).map(drop));
            answer?;
            timing.extend([took.as_secs_f64()]);
        }
        if !more(round + 1) {
            break;
        }
    }
    Ok(timings)
}

/// Reads until the server stops.
fn discard(mut stream: TcpStream) {
    let mut buffer = vec![0; 256 << 10];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}
