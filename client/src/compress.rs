//! The encodings in which a body can travel.

use std::borrow::Cow;
use std::io::{self, Write};

/// How a batch's body is compressed on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As it is: the least CPU, the best choice on one machine.
    #[default]
    None,
    /// gzip, at its fastest level.
    Gzip,
    /// zstd, level 1: smaller and several times faster than gzip.
    Zstd,
}

/// Fast levels: logs shrink tenfold already with these, and the sender's CPU is the application's.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

impl Compression {
    /// The value of `Content-Encoding`; `None` where the header is left out.
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Compression::None => None,
            Compression::Gzip => Some("gzip"),
            Compression::Zstd => Some("zstd"),
        }
    }

    /// Compresses a whole body.
    pub(crate) fn encode(self, body: &[u8]) -> io::Result<Cow<'_, [u8]>> {
        match self {
            Compression::None => Ok(Cow::Borrowed(body)),
            Compression::Gzip => {
                let sink = Vec::with_capacity(body.len() / 4);
                let mut encoder = flate2::write::GzEncoder::new(sink, flate2::Compression::new(GZIP_LEVEL));
                encoder.write_all(body)?;
                encoder.finish().map(Cow::Owned)
            }
            Compression::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL).map(Cow::Owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_compressed_comes_back() {
        let body = b"{\"message\":\"the same again and again\"}\n".repeat(1000);
        assert!(matches!(Compression::None.encode(&body), Ok(Cow::Borrowed(same)) if same == body));

        let gzip = Compression::Gzip.encode(&body).unwrap();
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*gzip).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, body);

        let zstd = Compression::Zstd.encode(&body).unwrap();
        assert!(zstd.len() < body.len() / 10);
        assert_eq!(zstd::bulk::decompress(&zstd, body.len()).unwrap(), body);
    }
}
