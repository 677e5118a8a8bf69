//! A disk that fails, or waits, when a test says so.

use std::io;
use std::sync::{Arc, Mutex};

use super::super::disk::Step;
use super::super::locked;

/// What is to fail; shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Every step waits while a test holds this.
    pub gate: Arc<Mutex<()>>,
    failing: Arc<Mutex<Vec<(Step, usize)>>>,
}

impl Faults {
    /// Fails the next `times` steps of a kind.
    pub fn fail(&self, step: Step, times: usize) {
        locked(&self.failing).push((step, times));
    }

    /// Fails nothing more.
    pub fn heal(&self) {
        locked(&self.failing).clear();
    }

    pub(in crate::spool) fn before(&self, step: Step) -> io::Result<()> {
        drop(locked(&self.gate));
        let mut failing = locked(&self.failing);
        for (failed, times) in failing.iter_mut() {
            if *failed == step && *times > 0 {
                *times -= 1;
                let full = matches!(step, Step::Create | Step::Allocate);
                let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
                return Err(io::Error::new(kind, format!("{step:?} was made to fail")));
            }
        }
        Ok(())
    }
}
