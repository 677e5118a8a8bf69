//! What is JSON and what is not.

use super::{brief, check, options, rows};
use crate::decode::{DecodeError, json};

#[test]
fn strings_are_checked() {
    check(&[
        (r#"{"a":"\u0000\ud83d\ude00\/\b\f\r\t"}"#, r#"{"attributes":{"a":"\u0000😀/\b\f\r\t"}}"#),
        (r#"{"a":"\ud83d"}"#, "line 1, column 7: half of a surrogate pair stands alone"),
        (r#"{"a":"\ude00\ud83d"}"#, "line 1, column 7: half of a surrogate pair stands alone"),
        (r#"{"a":"é\ud83d\u0041"}"#, "line 1, column 8: half of a surrogate pair stands alone"),
        (r#"{"a":["\ud83d"]}"#, "line 1, column 8: half of a surrogate pair stands alone"),
        (r#"{"\ud83d":1}"#, "line 1, column 3: half of a surrogate pair stands alone"),
        (r#"{"a":"\u12G4"}"#, "line 1, column 7: no such escape in a string"),
        (r#"{"a":"\u12"}"#, "line 1, column 7: no such escape in a string"),
        (r#"{"a":"\x"}"#, "line 1, column 7: no such escape in a string"),
        ("{\"a\":\"b\tc\"}", "line 1, column 8: a control character in a string must be escaped"),
        ("{\"a\":\"b\0c\"}", "line 1, column 8: a control character in a string must be escaped"),
        ("{\"a\":\"b\u{7f}c\"}", "{\"attributes\":{\"a\":\"b\u{7f}c\"}}"),
        (
            "{\"a\":\"b\n\"}",
            "line 1, column 8: a string is not closed at the end of its line\nline 2, column 3: the JSON ends too early",
        ),
        ("{\"a\":\"b", "line 1, column 8: the JSON ends too early"),
        ("{\"a\":\"b\\", "line 1, column 9: the JSON ends too early"),
        ("{\"a\":\"\\\"", "line 1, column 9: the JSON ends too early"),
    ]);
}

#[test]
fn every_special_character_is_found_wherever_it_stands() {
    for length in 0..40 {
        let text = "é".repeat(length / 2) + &"x".repeat(length % 2);
        for (sent, kept) in [("\\n", "\\n"), ("\\\\", "\\\\"), ("\\\"", "\\\""), ("!", "!"), ("\u{80}", "\u{80}")] {
            let body = format!(r#"{{"message":"{text}{sent}{text}"}}"#);
            assert_eq!(brief(&body, &options()), body.replace(sent, kept));
        }
        for control in (0_u8..0x20).filter(|byte| !b"\r\n".contains(byte)) {
            let body = format!(r#"{{"message":"{text}{}{text}"}}"#, char::from(control));
            assert!(brief(&body, &options()).ends_with("a control character in a string must be escaped"));
        }
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for body in [
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":-Infinity}",
        "{\"a\":nul}",
        "{\"a\":nulll}",
        "{\"a\":tru}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":0x1}",
        "{\"a\":1_000}",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":[,]}",
        "{\"a\":[}",
        "{\"a\":[{]}",
        "{\"a\":[{\"k\"}]}",
        "{\"a\":[{\"k\":}]}",
        "{\"a\":[{\"k\":1,}]}",
        "{\"a\":[{,}]}",
        "{\"a\":[[]}",
        "{\"a\":[\"]}",
        "{\"a\":1}}",
        "{\"a\":1}]",
        "{\"a\":1},",
        "{\"a\":1} // x",
        "/* x */ {\"a\":1}",
        "{\"a\":1}\0",
        "\0{\"a\":1}",
        "{\"a\":\u{a0}1}",
        "}",
        "]",
        ",",
        "hello",
    ] {
        let outcome = json(body.as_bytes(), &options());
        assert!(matches!(&outcome, Err(DecodeError::BadRecords { total: 1, .. })), "{body}: {outcome:?}");
        let outcome = json(format!("[{body}]").as_bytes(), &options());
        assert!(outcome.is_err(), "[{body}]: {outcome:?}");
    }
}

#[test]
fn what_is_no_object_is_no_record() {
    check(&[
        ("5", "a record is a JSON object, not a number"),
        ("\"x\"\nnull", "a record is a JSON object, not a string\na record is a JSON object, not null"),
        ("[true,[1]]", "a record is a JSON object, not a boolean\na record is a JSON object, not an array"),
    ]);
}

#[test]
fn an_answer_as_deep_as_a_record_may_be_can_be_sent_back() {
    let deep = format!("{}{}", "[".repeat(63), "]".repeat(63));
    let first = json(format!("{{\"a\":{deep}}}").as_bytes(), &options()).unwrap();
    let answer = rows(first.batch);
    assert!(answer[0].contains(&deep));
    assert_eq!(rows(json(answer[0].as_bytes(), &options()).unwrap().batch), answer);
}

#[test]
fn a_name_that_is_absent_over_and_over_takes_no_longer_than_any_other() {
    let begin = std::time::Instant::now();
    let body = format!("{{{}\"message\":\"m\"}}", "\"level\":\"\",".repeat(300_000));
    let mut options = options();
    options.limits.record_bytes = body.len();
    assert_eq!(json(body.as_bytes(), &options).unwrap().batch.len(), 1);
    // By its square it would take minutes.
    assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
}

#[test]
fn depth_is_limited_and_never_overflows_the_stack() {
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let arrays = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    for nested in [objects(64), arrays(63)] {
        assert!(json(nested.as_bytes(), &options()).is_ok());
    }
    for nested in [objects(65), arrays(64), objects(100_000), arrays(100_000)] {
        let body = format!("[{nested},{{\"level\":\"x\"}}]");
        let shown = brief(&body, &options());
        let (first, second) = shown.split_once('\n').unwrap();
        assert!(first.ends_with("nested deeper than 64 levels"), "{first}");
        assert!(second.starts_with("level: unknown level"), "{second}");
    }
    let unclosed = "[".repeat(3_000_000);
    assert!(json(unclosed.as_bytes(), &options()).is_err());
    assert!(json("{\"a\":".repeat(1_000_000).as_bytes(), &options()).is_err());
}

#[test]
fn bytes_that_are_no_utf8_are_found_where_they_stand() {
    let text = |body: &[u8]| match json(body, &options()) {
        Err(DecodeError::BadRecords { errors, .. }) => {
            errors.into_iter().map(|error| format!("{} {}", error.index, error.detail)).collect::<Vec<_>>().join("\n")
        }
        other => format!("{other:?}"),
    };
    assert_eq!(text(b"{\"a\":\"\xff\"}\n{\"a\":1}"), "0 line 1, column 7: not valid UTF-8");
    assert_eq!(text(b"[{\"a\":1},{\"a\":[\"x\xc3\"]}]"), "1 line 1, column 18: not valid UTF-8");
    assert_eq!(text(b"{\"a\":1}\n\xfe\n{\"a\":1}"), "1 line 2, column 1: not valid UTF-8");
    assert_eq!(text(b"{\"\xed\xa0\x80\":1}"), "0 line 1, column 3: not valid UTF-8");
    assert_eq!(text(b"{\"a\":\"\0\",\"b\":\"\xff\"}").lines().count(), 1);
}
