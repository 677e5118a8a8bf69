//! Writing numbers and quoted texts into a byte buffer, without allocating.

const HEX: &[u8; 16] = b"0123456789abcdef";
/// As many digits as the largest u64 has.
const DIGITS_MAX: usize = 20;

/// Appends a number in decimal.
pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; DIGITS_MAX];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(DIGITS_MAX - used..).unwrap_or_default());
}

/// Appends 16 hexadecimal digits.
pub(crate) fn push_hex(out: &mut Vec<u8>, number: u64) {
    let digit = |shift: u32| HEX.get((number >> shift & 15) as usize).copied().unwrap_or(b'0');
    let digits: [u8; 16] = std::array::from_fn(|place| digit(60 - 4 * place as u32));
    out.extend_from_slice(&digits);
}

/// Appends the inside of a JSON string.
pub(crate) fn push_json_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { return };
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            other => {
                out.extend_from_slice(b"\\u00");
                for nibble in [other >> 4, other & 15] {
                    out.extend(HEX.get(usize::from(nibble)));
                }
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Appends a CSV field in quotes (RFC 4180).
pub(crate) fn push_csv_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_whole() {
        for number in [0, 9, 10, 1_234_567, u64::MAX] {
            assert_eq!(written(|out| push_decimal(out, number)), number.to_string());
            assert_eq!(written(|out| push_hex(out, number)), format!("{number:016x}"));
        }
    }

    #[test]
    fn what_is_escaped_reads_back() {
        let text = "plain \"quoted\" C:\\dir\n\tat x\u{1}é";
        let json = written(|out| {
            out.push(b'"');
            push_json_escaped(out, text.as_bytes());
            out.push(b'"');
        });
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert_eq!(written(|out| push_csv_quoted(out, b"a\"b,c\n")), "\"a\"\"b,c\n\"");
    }
}
