//! Sets of rows, a bit for each.

use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};

/// Some of `count` rows.
pub(super) fn of(count: usize, rows: impl IntoIterator<Item = usize>) -> BooleanBuffer {
    let mut bits = BooleanBufferBuilder::new(count);
    bits.append_n(count, false);
    rows.into_iter().for_each(|row| bits.set_bit(row, true));
    bits.finish()
}

/// Those of the rows whose bit is set in `rows` that have one in `passed`, where only they stand.
pub(super) fn spread(rows: &BooleanBuffer, passed: &BooleanBuffer) -> BooleanBuffer {
    if rows.len() == passed.len() {
        // They are all of them.
        return passed.clone();
    }
    let passing = rows.set_indices().zip(passed.iter()).filter(|(_, passed)| *passed);
    of(rows.len(), passing.map(|(row, _)| row))
}

/// For each of the rows whose bit is set in `rows`, whether it is in `passing` too.
pub(super) fn gather(rows: &BooleanBuffer, passing: &BooleanBuffer) -> BooleanBuffer {
    if rows.count_set_bits() == rows.len() {
        return passing.clone();
    }
    rows.set_indices().map(|row| passing.value(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spread_is_gathered_again() {
        let rows = of(6, [1, 2, 5]);
        let passed = BooleanBuffer::from(vec![true, false, true]);
        let passing = spread(&rows, &passed);
        assert_eq!(passing, of(6, [1, 5]));
        assert_eq!(gather(&rows, &passing), passed);
        let all = of(3, 0..3);
        assert_eq!((spread(&all, &passed), gather(&all, &passed)), (passed.clone(), passed));
    }
}
