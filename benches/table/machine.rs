//! What the table was measured on.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, Utc};

use crate::Result;

/// The date, and the machine's kind.
pub fn describe(folder: &Path) -> Result<String> {
    let date = DateTime::<Utc>::from(SystemTime::now()).format("%Y-%m-%d %H:%M");
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("a CPU without a name", |(_, name)| name);
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let memory_gib = memory.unwrap_or(0_u64) >> 20;
    let system = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let files = file_system(folder)?;
    Ok(format!("{date} UTC, {model}, {cores} cores, {memory_gib} GiB of memory, {files}, Linux {}", system.trim()))
}

/// The kind of file system that a folder is on.
fn file_system(folder: &Path) -> Result<String> {
    let folder = folder.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mounts = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let place = place.split(' ').nth(4)?;
        folder.starts_with(place).then(|| (place.len(), kind.split(' ').next().unwrap_or_default()))
    });
    let deepest = mounts.max_by_key(|(length, _)| *length);
    Ok(deepest.map_or("an unknown file system", |(_, kind)| kind).to_owned())
}
