//! Idempotency keys in memory: which requests are under way, and which were committed with what outcome.

use std::collections::{HashMap, VecDeque};

use sluice_model::{RecordId, Timestamp};
use tokio::sync::oneshot;

use super::key_file::KeyRecord;
use super::queue::Reply;
use super::{IdempotencyKey, Ordinal, Receipt, SpoolError};
use crate::config::SpoolSettings;

/// All keys that count.
#[derive(Debug)]
pub(super) struct Keys {
    window_nanos: i64,
    keys_max: usize,
    states: HashMap<u128, State>,
    /// The committed ones in the order of their commits.
    order: VecDeque<Place>,
    /// Up to when keys were forgotten before their time.
    forgotten: Option<Timestamp>,
}

#[derive(Debug)]
enum State {
    /// The request is on its way to a commit; these wait for its outcome.
    Pending {
        request: u128,
        waiting: Vec<Reply>,
    },
    Done(Done),
}

#[derive(Debug, Clone, Copy)]
struct Done {
    request: u128,
    first: RecordId,
    /// When it was committed, by the system's clock: this is written to disk.
    at: Timestamp,
    /// The same by the spool's steady clock: by this it grows old.
    born: Timestamp,
    rows: u32,
    ordinal: Ordinal,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    key: u128,
    at: Timestamp,
    born: Timestamp,
    /// The segment that holds the key. Segments follow one another as commits do.
    segment: u64,
}

/// What a request with a key is to do.
#[derive(Debug)]
pub(super) enum Claim {
    /// Append: nobody did before.
    Ours,
    /// Wait for the outcome of the same request, which is under way.
    Wait(oneshot::Receiver<Result<Receipt, SpoolError>>),
    /// Answer with this.
    Done(Receipt),
}

impl Keys {
    pub fn new(settings: &SpoolSettings) -> Keys {
        Keys {
            window_nanos: i64::try_from(settings.idempotency_window.as_nanos()).unwrap_or(i64::MAX),
            keys_max: settings.idempotency_keys_max,
            states: HashMap::new(),
            order: VecDeque::new(),
            forgotten: None,
        }
    }

    /// Begins a request; whoever gets [`Claim::Ours`] must see to it that it ends with `commit` or `fail`.
    pub fn begin(&mut self, key: IdempotencyKey, now: Timestamp) -> Result<Claim, SpoolError> {
        self.expire(now);
        let (window, nanos) = (self.window_nanos, now.as_nanos());
        let expired = |done: &Done| nanos.saturating_sub(done.born.as_nanos()) > window;
        match self.states.get_mut(&key.key) {
            // After a restart an expired key may stand behind one that is not.
            Some(State::Done(done)) if expired(done) => {
                self.states.insert(key.key, State::Pending { request: key.request, waiting: Vec::new() });
                Ok(Claim::Ours)
            }
            None => {
                self.states.insert(key.key, State::Pending { request: key.request, waiting: Vec::new() });
                Ok(Claim::Ours)
            }
            Some(State::Pending { request, waiting }) if *request == key.request => {
                let (reply, outcome) = oneshot::channel();
                // Those that hung up are let go of, so that many tries of one request do not pile up.
                waiting.retain(|reply| !reply.is_closed());
                waiting.push(reply);
                Ok(Claim::Wait(outcome))
            }
            Some(State::Done(done)) if done.request == key.request => {
                let Done { first, rows, ordinal, .. } = *done;
                Ok(Claim::Done(Receipt { first, rows, replayed: true, ordinal }))
            }
            Some(_) => Err(SpoolError::KeyReused),
        }
    }

    /// Ends a request that was committed; returns who waits for it. `born` is when, by the spool's steady clock.
    pub fn commit(&mut self, record: &KeyRecord, ordinal: Ordinal, segment: u64, born: Timestamp) -> Vec<Reply> {
        let KeyRecord { key, first, at, rows } = *record;
        let done = Done { request: key.request, first, at, born, rows, ordinal };
        let before = self.states.insert(key.key, State::Done(done));
        self.order.push_back(Place { key: key.key, at, born, segment });
        self.expire(born);
        match before {
            Some(State::Pending { waiting, .. }) => waiting,
            _ => Vec::new(),
        }
    }

    /// Ends a request that was not committed: the key is free again; returns who waits for it.
    pub fn fail(&mut self, key: IdempotencyKey) -> Vec<Reply> {
        match self.states.remove(&key.key) {
            Some(State::Pending { waiting, .. }) => waiting,
            Some(done) => {
                self.states.insert(key.key, done);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Ends all requests that are under way, because nobody will.
    pub fn abandon(&mut self) {
        self.states.retain(|_, state| matches!(state, State::Done(_)));
    }

    /// Forgets what is too old or too much, oldest first.
    pub fn expire(&mut self, now: Timestamp) {
        while let Some(oldest) = self.order.front().copied() {
            let expired = now.as_nanos().saturating_sub(oldest.born.as_nanos()) > self.window_nanos;
            let surplus = self.order.len() > self.keys_max;
            if !expired && !surplus {
                break;
            }
            self.order.pop_front();
            if !expired {
                self.forgotten = Some(oldest.born);
            }
            // The key may have been used anew since.
            let same =
                |state: &State| matches!(state, State::Done(done) if done.at == oldest.at && done.born == oldest.born);
            if self.states.get(&oldest.key).is_some_and(same) {
                self.states.remove(&oldest.key);
            }
        }
    }

    /// Notes that keys from before `at` were lost.
    pub fn lost(&mut self, at: Timestamp) {
        self.forgotten = self.forgotten.max(Some(at));
    }

    /// The keys that stand in `segment`, in the order of their commits.
    pub fn of_segment(&self, segment: u64) -> Vec<KeyRecord> {
        let start = self.order.partition_point(|place| place.segment < segment);
        let places = self.order.range(start..).take_while(|place| place.segment == segment);
        let records = places.filter_map(|place| match self.states.get(&place.key) {
            Some(State::Done(done)) if done.at == place.at => Some(KeyRecord {
                key: IdempotencyKey { key: place.key, request: done.request },
                first: done.first,
                at: done.at,
                rows: done.rows,
            }),
            _ => None,
        });
        records.collect()
    }

    /// How many committed keys are remembered.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// For how long back every key is known, in seconds.
    pub fn covered_seconds(&self, now: Timestamp) -> f64 {
        let since = self.forgotten.map(|at| now.as_nanos().saturating_sub(at.as_nanos()));
        since.unwrap_or(i64::MAX).clamp(0, self.window_nanos) as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluice_model::RunId;

    use super::*;
    use crate::config::Settings;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn keys(window: u64, keys_max: usize) -> Keys {
        let mut settings = Settings::default().spool;
        settings.idempotency_window = Duration::from_secs(window);
        settings.idempotency_keys_max = keys_max;
        Keys::new(&settings)
    }

    fn record(key: u128, seconds: i64) -> KeyRecord {
        let first = RecordId { run: RunId::from_bytes([1; RunId::BYTES]), sequence: key as u64 };
        KeyRecord { key: IdempotencyKey { key, request: key }, first, at: at(seconds), rows: 3 }
    }

    fn is_free(keys: &mut Keys, key: u128, now: i64) -> bool {
        let claim = keys.begin(IdempotencyKey { key, request: key }, at(now));
        let free = matches!(claim, Ok(Claim::Ours));
        if free {
            keys.fail(IdempotencyKey { key, request: key });
        }
        free
    }

    #[test]
    fn keys_expire_by_age_and_by_number_and_the_covered_window_says_so() {
        let mut keys = keys(100, 2);
        for (key, seconds) in [(1, 0), (2, 10), (3, 20)] {
            keys.commit(&record(key, seconds), 0, 1, at(seconds));
        }
        assert_eq!(keys.len(), 2);
        assert!(is_free(&mut keys, 1, 20));
        assert!(!is_free(&mut keys, 2, 20));
        assert_eq!(keys.covered_seconds(at(20)), 20.0);
        assert!(!is_free(&mut keys, 2, 110));
        assert!(is_free(&mut keys, 2, 111));
        assert!(!is_free(&mut keys, 3, 120));
        assert_eq!(keys.covered_seconds(at(200)), 100.0);
    }

    #[test]
    fn a_key_grows_old_by_the_steady_clock_whatever_the_system_s_clock_says() {
        let mut keys = keys(100, 4);
        for (key, system) in [(1, 5), (2, 5 - 86_400), (3, 5 + 86_400)] {
            keys.commit(&record(key, system), 0, 1, at(5));
        }
        assert!((1..4).all(|key| !is_free(&mut keys, key, 105)));
        assert!((1..4).all(|key| is_free(&mut keys, key, 106)));
    }

    #[test]
    fn a_failed_request_frees_its_key_and_tells_who_waits() {
        let mut keys = keys(100, 2);
        let key = IdempotencyKey { key: 7, request: 1 };
        assert!(matches!(keys.begin(key, at(0)), Ok(Claim::Ours)));
        let Ok(Claim::Wait(mut outcome)) = keys.begin(key, at(0)) else { panic!("the request is under way") };
        assert_eq!(keys.begin(IdempotencyKey { key: 7, request: 2 }, at(0)).unwrap_err(), SpoolError::KeyReused);
        for reply in keys.fail(key) {
            reply.send(Err(SpoolError::Closed)).unwrap();
        }
        assert_eq!(outcome.try_recv(), Ok(Err(SpoolError::Closed)));
        assert!(matches!(keys.begin(key, at(0)), Ok(Claim::Ours)));
    }
}
