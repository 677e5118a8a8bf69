//! The decoders of the encodings, each behind the same door: some bytes in, some bytes out.

use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, HeapAlloc, HuffmanCode};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::gzip::Gzip;
use super::{Encoding, InflateError};

/// 8 MiB, as RFC 9659 says.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// What one run of a decoder did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes of input it took.
    pub consumed: usize,
    /// How many bytes of output it wrote.
    pub produced: usize,
}

/// A decoder of one stream.
pub enum Codec {
    Gzip(Gzip),
    Deflate(Deflate),
    Brotli(Brotli),
    Zstd(Zstd),
}

impl Codec {
    pub fn new(encoding: Encoding) -> Result<Codec, InflateError> {
        Ok(match encoding {
            Encoding::Gzip => Codec::Gzip(Gzip::new()),
            Encoding::Deflate => Codec::Deflate(Deflate::default()),
            Encoding::Brotli => Codec::Brotli(Brotli::new()),
            Encoding::Zstd => Codec::Zstd(Zstd::new().map_err(|_| InflateError::Memory)?),
        })
    }

    pub fn encoding(&self) -> Encoding {
        match self {
            Codec::Gzip(_) => Encoding::Gzip,
            Codec::Deflate(_) => Encoding::Deflate,
            Codec::Brotli(_) => Encoding::Brotli,
            Codec::Zstd(_) => Encoding::Zstd,
        }
    }

    /// Takes from `input` and writes to `output`, as much as either allows.
    pub fn run(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, InflateError> {
        let progress = match self {
            Codec::Gzip(gzip) => gzip.run(input, output),
            Codec::Deflate(deflate) => deflate.run(input, output),
            Codec::Brotli(brotli) => brotli.run(input, output),
            Codec::Zstd(zstd) => zstd.run(input, output),
        };
        progress.ok_or(InflateError::Corrupt(self.encoding()))
    }

    /// Whether the input may end here.
    pub fn may_end(&self) -> bool {
        match self {
            Codec::Gzip(gzip) => gzip.may_end(),
            Codec::Deflate(deflate) => deflate.may_end(),
            Codec::Brotli(brotli) => brotli.may_end,
            Codec::Zstd(zstd) => zstd.may_end,
        }
    }
}

/// Runs a decoder of flate2; also says whether its stream ended.
pub fn inflate(decoder: &mut Decompress, input: &[u8], output: &mut [u8]) -> Option<(Progress, bool)> {
    let (total_in, total_out) = (decoder.total_in(), decoder.total_out());
    let status = decoder.decompress(input, output, FlushDecompress::None).ok()?;
    let consumed = (decoder.total_in() - total_in) as usize;
    let produced = (decoder.total_out() - total_out) as usize;
    Some((Progress { consumed, produced }, status == Status::StreamEnd))
}

/// Deflate, in zlib's frame or bare: the first two bytes tell.
#[derive(Default)]
pub struct Deflate {
    /// The bytes that no decoder has read yet, as it is not known which it should be.
    head: Vec<u8>,
    decoder: Option<Decompress>,
    ended: bool,
}

impl Deflate {
    fn run(&mut self, input: &[u8], output: &mut [u8]) -> Option<Progress> {
        if self.ended {
            return Some(Progress::default());
        }
        let mut kept = 0;
        if self.decoder.is_none() {
            kept = input.len().min(2 - self.head.len().min(2));
            self.head.extend_from_slice(input.get(..kept)?);
        }
        let decoder = match (&mut self.decoder, self.head.as_slice()) {
            (Some(decoder), _) => decoder,
            (none, [method, flags, ..]) => {
                let zlib = method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31);
                none.insert(Decompress::new(zlib))
            }
            _ => return Some(Progress { consumed: kept, produced: 0 }),
        };
        if !self.head.is_empty() {
            let (progress, ended) = inflate(decoder, &self.head, output)?;
            self.head.drain(..progress.consumed);
            self.ended = ended;
            return Some(Progress { consumed: kept, ..progress }).filter(|_| progress != Progress::default());
        }
        let (progress, ended) = inflate(decoder, input, output)?;
        self.ended = ended;
        Some(progress)
    }

    fn may_end(&self) -> bool {
        self.ended || (self.decoder.is_none() && self.head.is_empty())
    }
}

/// Brotli by RFC 7932.
pub struct Brotli {
    state: Box<BrotliState<HeapAlloc<u8>, HeapAlloc<u32>, HeapAlloc<HuffmanCode>>>,
    may_end: bool,
    ended: bool,
}

impl Brotli {
    fn new() -> Brotli {
        let state = BrotliState::new_strict(HeapAlloc::default(), HeapAlloc::default(), HeapAlloc::default());
        Brotli { state: Box::new(state), may_end: true, ended: false }
    }

    fn run(&mut self, input: &[u8], output: &mut [u8]) -> Option<Progress> {
        if self.ended {
            return Some(Progress::default());
        }
        let (mut available_in, mut consumed) = (input.len(), 0);
        let (mut available_out, mut produced, mut total_out) = (output.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut available_in,
            &mut consumed,
            input,
            &mut available_out,
            &mut produced,
            output,
            &mut total_out,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return None,
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        self.may_end = self.ended || (self.may_end && consumed == 0);
        Some(Progress { consumed, produced })
    }
}

/// Zstandard, frame after frame.
pub struct Zstd {
    decoder: Decoder<'static>,
    may_end: bool,
}

impl Zstd {
    fn new() -> std::io::Result<Zstd> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Zstd { decoder, may_end: true })
    }

    fn run(&mut self, input: &[u8], output: &mut [u8]) -> Option<Progress> {
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(output);
        let due = self.decoder.run(&mut input, &mut output).ok()?;
        let progress = Progress { consumed: input.pos(), produced: output.pos() };
        // Between frames the decoder asks for the next header, which need not come.
        if progress != Progress::default() {
            self.may_end = due == 0;
        }
        Some(progress)
    }
}
