//! Questions in the language of queries, and what they mean, told row by row in the simplest way for the records of
//! [`super::model::sent`].

use proptest::prelude::*;
use serde_json::Value;
use sluice_model::{Severity, Timestamp};

use super::model::{BASE, Sent};

/// A question.
#[derive(Debug, Clone)]
pub enum Ask {
    /// Everything.
    All,
    /// A text and what it means.
    Leaf(&'static str, fn(&Sent) -> bool),
    /// The timestamp is so many ns after [`BASE`], or later.
    Since(i64),
    /// An attribute, an operator, and a number.
    Number(&'static str, &'static str, &'static str),
    /// An attribute that is there.
    Exists(&'static str),
    And(Box<Ask>, Box<Ask>),
    Or(Box<Ask>, Box<Ask>),
    Not(Box<Ask>),
}

/// The attributes of the records, and one that none has.
const NAMES: [&str; 7] = ["user.id", "user", "http.status", "tags", "", "$n", "http"];

fn words(sent: &Sent) -> Vec<String> {
    sent.message.split(' ').map(str::to_lowercase).collect()
}

fn has_word(sent: &Sent, found: fn(&str) -> bool) -> bool {
    words(sent).iter().any(|word| found(word))
}

/// The values of an attribute: one, the elements of an array, or none.
fn values(sent: &Sent, name: &str) -> Vec<String> {
    let Some((_, json)) = sent.attributes.iter().find(|(other, _)| other == name) else { return Vec::new() };
    match serde_json::from_str::<Value>(json) {
        Ok(Value::Array(elements)) => elements.iter().map(Value::to_string).collect(),
        _ => vec![json.clone()],
    }
}

fn any(sent: &Sent, name: &str, passes: impl Fn(&str) -> bool) -> bool {
    values(sent, name).iter().any(|json| passes(json))
}

/// What is asked of single fields, with its meaning.
const LEAVES: &[Ask] = &[
    Ask::Leaf("timeout", |sent| has_word(sent, |word| word == "timeout")),
    Ask::Leaf("\"TIMEOUT\"c", |sent| sent.message.split(' ').any(|word| word == "TIMEOUT")),
    Ask::Leaf("KELVIN", |sent| has_word(sent, |word| word == "kelvin")),
    Ask::Leaf("\"Größe\"", |sent| has_word(sent, |word| word == "größe")),
    Ask::Leaf("0.0.1", |sent| has_word(sent, |word| word == "10.0.0.1")),
    Ask::Leaf("\"disk timeout\"", |sent| words(sent).windows(2).any(|two| two == ["disk", "timeout"])),
    Ask::Leaf("b", |_| false),
    Ask::Leaf("\"{}*\"", |sent| sent.message.contains("{}*")),
    Ask::Leaf("time*", |sent| has_word(sent, |word| word.starts_with("time"))),
    Ask::Leaf("*out", |sent| has_word(sent, |word| word.ends_with("out"))),
    Ask::Leaf("*is*", |sent| has_word(sent, |word| word.contains("is"))),
    Ask::Leaf("10.*", |sent| has_word(sent, |word| word.starts_with("10."))),
    Ask::Leaf("dsik~", |sent| has_word(sent, |word| word == "disk")),
    Ask::Leaf("tmeuot~2", |sent| has_word(sent, |word| word == "timeout")),
    Ask::Leaf("/^disk|kelvin$/", |sent| {
        words(sent).first().is_some_and(|word| word == "disk")
            || words(sent).last().is_some_and(|word| word == "kelvin")
    }),
    Ask::Leaf("/T[A-Z]+T/c", |sent| sent.message.contains("TIMEOUT")),
    Ask::Leaf("message=\"disk\"", |sent| sent.message == "disk"),
    Ask::Leaf("message:*", |sent| !sent.message.is_empty()),
    Ask::Leaf("level=WARNING", |sent| sent.severity() == Severity::Warn),
    Ask::Leaf("severity>=warn", |sent| sent.severity() >= Severity::Warn),
    Ask::Leaf("level in (debug, FATAL)", |sent| matches!(sent.severity(), Severity::Debug | Severity::Fatal)),
    Ask::Leaf("level!=info", |sent| sent.severity() != Severity::Info),
    Ask::Leaf("level_text=info", |sent| sent.level == "info"),
    Ask::Leaf("service=api", |sent| sent.service == "api"),
    Ask::Leaf("service!=\"\"", |sent| !sent.service.is_empty()),
    Ask::Leaf("service in (auth, \"Bücher\")", |sent| matches!(sent.service.as_str(), "auth" | "Bücher")),
    Ask::Leaf("service:bücher", |sent| sent.service == "Bücher"),
    Ask::Leaf("service=~\"^a\"", |sent| sent.service.starts_with('a')),
    Ask::Leaf("service>b", |sent| sent.service.as_str() > "b"),
    Ask::Leaf("tags=x", |sent| any(sent, "tags", |json| json == "\"x\"")),
    Ask::Leaf("user=\"1.5\"", |_| false),
    Ask::Leaf("user=null", |sent| any(sent, "user", |json| matches!(json, "null" | "\"null\""))),
    Ask::Leaf("http.status=true", |sent| any(sent, "http.status", |json| matches!(json, "true" | "\"true\""))),
    Ask::Leaf("user.id:1.5", |sent| any(sent, "user.id", |json| json == "1.5")),
    Ask::Leaf("\"$n\":1*", |sent| {
        any(sent, "$n", |json| json.split(|c: char| !c.is_alphanumeric()).any(|word| word.starts_with('1')))
    }),
    Ask::Leaf("tags=~\"^[a-m]\"", |sent| {
        let first = |json: &str| serde_json::from_str::<String>(json).unwrap_or(json.to_owned()).chars().next();
        any(sent, "tags", |json| first(json).is_some_and(|c| ('a'..='m').contains(&c)))
    }),
];

fn number(json: &str) -> Option<f64> {
    // The texts of these records are no numbers, and no integer is near the literals but not the same as a float.
    if json == "1e400" { Some(f64::INFINITY) } else { json.parse().ok().filter(|value: &f64| value.is_finite()) }
}

impl Ask {
    /// The text of the query.
    pub fn text(&self) -> String {
        match self {
            Ask::All => String::new(),
            Ask::Leaf(text, _) => (*text).to_owned(),
            Ask::Since(step) => format!("timestamp>={}", Timestamp::from_nanos(BASE + step)),
            Ask::Number(name, operator, literal) => format!("{}{operator}{literal}", quoted(name)),
            Ask::Exists(name) => format!("{}:*", quoted(name)),
            Ask::And(left, right) => format!("({}) ({})", left.text(), right.text()),
            Ask::Or(left, right) => format!("({}) OR ({})", left.text(), right.text()),
            Ask::Not(inner) => format!("NOT ({})", inner.text()),
        }
    }

    /// Whether a record is asked for.
    pub fn matches(&self, sent: &Sent) -> bool {
        match self {
            Ask::All => true,
            Ask::Leaf(_, means) => means(sent),
            Ask::Since(step) => sent.ns >= BASE + step,
            Ask::Number(name, operator, literal) => {
                let wanted: f64 = literal.parse().expect("a number");
                let passes = |json: &str| {
                    number(json).is_some_and(|value| match *operator {
                        "=" | "!=" => value == wanted,
                        "<" => value < wanted,
                        ">=" => value >= wanted,
                        other => panic!("{other}"),
                    })
                };
                any(sent, name, passes) != (*operator == "!=")
            }
            Ask::Exists(name) => sent.attributes.iter().any(|(other, _)| other == name),
            Ask::And(left, right) => left.matches(sent) && right.matches(sent),
            Ask::Or(left, right) => left.matches(sent) || right.matches(sent),
            Ask::Not(inner) => !inner.matches(sent),
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// Questions of all kinds.
pub fn ask() -> impl Strategy<Value = Ask> {
    let name = prop::sample::select(NAMES.to_vec());
    let operator = prop::sample::select(vec!["=", "!=", "<", ">="]);
    let literal = prop::sample::select(vec!["0", "5", "50", "1.5", "1.50", "-3", "99.5"]);
    let leaf = prop_oneof![
        6 => prop::sample::select(LEAVES.to_vec()),
        1 => (-1_i64..8).prop_map(Ask::Since),
        4 => (name.clone(), operator, literal).prop_map(|(name, operator, literal)| Ask::Number(name, operator, literal)),
        1 => name.prop_map(Ask::Exists),
    ];
    let whole = leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Ask::And(left.into(), right.into())),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Ask::Or(left.into(), right.into())),
            inner.prop_map(|inner| Ask::Not(inner.into())),
        ]
    });
    prop_oneof![1 => Just(Ask::All), 4 => whole]
}
