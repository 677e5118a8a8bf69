//! Parameters as the members of a JSON object.

use std::collections::BTreeSet;
use std::fmt::{self, Formatter};

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{explain_unknown, shown};
use crate::error::{Problem, ProblemKind};

/// How many values an object may have, with those of its lists.
const VALUES_MAX: usize = 4096;

/// The pairs of an object; a list is as many pairs as it has values.
pub(super) fn pairs(object: &[u8], known: &[&str], lists: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let members = members(object)
        .map_err(|error| Problem::new(ProblemKind::Malformed, format!("the body is no JSON object: {error}")))?;
    let mut pairs = Vec::with_capacity(members.len());
    let mut seen = BTreeSet::new();
    for (name, value) in &members {
        if !known.contains(&name.as_str()) {
            return Err(Problem::invalid_parameter(explain_unknown("member", name, known)));
        }
        if !seen.insert(name) {
            return Err(Problem::invalid_parameter(format!("{name} stands twice")));
        }
        let may_repeat = lists.contains(&name.as_str());
        for value in values(name, value, may_repeat)? {
            if pairs.len() == VALUES_MAX {
                return Err(Problem::invalid_parameter(format!("{name}: more than {VALUES_MAX} values in all")));
            }
            pairs.push((name.clone(), value));
        }
    }
    Ok(pairs)
}

/// The values of a member: one, or those of its list.
fn values(name: &str, json: &RawValue, may_repeat: bool) -> Result<Vec<String>, Problem> {
    if let Some(value) = scalar(json) {
        return Ok(vec![value]);
    }
    let list = Some(json).filter(|json| may_repeat && json.get().starts_with('['));
    let list = list.and_then(|json| serde_json::from_str::<Vec<Box<RawValue>>>(json.get()).ok());
    let values = list.and_then(|list| list.iter().map(|value| scalar(value)).collect());
    values.ok_or_else(|| {
        let or_list = if may_repeat { ", or a list of them" } else { "" };
        Problem::invalid_parameter(format!("{name}: {} is not a text or a number{or_list}", shown(json.get())))
    })
}

/// A text without its quotes and escapes, or a number as it is written.
fn scalar(json: &RawValue) -> Option<String> {
    match json.get().as_bytes().first()? {
        b'"' => serde_json::from_str(json.get()).ok(),
        b'-' | b'0'..=b'9' => Some(json.get().to_owned()),
        _ => None,
    }
}

/// All members of an object in their order, also those of the same name.
fn members(object: &[u8]) -> Result<Vec<(String, Box<RawValue>)>, serde_json::Error> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, Box<RawValue>)>;

        fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = object.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }

    let mut reader = serde_json::Deserializer::from_slice(object);
    let members = reader.deserialize_map(Members)?;
    reader.end()?;
    Ok(members)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: &[&str] = &["startTime", "limit", "q", "service"];

    fn read(object: &str) -> Result<Vec<(String, String)>, Problem> {
        pairs(object.as_bytes(), KNOWN, &["service"])
    }

    #[test]
    fn members_are_parameters() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (object, expected) in [
            ("{}", vec![]),
            (" {\"q\":\"a \\\"b\\\" \\u00fc\"} ", vec![pair("q", "a \"b\" ü")]),
            (
                "{\"limit\":10,\"startTime\":1728338400.123456789}",
                vec![pair("limit", "10"), pair("startTime", "1728338400.123456789")],
            ),
            ("{\"service\":[\"a,b\",7]}", vec![pair("service", "a,b"), pair("service", "7")]),
            ("{\"service\":\"a\"}", vec![pair("service", "a")]),
            ("{\"service\":[]}", vec![]),
        ] {
            assert_eq!(read(object).unwrap(), expected, "{object}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (object, kind, expected) in [
            ("", ProblemKind::Malformed, "no JSON object"),
            ("[]", ProblemKind::Malformed, "expected an object"),
            ("{\"q\":1", ProblemKind::Malformed, "EOF"),
            ("{} {}", ProblemKind::Malformed, "trailing"),
            ("{\"limits\":1}", ProblemKind::InvalidParameter, "unknown member `limits`: did you mean `limit`?"),
            ("{\"zzz\":1}", ProblemKind::InvalidParameter, "known are startTime, limit, q, service"),
            ("{\"q\":\"a\",\"q\":\"a\"}", ProblemKind::InvalidParameter, "q stands twice"),
            ("{\"q\":null}", ProblemKind::InvalidParameter, "q: null is not a text or a number"),
            ("{\"q\":true}", ProblemKind::InvalidParameter, "q: true is not"),
            ("{\"q\":[\"a\"]}", ProblemKind::InvalidParameter, "q: [\"a\"] is not a text or a number"),
            ("{\"q\":{}}", ProblemKind::InvalidParameter, "q: {} is not"),
            ("{\"service\":[\"a\",null]}", ProblemKind::InvalidParameter, "or a list of them"),
            ("{\"service\":[[\"a\"]]}", ProblemKind::InvalidParameter, "service: [[\"a\"]] is not"),
        ] {
            let problem = read(object).expect_err(object);
            assert_eq!(problem.kind(), kind, "{object}");
            assert!(problem.to_string().contains(expected), "{object}: {problem}");
        }
        let many = format!("{{\"service\":[{}1]}}", "1,".repeat(VALUES_MAX));
        assert!(read(&many).unwrap_err().to_string().contains("more than 4096 values"));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in "[\\[\\]{}\":,a-z0-9 \\\\.-]{0,40}") {
            let _ = read(&body);
        }
    }
}
