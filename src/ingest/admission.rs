//! Admission: how many bytes of bodies are in hand, bounded before the first of them is read.
//!
//! A weighted semaphore, cut in two: three quarters for every body, one quarter for small bodies only, so that a flood
//! of large ones leaves a way for the small.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::AcceptError;

/// The size up to which a body is a small one.
const SMALL_BYTES: usize = 64 << 10;

/// How long a body waits for room.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes are counted in units of this size, so that any limit fits a semaphore's counter.
const UNIT_BYTES: usize = 1 << 10;

/// Bounds the bytes in hand.
pub struct Admission {
    general: Semaphore,
    small: Semaphore,
    bytes_max: usize,
}

/// Leave to hold a body of some size; given back on drop.
pub struct Permit<'a> {
    admission: &'a Admission,
    held: Vec<SemaphorePermit<'a>>,
    bytes: usize,
}

impl Admission {
    /// Bounds the bytes in hand to `bytes_max`.
    pub fn new(bytes_max: usize) -> Admission {
        let units = bytes_max / UNIT_BYTES;
        let small = units / 4;
        Admission { general: Semaphore::new(units - small), small: Semaphore::new(small), bytes_max }
    }

    /// Waits up to a second for room for `bytes`.
    ///
    /// # Errors
    /// [`AcceptError::Busy`], if there is none by then.
    pub async fn admit(&self, bytes: usize) -> Result<Permit<'_>, AcceptError> {
        let units = units(bytes);
        let held = if bytes > SMALL_BYTES {
            timeout(PATIENCE, self.general.acquire_many(units)).await.ok().and_then(Result::ok)
        } else if let Ok(permit) = self.general.try_acquire_many(units) {
            Some(permit)
        } else {
            timeout(PATIENCE, self.small.acquire_many(units)).await.ok().and_then(Result::ok)
        };
        let held = held.ok_or_else(|| self.busy())?;
        Ok(Permit { admission: self, held: vec![held], bytes: bytes_of(units) })
    }

    fn busy(&self) -> AcceptError {
        let free = (self.general.available_permits() + self.small.available_permits()) * UNIT_BYTES;
        AcceptError::Busy { present: self.bytes_max.saturating_sub(free), allowed: self.bytes_max }
    }
}

impl Permit<'_> {
    /// Waits up to a second for leave to hold `bytes` in all, if that is more than is held.
    ///
    /// # Errors
    /// [`AcceptError::Busy`], if there is no room by then; drop the permit then, so that others can go on.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), AcceptError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        // Half as much again, so that a body that grows does not ask for every chunk.
        let more = units((bytes - self.bytes).max(self.bytes / 2));
        let permit = timeout(PATIENCE, self.admission.general.acquire_many(more)).await.ok().and_then(Result::ok);
        self.held.push(permit.ok_or_else(|| self.admission.busy())?);
        self.bytes += bytes_of(more);
        Ok(())
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

fn bytes_of(units: u32) -> usize {
    units as usize * UNIT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(future)
    }

    #[test]
    fn a_flood_of_large_bodies_leaves_a_way_for_small_ones() {
        block_on(async {
            let admission = Admission::new(1 << 20);
            let large = admission.admit(768 << 10).await.unwrap();
            assert!(
                matches!(admission.admit(100 << 10).await, Err(AcceptError::Busy { allowed, .. }) if allowed == 1 << 20)
            );
            let small = admission.admit(1000).await.unwrap();
            drop(large);
            admission.admit(700 << 10).await.unwrap();
            drop(small);
        });
    }

    #[test]
    fn what_grows_past_the_limit_is_refused_and_gives_all_back() {
        block_on(async {
            let admission = Admission::new(1 << 20);
            let mut permit = admission.admit(1000).await.unwrap();
            permit.grow(500 << 10).await.unwrap();
            assert!(permit.grow(2 << 20).await.is_err());
            drop(permit);
            admission.admit(768 << 10).await.unwrap();
        });
    }
}
