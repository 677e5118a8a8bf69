//! Numbers as attributes: a column's type where that type writes the very text that was sent, else the text.

use crate::batch::AttributeRef;

/// No `f64` is written with more bytes than this.
const FLOAT_TEXT_MAX: usize = 32;

/// Says how a JSON number is kept, so that it is written back exactly as it was sent.
pub fn attribute(text: &str) -> AttributeRef<'_> {
    match as_int(text) {
        Some(value) => AttributeRef::Int(value),
        None => as_float(text).map_or(AttributeRef::Json(text), AttributeRef::Float),
    }
}

/// An integer of 64 bits; its JSON text can only be the plain decimal one, but for `-0`.
#[inline]
fn as_int(text: &str) -> Option<i64> {
    text.parse().ok().filter(|value| *value != 0 || text == "0")
}

fn as_float(text: &str) -> Option<f64> {
    if text.len() > FLOAT_TEXT_MAX {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    let mut written = [0; FLOAT_TEXT_MAX];
    let mut rest = written.as_mut_slice();
    serde_json::to_writer(&mut rest, &value).ok()?;
    let length = FLOAT_TEXT_MAX - rest.len();
    (written.get(..length) == Some(text.as_bytes())).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_has_a_type_only_if_that_writes_its_text() {
        use AttributeRef::{Float, Int, Json};
        for (text, expected) in [
            ("0", Int(0)),
            ("-7", Int(-7)),
            ("9223372036854775807", Int(i64::MAX)),
            ("-9223372036854775808", Int(i64::MIN)),
            ("9223372036854775808", Json("9223372036854775808")),
            ("18446744073709551615", Json("18446744073709551615")),
            ("-0", Json("-0")),
            ("-0.0", Float(-0.0)),
            ("1.0", Float(1.0)),
            ("0.1", Float(0.1)),
            ("1.10", Json("1.10")),
            ("0.30000000000000001", Json("0.30000000000000001")),
            ("1e3", Json("1e3")),
            ("1E400", Json("1E400")),
            ("1e400", Json("1e400")),
            ("5e-324", Float(5e-324)),
            ("1.7976931348623157e308", Json("1.7976931348623157e308")),
            ("1.7976931348623157e+308", Float(f64::MAX)),
        ] {
            assert_eq!(attribute(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_float_of_our_own_output_is_a_float(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(attribute(&text), AttributeRef::Float(value));
        }

        #[test]
        fn a_typed_number_is_written_as_it_was_sent(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?") {
            let written = match attribute(&text) {
                AttributeRef::Int(value) => value.to_string(),
                AttributeRef::Float(value) => serde_json::to_string(&value).unwrap(),
                _ => text.clone(),
            };
            prop_assert_eq!(written, text);
        }
    }
}
