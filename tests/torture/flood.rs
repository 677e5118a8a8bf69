//! Ten times more than may be in hand: large bodies flood the server, and small ones must still get through.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::context::{Context, Stop};
use crate::count::{self, Sent};
use crate::ledger;
use crate::target::Route;
use crate::wire::{Connection, Reply};

/// How many senders of each kind there are.
const LARGE_SENDERS: usize = 40;
const SMALL_SENDERS: usize = 8;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What small senders may expect in a flood: how many of a thousand are accepted, and how fast 99 of a hundred.
const SMALL_ACCEPTED_PER_MILLE: u64 = 990;
const SMALL_P99_MAX: Duration = Duration::from_secs(3);

/// How large things are.
struct Sizes {
    body: usize,
    inflight: usize,
    spool_memory: usize,
    tier_memory: usize,
}

impl Sizes {
    /// The most memory that the server may take: what is in hand as body, as columns that double while they grow, and as
    /// the block that is written; and the memory tier, of which a flush makes a second and a third form. It does not
    /// depend on how long the flood lasts, nor on how many wait.
    fn memory_max(&self) -> u64 {
        ((256 << 20) + 6 * self.inflight + self.spool_memory + 3 * self.tier_memory) as u64
    }
}

/// What one kind of sender saw.
#[derive(Default)]
struct Seen {
    accepted: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
}

/// Floods a server for some seconds.
pub fn run(context: &mut Context) -> Result<(), Stop> {
    let mib = |count: usize| count << 20;
    let sizes = context.pick(
        Sizes { body: mib(4), inflight: mib(16), spool_memory: mib(16), tier_memory: mib(48) },
        Sizes { body: mib(32), inflight: mib(128), spool_memory: mib(64), tier_memory: mib(192) },
    );
    let args = [
        ("--limits-body-bytes", sizes.body),
        ("--limits-inflight-bytes", sizes.inflight),
        ("--spool-memory-bytes", sizes.spool_memory),
        ("--embedded-memory-bytes", sizes.tier_memory),
        ("--embedded-flush-bytes", sizes.tier_memory / 2),
    ];
    let args: Vec<String> = args.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.to_string()]).collect();
    let bed = context.bed(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
    let server = bed.start()?;
    let (large, small) = (Seen::default(), Seen::default());
    let (body, records) = large_body(sizes.body);
    let stop = AtomicBool::new(false);
    let mut waits = thread::scope(|scope| {
        let (stop, large, small, body, route) = (&stop, &large, &small, &body, &bed.route);
        for _ in 0..LARGE_SENDERS {
            scope.spawn(move || send(route, stop, large, "/logs/batch", body, Duration::ZERO));
        }
        let one = br#"{"service":"small","message":"a small one"}"#;
        let sender = move || send(route, stop, small, "/logs", one, Duration::from_millis(20));
        let senders: Vec<_> = (0..SMALL_SENDERS).map(|_| scope.spawn(sender)).collect();
        thread::sleep(Duration::from_secs(context.pick(2, 60)));
        stop.store(true, Ordering::Relaxed);
        senders.into_iter().flat_map(|sender| sender.join().expect("a sender does not panic")).collect::<Vec<_>>()
    });
    waits.sort_unstable();
    let p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or(PATIENCE);
    let http = server.http();
    ledger::drained(&http)?;
    let peak = crate::rss::highest(server.id()).unwrap_or(u64::MAX);
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (sent, failed) = (get(&small.accepted), get(&small.refused) + get(&small.lost));
    println!(
        "  flood: {} bodies of {} MiB accepted, {} refused; small: {sent} accepted, {failed} not, p50 {:.0} ms, p99 {:.0} ms; RSS {} MiB of {}",
        get(&large.accepted),
        sizes.body >> 20,
        get(&large.refused),
        waits.get(waits.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
        peak >> 20,
        sizes.memory_max() >> 20,
    );
    context.outcome.rounds += 1;
    context.expect(get(&large.accepted) > 0, || "no large body gets through".to_owned());
    context.expect(sent * 1000 >= (sent + failed) * SMALL_ACCEPTED_PER_MILLE, || {
        format!("of {} small requests {failed} failed beside large ones", sent + failed)
    });
    context.expect(p99 <= SMALL_P99_MAX, || format!("small requests beside large ones have a p99 of {p99:?}"));
    context.expect(peak <= sizes.memory_max(), || {
        format!("{} MiB of memory, and {} are the bound", peak >> 20, sizes.memory_max() >> 20)
    });
    let mut verdict = crate::ledger::Verdict::default();
    for (seen, service, each) in [(&large, "large", records), (&small, "small", 1)] {
        let sent = Sent { acknowledged: get(&seen.accepted) * each, in_doubt: get(&seen.lost) * each };
        let found = count::count(&http, &format!("service={service}"));
        verdict.add(sent.judge(found.map_err(Stop::failed)?));
    }
    context.settle(&bed, verdict);
    Ok(())
}

/// Sends the same again and again; returns how long each acknowledgement took.
fn send(route: &Route, stop: &AtomicBool, seen: &Seen, path: &str, body: &[u8], pause: Duration) -> Vec<Duration> {
    let mut waits = Vec::new();
    let mut connection: Option<Connection> = None;
    while !stop.load(Ordering::Relaxed) {
        let Some(address) = route.get() else { break };
        let open = connection.take().map_or_else(|| Connection::open(address, PATIENCE), Ok);
        let Ok(mut open) = open else { continue };
        let asked = Instant::now();
        match open.post(path, &[("content-type", "application/x-ndjson")], body) {
            Ok(Reply { status: 202, .. }) => {
                seen.accepted.fetch_add(1, Ordering::Relaxed);
                waits.push(asked.elapsed());
                connection = Some(open);
            }
            Ok(reply) => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
                connection = Some(open).filter(|_| !reply.closes());
            }
            // A refusal comes before the body is read, and the connection may be reset before it is seen.
            Err(_) => drop(seen.lost.fetch_add(1, Ordering::Relaxed)),
        }
        thread::sleep(pause);
    }
    waits
}

/// Lines of about half a KiB, `bytes` in all at most, and how many there are.
fn large_body(bytes: usize) -> (Vec<u8>, u64) {
    let (mut body, mut records) = (Vec::with_capacity(bytes), 0);
    loop {
        let words = "GET /checkout took 12 ms; cache miss, retry; ".repeat(9);
        let line = format!("{{\"service\":\"large\",\"n\":{records},\"message\":\"{records} {words}\"}}\n");
        if body.len() + line.len() > bytes {
            return (body, records);
        }
        body.extend_from_slice(line.as_bytes());
        records += 1;
    }
}
