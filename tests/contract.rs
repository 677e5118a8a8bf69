//! The contract of every store: the same checks over each, against a naive model written for this.

mod ask;
mod asking;
mod checks;
mod counting;
mod embedded;
pub mod model;
mod mongodb;

use std::any::Any;
use std::ops::ControlFlow;
use std::sync::Arc;

use sluice::batch::Records;
use sluice::config::RetentionSettings;
use sluice::query::Query;
use sluice::store::{Sink, Store, StoreError};

/// An empty store, and what must outlive it: its folder, say, or a guard that cleans up.
pub struct Subject {
    pub store: Arc<dyn Store>,
    /// Dropped after the store is closed.
    #[allow(dead_code)]
    pub keep: Box<dyn Any>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        let closed = self.store.close();
        if !std::thread::panicking() {
            closed.expect("a store closes");
        }
    }
}

/// Opens an empty store; `None`, if it cannot be had here.
pub type Open = fn(test: &str, retention: RetentionSettings) -> Option<Subject>;

/// The settings of a store that keeps everything.
pub const KEEP_ALL: RetentionSettings = RetentionSettings { age: None, bytes: None };

/// Takes everything; says that it has enough after `enough` records.
pub struct Collect {
    pub found: Vec<Records>,
    pub enough: usize,
}

impl Collect {
    pub fn all() -> Collect {
        Collect { found: Vec::new(), enough: usize::MAX }
    }

    pub fn len(&self) -> usize {
        self.found.iter().map(Records::len).sum()
    }
}

impl Sink for Collect {
    fn push(&mut self, records: Records) -> ControlFlow<()> {
        assert!(!records.is_empty(), "a sink is not given nothing");
        self.found.push(records);
        if self.len() >= self.enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Everything that the store answers.
pub fn search(store: &dyn Store, query: &Query) -> Result<Vec<Records>, StoreError> {
    let mut sink = Collect::all();
    store.search(query, &mut sink).map(|()| sink.found)
}

/// Makes a test of each check, for one store.
macro_rules! contract {
    ($open:path: $($check:ident),* $(,)?) => {
        $(#[test]
        fn $check() {
            $crate::contract::checks::$check($open);
        })*
    };
}

/// All checks, for one store.
macro_rules! contract_of {
    ($open:path) => {
        $crate::contract::contract! {
            $open:
            every_query_is_answered_like_the_model,
            what_is_written_twice_is_there_once,
            a_part_of_a_block_can_be_written_again,
            pages_by_position_walk_every_match_once,
            a_sink_that_has_enough_ends_the_search,
            a_record_is_found_by_its_id,
            every_odd_attribute_reads_back_as_sent,
            extreme_times_and_texts_read_back_as_sent,
            what_is_too_old_is_deleted,
            a_healthy_store_says_so,
            the_readme_says_what_each_query_finds,
            fields_that_no_record_has_are_told,
            every_count_and_group_is_that_of_the_records,
            counts_are_exact_while_records_arrive,
        }
    };
}

use contract;
use contract_of;
