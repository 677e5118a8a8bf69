//! The breaker under `failsafe`'s clock, which a test can stop, and with its real threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;

use failsafe::clock::{MockClock, freeze};
use prometheus_client::registry::Registry;

use super::*;
use crate::store::Store;
use crate::worker::tests::FaultStore;

const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(4);

fn settings() -> BreakerSettings {
    BreakerSettings {
        failures: 3,
        failure_share: 0.5,
        window: Duration::from_secs(30),
        backoff_min: BACKOFF_MIN,
        backoff_max: BACKOFF_MAX,
    }
}

fn breaker(settings: &BreakerSettings) -> Arc<Breaker> {
    Breaker::new(Pool::Store, settings, WorkerMetrics::register(&mut Registry::default()))
}

fn down() -> Result<(), StoreError> {
    Err(StoreError::Unavailable("down".to_owned()))
}

fn fail(breaker: &Arc<Breaker>, times: usize) {
    for _ in 0..times {
        breaker.permit().unwrap().record(&down());
    }
}

fn retry_after(breaker: &Breaker) -> Duration {
    match breaker.state() {
        BreakerState::Open { retry_after } => retry_after,
        state => panic!("{state:?}"),
    }
}

/// Lets the time of the back-off pass, and a little more.
fn wait_out(breaker: &Breaker, time: &mut MockClock) {
    time.advance(retry_after(breaker) + Duration::from_millis(1));
}

#[test]
fn it_opens_after_failures_in_a_row_and_nothing_else_counts() {
    let others = [
        StoreError::Full("f".to_owned()),
        StoreError::Rejected { rows: vec![1], reason: "r".to_owned() },
        StoreError::Conflict { rows: vec![1] },
        StoreError::Bug("b".to_owned()),
    ];
    freeze(|_| {
        let breaker = breaker(&settings());
        fail(&breaker, 2);
        breaker.permit().unwrap().record(&Ok(()));
        fail(&breaker, 2);
        assert!(breaker.is_closed(), "a success begins the count anew");
        for _ in 0..50 {
            for error in &others {
                breaker.permit().unwrap().record::<()>(&Err(error.clone()));
            }
            drop(breaker.permit().unwrap());
        }
        assert!(breaker.is_closed(), "what is neither success nor failure does not count");
        fail(&breaker, 1);
        assert!(!breaker.is_closed(), "and does not end a row of failures either");
        assert!(matches!(breaker.permit(), Err(BreakerState::Open { .. })));
    });
}

#[test]
fn it_opens_when_too_large_a_share_fails() {
    let table: [(&[bool], u64, bool); 5] = [
        (&[false, false, true], 1000, true),
        (&[false, true], 1000, true),
        (&[false, true, true], 1000, false),
        (&[true, true, false], 1, false),
        // So seldom that there are never ten calls in a window.
        (&[false, false, true], 8000, false),
    ];
    for (pattern, pace_ms, opens) in table {
        freeze(|time| {
            let breaker = breaker(&settings());
            for ok in pattern.iter().cycle().take(120) {
                time.advance(Duration::from_millis(pace_ms));
                match breaker.permit() {
                    Ok(permit) => permit.record(&if *ok { Ok(()) } else { down() }),
                    Err(_) => break,
                }
            }
            assert_eq!(!breaker.is_closed(), opens, "{pattern:?} every {pace_ms} ms");
        });
    }
}

#[test]
fn failures_of_long_ago_have_no_share() {
    freeze(|time| {
        let breaker = breaker(&settings());
        for _ in 0..4 {
            fail(&breaker, 2);
            breaker.permit().unwrap().record(&Ok(()));
            time.advance(Duration::from_secs(40));
        }
        for _ in 0..8 {
            breaker.permit().unwrap().record(&Ok(()));
        }
        fail(&breaker, 2);
        assert!(breaker.is_closed(), "two of ten");
    });
}

#[test]
fn it_goes_from_closed_to_open_to_half_open_to_open_longer_to_closed() {
    freeze(|time| {
        let breaker = breaker(&settings());
        fail(&breaker, 3);
        let mut step = BACKOFF_MIN;
        for _ in 0..5 {
            let wait = retry_after(&breaker);
            assert!(wait >= step / 2 && wait <= step, "{wait:?} for a step of {step:?}");
            // Asking changes nothing, and before its time there is no probe.
            assert!(breaker.permit().is_err() && breaker.try_probe().is_none());
            time.advance(wait);
            assert!(breaker.permit().is_err(), "traffic is no probe");
            assert_eq!(retry_after(&breaker), Duration::ZERO);
            time.advance(Duration::from_millis(1));
            let probe = breaker.try_probe().unwrap();
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
            assert!(breaker.permit().is_err() && breaker.try_probe().is_none(), "one probe at a time");
            probe.record(&down());
            step = (step * 2).min(BACKOFF_MAX);
        }
        wait_out(&breaker, time);
        breaker.try_probe().unwrap().record(&Ok(()));
        assert!(breaker.is_closed());
        fail(&breaker, 2);
        assert!(breaker.is_closed(), "the count begins anew");
        fail(&breaker, 1);
        assert!(retry_after(&breaker) <= BACKOFF_MIN, "and so does the back-off");
    });
}

#[test]
fn results_of_an_earlier_state_are_ignored() {
    freeze(|time| {
        let breaker = breaker(&settings());
        let stale: Vec<Permit> = (0..4).map(|_| breaker.permit().unwrap()).collect();
        let mut stale = stale.into_iter();
        fail(&breaker, 3);
        let wait = retry_after(&breaker);
        stale.next().unwrap().record(&down());
        assert_eq!(retry_after(&breaker), wait, "a late failure does not lengthen the wait");
        wait_out(&breaker, time);
        let probe = breaker.try_probe().unwrap();
        stale.next().unwrap().record(&Ok(()));
        assert_eq!(breaker.state(), BreakerState::HalfOpen, "a late success does not close it");
        stale.next().unwrap().record(&down());
        assert_eq!(breaker.state(), BreakerState::HalfOpen, "a late failure does not open it");
        drop(stale.next());
        assert!(breaker.try_probe().is_none(), "a late nothing does not make room for a second probe");
        probe.record(&Ok(()));
        assert!(breaker.is_closed());
    });
}

#[test]
fn a_probe_that_panics_makes_room_for_another() {
    freeze(|time| {
        let breaker = breaker(&settings());
        fail(&breaker, 3);
        wait_out(&breaker, time);
        let probe = breaker.try_probe().unwrap();
        let panic = catch_unwind(AssertUnwindSafe(move || {
            let _probe = probe;
            panic!("in the probe");
        }));
        assert!(panic.is_err());
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.try_probe().unwrap().record(&Ok(()));
        assert!(breaker.is_closed());
    });
}

#[test]
fn a_trip_opens_a_closed_breaker_only() {
    freeze(|time| {
        let breaker = breaker(&settings());
        breaker.trip("unreachable");
        let wait = retry_after(&breaker);
        breaker.trip("unreachable");
        assert_eq!(retry_after(&breaker), wait);
        wait_out(&breaker, time);
        let probe = breaker.try_probe().unwrap();
        breaker.trip("unreachable");
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        probe.record(&Ok(()));
        fail(&breaker, 2);
        assert!(breaker.is_closed(), "an old trip is not remembered");
    });
}

#[test]
fn once_stopped_it_stays_as_it_is() {
    let breaker = breaker(&settings());
    breaker.lock().stopped = true;
    breaker.trip("the store is closed");
    fail(&breaker, 3);
    assert!(breaker.is_closed());
}

#[test]
fn of_many_threads_just_one_probes() {
    let breaker = breaker(&BreakerSettings { backoff_min: Duration::from_millis(500), ..settings() });
    fail(&breaker, 3);
    thread::sleep(retry_after(&breaker) + Duration::from_millis(2));
    const THREADS: usize = 8;
    let together = Barrier::new(THREADS);
    let probes: Vec<Option<Permit>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    assert!(breaker.permit().is_err());
                    breaker.try_probe()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(probes.iter().flatten().count(), 1);
}

#[test]
fn its_thread_probes_without_traffic_and_tells_the_other_breaker() {
    let settings = BreakerSettings { backoff_min: Duration::from_millis(500), ..settings() };
    let faults = Arc::new(FaultStore::default());
    let store: Arc<dyn Store> = Arc::clone(&faults) as Arc<dyn Store>;
    let (writing, reading) = (breaker(&settings), breaker(&settings));
    let (changes, changed) = std::sync::mpsc::channel();
    writing.on_change(move |state| changes.send(state.name()).unwrap());
    let (peer_changes, peer_changed) = std::sync::mpsc::channel();
    reading.on_change(move |state| peer_changes.send(state.name()).unwrap());
    let probers = Probers::start([Arc::clone(&writing), Arc::clone(&reading)], &store).unwrap();
    let next =
        |changes: &std::sync::mpsc::Receiver<&'static str>| changes.recv_timeout(Duration::from_secs(10)).unwrap();

    // Calls fail, but the store can be reached: that is one breaker's affair.
    fail(&writing, 3);
    assert_eq!([next(&changed), next(&changed), next(&changed)], ["open", "half_open", "closed"]);
    assert!(peer_changed.try_recv().is_err());

    // The store cannot be reached: that is both breakers'.
    faults.set_down(true);
    fail(&writing, 3);
    assert_eq!([next(&changed), next(&changed), next(&changed)], ["open", "half_open", "open"]);
    assert_eq!(next(&peer_changed), "open");
    faults.set_down(false);
    assert_eq!([next(&changed), next(&changed)], ["half_open", "closed"]);
    while next(&peer_changed) != "closed" {}
    assert!(probers.stop(Instant::now() + Duration::from_secs(5)));
}
