//! Figures, on demand: `cargo test -p sluice --lib spool::tests::bench -- --ignored --nocapture`.

use super::*;

const APPENDERS: usize = 16;

#[test]
#[ignore = "measures; prints its figures"]
fn figures() {
    single_records();
    large_batches();
}

fn spool() -> (Fixture, Arc<Spool>) {
    let mut fixture = Fixture::within(tempfile::tempdir().unwrap());
    fixture.settings.segment_bytes = 64 << 20;
    let spool = fixture.open();
    (fixture, spool)
}

/// Settles everything as it comes, on a thread of its own.
fn with_drain(spool: &Arc<Spool>, work: impl FnOnce()) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while let Some(block) = spool.next(Duration::from_secs(1)) {
                settle(spool, &[block.id]);
            }
        });
        work();
    });
}

fn single_records() {
    let (_fixture, spool) = spool();
    let requests = 2000;
    let begun = Instant::now();
    with_drain(&spool, || {
        std::thread::scope(|scope| {
            for _ in 0..APPENDERS {
                scope.spawn(|| {
                    for _ in 0..requests {
                        append(&spool, batch(1), None).unwrap();
                    }
                });
            }
        });
        let seconds = begun.elapsed().as_secs_f64();
        let (appends, syncs) = ((APPENDERS * requests) as f64 / seconds, spool.shared.metrics.fsyncs.get());
        let sync_ms = 1e3 * seconds / syncs as f64;
        println!("{APPENDERS} appenders of single records: {appends:.0}/s; {syncs} syncs, one each {sync_ms:.3} ms");
    });
}

fn large_batches() {
    let (_fixture, spool) = spool();
    let messages: Vec<String> = (0..20_000).map(|row| format!("{row} {}", "word ".repeat(30))).collect();
    let batch = batch_of(Severity::Info, &messages);
    let (batches, begun) = (100, Instant::now());
    with_drain(&spool, || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..batches / 4 {
                        append(&spool, batch.clone(), None).unwrap();
                    }
                });
            }
        });
        let megabytes = (batch.size_bytes() * batches) as f64 / 1e6;
        println!("batches of {} bytes: {:.0} MB/s", batch.size_bytes(), megabytes / begun.elapsed().as_secs_f64());
    });
}
