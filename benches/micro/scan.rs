//! Messages for a word, with no index to help.

use divan::{Bencher, black_box};
use memchr::memmem::Finder;
use sluice::query::{Filter, parse};

use crate::records::{counted_columns, records};

/// A word of the producer's, in some of the messages.
const WORD: &str = "closed";

#[divan::bench]
fn a_word(bencher: Bencher<'_, '_>) {
    let records = records();
    let filter = Filter::default().and(&parse(WORD).expect("a query"));
    counted_columns(bencher, records.logs.messages().values().len()).bench(|| filter.select(black_box(&records)));
}

#[divan::bench]
fn a_regex(bencher: Bencher<'_, '_>) {
    let records = records();
    let filter = Filter::default().and(&parse("/session.*closed/").expect("a query"));
    counted_columns(bencher, records.logs.messages().values().len()).bench(|| filter.select(black_box(&records)));
}

/// To search the messages as one text, of one case.
#[divan::bench]
fn floor_memmem(bencher: Bencher<'_, '_>) {
    let records = records();
    let finder = Finder::new(WORD);
    counted_columns(bencher, records.logs.messages().values().len())
        .bench(|| finder.find_iter(black_box(records.logs.messages().values())).count());
}

/// To copy the messages.
#[divan::bench]
fn floor_memcpy(bencher: Bencher<'_, '_>) {
    let records = records();
    let messages = records.logs.messages().values();
    let mut copy = vec![0; messages.len()];
    counted_columns(bencher, messages.len()).bench_local(|| copy.copy_from_slice(black_box(messages)));
}
