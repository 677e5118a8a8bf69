//! Rows of several batches, side by side in another order.

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::interleave::interleave;

/// The rows at `places` of `parts`, which all have this schema: each place says the part, and the row in it.
pub(super) fn gather(
    schema: &SchemaRef,
    parts: &[&RecordBatch],
    places: &[(usize, usize)],
) -> Result<RecordBatch, ArrowError> {
    let column = |column: usize| -> Result<ArrayRef, ArrowError> {
        let parts: Vec<&dyn Array> = parts.iter().map(|part| part.column(column).as_ref()).collect();
        // Most services have few of the attributes that all services have together.
        if is_null(&parts, places) {
            return Ok(new_null_array(schema.field(column).data_type(), places.len()));
        }
        interleave(&parts, places)
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

/// Whether a column has nothing but nulls there.
fn is_null(parts: &[&dyn Array], places: &[(usize, usize)]) -> bool {
    if parts.iter().all(|part| part.null_count() == 0) {
        return false;
    }
    let nulls: Vec<Option<&NullBuffer>> = parts.iter().map(|part| part.nulls()).collect();
    let mut rows = places.iter().map(|(part, row)| nulls.get(*part).copied().flatten().map(|nulls| (nulls, *row)));
    rows.all(|row| row.is_some_and(|(nulls, row)| row < nulls.len() && nulls.is_null(row)))
}
