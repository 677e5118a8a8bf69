use sluice_model::{RecordId, RunId};

use super::*;
use crate::batch::{Records, RowWriter};

mod framing;
mod round_trip;
mod syntax;

fn options() -> Options {
    Options {
        limits: DecodeLimits {
            record_bytes: 4096,
            batch_records: 1000,
            record_attributes: 16,
            batch_attribute_names: 64,
            unknown_level: None,
        },
        fields: FieldNames::default(),
        skip_invalid: false,
        arrival: "2024-10-08T00:00:00Z".parse().unwrap(),
    }
}

/// The records of a batch as answers show them, but for the id.
fn rows(batch: LogBatch) -> Vec<String> {
    let run = RunId::from_bytes([0; RunId::BYTES]);
    let records = Records::numbered(RecordId { run, sequence: 0 }, batch);
    let writer = RowWriter::new(&records);
    let row = |row| {
        let mut out = Vec::new();
        writer.write(row, &mut out);
        String::from_utf8(out).unwrap().replacen(&format!("\"id\":\"{}\",", records.id(row)), "", 1)
    };
    (0..records.len()).map(row).collect()
}

/// The one record of a body, in brief: what is as if absent is left out. Of a bad one `field: detail`.
fn brief(body: &str, options: &Options) -> String {
    match json(body.as_bytes(), options) {
        Ok(decoded) => rows(decoded.batch)
            .join("\n")
            .replace("\"timestamp\":\"2024-10-08T00:00:00.000000000Z\",", "")
            .replace("\"level\":\"INFO\",", "")
            .replace("\"service\":\"\",", "")
            .replace("\"message\":\"\",", "")
            .replace("\"attributes\":{}", "")
            .replace(",}", "}"),
        Err(DecodeError::BadRecords { errors, .. }) => errors
            .into_iter()
            .map(|error| error.field.map_or(String::new(), |field| field + ": ") + &error.detail)
            .collect::<Vec<_>>()
            .join("\n"),
        Err(other) => other.to_string(),
    }
}

fn check(table: &[(&str, &str)]) {
    for (body, expected) in table {
        assert_eq!(brief(body, &options()), *expected, "{body}");
    }
}

#[test]
fn the_first_name_present_is_the_field() {
    check(&[
        (r#"{"msg":"a","message":"b","log":"c"}"#, r#"{"message":"b","attributes":{"log":"c","msg":"a"}}"#),
        (r#"{"log":"c","msg":"a"}"#, r#"{"message":"a","attributes":{"log":"c"}}"#),
        (r#"{"ts":1,"@timestamp":0}"#, r#"{"timestamp":"1970-01-01T00:00:00.000000000Z","attributes":{"ts":1}}"#),
        (r#"{"lvl":"e","severity":"W"}"#, r#"{"level":"W","attributes":{"lvl":"e"}}"#),
        (r#"{"service.name":"a","serviceName":"b"}"#, r#"{"service":"b","attributes":{"service.name":"a"}}"#),
        (r#"{"service":{"name":"a","version":2}}"#, r#"{"service":"a","attributes":{"service.version":2}}"#),
        (r#"{"log":{"level":"error"},"msg":"m"}"#, r#"{"message":"m","attributes":{"log.level":"error"}}"#),
        (r#"{"message":{}}"#, r#"{"attributes":{"message":{}}}"#),
        (r#"{"Message":"m"}"#, r#"{"attributes":{"Message":"m"}}"#),
        (r#"{"m\u0073g":"\u0061\n"}"#, r#"{"message":"a\n"}"#),
    ]);
}

#[test]
fn empty_fields_are_absent() {
    check(&[
        (r#"{"timestamp":null,"level":"","service":null,"message":""}"#, "{}"),
        (r#"{"timestamp":"","time":0}"#, r#"{"timestamp":"1970-01-01T00:00:00.000000000Z"}"#),
        (r#"{"level":null,"lvl":"d"}"#, r#"{"level":"d"}"#),
        (r#"{"lvl":null,"level":"d"}"#, r#"{"level":"d","attributes":{"lvl":null}}"#),
        (r#"{"msg":"x","message":null}"#, r#"{"message":"x"}"#),
        (r#"{"msg":"x","message":""}"#, r#"{"attributes":{"msg":"x"}}"#),
        (r#"{"a":null,"b":"","c":{}}"#, r#"{"attributes":{"a":null,"b":"","c":{}}}"#),
        ("{}", "neither a message nor any other field"),
        (r#"{"level":null,"message":null,"attributes":{}}"#, "neither a message nor any other field"),
    ]);
}

#[test]
fn fields_may_be_other_than_text() {
    check(&[
        (r#"{"level":30,"message":1.50}"#, r#"{"level":"30","message":"1.50"}"#),
        (r#"{"message":true,"service":7}"#, r#"{"service":"7","message":"true"}"#),
        (r#"{"message":[ 1, "a b" ]}"#, r#"{"message":"[1,\"a b\"]"}"#),
        (r#"{"time":"1728371700.5"}"#, r#"{"timestamp":"2024-10-08T07:15:00.500000000Z"}"#),
        (r#"{"time":1728371700123}"#, r#"{"timestamp":"2024-10-08T07:15:00.123000000Z"}"#),
        (r#"{"time":"2024-10-08 07:15:00"}"#, r#"{"timestamp":"2024-10-08T07:15:00.000000000Z"}"#),
        (r#"{"time":true}"#, "time: a time is a string or a number, not a boolean"),
        (r#"{"ts":"2300-01-01"}"#, "ts: outside of 1677-09-21 to 2262-04-11"),
        (r#"{"lvl":"loud"}"#, "lvl: unknown level \"loud\": use TRACE, DEBUG, INFO, WARN, ERROR or FATAL"),
        (r#"{"level":35}"#, "level: unknown level \"35\": use TRACE, DEBUG, INFO, WARN, ERROR or FATAL"),
    ]);
    let mut lenient = options();
    lenient.limits.unknown_level = Some(Severity::Warn);
    let decoded = json(br#"{"level":"loud"}"#, &lenient).unwrap();
    assert_eq!((decoded.batch.severities(), decoded.batch.levels().value(0)), (&[13][..], "loud"));
}

#[test]
fn attributes_have_dotted_names_however_they_are_sent() {
    check(&[
        (r#"{"user":{"id":7,"a":{"b":1}}}"#, r#"{"attributes":{"user.a.b":1,"user.id":7}}"#),
        (r#"{"user":{"id":7},"user.id":7}"#, r#"{"attributes":{"user.id":7}}"#),
        (r#"{"user":{"id":7},"user.id":8}"#, "user.id: stands twice with different values"),
        (r#"{"a":1,"a":1.0}"#, "a: stands twice with different values"),
        (r#"{"a":null,"a":""}"#, "a: stands twice with different values"),
        (r#"{"a":[1, 2],"a":[1,2]}"#, r#"{"attributes":{"a":[1,2]}}"#),
        (r#"{"a":"x","a":"\u0078"}"#, r#"{"attributes":{"a":"x"}}"#),
        (r#"{"message":"x","message":"y"}"#, "message: stands twice with different values"),
        (r#"{"message":"x","message":null}"#, "message: stands twice with different values"),
        (r#"{"level":"","level":"info"}"#, "level: stands twice with different values"),
        (r#"{"ts":0,"time":0,"attributes":{"ts":1}}"#, "ts: stands twice with different values"),
        (r#"{"a":{},"a.b":1,"a":{}}"#, r#"{"attributes":{"a":{},"a.b":1}}"#),
        (r#"{"":1,".":2,"x":{"":{"":3}}}"#, r#"{"attributes":{"":1,".":2,"x..":3}}"#),
        (r#"{"attributes":{"a":{"b":1},"message":"x"},"c":2}"#, r#"{"attributes":{"a.b":1,"c":2,"message":"x"}}"#),
        (r#"{"attributes":{"a":1},"a":2}"#, "a: stands twice with different values"),
        (r#"{"attributes":5}"#, r#"{"attributes":{"attributes":5}}"#),
        (r#"{"attributes":{"attributes":{"a":1}}}"#, r#"{"attributes":{"attributes.a":1}}"#),
        (r#"{"x":{"attributes":{"a":1}}}"#, r#"{"attributes":{"x.attributes.a":1}}"#),
        (r#"{"a":[{"k":1,"k":2}, [ ], {} ]}"#, r#"{"attributes":{"a":[{"k":1,"k":2},[],{}]}}"#),
        (r#"{"a":[" , \" [ ",  -0.0e+1 ]}"#, r#"{"attributes":{"a":[" , \" [ ",-0.0e+1]}}"#),
    ]);
}

#[test]
fn a_record_is_read_alike_whatever_came_before_it() {
    let records = [
        r#"{"time":0,"level":"info","message":"a","x":1}"#,
        r#"{"time":1,"level":"warn","message":"b","x":"y"}"#,
        r#"{"level":"warn","time":0,"message":"c"}"#,
        r#"{"time" : 0,"levels":2,"message":"d"}"#,
        r#"{ "tim":1 , "time":0,"message":"\u0061" }"#,
        r#"{"\u0074ime":0,"message":"e"}"#,
        r#"{"time":0,"level":{"a":1},"message":"f"}"#,
        r#"{"time":0,"attributes":{"level":"x"},"message":"g"}"#,
        r#"{"id":5,"time":0}"#,
        r#"{"id":{"a":1},"time":0,"msg":"h"}"#,
        r#"{"time":null,"ts":0,"level":"","message":"i"}"#,
    ];
    let read = |body: &str| rows(json(body.as_bytes(), &options()).unwrap().batch);
    for (first, second) in records.iter().flat_map(|first| records.map(|second| (*first, second))) {
        assert_eq!(read(&format!("{first}\n{second}")), [read(first), read(second)].concat(), "{first} {second}");
    }
}

#[test]
fn numbers_come_back_as_they_were_sent() {
    let numbers = "0 -0 1 1.0 1.10 1e400 -1E-400 1e3 9223372036854775807 9223372036854775808 0.1 \
                   123456789012345678901234567890 0.30000000000000001 5e-324";
    for number in numbers.split_whitespace() {
        let body = format!(r#"{{"n":{number}}}"#);
        assert_eq!(brief(&body, &options()), format!(r#"{{"attributes":{{"n":{number}}}}}"#));
    }
}

#[test]
fn only_our_own_id_beside_attributes_is_dropped() {
    let id = "01J9M2CN0000000000000000G7";
    check(&[
        (&format!(r#"{{"id":"{id}","attributes":{{}},"message":"m"}}"#), r#"{"message":"m"}"#),
        (&format!(r#"{{"attributes":{{"id":"{id}"}}}}"#), &format!(r#"{{"attributes":{{"id":"{id}"}}}}"#)),
        (&format!(r#"{{"id":"{id}"}}"#), &format!(r#"{{"attributes":{{"id":"{id}"}}}}"#)),
        (&format!(r#"{{"id":"{id}","attributes":1}}"#), &format!(r#"{{"attributes":{{"attributes":1,"id":"{id}"}}}}"#)),
        (
            r#"{"id":"01j9m2cn0000000000000000g7","attributes":{}}"#,
            r#"{"attributes":{"id":"01j9m2cn0000000000000000g7"}}"#,
        ),
        (r#"{"id":5,"attributes":{"a":1}}"#, r#"{"attributes":{"a":1,"id":5}}"#),
        (r#"{"id":5,"attributes":{"id":6}}"#, "id: stands twice with different values"),
        (r#"{"id":5,"id":6}"#, "id: stands twice with different values"),
    ]);
}

#[test]
fn a_request_may_name_the_fields() {
    let mut options = options();
    options.fields.set(Field::Message, "body.text,event").unwrap();
    options.fields.set(Field::Level, "log.level").unwrap();
    let body = r#"{"event":"e","body":{"text":"t"},"log":{"level":"warn"},"message":"m","level":"x"}"#;
    let expected = r#"{"level":"warn","message":"t","attributes":{"event":"e","level":"x","message":"m"}}"#;
    assert_eq!(brief(body, &options), expected);
}

#[test]
fn every_limit_has_its_own_error() {
    let attributes: Vec<String> = (0..17).map(|n| format!("\"k{n}\":1")).collect();
    let over = "k16: more than 16 attributes in one record (limits.record_attributes)";
    assert_eq!(brief(&format!("{{{}}}", attributes.join(",")), &options()), over);
    assert!(json(format!("{{{}}}", attributes[..16].join(",")).as_bytes(), &options()).is_ok());

    let long = "x".repeat(4096);
    let over = "the record has 4111 bytes; 4096 are allowed (limits.record_bytes)";
    assert_eq!(brief(&format!("{{\"message\":\"{long}\"}}").replacen(':', ": ", 1), &options()), over);
    assert_eq!(
        brief(&format!("{{\"{}\":1}}", &long[..1025]), &options()),
        format!("{}…: a name of more than 1024 bytes", &long[..60])
    );
    assert!(json(format!("{{\"{}\":1}}", &long[..1024]).as_bytes(), &options()).is_ok());
    let nested = format!("{{\"{}\":{{\"{}\":1}}}}", &long[..1000], &long[..30]);
    assert!(brief(&nested, &options()).ends_with("a name of more than 1024 bytes"));

    let names = |count| (0..count).map(|n| format!("{{\"k{n}\":1}}\n")).collect::<String>();
    assert!(json(names(64).as_bytes(), &options()).is_ok());
    let over = "k64: more than 64 attribute names in one batch (limits.batch_attribute_names)";
    assert_eq!(brief(&names(65), &options()), over);

    let many = r#"{"message":"m"}"#.repeat(1001);
    assert_eq!(json(many.as_bytes(), &options()), Err(DecodeError::TooManyRecords { limit: 1000 }));
    assert_eq!(json(&many.as_bytes()[..15_000], &options()).unwrap().batch.len(), 1000);
}

#[test]
fn a_skipped_record_uses_up_no_names() {
    let mut options = options();
    options.skip_invalid = true;
    let bad = |line: usize| (0..17).map(|n| format!("\"k{line}.{n}\":1")).collect::<Vec<_>>().join(",");
    let mut body: String = (0..20).map(|line| format!("{{{}}}\n", bad(line))).collect();
    body.push_str(r#"{"good":1}"#);
    let decoded = json(body.as_bytes(), &options).unwrap();
    assert_eq!((decoded.batch.len(), decoded.refused_total), (1, 20));
}
