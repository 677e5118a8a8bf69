//! Timestamps on disk: in the coarsest unit in which those of a segment are whole, as most clocks' are.
//!
//! In nanoseconds the zeros at the end of each would be compressed, but not away: a millisecond's take four times the room.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, ArrowTimestampType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{ArrayRef, PrimitiveArray, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};

use crate::batch::{BatchError, Records};

const UTC: &str = "UTC";
const NANOS_PER_MILLI: i64 = 1_000_000;
const NANOS_PER_MICRO: i64 = 1_000;

/// The coarsest unit in which all timestamps of `parts` are whole: milliseconds at most.
pub(super) fn unit_of(parts: &[Records]) -> TimeUnit {
    match () {
        () if are_whole::<NANOS_PER_MILLI>(parts) => TimeUnit::Millisecond,
        () if are_whole::<NANOS_PER_MICRO>(parts) => TimeUnit::Microsecond,
        () => TimeUnit::Nanosecond,
    }
}

fn are_whole<const NANOS: i64>(parts: &[Records]) -> bool {
    parts.iter().all(|part| part.logs.timestamps().iter().all(|timestamp| timestamp % NANOS == 0))
}

/// The same rows with the column at `place`, of nanoseconds, in another unit, in which all are whole.
pub(super) fn to_unit(columns: &RecordBatch, place: usize, unit: TimeUnit) -> Result<RecordBatch, BatchError> {
    let nanos = columns.column(place).as_primitive::<TimestampNanosecondType>();
    let column: ArrayRef = match unit {
        TimeUnit::Millisecond => Arc::new(divided::<TimestampMillisecondType, NANOS_PER_MILLI>(nanos)),
        TimeUnit::Microsecond => Arc::new(divided::<TimestampMicrosecondType, NANOS_PER_MICRO>(nanos)),
        _ => return Ok(columns.clone()),
    };
    replace(columns, place, column)
}

/// The same rows with the column at `place` in nanoseconds.
pub(super) fn to_nanos(columns: &RecordBatch, place: usize) -> Result<RecordBatch, BatchError> {
    let column = columns.column(place);
    let column = match column.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            multiplied::<TimestampMillisecondType, NANOS_PER_MILLI>(column)?
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            multiplied::<TimestampMicrosecondType, NANOS_PER_MICRO>(column)?
        }
        _ => return Ok(columns.clone()),
    };
    replace(columns, place, Arc::new(column))
}

fn divided<T: ArrowTimestampType, const NANOS: i64>(
    nanos: &PrimitiveArray<TimestampNanosecondType>,
) -> PrimitiveArray<T> {
    nanos.unary::<_, T>(|nanos| nanos / NANOS).with_timezone(UTC)
}

fn multiplied<T: ArrowTimestampType, const NANOS: i64>(
    column: &ArrayRef,
) -> Result<PrimitiveArray<TimestampNanosecondType>, ArrowError> {
    // Only damaged ones are too great.
    let nanos = |value: <T as ArrowPrimitiveType>::Native| {
        value.checked_mul(NANOS).ok_or_else(|| ArrowError::ComputeError(format!("no timestamp is {value} of its unit")))
    };
    Ok(column.as_primitive::<T>().try_unary::<_, TimestampNanosecondType, _>(nanos)?.with_timezone(UTC))
}

fn replace(columns: &RecordBatch, place: usize, column: ArrayRef) -> Result<RecordBatch, BatchError> {
    let mut fields: Vec<Arc<Field>> = columns.schema_ref().fields().iter().cloned().collect();
    let mut arrays = columns.columns().to_vec();
    if let (Some(field), Some(array)) = (fields.get_mut(place), arrays.get_mut(place)) {
        *field = Arc::new(field.as_ref().clone().with_data_type(column.data_type().clone()));
        *array = column;
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::testing::{block, row};

    #[test]
    fn every_timestamp_comes_back_from_the_coarsest_unit_that_holds_it() {
        for (nanos, unit) in [
            (vec![0, 1_000_000, -5_000_000], TimeUnit::Millisecond),
            (vec![1_000_000, 1_001_000], TimeUnit::Microsecond),
            (vec![1_000_000, -1], TimeUnit::Nanosecond),
            (vec![i64::MAX, i64::MIN], TimeUnit::Nanosecond),
            (vec![i64::MAX / NANOS_PER_MILLI * NANOS_PER_MILLI], TimeUnit::Millisecond),
        ] {
            let rows: Vec<_> = nanos.iter().map(|nanos| row(*nanos, "", "")).collect();
            let records = block(0, &rows).records();
            assert_eq!(unit_of(std::slice::from_ref(&records)), unit, "{nanos:?}");
            let columns = records.to_arrow().unwrap();
            let place = columns.schema_ref().index_of("timestamp").unwrap();
            let written = to_unit(&columns, place, unit).unwrap();
            assert_eq!(written.column(place).data_type(), &DataType::Timestamp(unit, Some(UTC.into())));
            assert_eq!(to_nanos(&written, place).unwrap(), columns);
        }
    }

    #[test]
    fn what_no_timestamp_can_be_is_an_error() {
        let columns = block(0, &[row(5, "", "")]).records().to_arrow().unwrap();
        let place = columns.schema_ref().index_of("timestamp").unwrap();
        let written = to_unit(&columns, place, TimeUnit::Millisecond).unwrap();
        let damaged = PrimitiveArray::<TimestampMillisecondType>::from(vec![i64::MAX]).with_timezone(UTC);
        assert!(to_nanos(&replace(&written, place, Arc::new(damaged)).unwrap(), place).is_err());
    }
}
