//! What a disk holds when the power comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::{Change, Node, Place, Simulated, Snapshot, State};

const SECTOR: usize = 512;

impl Snapshot {
    /// The disk after a cut at this boundary; what of the pending landed is drawn from `seed`.
    pub(crate) fn after_cut(&self, seed: u64) -> Simulated {
        let random = &mut SmallRng::seed_from_u64(seed ^ (self.boundary as u64) << 32);
        let share = *[0.0, 0.1, 0.5, 0.9, 1.0].choose(random).unwrap();
        let mut names = self.state.names.clone();
        for change in &self.state.pending {
            if random.random_bool(share) {
                change.apply(&mut names);
            }
        }
        let share = *[0.0, 0.1, 0.5, 0.9, 1.0].choose(random).unwrap();
        let nodes = self.state.nodes.iter().map(|node| {
            let bytes =
                if node.pending.is_empty() { node.durable.clone() } else { Arc::new(land(node, share, random)) };
            Node { live: bytes.clone(), durable: bytes, pending: Vec::new() }
        });
        let nodes = nodes.collect();
        let reachable = |path: &Path| path.ancestors().all(|above| names.contains_key(above));
        let names: BTreeMap<_, Place> =
            names.iter().filter(|(path, _)| reachable(path)).map(|(path, place)| (path.clone(), *place)).collect();
        Simulated::with(State { nodes, names, pending: Vec::new() })
    }
}

/// What of a file's pending changes landed, a `share` of them about.
fn land(node: &Node, share: f64, random: &mut SmallRng) -> Vec<u8> {
    let mut length = node.durable.len();
    let (mut lengths, mut touched) = (vec![length], BTreeSet::new());
    for change in &node.pending {
        let (from, to) = match change {
            Change::Write { offset, bytes } => (*offset, offset + bytes.len()),
            Change::Length(shorter) => (*shorter, length),
        };
        touched.extend(from / SECTOR..to.max(from).div_ceil(SECTOR));
        length = match change {
            Change::Write { .. } => length.max(to),
            Change::Length(length) => *length,
        };
        lengths.push(length);
    }
    let length = if random.random_bool(share) { length } else { *lengths.choose(random).unwrap() };
    let mut bytes = node.durable.to_vec();
    bytes.resize(lengths.iter().copied().max().unwrap_or(0).next_multiple_of(SECTOR), 0);
    for sector in touched {
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        let Some(there) = bytes.get_mut(range.clone()) else { continue };
        let mut versions = vec![there.to_vec()];
        for change in &node.pending {
            let mut next = versions.last().unwrap().clone();
            if apply_to_sector(change, range.start, &mut next) {
                versions.push(next);
            }
        }
        let lands = random.random_bool(share);
        let version = if lands { versions.len() - 1 } else { random.random_range(0..versions.len()) };
        there.copy_from_slice(&versions[version]);
        if version == 0 && range.start >= node.durable.len() && random.random_bool(0.25) {
            random.fill(there);
        }
    }
    bytes.resize(length, 0);
    bytes
}

/// Applies what of a change concerns the sector at `start`; whether anything does.
fn apply_to_sector(change: &Change, start: usize, sector: &mut [u8]) -> bool {
    let end = start + sector.len();
    let (from, to) = match change {
        Change::Write { offset, bytes } => (*offset, offset + bytes.len()),
        Change::Length(length) => (*length, end.max(*length)),
    };
    let (from_here, to_here) = (from.max(start), to.min(end));
    if from_here >= to_here {
        return false;
    }
    let part = &mut sector[from_here - start..to_here - start];
    match change {
        Change::Write { bytes, .. } => part.copy_from_slice(&bytes[from_here - from..to_here - from]),
        Change::Length(_) => part.fill(0),
    }
    true
}

/// What a test of power cuts has seen, for its one line.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) cuts: usize,
    pub(crate) acknowledged: usize,
    pub(crate) missing: usize,
    pub(crate) double: usize,
    pub(crate) altered: usize,
}

impl Totals {
    /// How many workloads to run: `SLUICE_POWER_CUTS`, or so few that they take a moment.
    pub(crate) fn seeds(few: u64) -> std::ops::Range<u64> {
        let asked = std::env::var("SLUICE_POWER_CUTS").ok().map(|count| count.parse().unwrap());
        0..asked.unwrap_or(few)
    }

    /// Prints the line, and fails if anything was lost.
    pub(crate) fn conclude(&self, what: &str) {
        println!("power cut, {what}: {self}");
        assert!(self.cuts > 0 && self.acknowledged > 0, "nothing was tested");
        assert_eq!((self.missing, self.double, self.altered), (0, 0, 0), "{what}: {self}");
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { cuts, acknowledged, missing, double, altered } = self;
        write!(
            f,
            "{cuts} cuts, {acknowledged} records acknowledged, {missing} missing, {double} double, {altered} altered"
        )
    }
}
