//! Strings and arrays as they stand in JSON, and as they are kept.

use wide::u8x16;

use super::fault::Fault;

/// What stands between the quotes of a JSON string. Its syntax is checked.
#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    /// Without escapes: the text itself.
    Plain(&'a str),
    /// With escapes.
    Escaped(&'a str),
}

impl<'a> Text<'a> {
    /// The text, with escapes resolved into `scratch`.
    #[inline]
    pub fn resolve<'s>(self, scratch: &'s mut String) -> &'s str
    where
        'a: 's,
    {
        match self {
            Text::Plain(text) => text,
            Text::Escaped(text) => {
                scratch.clear();
                unescape(text, scratch);
                scratch
            }
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.resolve(&mut String::new()) == other.resolve(&mut String::new())
    }
}

/// Appends `text` with its escapes resolved.
fn unescape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let (character, length) = match escape.as_bytes().first() {
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'n') => ('\n', 1),
            Some(b'r') => ('\r', 1),
            Some(b't') => ('\t', 1),
            // The cursor has let no other kind pass.
            Some(b'u') => unicode_escape(escape.as_bytes()).unwrap_or((char::REPLACEMENT_CHARACTER, 1)),
            Some(other) => (char::from(*other), 1),
            None => return,
        };
        out.push(character);
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// Reads `uXXXX`, or both halves of a surrogate pair, from the front of `bytes`; returns how many bytes it is long.
pub fn unicode_escape(bytes: &[u8]) -> Result<(char, usize), Fault> {
    let unit = code_unit(bytes).ok_or(Fault::Escape)?;
    match unit {
        0xD800..0xDC00 => {
            let second = bytes.get(5..).and_then(|rest| rest.strip_prefix(b"\\")).and_then(code_unit);
            let low = second.filter(|low| (0xDC00..0xE000).contains(low)).ok_or(Fault::Surrogate)?;
            let code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            char::from_u32(code).map(|character| (character, 11)).ok_or(Fault::Surrogate)
        }
        _ => char::from_u32(unit).map(|character| (character, 5)).ok_or(Fault::Surrogate),
    }
}

/// Reads `uXXXX`.
fn code_unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"u")?.get(..4)?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// Appends a JSON value without the white space between its parts; strings and numbers stay as they are.
pub fn compact(json: &str, out: &mut String) {
    let mut rest = json;
    while let Some((before, string)) = rest.split_once('"') {
        push_without_space(before, out);
        let length = string_length(string.as_bytes());
        out.push('"');
        out.push_str(string.get(..length).unwrap_or_default());
        rest = string.get(length..).unwrap_or_default();
    }
    push_without_space(rest, out);
}

/// The length of a string from behind its opening quote, its closing one included.
fn string_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(next) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += next;
        if bytes.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

fn push_without_space(json: &str, out: &mut String) {
    json.split([' ', '\n', '\r', '\t']).for_each(|part| out.push_str(part));
}

/// Finds the first quote, backslash or control character from `from` on; the text's length, if there is none.
#[inline]
pub fn special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let chunk = u8x16::from(*chunk);
        let control = chunk.min(u8x16::splat(b' ' - 1)).simd_eq(chunk);
        let found = control | chunk.simd_eq(u8x16::splat(b'"')) | chunk.simd_eq(u8x16::splat(b'\\'));
        let found = found.to_bitmask();
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 16;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}
