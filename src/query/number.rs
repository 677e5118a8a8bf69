//! Numbers of any size, compared exactly by their decimal texts.

use std::cmp::Ordering;

use smallvec::SmallVec;

/// A decimal number: ±0.d₁d₂d₃… × 10^`point`, without zeros at either end of its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    digits: SmallVec<[u8; 24]>,
    point: i64,
}

impl Decimal {
    /// Reads a number as JSON writes it; `None`, if `text` is anything else.
    pub fn parse(text: &str) -> Option<Decimal> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some((whole, fraction)) => (whole, fraction),
            None => (mantissa, ""),
        };
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let leads_with_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leads_with_zero || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let all = whole.bytes().chain(fraction.bytes());
        let leading = all.clone().take_while(|digit| *digit == b'0').count();
        let mut digits: SmallVec<[u8; 24]> = all.skip(leading).map(|digit| digit - b'0').collect();
        while digits.last() == Some(&0) {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Decimal { negative: false, digits, point: 0 });
        }
        // Texts are far shorter than i64 counts.
        let point = exponent.saturating_add(whole.len() as i64 - leading as i64);
        Some(Decimal { negative, digits, point })
    }

    /// The number that is written for `value`.
    pub fn of_float(value: f64) -> Option<Decimal> {
        Decimal::parse(&format!("{value:e}"))
    }

    /// The number in billionths, what is below them cut; `None`, if it is too large.
    pub fn billionths(&self) -> Option<i128> {
        const PLACES: i64 = 9;
        const DIGITS_MAX: i64 = 37;
        let wanted = self.point.saturating_add(PLACES);
        if wanted > DIGITS_MAX {
            return None;
        }
        let wanted = usize::try_from(wanted).unwrap_or(0);
        let digits = self.digits.iter().copied().chain(std::iter::repeat(0)).take(wanted);
        let magnitude = digits.fold(0_i128, |value, digit| value * 10 + i128::from(digit));
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// The integer that the number is, if it is one of at most 37 digits.
    pub fn integer(&self) -> Option<i128> {
        const DIGITS_MAX: i64 = 37;
        let places = usize::try_from(self.point).ok().filter(|_| self.point <= DIGITS_MAX)?;
        if self.digits.len() > places {
            return None;
        }
        let digits = self.digits.iter().copied().chain(std::iter::repeat(0)).take(places);
        let magnitude = digits.fold(0_i128, |value, digit| value * 10 + i128::from(digit));
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// The nearest float; infinite, if the number is past the range of floats.
    pub fn to_float(&self) -> f64 {
        self.to_json().parse().unwrap_or(0.0)
    }

    /// The number as JSON: its digits, and a power of ten.
    pub fn to_json(&self) -> String {
        let mut text = String::with_capacity(self.digits.len() + 8);
        if self.negative {
            text.push('-');
        }
        let mut digits = self.digits.iter().map(|digit| char::from(b'0' + digit));
        text.push(digits.next().unwrap_or('0'));
        if self.digits.len() > 1 {
            text.push('.');
            text.extend(digits);
        }
        if !self.digits.is_empty() && self.point != 1 {
            text.push_str(&format!("e{}", self.point.saturating_sub(1)));
        }
        text
    }

    /// The greatest integer that is not above the number, and whether there is a rest; far out it stands for infinity.
    fn floor(&self) -> (i128, bool) {
        /// Every `i64` has fewer digits.
        const DIGITS_MAX: i64 = 20;
        let sign = if self.negative { -1 } else { 1 };
        if self.point > DIGITS_MAX {
            return (sign * i128::MAX, false);
        }
        let places = usize::try_from(self.point).unwrap_or(0);
        let digits = self.digits.iter().copied().chain(std::iter::repeat(0)).take(places);
        let whole = digits.fold(0_i128, |value, digit| value * 10 + i128::from(digit));
        let rest = self.digits.len() > places;
        (if self.negative { -whole - i128::from(rest) } else { whole }, rest)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Decimal| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let magnitude = || self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits));
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => magnitude(),
            _ => magnitude().reverse(),
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn parse_exponent(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    /// Further out all numbers are zero or infinite to whoever sends them.
    const EXPONENT_MAX: i64 = 1 << 40;
    Some(sign * digits.parse::<i64>().unwrap_or(EXPONENT_MAX).min(EXPONENT_MAX))
}

/// A number that values are compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Number {
    decimal: Decimal,
    /// The nearest float.
    approximate: f64,
    floor: i128,
    has_fraction: bool,
}

impl Number {
    /// Reads a number as JSON writes it.
    pub fn parse(text: &str) -> Option<Number> {
        let decimal = Decimal::parse(text)?;
        let (floor, has_fraction) = decimal.floor();
        Some(Number { approximate: text.parse().ok()?, decimal, floor, has_fraction })
    }

    /// The integer that the number is, if it is one of 64 bits.
    pub fn as_int(&self) -> Option<i64> {
        i64::try_from(self.floor).ok().filter(|_| !self.has_fraction)
    }

    /// The nearest float.
    pub fn as_float(&self) -> f64 {
        self.approximate
    }

    /// How `value` compares with the number.
    pub fn order_int(&self, value: i64) -> Ordering {
        match i128::from(value).cmp(&self.floor) {
            Ordering::Equal if self.has_fraction => Ordering::Less,
            order => order,
        }
    }

    /// How `value`, which is finite, compares with the number, going by how it is written.
    pub fn order_float(&self, value: f64) -> Ordering {
        // Rounding to the nearest float keeps the order, so only equal ones need a closer look.
        match value.partial_cmp(&self.approximate) {
            Some(Ordering::Equal) | None => {
                Decimal::of_float(value).map_or(Ordering::Equal, |value| value.cmp(&self.decimal))
            }
            Some(order) => order,
        }
    }

    /// How the number that `text` is compares with this one; `None`, if it is none.
    pub fn order_text(&self, text: &str) -> Option<Ordering> {
        let begins = text.bytes().next().is_some_and(|byte| byte == b'-' || byte.is_ascii_digit());
        if !begins {
            return None;
        }
        Decimal::parse(text).map(|value| value.cmp(&self.decimal))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_as_a_number_is_one() {
        for text in ["0", "-0", "1", "-1.5", "1e5", "1E+5", "1.10", "1e-400", "123456789012345678901234567890", "0.0"] {
            assert!(Number::parse(text).is_some(), "{text}");
        }
        for text in ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "1_000", "NaN", "inf", "1 ", "١"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_compare_by_their_exact_value() {
        let ascending = [
            "-1e400",
            "-9223372036854775809",
            "-9223372036854775808",
            "-1.5",
            "-1",
            "-1e-400",
            "0",
            "1e-400",
            "0.1",
            "0.10000000000000000001",
            "0.11",
            "1",
            "1.0000000000000000000000001",
            "9007199254740992.5",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775807.5",
            "9223372036854775808",
            "1e400",
        ];
        for (left, a) in ascending.iter().enumerate() {
            for (right, b) in ascending.iter().enumerate() {
                let number = Number::parse(b).unwrap();
                assert_eq!(number.order_text(a), Some(left.cmp(&right)), "{a} {b}");
                if let Ok(int) = a.parse::<i64>() {
                    assert_eq!(number.order_int(int), left.cmp(&right), "{a} {b}");
                }
            }
        }
        for (a, b) in [("1", "1.0"), ("100", "1e2"), ("-0", "0"), ("0.5", "5e-1"), ("0", "0e99")] {
            assert_eq!(Number::parse(a).unwrap().order_text(b), Some(Ordering::Equal), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn every_way_of_comparing_agrees(a: i64, b: i64, x: f64, y: f64) {
            let number = Number::parse(&b.to_string()).unwrap();
            prop_assert_eq!(number.order_int(a), a.cmp(&b));
            prop_assert_eq!(number.as_int(), Some(b));
            prop_assume!(x.is_finite() && y.is_finite());
            let shown = |value: f64| serde_json::to_string(&value).unwrap();
            let number = Number::parse(&shown(y)).unwrap();
            prop_assert_eq!(number.order_float(x), x.partial_cmp(&y).unwrap());
            prop_assert_eq!(number.order_text(&shown(x)), x.partial_cmp(&y));
            let int = Number::parse(&shown(y)).unwrap().order_int(a);
            prop_assert_eq!(int, Number::parse(&shown(y)).unwrap().order_text(&a.to_string()).unwrap());
        }

        #[test]
        fn no_text_panics(text in "-?[0-9.eE+-]{0,40}", any: String) {
            let _ = (Number::parse(&text), Number::parse(&any));
        }
    }
}
