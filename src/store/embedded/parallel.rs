//! Work on row groups by more than one thread: the one that asks, and helpers, of which there is one less than the
//! machine has cores, whoever asks. Where none is free, the one that asks does all by itself. Helpers stay when the work
//! is done: a thread's start and the first touch of its memory would cost as much as a short query.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The stack of a helper, as a worker's.
const STACK_BYTES: usize = 4 << 20;

/// The helpers, which begin with the first work that they can share; `None`, if there are none.
static HELPERS: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let count = thread::available_parallelism().map_or(1, NonZero::get) - 1;
    if count == 0 {
        return None;
    }
    let helpers = ThreadPoolBuilder::new().num_threads(count).stack_size(STACK_BYTES);
    let helpers = helpers.thread_name(|index| format!("query-helper-{index}")).build();
    helpers.inspect_err(|error| log::warn!(error:%; "queries go on without helpers")).ok()
});

/// How many of them have nothing to do.
static FREE: LazyLock<AtomicUsize> =
    LazyLock::new(|| AtomicUsize::new(HELPERS.as_ref().map_or(0, ThreadPool::current_num_threads)));

/// The right to have a helper.
struct Permit;

impl Permit {
    fn take() -> Option<Permit> {
        let less = |free: usize| free.checked_sub(1);
        FREE.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok().map(|_| Permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        FREE.fetch_add(1, Ordering::AcqRel);
    }
}

/// Works on every item, and gives the results in the order of the items.
pub(super) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let mut results = Vec::with_capacity(items.len());
    each(items, work, |result| {
        results.push(result);
        true
    });
    results
}

/// Works on every item, and gives `take` the results in the order of the items, until it wants no more. Only a few of
/// them wait for it at any time.
pub(super) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync, mut take: impl FnMut(R) -> bool) {
    // No more of them are called than are free, so that nobody waits for a helper that has other work.
    let permits: Vec<Permit> = (1..items.len()).map_while(|_| Permit::take()).collect();
    let Some(helpers) = HELPERS.as_ref().filter(|_| !permits.is_empty()) else {
        items.iter().map(work).all(take);
        return;
    };
    let shared = Shared { items, work, ahead: 2 * permits.len() + 1, state: Mutex::default(), changed: Condvar::new() };
    helpers.in_place_scope(|scope| {
        let _end = End(&shared);
        for permit in permits {
            let shared = &shared;
            scope.spawn(move |_| {
                let _permit = permit;
                while let Some(place) = shared.begin() {
                    shared.finish(place);
                }
            });
        }
        for place in 0..items.len() {
            let result = loop {
                match shared.result(place) {
                    Some(result) => break result,
                    None => shared.finish(place),
                }
            };
            if !take(result.unwrap_or_else(|panic| resume_unwind(panic))) {
                return;
            }
        }
    });
}

/// What the threads share.
struct Shared<'a, T, R, W> {
    items: &'a [T],
    work: W,
    /// How many items are begun before the first of their results is taken, at most.
    ahead: usize,
    state: Mutex<State<R>>,
    changed: Condvar,
}

struct State<R> {
    /// How many items are begun.
    begun: usize,
    /// How many results are taken.
    taken: usize,
    /// Those that are not.
    results: BTreeMap<usize, thread::Result<R>>,
    over: bool,
}

impl<R> Default for State<R> {
    fn default() -> Self {
        State { begun: 0, taken: 0, results: BTreeMap::new(), over: false }
    }
}

impl<T, R, W: Fn(&T) -> R> Shared<'_, T, R, W> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State<R>>) -> MutexGuard<'s, State<R>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item for a helper; waits until it may be begun.
    fn begin(&self) -> Option<usize> {
        let mut state = self.lock();
        while !state.over && state.begun < self.items.len() && state.begun >= state.taken + self.ahead {
            state = self.wait(state);
        }
        if state.over || state.begun >= self.items.len() {
            return None;
        }
        state.begun += 1;
        Some(state.begun - 1)
    }

    /// Works on an item.
    fn finish(&self, place: usize) {
        let Some(item) = self.items.get(place) else { return };
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(item)));
        self.lock().results.insert(place, result);
        self.changed.notify_all();
    }

    /// The result of an item, which is the next to be taken; until it is there the items behind it are worked on. Nothing,
    /// if nobody has begun it: the one that asks has to.
    fn result(&self, place: usize) -> Option<thread::Result<R>> {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.results.remove(&place) {
                state.taken = place + 1;
                self.changed.notify_all();
                return Some(result);
            }
            if state.begun == place {
                state.begun += 1;
                return None;
            }
            if state.begun < self.items.len() && state.begun < state.taken + self.ahead {
                let other = state.begun;
                state.begun += 1;
                drop(state);
                self.finish(other);
                state = self.lock();
            } else {
                state = self.wait(state);
            }
        }
    }
}

/// Sends the helpers home, whatever happens.
struct End<'s, 'a, T, R, W: Fn(&T) -> R>(&'s Shared<'a, T, R, W>);

impl<T, R, W: Fn(&T) -> R> Drop for End<'_, '_, T, R, W> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_and_few_wait() {
        let items: Vec<u64> = (0..200).collect();
        let begun = AtomicU32::new(0);
        let mut taken = 0;
        let work = |item: &u64| {
            begun.fetch_add(1, Ordering::Relaxed);
            if item.is_multiple_of(7) {
                thread::sleep(Duration::from_micros(300));
            }
            item * 2
        };
        let ahead_max = 2 * thread::available_parallelism().map_or(1, NonZero::get) as u32 + 1;
        each(&items, work, |result| {
            assert_eq!(result, taken * 2);
            assert!(begun.load(Ordering::Relaxed) <= taken as u32 + 1 + ahead_max);
            taken += 1;
            taken < 150
        });
        assert_eq!(taken, 150);
        assert_eq!(map(&items, |item| item + 1), (1..=200).collect::<Vec<_>>());
        assert_eq!(map(&items[..0], |item| item + 1), Vec::<u64>::new());
    }

    #[test]
    fn a_panic_of_any_thread_is_one_of_the_caller() {
        let items: Vec<u64> = (0..50).collect();
        for bad in [0, 1, 49] {
            let work = |item: &u64| assert!(*item != bad, "on purpose");
            assert!(catch_unwind(AssertUnwindSafe(|| map(&items, work))).is_err());
        }
        let stop = |_| -> bool { panic!("on purpose") };
        assert!(catch_unwind(AssertUnwindSafe(|| each(&items, |item| *item, stop))).is_err());
        assert_eq!(map(&items, |item| *item), items);
    }
}
