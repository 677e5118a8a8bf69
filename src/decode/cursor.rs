//! A pull parser over JSON text: it borrows all it can, builds nothing, and knows the exact text of every value.

use super::fault::{DEPTH_MAX, Fault, SyntaxError};
use super::scalar::{Kind, Scalar};
use super::text::{self, Text};

/// How deep a value may be nested for [`Cursor::step_over`] to find its end.
const DEPTH_STEPPED_OVER_MAX: usize = 1 << 20;

/// What a value turns out to be.
pub enum Value<'a> {
    /// It is read.
    Scalar(Scalar<'a>),
    /// The cursor stands behind its `{`.
    Object,
}

/// A place in a JSON text.
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// What closes the arrays and objects that are being stepped over.
    closers: Vec<u8>,
    /// Whether strings with faulty characters are let pass.
    lenient: bool,
}

impl<'a> Cursor<'a> {
    /// Starts at the front of `text`.
    pub fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0, closers: Vec::new(), lenient: false }
    }

    /// The offset in bytes.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Goes to an offset, which must be a character's boundary.
    pub fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// Goes on in another text, such as a shorter or longer piece of the same body.
    pub fn set_text(&mut self, text: &'a str) {
        self.text = text;
    }

    /// Skips white space and shows the byte behind it; `None` at the end.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes `byte`, if it comes next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `text`, if it comes next.
    #[inline]
    pub fn take_text(&mut self, text: &str) -> bool {
        let found = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(text.as_bytes()));
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// Reads a value, all of it unless it is an object. `depth` is how many objects and arrays it stands in.
    #[inline(always)]
    pub fn value(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        if self.peek() == Some(b'"') {
            return Ok(Value::Scalar(self.string()?.into()));
        }
        self.other_value(depth)
    }

    /// Reads a value that is no string.
    fn other_value(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        let scalar = |kind, text| Ok(Value::Scalar(Scalar { kind, text }));
        match self.peek() {
            Some(b'{') if depth < DEPTH_MAX => {
                self.at += 1;
                Ok(Value::Object)
            }
            Some(b'{') => Err(self.error(Fault::Depth)),
            Some(b'[') => scalar(Kind::Array, self.skip(DEPTH_MAX.saturating_sub(depth))?),
            Some(b'-' | b'0'..=b'9') => scalar(Kind::Number, self.number()?),
            Some(b't') => scalar(Kind::True, self.word("true")?),
            Some(b'f') => scalar(Kind::False, self.word("false")?),
            Some(b'n') => scalar(Kind::Null, self.word("null")?),
            _ => Err(self.expected("a value")),
        }
    }

    /// Reads a member's name and the colon behind it.
    #[inline]
    pub fn name(&mut self) -> Result<Text<'a>, SyntaxError> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a name in quotes"));
        }
        let name = self.string()?;
        if self.take(b':') { Ok(name) } else { Err(self.expected("':'")) }
    }

    /// Whether another member follows; else the object's `}` is taken.
    #[inline]
    pub fn another_member(&mut self) -> Result<bool, SyntaxError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b'}') => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.expected("',' or '}'")),
        }
    }

    /// Goes behind the next value, however deep it is and whatever stands in its strings, as long as its end is sure.
    pub fn step_over(&mut self) -> Result<(), SyntaxError> {
        self.lenient = true;
        let outcome = self.skip(DEPTH_STEPPED_OVER_MAX);
        self.lenient = false;
        outcome.map(drop)
    }

    /// An error at the present place: what belongs there, or that the text ends.
    pub fn expected(&self, what: &'static str) -> SyntaxError {
        self.error(if self.at < self.text.len() { Fault::Expected(what) } else { Fault::End })
    }

    fn error(&self, fault: Fault) -> SyntaxError {
        SyntaxError { at: self.at, fault }
    }

    /// The text from `start` on, which must be a character's boundary.
    pub fn since(&self, start: usize) -> &'a str {
        // Both ends stand beside a character of ASCII.
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn word(&mut self, word: &'static str) -> Result<&'a str, SyntaxError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.error(if word.starts_with(rest) { Fault::End } else { Fault::Expected("a value") }));
        }
        self.at += word.len();
        Ok(word)
    }

    /// Reads a number by JSON's grammar: no sign but a minus, no leading zero, digits on both sides of the point.
    fn number(&mut self) -> Result<&'a str, SyntaxError> {
        let start = self.at;
        self.at += usize::from(self.next_is(b"-"));
        let leading_zero = self.next_is(b"0");
        let digits = self.digits()?;
        if leading_zero && digits > 1 {
            self.at -= digits - 1;
            return Err(self.error(Fault::Expected("no digit after a leading zero")));
        }
        if self.next_is(b".") {
            self.at += 1;
            self.digits()?;
        }
        if self.next_is(b"eE") {
            self.at += 1;
            self.at += usize::from(self.next_is(b"+-"));
            self.digits()?;
        }
        Ok(self.since(start))
    }

    fn next_is(&self, any: &[u8]) -> bool {
        self.text.as_bytes().get(self.at).is_some_and(|byte| any.contains(byte))
    }

    fn digits(&mut self) -> Result<usize, SyntaxError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.expected("a digit")) } else { Ok(count) }
    }

    /// Reads a string, from its opening quote on.
    #[inline]
    fn string(&mut self) -> Result<Text<'a>, SyntaxError> {
        self.at += 1;
        let start = self.at;
        self.at = text::special(self.text.as_bytes(), start);
        if self.text.as_bytes().get(self.at) == Some(&b'"') {
            let text = self.since(start);
            self.at += 1;
            return Ok(Text::Plain(text));
        }
        self.string_with_escapes(start)
    }

    fn string_with_escapes(&mut self, start: usize) -> Result<Text<'a>, SyntaxError> {
        let mut escaped = false;
        loop {
            match self.text.as_bytes().get(self.at) {
                None => return Err(self.error(Fault::End)),
                Some(b'"') => {
                    let text = self.since(start);
                    self.at += 1;
                    return Ok(if escaped { Text::Escaped(text) } else { Text::Plain(text) });
                }
                Some(b'\\') => {
                    self.escape()?;
                    escaped = true;
                }
                Some(b'\n' | b'\r') => return Err(self.error(Fault::OpenString)),
                Some(_) if self.lenient => self.at += 1,
                Some(_) => return Err(self.error(Fault::Control)),
            }
            self.at = text::special(self.text.as_bytes(), self.at);
        }
    }

    /// Goes behind an escape.
    fn escape(&mut self) -> Result<(), SyntaxError> {
        let rest = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        let length = match rest.first() {
            None => return Err(SyntaxError { at: self.text.len(), fault: Fault::End }),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            // Whatever it is, it is no quote and no backslash: the string goes on behind it.
            Some(byte) if self.lenient => 1 + usize::from(byte.is_ascii_graphic()),
            Some(b'u') => match text::unicode_escape(rest) {
                Ok((_, length)) => 1 + length,
                Err(fault) => return Err(self.error(fault)),
            },
            Some(_) => return Err(self.error(Fault::Escape)),
        };
        self.at += length;
        Ok(())
    }

    /// Goes behind the next value, after a check of its syntax, and returns its text.
    fn skip(&mut self, depth_max: usize) -> Result<&'a str, SyntaxError> {
        self.closers.clear();
        self.peek();
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'{' | b'[') if self.closers.len() >= depth_max => return Err(self.error(Fault::Depth)),
                Some(b'{') => {
                    self.at += 1;
                    self.closers.push(b'}');
                    if self.peek() != Some(b'}') {
                        self.name()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    self.closers.push(b']');
                    if self.peek() != Some(b']') {
                        continue;
                    }
                }
                Some(_) => {
                    self.value(0)?;
                }
                None => return Err(self.error(Fault::End)),
            }
            if !self.close()? {
                return Ok(self.since(start));
            }
        }
    }

    /// Behind a value: takes all that closes with it; returns whether another value is due.
    fn close(&mut self) -> Result<bool, SyntaxError> {
        while let Some(closer) = self.closers.last().copied() {
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    if closer == b'}' {
                        self.name()?;
                    }
                    return Ok(true);
                }
                Some(byte) if byte == closer => {
                    self.at += 1;
                    self.closers.pop();
                }
                _ => return Err(self.expected(if closer == b'}' { "',' or '}'" } else { "',' or ']'" })),
            }
        }
        Ok(false)
    }
}
