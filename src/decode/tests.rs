use super::*;

fn options() -> Options {
    Options {
        limits: DecodeLimits {
            record_bytes: 1 << 20,
            batch_records: 100_000,
            record_attributes: 256,
            batch_attribute_names: 16_384,
            unknown_level: None,
        },
        fields: FieldNames::default(),
        skip_invalid: false,
        arrival: Timestamp::from_nanos(0),
    }
}

#[test]
#[ignore]
fn speed() {
    use std::io::Read;
    let mut body = Vec::new();
    std::fs::File::open("/tmp/data/logs.ndjson").unwrap().take(100 << 20).read_to_end(&mut body).unwrap();
    body.truncate(memchr::memrchr(b'\n', &body).unwrap());
    let mut options = options();
    options.limits.batch_records = 10_000_000;
    let mut chunks = Vec::new();
    let mut rest = &body[..];
    while rest.len() > 4 << 20 {
        let at = memchr::memrchr(b'\n', &rest[..4 << 20]).unwrap() + 1;
        chunks.push(&rest[..at]);
        rest = &rest[at..];
    }
    for _ in 0..3 {
        let start = std::time::Instant::now();
        let mut rows = 0;
        for chunk in &chunks {
            let mut records = record::RecordDecoder::new(&options);
            let mut cursor = cursor::Cursor::new(std::str::from_utf8(chunk).unwrap());
            while cursor.peek().is_some() {
                assert!(records.read(&mut cursor).is_ok());
                rows += 1;
            }
        }
        println!("without finish {rows} rows, {:.0} MB/s", body.len() as f64 / 1e6 / start.elapsed().as_secs_f64());
        let start = std::time::Instant::now();
        let rows: usize = chunks.iter().map(|chunk| json(chunk, &options).unwrap().batch.len()).sum();
        println!("{rows} rows, {:.0} MB/s", body.len() as f64 / 1e6 / start.elapsed().as_secs_f64());
    }
}
