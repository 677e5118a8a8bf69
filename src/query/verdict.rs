//! Verdicts: what can be said of many records without a look at them.

use std::collections::BTreeSet;

use super::expr::{Condition, Expr, Field, Needle, Test};
use super::literal::Literal;
use super::{Filter, SeveritySet, Term, TimeRange};

/// What is known of some records without a look at them. Where it is not known, each method says what excludes nothing.
pub trait Summary {
    /// The times that occur lie within this range.
    fn times(&self) -> TimeRange;
    /// The severities that occur are among these.
    fn severities(&self) -> SeveritySet;
    /// Whether the service may occur.
    fn may_have_service(&self, service: &str) -> bool;
    /// Whether any record may have the attribute.
    fn may_have_attribute(&self, name: &str) -> bool;
    /// Whether every record is known to have the attribute.
    fn always_has_attribute(&self, _name: &str) -> bool {
        false
    }
    /// Whether any message may have all of these folded tokens.
    fn may_have_tokens(&self, tokens: &[String]) -> bool;

    /// Whether any message may have these folded ASCII letters side by side.
    fn may_have_letters(&self, _letters: &str) -> bool {
        true
    }

    /// How many messages have these folded tokens one after the other, with one space between them and nothing else.
    fn has_phrase(&self, _tokens: &[String]) -> Verdict {
        Verdict::Maybe
    }

    /// Whether every message has this folded token; no, where that is not known.
    fn has_token(&self, _token: &str) -> bool {
        false
    }
}

/// How many of some records pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// None of them.
    Never,
    /// It takes a look at them.
    Maybe,
    /// All of them.
    Always,
}

impl Verdict {
    fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Never, _) | (_, Verdict::Never) => Verdict::Never,
            (Verdict::Always, Verdict::Always) => Verdict::Always,
            _ => Verdict::Maybe,
        }
    }

    fn negated(self) -> Verdict {
        match self {
            Verdict::Never => Verdict::Always,
            Verdict::Maybe => Verdict::Maybe,
            Verdict::Always => Verdict::Never,
        }
    }

    fn never_unless(possible: bool) -> Verdict {
        if possible { Verdict::Maybe } else { Verdict::Never }
    }
}

impl Filter {
    /// What is known of the records that `summary` is of.
    pub fn verdict(&self, summary: &dyn Summary) -> Verdict {
        let services = if self.services.is_empty() {
            Verdict::Always
        } else {
            Verdict::never_unless(self.services.iter().any(|service| summary.may_have_service(service)))
        };
        within(summary.times(), self.range)
            .and(among(summary.severities(), self.severities))
            .and(services)
            .and(self.matching.verdict(summary))
    }
}

impl Expr {
    /// What is known of the records that `summary` is of.
    pub fn verdict(&self, summary: &dyn Summary) -> Verdict {
        match self {
            Expr::All => Verdict::Always,
            Expr::And(parts) => parts.iter().fold(Verdict::Always, |verdict, part| match verdict {
                Verdict::Never => Verdict::Never,
                verdict => verdict.and(part.verdict(summary)),
            }),
            Expr::Or(parts) => {
                let none = parts.iter().fold(Verdict::Always, |none, part| none.and(part.verdict(summary).negated()));
                none.negated()
            }
            Expr::Not(inner) => inner.verdict(summary).negated(),
            Expr::Condition(condition) => condition.verdict(summary),
        }
    }

    /// The tokens that a summary may be asked for.
    pub fn tokens(&self) -> BTreeSet<String> {
        let mut tokens = BTreeSet::new();
        for condition in self.conditions() {
            match condition {
                Condition::Field(Field::Message, Test::Contains(needle)) => {
                    tokens.extend(needle.tokens().iter().cloned());
                }
                Condition::Field(Field::Message, Test::OneOf(texts)) => {
                    let texts = texts.iter().filter(|text| text.is_one_text());
                    texts.for_each(|text| tokens.extend(Term::new(text.text()).tokens().iter().cloned()));
                }
                _ => {}
            }
        }
        tokens
    }
}

impl Condition {
    fn verdict(&self, summary: &dyn Summary) -> Verdict {
        match self {
            Condition::Time(comparison, time) => match comparison.range(*time) {
                Some(range) => within(summary.times(), range),
                None => Verdict::Never,
            },
            Condition::Id(..) => Verdict::Maybe,
            Condition::Severity(set) => among(summary.severities(), *set),
            Condition::Field(Field::Message, Test::Contains(needle)) => has_needle(summary, needle),
            Condition::Field(Field::Message, Test::OneOf(texts)) => {
                let may_be =
                    |text: &Literal| !text.is_one_text() || summary.may_have_tokens(Term::new(text.text()).tokens());
                Verdict::never_unless(texts.iter().any(may_be))
            }
            Condition::Field(Field::Service, Test::OneOf(services)) => {
                let may_be = |service: &Literal| !service.is_one_text() || summary.may_have_service(service.text());
                Verdict::never_unless(services.iter().any(may_be))
            }
            Condition::Field(Field::Attribute(name), Test::Exists) if summary.always_has_attribute(name) => {
                Verdict::Always
            }
            Condition::Field(Field::Attribute(name), _) => Verdict::never_unless(summary.may_have_attribute(name)),
            Condition::Field(..) => Verdict::Maybe,
        }
    }
}

fn has_needle(summary: &dyn Summary, needle: &Needle) -> Verdict {
    if needle.one_token().is_some_and(|token| summary.has_token(token)) {
        return Verdict::Always;
    }
    let tokens = needle.tokens().is_empty() || summary.may_have_tokens(needle.tokens());
    if !tokens || !needle.letters().iter().all(|letters| summary.may_have_letters(letters)) {
        return Verdict::Never;
    }
    needle.phrase().map_or(Verdict::Maybe, |tokens| summary.has_phrase(tokens))
}

/// Whether times that lie in `known` lie in `wanted`.
fn within(known: TimeRange, wanted: TimeRange) -> Verdict {
    if wanted.start <= known.start && known.end <= wanted.end {
        Verdict::Always
    } else {
        Verdict::never_unless(known.overlaps(wanted))
    }
}

fn among(known: SeveritySet, wanted: SeveritySet) -> Verdict {
    if known.and(wanted) == known {
        Verdict::Always
    } else {
        Verdict::never_unless(known.and(wanted) != SeveritySet::NONE)
    }
}

#[cfg(test)]
mod tests {
    use sluice_model::{Severity, Timestamp};

    use super::*;
    use crate::query::parse;

    /// Times from 10 to 20, WARN and ERROR, the services from `b` to `d`, the attribute `a`, the tokens `x` and `y`.
    struct Known;

    impl Summary for Known {
        fn times(&self) -> TimeRange {
            TimeRange { start: Timestamp::from_nanos(10_000_000_000), end: Timestamp::from_nanos(20_000_000_000) }
        }

        fn severities(&self) -> SeveritySet {
            SeveritySet::NONE.with(Severity::Warn).with(Severity::Error)
        }

        fn may_have_service(&self, service: &str) -> bool {
            ("b"..="d").contains(&service)
        }

        fn may_have_attribute(&self, name: &str) -> bool {
            name == "a"
        }

        fn may_have_tokens(&self, tokens: &[String]) -> bool {
            tokens.iter().all(|token| token == "x" || token == "y")
        }
    }

    #[test]
    fn what_is_known_decides_what_it_can() {
        for (query, verdict) in [
            ("", Verdict::Always),
            ("x y", Verdict::Maybe),
            ("x z", Verdict::Never),
            ("x OR z", Verdict::Maybe),
            ("z OR \"z y\"", Verdict::Never),
            ("NOT z", Verdict::Always),
            ("-x", Verdict::Maybe),
            ("*z*", Verdict::Maybe),
            ("/z/ z~", Verdict::Maybe),
            ("a.z*", Verdict::Never),
            ("level>=warn", Verdict::Always),
            ("level=warn", Verdict::Maybe),
            ("level<warn", Verdict::Never),
            ("level!=debug", Verdict::Always),
            ("timestamp>=10", Verdict::Always),
            ("timestamp>15", Verdict::Maybe),
            ("timestamp>20", Verdict::Never),
            ("service=a", Verdict::Never),
            ("service in (a, c)", Verdict::Maybe),
            ("service!=a", Verdict::Always),
            ("a=5", Verdict::Maybe),
            ("b=5", Verdict::Never),
            ("b!=5 level>=warn", Verdict::Always),
            ("b:* OR timestamp<=20", Verdict::Always),
            ("message=\"x z\"", Verdict::Never),
        ] {
            let expr = parse(query).unwrap();
            assert_eq!(expr.verdict(&Known), verdict, "{query}");
            let lifted = Filter::default().and(&expr);
            // A list of services is not negated, so only its presence counts.
            assert_eq!(lifted.verdict(&Known), verdict, "{query}");
        }
    }
}
