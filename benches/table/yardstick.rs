//! What everything is measured by: `zstd -1` of the same file, and an `fdatasync`, on this machine and in this run.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::process;
use crate::samples::{Samples, timed};

/// Long enough for any file.
const PATIENCE: Duration = Duration::from_secs(3600);
/// What is written before each `fdatasync`.
const PAGE: usize = 4096;
/// How many are timed.
const SYNCS: u64 = 200;

/// What `zstd -1 -T1` took for the file.
#[derive(Debug, Clone, Copy)]
pub struct Zstd {
    /// CPU seconds, user and system.
    pub z: f64,
    /// Wall seconds.
    pub w: f64,
    /// Bytes of its output.
    pub s: f64,
}

/// Compresses the file once, with the program `zstd`, or where there is none with its library in this process.
pub fn zstd(file: &Path, output: &Path) -> Result<Zstd> {
    let spawned = Command::new("zstd")
        .args(["-1", "-T1", "--quiet", "--force"])
        .arg(file)
        .arg("-o")
        .arg(output)
        .stdin(Stdio::null())
        .spawn();
    let (wall, z) = match spawned {
        Ok(mut child) => timed(|| process::finish(&mut child, PATIENCE).map(|usage| usage.cpu_seconds)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => timed(|| in_process(file, output)),
        Err(error) => return Err(error.into()),
    };
    let measured = Zstd { z: z?, w: wall.as_secs_f64(), s: std::fs::metadata(output)?.len() as f64 };
    std::fs::remove_file(output)?;
    Ok(measured)
}

fn in_process(file: &Path, output: &Path) -> Result<f64> {
    let before = process::cpu_seconds(std::process::id())?;
    zstd::stream::copy_encode(BufReader::with_capacity(128 << 10, File::open(file)?), File::create(output)?, 1)?;
    Ok(process::cpu_seconds(std::process::id())? - before)
}

/// The seconds that an `fdatasync` of 4 KiB takes, into zeros that were written and synced before.
pub fn fdatasync(folder: &Path) -> Result<Samples> {
    let path = folder.join("fdatasync");
    let file = File::create(&path)?;
    file.write_all_at(&vec![0; PAGE * SYNCS as usize], 0)?;
    file.sync_all()?;
    let page = [1; PAGE];
    let sync = |number: u64| -> Result<f64> {
        file.write_all_at(&page, number * PAGE as u64)?;
        let (took, synced) = timed(|| file.sync_data());
        synced?;
        Ok(took.as_secs_f64())
    };
    let samples = (0..SYNCS).map(sync).collect::<Result<Vec<f64>>>()?;
    std::fs::remove_file(path)?;
    Ok(samples.into_iter().collect())
}
