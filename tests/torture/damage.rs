//! Damage on disk: of a used data folder one file after the other is flipped, cut, zeroed, removed, doubled, swapped or
//! overwritten, and the server must start on what is left, answer with nothing but what was sent, and account for what
//! is missing: in the log by file, offset and number of records, in `quarantine/` and in `/ready`. `sluice fsck` says the
//! same before the start, or mends it in the server's place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rand::Rng;
use serde_json::{Value, json};

use crate::context::{Context, Outcome, Stop, words};
use crate::damage_harm::{Done, Harm, harm};
use crate::hand::{metric, send, wait};
use crate::ledger::{Ages, Ledger, Verdict, drained};
use crate::load::{self, Load};
use crate::target::{Bed, Target};

const ARGS: &str = "--log-format json --spool-segment-bytes 64KiB --embedded-flush-age 10m";
/// Many segments of several days.
const FLUSHING: &str =
    "--log-format json --spool-segment-bytes 64KiB --embedded-flush-rows 400 --embedded-flush-age 100ms";

/// How often everything is read until two readings say the same: damage is found by reading, and mended behind it.
const READINGS_MAX: usize = 6;

/// What is there before any harm.
struct Used {
    bed: Bed,
    ledger: Arc<Ledger>,
    found: u64,
}

/// What a server's log, or `sluice fsck`, says is lost.
#[derive(Debug, Default)]
struct Reported {
    records: u64,
    /// Something is lost, and nobody knows how much.
    unknown: bool,
    /// Lines that are above information, or findings.
    lines: Vec<String>,
    /// The exit code of `sluice fsck`.
    code: Option<i32>,
}

/// Runs the scenario.
pub fn run(context: &mut Context) -> Result<Outcome, Stop> {
    let folders = context.pick(1, 4);
    let rounds = context.rounds(4, 160);
    for folder in 0..folders {
        let used = used_folder(context)?;
        for _ in 0..rounds.div_ceil(folders) {
            round(context, &used, folder)?;
            context.outcome.rounds += 1;
        }
        let _ = fs::remove_dir_all(used.bed.data.parent().unwrap());
    }
    Ok(std::mem::take(&mut context.outcome))
}

/// A folder with everything in it that a server can leave, stopped by `kill -9`.
fn used_folder(context: &mut Context) -> Result<Used, Stop> {
    let mut bed = context.bed(&words(FLUSHING))?;
    let ledger = context.ledger(Ages::Scattered);
    let server = bed.start()?;
    // Keyed batches, so that settled segments leave key files.
    let load = Load::start(&bed.route, &ledger, &load::mixed(), &mut context.rng);
    thread::sleep(Duration::from_millis(context.pick(300, 1_500)));
    load.finish();
    let http = server.http();
    drained(&http)?;
    wait("a flush", Duration::from_secs(60), || metric(&http, "sluice_store_memory_rows") == 0.0)?;
    server.stop()?;
    dead_letters(&bed);
    bed.args.clone_from(&context.bed(&words(ARGS))?.args);
    let server = bed.start()?;
    for client in [20, 21, 22] {
        send(&server.http(), &ledger, client, context.rng.random_range(100..300))?;
    }
    if context.rng.random_ratio(1, 4) {
        server.stop()?;
    } else {
        server.kill();
    }
    let found = untouched(context, &bed, &ledger)?;
    Ok(Used { bed, ledger, found })
}

/// A copy without harm has everything; returns how much that is.
fn untouched(context: &mut Context, bed: &Bed, ledger: &Ledger) -> Result<u64, Stop> {
    let copy = copy_of(context, bed)?;
    let verdict = ledger.verify(&copy.start()?.http())?;
    let found = verdict.found;
    context.expect(verdict.is_clean(), || format!("the folder is not whole before any harm: {verdict:?}"));
    let _ = fs::remove_dir_all(copy.data.parent().unwrap());
    Ok(found)
}

fn dead_letters(bed: &Bed) {
    let line = |number: u64| {
        let id = format!("{number:026}");
        let record = json!({"id": id, "timestamp": "2024-10-08T00:00:00.000000000Z", "level": "INFO", "service": "",
            "message": "m", "attributes": {}});
        format!(
            "{{\"id\":\"{id}\",\"time\":\"2024-10-08T00:00:00Z\",\"reason\":\"of the test\",\"record\":{record}}}\n"
        )
    };
    let lines: String = (0..50).map(line).collect();
    fs::write(bed.data.join("dead-letter/records.ndjson"), lines).unwrap();
}

/// Harms one file of a copy, and looks at what the server makes of it, twice.
fn round(context: &mut Context, used: &Used, folder: u64) -> Result<(), Stop> {
    let bed = copy_of(context, &used.bed)?;
    let files = files_below(&bed.data);
    // Not every kind of harm can be done to every file.
    let done = (0..).find_map(|_| harm(&bed.data, &files, &mut context.rng)).unwrap();
    let told = format!("{:?} of {} (folder {folder}): {}", done.harm, done.file, done.how);
    let checked = fsck(context, &bed, false, &told);
    let mended = if context.rng.random() { Some(mend(context, &bed, &done, &told)) } else { None };
    let mut server = bed.spawn();
    if let Err(Stop::Failed(why)) = server.wait_ready() {
        let log = server.own_log();
        drop(server);
        // A newer program's file is not touched, and nothing is started without it.
        let named = log.contains("format") || log.contains("version");
        let refused = done.harm == Harm::NewerFormat && named;
        context.expect(refused, || format!("{told}: {why}: {}", last_line(&log)));
        context.settle(&bed, Verdict::default());
        return Ok(());
    }
    let before = context.outcome.verdict.complaints.len();
    let first = read_until_settled(used, &server, &told)?;
    let reported = Reported::of(&server.own_log());
    if let Some(mended) = &mended {
        context
            .expect(reported.lines.is_empty(), || format!("{told}: mended, and yet a start says {:?}", reported.lines));
        accounted(context, used, &done, &told, &first, mended);
    } else {
        account(context, used, &server, &done, &told, &first, &reported);
        // What mending saves is not known before.
        let torn = done.may_be_torn && !checked.lines.is_empty();
        let warned = checked.unknown || checked.records > 0 || done.unseen || torn || used.found <= first.found;
        context.expect(warned, || format!("{told}: fsck speaks of no loss, but there is one: {:?}", checked.lines));
    }
    server.stop().map_err(|stop| told_by(stop, &told))?;
    second_start(context, used, &bed, &told, &first)?;
    if context.outcome.verdict.complaints.len() > before {
        // What there is to look at stays.
        return Ok(());
    }
    // What is gone is accounted for: it counts neither as missing nor as acknowledged.
    context.settle(&bed, Verdict { acknowledged: first.acknowledged - first.expired, expired: 0, ..first });
    Ok(())
}

/// Reads everything until two readings say the same.
fn read_until_settled(used: &Used, server: &Target, told: &str) -> Result<Verdict, Stop> {
    let mut last: Option<Verdict> = None;
    for _ in 0..READINGS_MAX {
        let verdict = used.ledger.verify_with(&server.http(), |_, _| true).map_err(|stop| told_by(stop, told))?;
        let harmless = Reported::of(&server.own_log()).lines.is_empty();
        let same = last.as_ref().is_some_and(|last| last.found == verdict.found);
        // An altered or double record is one, also if the next reading does not show it.
        if !verdict.is_clean() || same || (harmless && verdict.expired == 0) {
            return Ok(Verdict { complaints: prefixed(&verdict, told), ..verdict });
        }
        last = Some(verdict);
        thread::sleep(Duration::from_millis(400));
    }
    Err(Stop::failed(format!("{told}: no two readings say the same")))
}

/// What is missing is reported.
fn accounted(context: &mut Context, used: &Used, done: &Done, told: &str, first: &Verdict, reported: &Reported) {
    let missing = used.found.saturating_sub(first.found);
    let torn = done.may_be_torn && !reported.lines.is_empty();
    let explained = reported.unknown || reported.records >= missing || done.unseen || torn;
    context.expect(explained, || {
        format!("{told}: {missing} records are missing, {} are reported: {:?}", reported.records, reported.lines)
    });
}

/// Runs `sluice fsck` on the folder.
fn fsck(context: &mut Context, bed: &Bed, repair: bool, told: &str) -> Reported {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(["fsck", "--json"]).args(repair.then_some("--repair")).arg("--data-dir").arg(&bed.data);
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let code = output.status.code();
    let lost = report["lost_unknown"] == true || report["lost_records"] != 0;
    let agrees = code.is_some_and(|code| report["exit_code"] == code && (code & 2 != 0) == lost);
    context.expect(agrees && !String::from_utf8_lossy(&output.stderr).contains("panicked"), || {
        format!("{told}: fsck ended with {code:?}: {report} {}", String::from_utf8_lossy(&output.stderr))
    });
    Reported {
        records: report["lost_records"].as_u64().unwrap_or(0),
        unknown: report["lost_unknown"] == true,
        lines: report["findings"].as_array().into_iter().flatten().map(Value::to_string).collect(),
        code,
    }
}

/// Mends the folder; afterwards it is sound.
fn mend(context: &mut Context, bed: &Bed, done: &Done, told: &str) -> Reported {
    let mended = fsck(context, bed, true, told);
    let after = fsck(context, bed, false, told);
    context.expect(after.code == Some(0) || done.harm == Harm::NewerFormat, || {
        format!("{told}: fsck --repair did not mend it: {:?}, then {:?}", mended.lines, after.lines)
    });
    mended
}

/// What is missing is reported: in the log, in `/ready`, in quarantine.
fn account(
    context: &mut Context,
    used: &Used,
    server: &Target,
    done: &Done,
    told: &str,
    first: &Verdict,
    reported: &Reported,
) {
    let missing = used.found.saturating_sub(first.found);
    let ready = server.http().get("/ready").json();
    let (lost, quarantined) = (ready["lost_records"].as_u64(), ready["quarantined_files"].as_u64());
    accounted(context, used, done, told, first, reported);
    if missing == 0 || done.unseen {
        return;
    }
    let counted = done.may_be_torn || reported.unknown || lost.is_some_and(|lost| lost >= missing);
    context.expect(counted, || format!("{told}: {missing} records are missing, and /ready says {ready}"));
    context.expect(done.harm == Harm::Remove || quarantined > Some(0), || {
        format!("{told}: {missing} records are missing, and nothing is in quarantine: {:?}", reported.lines)
    });
    let named = reported.lines.iter().any(|line| done.names.iter().any(|name| line.contains(name)));
    context.expect(named, || format!("{told}: no line names the file: {:?}", reported.lines));
}

/// A second start finds everything in order, and the same records.
fn second_start(context: &mut Context, used: &Used, bed: &Bed, told: &str, first: &Verdict) -> Result<(), Stop> {
    let server = bed.start().map_err(|stop| told_by(stop, told))?;
    let again = used.ledger.verify_with(&server.http(), |_, _| true).map_err(|stop| told_by(stop, told))?;
    context.expect(again.is_clean() && again.found == first.found, || {
        format!("{told}: {} records, after a second start {}: {:?}", first.found, again.found, again.complaints)
    });
    let reported = Reported::of(&server.own_log());
    context.expect(reported.lines.is_empty(), || format!("{told}: a second start says {:?}", reported.lines));
    let lost = server.http().get("/ready").json()["lost_records"].clone();
    context.expect(lost == 0, || format!("{told}: a second start has lost {lost}"));
    server.stop().map_err(|stop| told_by(stop, told))
}

impl Reported {
    fn of(log: &str) -> Reported {
        let mut reported = Reported::default();
        for line in log.lines() {
            let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
            if entry["level"] == "INFO" || entry["level"] == "DEBUG" {
                continue;
            }
            reported.lines.push(line.to_owned());
            let message = entry["message"].as_str().unwrap_or_default();
            // The store says it in a field, the spool in the message.
            let of_spool = message.split_once("set aside from the spool: ").map(|(_, rest)| rest);
            let Some(lost) = entry["fields"]["lost"].as_str().or(of_spool) else { continue };
            match lost.split(' ').next().and_then(|count| count.parse::<u64>().ok()) {
                Some(count) => reported.records += count,
                None => reported.unknown = true,
            }
        }
        reported
    }
}

fn prefixed(verdict: &Verdict, told: &str) -> Vec<String> {
    verdict.complaints.iter().map(|complaint| format!("{told}: {complaint}")).collect()
}

fn told_by(stop: Stop, told: &str) -> Stop {
    match stop {
        Stop::Failed(why) => Stop::Failed(format!("{told}: {why}")),
        skipped => skipped,
    }
}

fn last_line(log: &str) -> String {
    log.lines().last().unwrap_or_default().to_owned()
}

/// A place of its own with a copy of another one's data.
fn copy_of(context: &mut Context, bed: &Bed) -> Result<Bed, Stop> {
    let copy = context.bed(&words(ARGS))?;
    for file in files_below(&bed.data) {
        let to = copy.data.join(file.strip_prefix(&bed.data).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, to).unwrap();
    }
    Ok(copy)
}

/// All files below a folder, in order.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort_unstable();
    files
}
