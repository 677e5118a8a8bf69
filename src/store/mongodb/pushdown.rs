//! What of a query tree the server can look for itself.
//!
//! Exact are conditions on times, ids, severities, and whole texts of level, service and message, and what is made of
//! them by AND, OR and NOT. All else is a superset, which the evaluator finishes:
//! - A term is looked for by its longest plain token, in any case.
//! - An attribute is compared where it is nested. A record with attributes that are not nested exactly passes always.

use mongodb::bson::{Bson, Document, doc};
use sluice_model::Severity;

use crate::query::{Comparison, Condition, Expr, Field, Literal, Needle, SeveritySet, Term, Test};

/// How many terms are looked for by the server.
const PATTERNS_MAX: usize = 8;
/// Up to here every integer is a float, and rounding does not pass one by.
const EXACT_FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

/// What the server is told.
pub(super) struct Pushed {
    /// What it looks for; `None` is everything.
    pub(super) filter: Option<Document>,
    /// Whether that is just what the tree asks for, and not more.
    pub(super) exact: bool,
}

/// Says a tree in the server's terms, as far as it goes.
pub(super) fn push(expr: &Expr) -> Pushed {
    Pusher { patterns_left: PATTERNS_MAX }.push(expr)
}

struct Pusher {
    patterns_left: usize,
}

impl Pushed {
    fn exactly(filter: Document) -> Pushed {
        Pushed { filter: Some(filter), exact: true }
    }

    fn superset(filter: Document) -> Pushed {
        Pushed { filter: Some(filter), exact: false }
    }

    const NOTHING: Pushed = Pushed { filter: None, exact: false };
}

impl Pusher {
    fn push(&mut self, expr: &Expr) -> Pushed {
        match expr {
            Expr::All => Pushed { filter: None, exact: true },
            Expr::And(parts) => {
                let parts: Vec<Pushed> = parts.iter().map(|part| self.push(part)).collect();
                let exact = parts.iter().all(|part| part.exact);
                let filters: Vec<Document> = parts.into_iter().filter_map(|part| part.filter).collect();
                Pushed { filter: (!filters.is_empty()).then(|| doc! { "$and": filters }), exact }
            }
            Expr::Or(parts) => {
                let parts: Vec<Pushed> = parts.iter().map(|part| self.push(part)).collect();
                let exact = parts.iter().all(|part| part.exact);
                let filters: Option<Vec<Document>> = parts.into_iter().map(|part| part.filter).collect();
                Pushed { filter: filters.map(|filters| doc! { "$or": filters }), exact }
            }
            Expr::Not(inner) => match self.push(inner) {
                Pushed { filter: Some(filter), exact: true } => Pushed::exactly(doc! { "$nor": [filter] }),
                Pushed { filter: None, exact: true } => Pushed::exactly(nothing()),
                // What passes by more than it should would be too much to leave out.
                _ => Pushed::NOTHING,
            },
            Expr::Condition(condition) => self.push_condition(condition),
        }
    }

    fn push_condition(&mut self, condition: &Condition) -> Pushed {
        match condition {
            Condition::Time(comparison, time) => {
                Pushed::exactly(doc! { "ns": { operator(*comparison): time.as_nanos() } })
            }
            Condition::Id(comparison, id) => Pushed::exactly(doc! { "_id": { operator(*comparison): id.to_string() } }),
            Condition::Severity(set) => Pushed::exactly(doc! { "severity": severities(*set) }),
            Condition::Field(Field::Attribute(name), test) => push_attribute(name, test),
            Condition::Field(Field::Message, test) => self.push_text("message", test),
            Condition::Field(Field::Service, test) => self.push_text("service", test),
            Condition::Field(Field::LevelText, test) => self.push_text("level", test),
        }
    }

    fn push_text(&mut self, key: &str, test: &Test) -> Pushed {
        match test {
            Test::Exists => Pushed::exactly(doc! { key: { "$ne": "" } }),
            Test::OneOf(texts) if texts.iter().all(Literal::is_one_text) => {
                Pushed::exactly(doc! { key: one_of(texts.iter().map(|text| Bson::from(text.text())).collect()) })
            }
            Test::Contains(Needle::Term(term)) if self.patterns_left > 0 => match pattern(term) {
                Some(pattern) => {
                    self.patterns_left -= 1;
                    Pushed::superset(doc! { key: { "$regex": pattern } })
                }
                None => Pushed::NOTHING,
            },
            _ => Pushed::NOTHING,
        }
    }
}

/// A filter that nothing passes.
fn nothing() -> Document {
    doc! { "_id": { "$in": [] } }
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "$eq",
        Comparison::Less => "$lt",
        Comparison::LessEqual => "$lte",
        Comparison::Greater => "$gt",
        Comparison::GreaterEqual => "$gte",
    }
}

/// The numbers of some severities, as a condition.
pub(super) fn severities(set: SeveritySet) -> Bson {
    let wanted = Severity::ALL.into_iter().filter(|severity| set.contains(*severity));
    one_of(wanted.map(|severity| Bson::Int32(severity.number().into())).collect())
}

/// Equality for one value, so that an index gives the order of what follows it.
pub(super) fn one_of(mut values: Vec<Bson>) -> Bson {
    match (values.pop(), values.is_empty()) {
        (Some(only), true) => only,
        (Some(last), false) => {
            values.push(last);
            doc! { "$in": values }.into()
        }
        (None, _) => doc! { "$in": [] }.into(),
    }
}

/// The records whose attribute may pass: by its nested value, and those with attributes that are not nested exactly.
fn push_attribute(name: &str, test: &Test) -> Pushed {
    let elsewhere = doc! { "attributes_json": { "$exists": true } };
    if !super::attributes::is_path(name) {
        return Pushed::superset(elsewhere);
    }
    let path = format!("attributes.{name}");
    let mut either = match test {
        Test::OneOf(literals) => equal_to_any(&path, literals),
        Test::Order(comparison, literal) => ordered(&path, *comparison, literal),
        Test::Exists | Test::Contains(_) => None,
    }
    .unwrap_or_else(|| vec![doc! { path.as_str(): { "$exists": true } }]);
    either.push(elsewhere);
    Pushed::superset(doc! { "$or": either })
}

/// What equals any of the literals, and perhaps more; `None`, where the server cannot compare so.
fn equal_to_any(path: &str, literals: &[Literal]) -> Option<Vec<Document>> {
    let mut values = Vec::new();
    for literal in literals {
        if !literal.is_one_text() || literal.is_null() {
            return None;
        }
        values.push(Bson::from(literal.text()));
        values.extend(literal.as_bool().map(Bson::Boolean));
        if let Some((int, float)) = literal.as_number() {
            values.extend(int.map(Bson::Int64));
            values.extend(Some(float).filter(|float| float.is_finite()).map(Bson::Double));
        }
    }
    Some(vec![doc! { path: { "$in": values } }])
}

/// The numbers that compare so, or nearly, and all texts, as some are numbers too.
fn ordered(path: &str, comparison: Comparison, literal: &Literal) -> Option<Vec<Document>> {
    let (_, float) = literal.as_number().filter(|(_, float)| float.abs() < EXACT_FLOAT_MAX)?;
    let bound = match comparison {
        Comparison::Less | Comparison::LessEqual => "$lte",
        Comparison::Greater | Comparison::GreaterEqual => "$gte",
        Comparison::Equal => "$eq",
    };
    Some(vec![doc! { path: { bound: float } }, doc! { path: { "$gte": "" } }])
}

/// A pattern for the longest plain token of a term: every text with the term matches it.
fn pattern(term: &Term) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if term.edges() == crate::query::Edges::default() {
        let tokens = term.tokens().iter().filter(|token| token.chars().all(plain));
        return tokens.max_by_key(|token| token.len()).map(|token| pattern_of(token));
    }
    // At an open edge a token may be cut, so it is the runs of plain characters that count.
    let runs = term.text().split(|c| !plain(c)).filter(|run| !run.is_empty());
    runs.max_by_key(|run| run.len()).map(pattern_of)
}

/// Finds `token` in any case. The letters are spelled out, because servers disagree on which others fold to them.
fn pattern_of(token: &str) -> String {
    let mut pattern = String::with_capacity(4 * token.len());
    for letter in token.chars() {
        match letter.to_ascii_lowercase() {
            'i' => pattern.push_str("[iI\u{130}]"),
            'k' => pattern.push_str("[kK\u{212a}]"),
            's' => pattern.push_str("[sS\u{17f}]"),
            lower @ 'a'..='z' => pattern.extend(['[', lower, lower.to_ascii_uppercase(), ']']),
            other => pattern.push(other),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::parse;

    #[test]
    fn what_can_be_said_exactly_is_and_the_rest_is_a_superset() {
        let elsewhere = || doc! { "attributes_json": { "$exists": true } };
        let error = || doc! { "severity": 17 };
        for (query, filter, exact) in [
            ("", None, true),
            ("NOT *", Some(doc! { "_id": { "$in": [] } }), true),
            ("level=error", Some(error()), true),
            ("level!=error", Some(doc! { "$nor": [error()] }), true),
            ("level in (warn, error)", Some(doc! { "severity": { "$in": [13, 17] } }), true),
            ("timestamp>1970-01-01T00:00:00Z", Some(doc! { "ns": { "$gt": 0_i64 } }), true),
            ("id<01J9M2CN0000000000000000G7", Some(doc! { "_id": { "$lt": "01J9M2CN0000000000000000G7" } }), true),
            ("service in (a, \"5\")", Some(doc! { "service": { "$in": ["a", "5"] } }), true),
            ("service!=a OR level=error", Some(doc! { "$or": [{ "$nor": [{ "service": "a" }] }, error()] }), true),
            ("service=5s", None, false),
            ("level_text:*", None, true),
            ("message=ok", Some(doc! { "message": "ok" }), true),
            ("a1 level=error", Some(doc! { "$and": [{ "message": { "$regex": "[aA]1" } }, error()] }), false),
            ("a1 OR level=error", Some(doc! { "$or": [{ "message": { "$regex": "[aA]1" } }, error()] }), false),
            ("x.a1*", Some(doc! { "message": { "$regex": "[aA]1" } }), false),
            ("-a1", None, false),
            ("/a/", None, false),
            ("/a/ OR level=error", None, false),
            ("/a/ level=error", Some(doc! { "$and": [error()] }), false),
            ("n.a=5", Some(doc! { "$or": [{ "attributes.n.a": { "$in": ["5", 5_i64, 5.0] } }, elsewhere()] }), false),
            (
                "n<1.5",
                Some(doc! {
                    "$or": [{ "attributes.n": { "$lte": 1.5 } }, { "attributes.n": { "$gte": "" } }, elsewhere()]
                }),
                false,
            ),
            ("n:*", Some(doc! { "$or": [{ "attributes.n": { "$exists": true } }, elsewhere()] }), false),
            ("n>9e99", Some(doc! { "$or": [{ "attributes.n": { "$exists": true } }, elsewhere()] }), false),
            ("n!=5", None, false),
            ("\"$n\"=5", Some(elsewhere()), false),
        ] {
            let pushed = push(&parse(query).unwrap());
            assert_eq!((pushed.filter, pushed.exact), (filter, exact), "{query}");
        }
        let many: Vec<String> = (0..20).map(|n| format!("w{n}")).collect();
        let pushed = push(&parse(&many.join(" ")).unwrap()).filter.unwrap();
        assert_eq!(pushed.get_array("$and").unwrap().len(), PATTERNS_MAX);
    }
}
