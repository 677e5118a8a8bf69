//! Whatever is sent comes back, and what comes back can be sent.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;
use sluice_model::{RecordId, RunId};

use super::options;
use crate::batch::{Records, json_rows};
use crate::decode::{Options, json};

fn generous() -> Options {
    let mut options = options();
    options.limits.record_bytes = 1 << 20;
    options.limits.record_attributes = 1000;
    options.limits.batch_attribute_names = 10_000;
    options
}

/// Exact JSON texts, so that a number's digits are compared too.
fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| Value::from(value).to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        prop::sample::select(vec!["null", "true", "false", "{}", "[]"]).prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let list = prop::collection::vec(scalar(), 0..4).prop_map(|items| format!("[{}]", items.join(",")));
    prop_oneof![4 => scalar(), 1 => list]
}

fn attributes() -> impl Strategy<Value = BTreeMap<String, String>> {
    let name = prop_oneof![
        any::<String>(),
        "[a-c.]{0,4}",
        prop::sample::select(vec!["level", "message", "id", "attributes"]).prop_map(str::to_owned)
    ];
    prop::collection::btree_map(name, value(), 0..8)
}

fn object(members: &BTreeMap<String, String>) -> String {
    let member = |(name, value): (&String, &String)| format!("{}:{value}", serde_json::to_string(name).unwrap());
    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
}

fn decode(body: &[u8]) -> Records {
    let first = RecordId { run: RunId::from_bytes([7; RunId::BYTES]), sequence: 40 };
    Records::numbered(first, json(body, &generous()).unwrap().batch)
}

proptest! {
    #[test]
    fn attributes_come_back_exactly(all in prop::collection::vec(attributes(), 1..6)) {
        let body: Vec<String> =
            all.iter().map(|members| format!("{{\"message\":\"m\",\"attributes\":{}}}", object(members))).collect();
        let records = decode(format!("[{}]", body.join(", ")).as_bytes());
        let written = json_rows(&records);
        for (row, members) in written.iter().zip(&all) {
            let expected = format!("\"attributes\":{}}}", object(members));
            prop_assert!(row.ends_with(&expected), "{} does not end with {}", row, expected);
        }
        // The answer is sent back in, as a stream and as an array: the same records.
        prop_assert_eq!(json_rows(&decode(written.join("\n").as_bytes())), written.clone());
        prop_assert_eq!(json_rows(&decode(format!("[{}]", written.join(",")).as_bytes())), written);
    }

    #[test]
    fn fixed_fields_come_back_exactly(nanos: i64, service: String, message: String, level in "(?i)(warn|debug|err|f|30)") {
        let sent = serde_json::json!({"ts": sluice_model::Timestamp::from_nanos(nanos).to_string(), "lvl": level, "service_name": service, "msg": message});
        let records = decode(sent.to_string().as_bytes());
        prop_assert_eq!(records.logs.timestamps(), [nanos]);
        prop_assert_eq!(records.logs.levels().value(0), level);
        prop_assert_eq!(records.logs.services().value(0), service);
        prop_assert_eq!(records.logs.messages().value(0), message);
    }

    #[test]
    fn what_is_taken_is_what_serde_json_takes(text in "[\\[\\]{}\",:\\\\u0-9a-e.+\\- \\t]{0,24}") {
        let body = format!("{{\"x\":{text}}}");
        let ours = json(body.as_bytes(), &generous()).is_ok();
        let theirs: Result<BTreeMap<String, Box<serde_json::value::RawValue>>, _> = serde_json::from_str(&body);
        // A body of several values is one for us only; a clash of names or an empty record is none for serde_json.
        if theirs.is_err() && ours {
            let several = serde_json::Deserializer::from_str(&body).into_iter::<&serde_json::value::RawValue>();
            prop_assert!(several.into_iter().all(|value| value.is_ok()), "{} was taken", body);
        }
        if let Ok(members) = theirs && members.len() == 1 && !ours {
            let strict: Result<Value, _> = serde_json::from_str(&body);
            let reason = json(body.as_bytes(), &generous()).unwrap_err();
            let twice = format!("{reason:?}").contains("twice");
            let number_too_large = strict.as_ref().is_err_and(|error| error.to_string().contains("number out of range"));
            prop_assert!(twice || (strict.is_err() && !number_too_large), "{} was refused: {:?}", body, reason);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), skip: bool) {
        let mut options = generous();
        options.skip_invalid = skip;
        let _ = json(&bytes, &options);
    }

    #[test]
    fn no_change_of_a_body_panics(
        members in attributes(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        end: prop::sample::Index,
        skip: bool,
    ) {
        let line = format!("{{\"ts\":1,\"level\":\"info\",\"msg\":\"a\\n\",\"attributes\":{}}}", object(&members));
        let mut options = generous();
        options.skip_invalid = skip;
        for body in [format!("[{line},{line}]"), format!("{line}\n{line}\n")] {
            let mut bytes = body.into_bytes();
            for (at, byte) in &cuts {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if let Ok(decoded) = json(&bytes, &options) {
                let rows = json_rows(&Records::numbered(
                    RecordId { run: RunId::from_bytes([0; RunId::BYTES]), sequence: 0 },
                    decoded.batch,
                ));
                prop_assert!(rows.iter().all(|row| serde_json::from_str::<&serde_json::value::RawValue>(row).is_ok()));
            }
            bytes.truncate(end.index(bytes.len()));
            let _ = json(&bytes, &options);
        }
    }
}
