//! Figures, on demand: `cargo test -p sluice --lib spool::tests::bench -- --ignored --nocapture`.

use super::*;

const APPENDERS: usize = 16;

#[test]
#[ignore = "measures; prints its figures"]
fn figures() {
    for on_disk in [true, false] {
        println!("{}", if on_disk { "on disk" } else { "in memory" });
        single_records(on_disk);
        large_batches(on_disk);
        a_start(on_disk);
    }
}

/// On the disk of the temporary folder, or in memory, where only the processor counts.
fn spool(on_disk: bool) -> (Fixture, Arc<Spool>) {
    let mut fixture = if on_disk { Fixture::within(tempfile::tempdir().unwrap()) } else { Fixture::new() };
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

fn single_records(on_disk: bool) {
    let (_fixture, spool) = spool(on_disk);
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

fn large_batches(on_disk: bool) {
    let (_fixture, spool) = spool(on_disk);
    let batch = large_batch();
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

fn large_batch() -> LogBatch {
    let messages: Vec<String> = (0..20_000).map(|row| format!("{row} {}", "word ".repeat(30))).collect();
    batch_of(Severity::Info, &messages)
}

/// How long a start takes with much to recover.
fn a_start(on_disk: bool) {
    let (fixture, spool) = spool(on_disk);
    append(&spool, batch(1), None).unwrap();
    println!("a block of one record: {} bytes", spool.status().lanes[2].bytes);
    let batch = large_batch();
    (0..100).for_each(|_| assert!(append(&spool, batch.clone(), None).is_ok()));
    let bytes = spool.status().bytes;
    drop(spool);
    let begun = Instant::now();
    let spool = fixture.open();
    println!("recovery: {:.0} MB/s", bytes as f64 / 1e6 / begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    assert_eq!(std::iter::from_fn(|| next(&spool)).count(), 101);
    println!("reading back: {:.0} MB/s", bytes as f64 / 1e6 / begun.elapsed().as_secs_f64());
}
