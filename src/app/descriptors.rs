//! Open files: a connection takes one, and so does every file that the spool and the store read and write.
//!
//! Without a free one nothing can be accepted and nothing be read, so connections must leave enough of them.

use log::warn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::api::Connections;

/// How many are kept for everything but connections: segments that searches read, the spool, the store's connections, the
/// second handles of connections that may become tails.
const FILES: usize = 512;

/// Raises the process's limit of open files as far as `connections` need it and the system allows it; returns how many
/// connections there may be.
pub(super) fn allow(connections: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = (connections + Connections::spare(connections) + FILES) as u64;
    let allowed = match limit.current {
        Some(current) if current < wanted => {
            let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)).max(current);
            match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }) {
                Ok(()) => raised,
                Err(_) => current,
            }
        }
        _ => wanted,
    };
    let fitting = fitting(connections, usize::try_from(allowed).unwrap_or(usize::MAX));
    if fitting < connections {
        warn!(
            open_files_max = allowed, connections = fitting;
            "limits.connections is lowered to {fitting}: only {allowed} files may be open (ulimit -Hn)"
        );
    }
    fitting
}

/// How many of `connections` there may be where `files` may be open.
fn fitting(connections: usize, files: usize) -> usize {
    // At least half of them, where there are hardly any.
    let left = files.saturating_sub(FILES).max(files / 2);
    let spare = Connections::spare(left.min(connections));
    connections.min(left.saturating_sub(spare)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_files() {
        for (connections, files, expected) in [
            (10_000, 20_000, 10_000),
            (10_000, 10_768, 10_000),
            (10_000, 1024, 448),
            (10_000, 256, 112),
            (50, 1024, 50),
        ] {
            assert_eq!(fitting(connections, files), expected, "{connections} with {files} files");
        }
    }
}
