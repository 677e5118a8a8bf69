//! Where records begin and end.

use super::{options, rows};
use crate::decode::{BAD_RECORDS_SHOWN_MAX, BadRecord, DecodeError, json};

/// The messages of the good records and the indexes of the bad ones.
fn skipping(body: &str) -> Result<(String, Vec<u64>), DecodeError> {
    let mut options = options();
    options.skip_invalid = true;
    let decoded = json(body.as_bytes(), &options)?;
    let messages = decoded.batch.messages().iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("");
    assert_eq!(decoded.refused.len() as u64, decoded.refused_total);
    Ok((messages, decoded.refused.iter().map(|bad| bad.index).collect()))
}

#[test]
fn all_shapes_of_a_body_are_told_apart() {
    for body in [
        r#"[{"msg":"a"},{"msg":"b"},{"msg":"c"}]"#,
        " [ {\"msg\":\"a\"}\r\n , {\"msg\":\"b\"} , {\"msg\":\"c\"} ] \n",
        "{\"msg\":\"a\"}\n{\"msg\":\"b\"}\n{\"msg\":\"c\"}",
        "{\"msg\":\"a\"}\r\n\r\n{\"msg\":\"b\"}\r\n \t\n{\"msg\":\"c\"}\r\n",
        r#"{"msg":"a"}{"msg":"b"} {"msg":"c"}"#,
        "{\n  \"msg\": \"a\"\n}\n{\n  \"msg\": \"b\"\n}\n{\n  \"msg\": \"c\"\n}\n",
        "[{\"msg\":\"a\"}]\n[]\n[{\"msg\":\"b\"},\n{\"msg\":\"c\"}]",
        "\u{feff}{\"msg\":\"a\"}[{\"msg\":\"b\"}]{\"msg\":\"c\"}",
    ] {
        assert_eq!(skipping(body), Ok(("abc".to_owned(), vec![])), "{body}");
    }
    assert_eq!(json(b"{\"msg\":\"a\"}", &options()).unwrap().batch.len(), 1);
}

#[test]
fn a_body_without_records() {
    assert_eq!(json(b"[]", &options()).unwrap().batch.len(), 0);
    assert_eq!(json(b" [ ]\n", &options()).unwrap().batch.len(), 0);
    for body in ["", " \r\n\t", "\u{feff}"] {
        assert_eq!(json(body.as_bytes(), &options()), Err(DecodeError::Empty));
    }
}

#[test]
fn reading_goes_on_behind_a_faulty_line() {
    for (body, expected) in [
        ("{\"msg\":\"a\"}\n{\"msg\":\n{\"msg\":\"c\"}\n", ("ac", vec![1])),
        ("{\"msg\":\"a\"\n{\"msg\":\"b\"}\n\n{\"msg\":\"c\"", ("b", vec![0, 2])),
        ("hello\n{\"msg\":\"b\"} world\n{\"msg\":\"c\"}", ("bc", vec![0, 2])),
        ("{\"msg\":\"a}\n{\"msg\":\"b\"}", ("b", vec![0])),
        ("{\"msg\":[\n{\"msg\":[\n{\"msg\":\"c\"}\n{\"msg\":\"d\"}", ("cd", vec![0, 1])),
        ("{\"msg\":\"a\",\"x\":\"\\q\"}{\"msg\":\"b\"}", ("b", vec![0])),
        ("{\"msg\":\"a\"}\n{\"msg\":\"b\"", ("a", vec![1])),
        ("{\"msg\":\"a\"}\n{\"msg\":\"b\"\n", ("a", vec![1])),
        (
            "[{\"msg\":\"a\",\"level\":\"?\"},{\"msg\":\"b\"},5,{\"msg\":\"\\ud800\"},{\"msg\":\"c\"}]",
            ("bc", vec![0, 2, 3]),
        ),
    ] {
        assert_eq!(skipping(body), Ok((expected.0.to_owned(), expected.1)), "{body}");
    }
}

#[test]
fn a_fault_that_hides_the_next_record_refuses_the_body() {
    for (body, line, column) in [
        ("[{\"msg\":\"a\"},\n{\"msg\" \"b\"},{\"msg\":\"c\"}]", 2, 8),
        ("[{\"msg\":\"a\"}", 1, 13),
        ("[{\"msg\":\"a\"} {\"msg\":\"b\"}]", 1, 14),
        ("[{\"msg\":\"a\"},]", 1, 14),
        ("[{\"msg\":\"a\",\"level\":\"?\",\"x\":[}]},{\"msg\":\"b\"}]", 1, 30),
        ("[{\"msg\":\"a\nb\"}]", 1, 11),
        ("{\n  \"msg\": \"a\",\n  \"x\": [\n{\"msg\":\"no record\"},\n}\n]}\n", 5, 1),
        ("{\n  \"msg\": \"é\" x\n}\n", 2, 14),
        ("[2024-10-08] starting\n", 1, 6),
    ] {
        match skipping(body) {
            Err(DecodeError::Malformed { line: found, column: found_column, offset, .. }) => {
                assert_eq!((found, found_column), (line, column), "{body}");
                assert!(offset <= body.len());
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn every_bad_record_is_named_or_at_least_counted() {
    let body: String =
        (0..250).map(|n| format!("{{\"level\":\"{}\"}}\n", if n % 2 == 0 { "?" } else { "info" })).collect();
    let Err(DecodeError::BadRecords { errors, total }) = json(body.as_bytes(), &options()) else { panic!() };
    assert_eq!((errors.len(), total), (BAD_RECORDS_SHOWN_MAX, 125));
    assert_eq!(errors[99].index, 198);
    assert_eq!(
        errors[0],
        BadRecord {
            index: 0,
            field: Some("level".to_owned()),
            detail: "unknown level \"?\": use TRACE, DEBUG, INFO, WARN, ERROR or FATAL".to_owned(),
        }
    );
    let mut options = options();
    options.skip_invalid = true;
    let decoded = json(body.as_bytes(), &options).unwrap();
    assert_eq!((decoded.batch.len(), decoded.refused.len(), decoded.refused_total), (125, 100, 125));
}

#[test]
fn a_long_body_of_faulty_lines_is_read_in_linear_time() {
    let mut options = options();
    options.limits.batch_records = 1_000_000;
    for line in ["{\"a\":[\n", "{\"a\":\n", "{\"a\":\"x\n", "x\n", "{\"a\":1,\n"] {
        let body = line.repeat(200_000);
        let start = std::time::Instant::now();
        assert!(json(body.as_bytes(), &options).is_err());
        assert!(start.elapsed().as_secs() < 10, "{line:?}");
    }
}

#[test]
fn a_record_is_kept_in_full() {
    let body = br#"{"timestamp":"2024-10-08T07:15:00Z","level":"Warning","service":"api","message":"slow","ms":12.5,"ok":false,"path":"/a"}"#;
    assert_eq!(
        rows(json(body, &options()).unwrap().batch),
        [
            r#"{"timestamp":"2024-10-08T07:15:00.000000000Z","level":"Warning","service":"api","message":"slow","attributes":{"ms":12.5,"ok":false,"path":"/a"}}"#
        ]
    );
}
