//! Gzip by RFC 1952: members of a header, a bare deflate stream, and a trailer with checksum and length.

use flate2::{Crc, Decompress};

use super::codec::{Progress, inflate};

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const FIXED_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;

/// How long a header may be; name, comment and extra field are of no use here.
const HEADER_BYTES_MAX: usize = 64 << 10;

const HAS_HEADER_CRC: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// A decoder of gzip.
pub struct Gzip {
    part: Part,
    /// What is there of the header or trailer in hand.
    frame: Vec<u8>,
    decoder: Decompress,
    checksum: Crc,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Header,
    Data,
    Trailer,
}

impl Gzip {
    pub fn new() -> Gzip {
        Gzip { part: Part::Header, frame: Vec::new(), decoder: Decompress::new(false), checksum: Crc::new() }
    }

    pub fn run(&mut self, input: &[u8], output: &mut [u8]) -> Option<Progress> {
        match self.part {
            Part::Header => self.header(input),
            Part::Data => {
                let (progress, ended) = inflate(&mut self.decoder, input, output)?;
                self.checksum.update(output.get(..progress.produced)?);
                if ended {
                    self.part = Part::Trailer;
                }
                // The last bits may have been taken before: then the caller must see the trailer go, or nothing would.
                if ended && progress == Progress::default() { self.trailer(input) } else { Some(progress) }
            }
            Part::Trailer => self.trailer(input),
        }
    }

    /// Whether the input may end here: before any member or behind one.
    pub fn may_end(&self) -> bool {
        self.part == Part::Header && self.frame.is_empty()
    }

    fn header(&mut self, input: &[u8]) -> Option<Progress> {
        let before = self.frame.len();
        let taken = input.len().min(HEADER_BYTES_MAX - before.min(HEADER_BYTES_MAX));
        self.frame.extend_from_slice(input.get(..taken)?);
        let consumed = match header_length(&self.frame)? {
            Some(length) => {
                self.frame.clear();
                self.decoder.reset(false);
                self.checksum.reset();
                self.part = Part::Data;
                length.saturating_sub(before)
            }
            None if self.frame.len() >= HEADER_BYTES_MAX => return None,
            None => taken,
        };
        Some(Progress { consumed, produced: 0 })
    }

    fn trailer(&mut self, input: &[u8]) -> Option<Progress> {
        let consumed = input.len().min(TRAILER_BYTES.saturating_sub(self.frame.len()));
        self.frame.extend_from_slice(input.get(..consumed)?);
        if let Some(([a, b, c, d], length)) = self.frame.split_first_chunk::<4>()
            && length.len() == 4
        {
            let sum = u32::from_le_bytes([*a, *b, *c, *d]);
            if sum != self.checksum.sum() || length != self.checksum.amount().to_le_bytes() {
                return None;
            }
            self.frame.clear();
            self.part = Part::Header;
        }
        Some(Progress { consumed, produced: 0 })
    }
}

/// The length of the header at the front of `bytes`: `Some(None)` if more bytes are due, `None` if it is no header.
fn header_length(bytes: &[u8]) -> Option<Option<usize>> {
    let known = bytes.len().min(MAGIC.len());
    if bytes.get(..known) != MAGIC.get(..known) {
        return None;
    }
    match bytes.get(3) {
        Some(flags) if flags & RESERVED != 0 => None,
        Some(flags) => Some(optional_fields(bytes, *flags)),
        None => Some(None),
    }
}

fn optional_fields(bytes: &[u8], flags: u8) -> Option<usize> {
    let mut at = FIXED_BYTES;
    if flags & HAS_EXTRA != 0 {
        let [low, high] = bytes.get(at..)?.first_chunk::<2>()?;
        at += 2 + usize::from(u16::from_le_bytes([*low, *high]));
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        if flags & text != 0 {
            at += memchr::memchr(0, bytes.get(at..)?)? + 1;
        }
    }
    at += if flags & HAS_HEADER_CRC != 0 { 2 } else { 0 };
    (at <= bytes.len()).then_some(at)
}
