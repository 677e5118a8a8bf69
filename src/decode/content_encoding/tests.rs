use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bare_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 3, 18);
    encoder.write_all(bytes).unwrap();
    drop(encoder);
    out
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

fn inflate(header: &str, body: &[u8], chunk_bytes: usize, limit: usize) -> Result<Vec<u8>, InflateError> {
    let mut inflater = Inflater::new(&ContentEncoding::parse(header).unwrap(), limit)?;
    let mut out = Vec::new();
    for mut chunk in body.chunks(chunk_bytes) {
        loop {
            let before = out.len();
            let more = inflater.step(&mut chunk, &mut out)?;
            assert!(out.len() - before <= STEP_BYTES && out.len() <= limit);
            if !more {
                break;
            }
        }
        assert!(chunk.is_empty());
    }
    inflater.finish()?;
    Ok(out)
}

type Compress = fn(&[u8]) -> Vec<u8>;

const ALL: [(&str, Encoding, Compress); 5] = [
    ("gzip", Encoding::Gzip, gzip),
    ("deflate", Encoding::Deflate, zlib),
    ("deflate", Encoding::Deflate, bare_deflate),
    ("br", Encoding::Brotli, brotli),
    ("zstd", Encoding::Zstd, zstd),
];

fn lines(bytes: usize) -> Vec<u8> {
    (0_u32..).flat_map(|n| format!("{{\"n\":{}}}\n", n.wrapping_mul(2_654_435_761)).into_bytes()).take(bytes).collect()
}

#[test]
fn every_encoding_comes_back_in_chunks_of_any_size() {
    let sent = lines(200_000);
    for (header, _, compress) in ALL {
        let body = compress(&sent);
        for chunk_bytes in [1, 2, 3, 1000, usize::MAX] {
            assert_eq!(inflate(header, &body, chunk_bytes, sent.len()).as_ref(), Ok(&sent), "{header} {chunk_bytes}");
        }
        assert_eq!(inflate(header, &compress(b""), 1, 0), Ok(Vec::new()), "{header}");
        assert_eq!(inflate(header, b"", 1, 0), Ok(Vec::new()), "{header}");
    }
    assert_eq!(inflate("identity", &sent, 70_000, sent.len()), Ok(sent));
}

#[test]
fn encodings_are_undone_in_reverse_order() {
    let sent = lines(100_000);
    for (outer, _, outer_compress) in ALL {
        for (inner, _, inner_compress) in ALL {
            let body = outer_compress(&inner_compress(&sent));
            let header = format!("{inner}, Identity,{outer}");
            for chunk_bytes in [7, usize::MAX] {
                assert_eq!(inflate(&header, &body, chunk_bytes, sent.len()).as_ref(), Ok(&sent), "{header}");
            }
        }
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let bomb = vec![b'0'; 50 << 20];
    for (header, _, compress) in ALL {
        let body = compress(&bomb);
        assert!(body.len() < bomb.len() / 100);
        assert_eq!(inflate(header, &body, usize::MAX, 1000), Err(InflateError::TooLarge { limit: 1000 }), "{header}");
        let twice = gzip(&body);
        let limit = 1 << 20;
        let header = format!("{header}, gzip");
        assert_eq!(inflate(&header, &twice, usize::MAX, limit), Err(InflateError::TooLarge { limit }), "{header}");
    }
    assert_eq!(inflate("", b"12345", 2, 4), Err(InflateError::TooLarge { limit: 4 }));
}

#[test]
fn padding_that_yields_nothing_has_a_limit() {
    let limit = 1000;
    let too_long = Err(InflateError::TooLong { limit: compressed_max(limit) });
    let skipped = |bytes: u32| [&[0x50, 0x2a, 0x4d, 0x18], &bytes.to_le_bytes()[..], &vec![0; bytes as usize]].concat();
    let large = [skipped(1 << 20), zstd(b"tail")].concat();
    for chunk_bytes in [1000, usize::MAX] {
        assert_eq!(inflate("zstd", &large, chunk_bytes, limit), too_long);
        assert_eq!(inflate("zstd, gzip", &gzip(&large), chunk_bytes, limit), too_long);
        assert_eq!(inflate("gzip", &gzip(b"").repeat(10_000), chunk_bytes, limit), too_long);
        let small = [skipped(1000), zstd(b"tail")].concat();
        assert_eq!(inflate("zstd, gzip", &gzip(&small), chunk_bytes, limit), Ok(b"tail".to_vec()));
    }
}

#[test]
fn a_stream_must_end_where_the_body_does() {
    let sent = lines(5_000);
    for (header, encoding, compress) in ALL {
        let body = compress(&sent);
        for end in [1, 2, 3, 10, body.len() / 2, body.len() - 1] {
            let outcome = inflate(header, &body[..end], usize::MAX, 1 << 20);
            assert_eq!(outcome, Err(InflateError::Truncated(encoding)), "{header} {end} of {}", body.len());
        }
        let mut longer = body.clone();
        longer.extend_from_slice(b"more");
        let outcome = inflate(header, &longer, usize::MAX, 1 << 20);
        assert_eq!(outcome, Err(InflateError::Corrupt(encoding)), "{header}");
    }
}

#[test]
fn several_members_and_frames_are_one_body() {
    let (a, b) = (lines(1000), b"tail".to_vec());
    let whole = [a.clone(), b.clone()].concat();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0], &b"abc"[..]].concat();
    for chunk_bytes in [1, 64, usize::MAX] {
        assert_eq!(inflate("gzip", &[gzip(&a), gzip(&b)].concat(), chunk_bytes, 1 << 20).as_ref(), Ok(&whole));
        let frames = [zstd(&a), skippable.clone(), zstd(&b), skippable.clone()].concat();
        assert_eq!(inflate("zstd", &frames, chunk_bytes, 1 << 20).as_ref(), Ok(&whole));
    }
}

#[test]
fn a_gzip_header_may_have_all_its_fields() {
    let plain = gzip(b"x");
    let fields = [&[0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3][..], &[3, 0], b"abc", b"name\0", b"comment\0", &[9, 9]];
    let body = [&fields.concat(), &plain[10..]].concat();
    for chunk_bytes in [1, 5, usize::MAX] {
        assert_eq!(inflate("x-gzip", &body, chunk_bytes, 10), Ok(b"x".to_vec()));
    }
    let mut wrong_sum = plain.clone();
    wrong_sum[plain.len() - 5] ^= 1;
    assert_eq!(inflate("gzip", &wrong_sum, usize::MAX, 10), Err(InflateError::Corrupt(Encoding::Gzip)));
}

#[test]
fn the_header_is_read_strictly() {
    assert!(ContentEncoding::parse(" identity ,").unwrap().is_identity());
    let unknown = ContentEncoding::parse("compress").unwrap_err().to_string();
    assert_eq!(unknown, "unknown Content-Encoding \"compress\": use gzip, deflate, br, zstd or identity");
    assert_eq!(ContentEncoding::parse("gzip,gzip,gzip"), Err(UnsupportedEncoding::TooMany));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), flip: usize, chunk_bytes in 1_usize..50) {
        for (header, _, compress) in ALL {
            let _ = inflate(header, &bytes, chunk_bytes, 1 << 16);
            let mut body = compress(&bytes);
            let at = flip % body.len();
            body[at] ^= 1 << (flip % 8);
            let _ = inflate(header, &body, chunk_bytes, 1 << 16);
        }
    }
}
