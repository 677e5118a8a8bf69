//! Durations and sizes: numbers with a unit.
//!
//! A duration has the units `ns`, `us` (or `µs`), `ms`, `s`, `m`, `h` and `d`, and may have several parts, as Go writes
//! it: `1m30.5s`. A size has `B`, `KB` to `TB` (powers of 1000) or `KiB` to `TiB` (of 1024), in any case but for a bare
//! `B`. A space may stand before the unit.

use super::number::Decimal;

/// What a quantity measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// In nanoseconds.
    Duration,
    /// In bytes.
    Size,
}

/// A number with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantity {
    pub measure: Measure,
    /// Billionths of a nanosecond or byte.
    pub billionths: i128,
}

/// A unit: what it measures, and how many nanoseconds or bytes it is.
pub(super) type Unit = (Measure, i64);

impl Quantity {
    /// Reads a number with a unit; `None`, if `text` is anything else.
    pub fn parse(text: &str) -> Option<Quantity> {
        let (sign, mut rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let mut sum: Option<Quantity> = None;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
            let (number, after) = rest.split_at(end);
            let after = after.strip_prefix(' ').unwrap_or(after);
            let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
            let (measure, factor) = unit_of(unit)?;
            let part = Decimal::parse(number)?.billionths()?.checked_mul(factor.into())?;
            sum = Some(match sum {
                None => Quantity { measure, billionths: part },
                Some(sum) if measure == Measure::Duration && sum.measure == measure => {
                    Quantity { measure, billionths: sum.billionths.checked_add(part)? }
                }
                Some(_) => return None,
            });
            rest = after;
        }
        sum.map(|sum| Quantity { billionths: sign * sum.billionths, ..sum })
    }

    /// The quantity that the JSON number `text` is in `unit`.
    pub fn in_unit(text: &str, (measure, factor): Unit) -> Option<Quantity> {
        let billionths = Decimal::parse(text)?.billionths()?.checked_mul(factor.into())?;
        Some(Quantity { measure, billionths })
    }
}

const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn unit_of(unit: &str) -> Option<Unit> {
    let nanos = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        _ => return size_of_unit(unit).map(|bytes| (Measure::Size, bytes)),
    };
    Some((Measure::Duration, nanos))
}

fn size_of_unit(unit: &str) -> Option<i64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "b" if unit == "B" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    })
}

/// The unit that the name of a field says its bare numbers are in: `duration_ms`, `body.bytes`, `elapsedMs`.
pub(super) fn unit_in_name(name: &str) -> Option<Unit> {
    let last = name.rsplit(['_', '.', '-']).next().unwrap_or_default();
    // What stands behind the last change from a small letter to a capital one.
    let humps = last.as_bytes().windows(2).rposition(|pair| match pair {
        [before, after] => before.is_ascii_lowercase() && after.is_ascii_uppercase(),
        _ => false,
    });
    let word = humps.and_then(|at| last.get(at + 1..)).unwrap_or(last);
    let nanos = match word.to_ascii_lowercase().as_str() {
        "ns" | "nanos" | "nanoseconds" => 1,
        "us" | "micros" | "microseconds" => MICROSECOND,
        "ms" | "msec" | "millis" | "milliseconds" => MILLISECOND,
        "s" | "sec" | "secs" | "seconds" => SECOND,
        "min" | "mins" | "minutes" => MINUTE,
        "h" | "hours" => HOUR,
        "d" | "days" => DAY,
        "bytes" => return Some((Measure::Size, 1)),
        word => return size_of_unit(word).map(|bytes| (Measure::Size, bytes)),
    };
    Some((Measure::Duration, nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_with_a_unit_are_quantities() {
        const BILLION: i128 = 1_000_000_000;
        for (text, measure, units) in [
            ("1ns", Measure::Duration, 1),
            ("1.5s", Measure::Duration, 1_500_000_000),
            ("250 ms", Measure::Duration, 250_000_000),
            ("3µs", Measure::Duration, 3_000),
            ("1m30.5s", Measure::Duration, 90_500_000_000),
            ("-2h", Measure::Duration, -7_200_000_000_000),
            ("7d", Measure::Duration, 604_800_000_000_000),
            ("512B", Measure::Size, 512),
            ("1.5KiB", Measure::Size, 1536),
            ("10 MB", Measure::Size, 10_000_000),
            ("2gib", Measure::Size, 2 << 30),
            ("1TiB", Measure::Size, 1 << 40),
        ] {
            assert_eq!(Quantity::parse(text), Some(Quantity { measure, billionths: units * BILLION }), "{text}");
        }
        let none = [
            "", "-", "5", "s", "1.5", "5x", "1.5.2s", "5b", "1KB2KB", "1s5", "1s 5m", "s5", "1M", "٣s", "1KiB3s",
            "5  s",
        ];
        for text in none {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_tell_the_unit_of_their_numbers() {
        for (name, unit) in [
            ("duration_ms", Some((Measure::Duration, MILLISECOND))),
            ("http.elapsed-us", Some((Measure::Duration, MICROSECOND))),
            ("elapsedMs", Some((Measure::Duration, MILLISECOND))),
            ("wait.seconds", Some((Measure::Duration, SECOND))),
            ("body_bytes", Some((Measure::Size, 1))),
            ("sizeKB", Some((Measure::Size, 1000))),
            ("heap_mib", Some((Measure::Size, 1 << 20))),
            ("bytes", Some((Measure::Size, 1))),
            ("duration", None),
            ("items", None),
            ("terms", None),
            ("a_b", None),
            ("", None),
        ] {
            assert_eq!(unit_in_name(name), unit, "{name}");
        }
        let number = Quantity::in_unit("1500", (Measure::Duration, MILLISECOND));
        assert_eq!(number, Quantity::parse("1.5s"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "-?[0-9. smhdKMGTiBµ]{0,30}", any: String) {
            let _ = (Quantity::parse(&text), Quantity::parse(&any), unit_in_name(&any));
        }
    }
}
