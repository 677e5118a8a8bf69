//! A small disk of the attacker's own: a tmpfs that only a process of ours has mounted, and that goes with it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::context::Stop;

/// Mounts a tmpfs of `$2` bytes on `$1`, says so, and ends when our own input ends: when the attacker does.
const KEEPER: &str = r#"mount -t tmpfs -o size="$2",mode=700 tmpfs "$1" && echo mounted && read -r _"#;

/// Growing the ballast stops at steps of this size.
const PAGE: u64 = 4 << 10;

/// A mounted disk; gone on drop.
pub struct Volume {
    keeper: Child,
    path: PathBuf,
}

/// A file that takes the room away.
pub struct Ballast {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Volume {
    /// Mounts one of `bytes`, in a mount namespace of its own: as root, else as root of a user namespace.
    ///
    /// # Errors
    /// [`Stop::Forbidden`], where neither is allowed.
    pub fn mount(scratch: &Path, bytes: u64) -> Result<Volume, Stop> {
        let folder = scratch.join("volume");
        fs::create_dir_all(&folder).unwrap();
        let keeper = ["-m", "-rm"].into_iter().find_map(|how| Volume::keeper(how, &folder, bytes));
        let keeper = keeper.ok_or_else(|| Stop::forbidden("no small disk can be mounted here"))?;
        // Its namespace is entered by way of its root.
        let inside = folder.strip_prefix("/").expect("the temporary folder is absolute");
        let path = Path::new("/proc").join(keeper.id().to_string()).join("root").join(inside);
        Ok(Volume { keeper, path })
    }

    fn keeper(how: &str, folder: &Path, bytes: u64) -> Option<Child> {
        let mut keeper = Command::new("unshare")
            .args([how, "sh", "-c", KEEPER, "keeper"])
            .arg(folder)
            .arg(bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = String::new();
        BufReader::new(keeper.stdout.take()?).read_line(&mut said).ok()?;
        if said.trim() == "mounted" {
            return Some(keeper);
        }
        let _ = keeper.wait();
        None
    }

    /// Where it is found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes are free.
    pub fn free(&self) -> u64 {
        let stat = statvfs(&self.path).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// A ballast that takes nothing yet.
    pub fn ballast(&self) -> Ballast {
        let path = self.path.join("ballast");
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path).unwrap();
        Ballast { path, file, bytes: 0 }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // The end of its input ends it, and with it the namespace and the mount.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl Ballast {
    /// Takes what is free but for `margin` bytes, which others may take at the same time.
    pub fn leave(&mut self, volume: &Volume, margin: u64) {
        for _ in 0..64 {
            let more = volume.free().saturating_sub(margin) / PAGE * PAGE;
            if more == 0 {
                return;
            }
            // Another was faster, where it fails: then there is less to take.
            if fallocate(&self.file, FallocateFlags::empty(), self.bytes, more).is_ok() {
                self.bytes += more;
            }
        }
    }

    /// Gives all of it back.
    pub fn release(&mut self) {
        self.file.set_len(0).unwrap();
        self.bytes = 0;
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
