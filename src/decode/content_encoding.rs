//! `Content-Encoding`: bodies are decompressed chunk by chunk as they arrive, and never past a limit.
//!
//! Known are gzip (also several members), deflate (in zlib's frame, as RFC 9110 says, or bare, as some clients send it),
//! br (RFC 7932, no large windows) and zstd (several frames; windows of at most 8 MiB, as RFC 9659 says). Two of them
//! may be stacked.

mod codec;
mod gzip;

use std::fmt;

use smallvec::SmallVec;

use codec::{Codec, Progress};

/// How many bytes one step yields at most.
pub(super) const STEP_BYTES: usize = 32 << 10;

/// How far back a decoder looks at most: brotli's largest window.
const WINDOW_BYTES_MAX: usize = 16 << 20;

/// How many encodings may be stacked.
const ENCODINGS_MAX: usize = 2;

/// A way in which bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `gzip`, also `x-gzip`.
    Gzip,
    /// `deflate`.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

/// The header names an encoding that nobody here knows, or too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedEncoding {
    /// One is unknown.
    #[error("unknown Content-Encoding {0:?}: use gzip, deflate, br, zstd or identity")]
    Unknown(String),
    /// There are too many.
    #[error("more than {ENCODINGS_MAX} encodings in Content-Encoding")]
    TooMany,
}

/// Why a body cannot be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// It would become larger than is allowed.
    #[error("the body has more than {limit} bytes after decompression")]
    TooLarge {
        /// How large it may be.
        limit: usize,
    },
    /// It is larger than anything that is allowed can be before decompression: padding that yields nothing.
    #[error("the body has more than {limit} bytes before decompression")]
    TooLong {
        /// How large it may be.
        limit: usize,
    },
    /// It is no stream of that encoding, or something follows it.
    #[error("the body is not valid {0}")]
    Corrupt(Encoding),
    /// The end of the stream is missing.
    #[error("the {0} body ends too early")]
    Truncated(Encoding),
    /// There is no memory for a decoder.
    #[error("no memory to decompress the body")]
    Memory,
}

/// The encodings of a body, in the order in which they were applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentEncoding(SmallVec<[Encoding; ENCODINGS_MAX]>);

impl ContentEncoding {
    /// Reads the value of the header; the values of several are joined by commas. `identity` says nothing.
    ///
    /// # Errors
    /// [`UnsupportedEncoding`], which is a 415.
    pub fn parse(header: &str) -> Result<ContentEncoding, UnsupportedEncoding> {
        let mut encodings = SmallVec::new();
        for name in header.split(',').map(str::trim) {
            let encoding = match name.to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Encoding::Gzip,
                "deflate" => Encoding::Deflate,
                "br" => Encoding::Brotli,
                "zstd" => Encoding::Zstd,
                _ => return Err(UnsupportedEncoding::Unknown(name.chars().take(40).collect())),
            };
            if encodings.len() == ENCODINGS_MAX {
                return Err(UnsupportedEncoding::TooMany);
            }
            encodings.push(encoding);
        }
        Ok(ContentEncoding(encodings))
    }

    /// Whether bodies are sent as they are.
    pub fn is_identity(&self) -> bool {
        self.0.is_empty()
    }
}

/// As in the header.
impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Brotli => "br",
            Encoding::Zstd => "zstd",
        })
    }
}

/// Decompresses one body.
///
/// For each chunk call [`step`](Inflater::step) until it says that there is no more to do, and
/// [`finish`](Inflater::finish) behind the last one. Between two steps the output grows by little, so a caller that
/// pays for its memory can do so in between.
pub struct Inflater {
    /// The decoders, the one that reads the body first.
    codecs: SmallVec<[Codec; ENCODINGS_MAX]>,
    output: Box<[u8]>,
    between: Between,
    /// How many bytes of the body have been read.
    read: usize,
    limit: usize,
}

/// What the first of two decoders yielded and the second has not read yet.
#[derive(Default)]
struct Between {
    bytes: Vec<u8>,
    read: usize,
    /// How many bytes the first has yielded in all.
    yielded: usize,
}

impl Inflater {
    /// Prepares to decompress a body into at most `limit` bytes.
    ///
    /// # Errors
    /// [`InflateError::Memory`].
    pub fn new(encoding: &ContentEncoding, limit: usize) -> Result<Inflater, InflateError> {
        let codecs = encoding.0.iter().rev().map(|encoding| Codec::new(*encoding)).collect::<Result<_, _>>()?;
        let output = if encoding.is_identity() { Box::default() } else { vec![0; STEP_BYTES].into_boxed_slice() };
        Ok(Inflater { codecs, output, between: Between::default(), read: 0, limit })
    }

    /// Takes some bytes from the front of `chunk` and appends what they yield to `out`, at most 32 KiB.
    ///
    /// Returns whether there was anything to do: on `false` the chunk is used up.
    ///
    /// # Errors
    /// [`InflateError`], when `out` has reached the limit and there is more, or the stream is not valid.
    pub fn step(&mut self, chunk: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, InflateError> {
        let before = chunk.len();
        let more = self.decode(chunk, out)?;
        self.read += before - chunk.len();
        let limit = compressed_max(self.limit);
        let padded = !self.codecs.is_empty() && self.read.max(self.between.yielded) > limit;
        if padded { Err(InflateError::TooLong { limit }) } else { Ok(more) }
    }

    /// About how many bytes of memory are held besides the output that was yielded: a window of at most as many bytes as
    /// the first of two decoders has yielded to the second.
    pub fn memory_bytes(&self) -> usize {
        self.between.yielded.min(WINDOW_BYTES_MAX)
    }

    fn decode(&mut self, chunk: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, InflateError> {
        let free = self.limit.saturating_sub(out.len());
        match self.codecs.as_mut_slice() {
            [] => copy(chunk, out, free, self.limit),
            [only] => {
                let progress = run(only, chunk, &mut self.output, free, self.limit, out)?;
                advance(chunk, progress.consumed);
                settled(only.encoding(), progress, chunk)
            }
            [first, .., last] => {
                let refill = self.between.refill(first, chunk)?;
                advance(chunk, refill.consumed);
                let progress = run(last, self.between.unread(), &mut self.output, free, self.limit, out)?;
                self.between.read += progress.consumed;
                settled(last.encoding(), progress, self.between.unread())?;
                let sum = Progress {
                    consumed: refill.consumed + progress.consumed,
                    produced: refill.produced + progress.produced,
                };
                settled(first.encoding(), sum, chunk)
            }
        }
    }

    /// Checks that the body ended where its streams do. A body without a byte is fine.
    ///
    /// # Errors
    /// [`InflateError::Truncated`].
    pub fn finish(&self) -> Result<(), InflateError> {
        match self.codecs.iter().find(|codec| !codec.may_end()) {
            Some(codec) => Err(InflateError::Truncated(codec.encoding())),
            None => Ok(()),
        }
    }
}

impl Between {
    fn refill(&mut self, codec: &mut Codec, chunk: &[u8]) -> Result<Progress, InflateError> {
        if self.read < self.bytes.len() {
            return Ok(Progress::default());
        }
        self.read = 0;
        self.bytes.resize(STEP_BYTES, 0);
        let progress = codec.run(chunk, &mut self.bytes)?;
        self.bytes.truncate(progress.produced);
        self.yielded += progress.produced;
        Ok(progress)
    }

    fn unread(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }
}

/// How long what decompresses to `limit` bytes can be: no encoder makes much more of what it cannot compress.
fn compressed_max(limit: usize) -> usize {
    limit.saturating_mul(2).saturating_add(64 << 10)
}

fn copy(chunk: &mut &[u8], out: &mut Vec<u8>, free: usize, limit: usize) -> Result<bool, InflateError> {
    let (now, later) = chunk.split_at(chunk.len().min(STEP_BYTES));
    if now.len() > free {
        return Err(InflateError::TooLarge { limit });
    }
    out.extend_from_slice(now);
    *chunk = later;
    Ok(!now.is_empty())
}

fn run(
    codec: &mut Codec,
    input: &[u8],
    buffer: &mut [u8],
    free: usize,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<Progress, InflateError> {
    // With nothing free, a stream may still have its trailer to read; one more byte of output tells it from a bomb.
    let room = free.clamp(1, STEP_BYTES);
    let buffer = buffer.get_mut(..room).unwrap_or_default();
    let progress = codec.run(input, buffer)?;
    if progress.produced > free {
        return Err(InflateError::TooLarge { limit });
    }
    out.extend_from_slice(buffer.get(..progress.produced).unwrap_or_default());
    Ok(progress)
}

/// Whether to go on; input that a decoder does not want stands behind its stream's end.
fn settled(encoding: Encoding, progress: Progress, input: &[u8]) -> Result<bool, InflateError> {
    let any = progress != Progress::default();
    if !any && !input.is_empty() { Err(InflateError::Corrupt(encoding)) } else { Ok(any) }
}

fn advance(chunk: &mut &[u8], consumed: usize) {
    *chunk = chunk.get(consumed..).unwrap_or_default();
}

#[cfg(test)]
mod tests;
