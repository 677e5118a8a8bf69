//! What other processes use, by `/proc`.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::Result;

/// The unit of times in `/proc`; the same on every architecture that Sluice is released for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used in its life.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time.
    pub cpu_seconds: f64,
    /// The most memory that it had, anonymous and of files.
    pub peak_rss_bytes: u64,
}

/// User and system time of a process so far. One that has ended still has it, until it is waited for.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before them stands in brackets, and may hold anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc has a stat without a name")?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// The most memory that a process has had so far; `None`, if it has ended.
pub fn peak_rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
}

/// Waits for the end of a process, and says what it has used.
pub fn finish(child: &mut Child, patience: Duration) -> Result<Usage> {
    let id = child.id();
    let pid = Pid::from_child(child);
    let begun = Instant::now();
    let mut peak = 0;
    loop {
        // Memory is gone with the process: it is looked at until then.
        peak = peak_rss_bytes(id).unwrap_or(peak);
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(pid), ended)?.is_some() {
            break;
        }
        if begun.elapsed() > patience {
            return Err(format!("process {id} does not end").into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    let usage = Usage { cpu_seconds: cpu_seconds(id)?, peak_rss_bytes: peak };
    let status = child.wait()?;
    if status.success() { Ok(usage) } else { Err(format!("process {id} ended with {status}").into()) }
}
