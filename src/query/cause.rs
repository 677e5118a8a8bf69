//! Why records need no look: what of a filter rules all of them out.

use super::verdict::{Summary, Verdict};
use super::{Filter, SeveritySet, TimeRange};

/// What of a filter rules out records that a [`Summary`] is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// None of them is of the times asked for.
    Time,
    /// None has a severity asked for.
    Severity,
    /// None is of a service asked for.
    Service,
    /// None has an attribute asked for.
    Attribute,
    /// No message has the tokens asked for.
    Tokens,
    /// Nothing can match the query, or it takes several of the above together.
    Query,
}

impl Cause {
    /// The name, as in answers.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Time => "time",
            Cause::Severity => "severity",
            Cause::Service => "service",
            Cause::Attribute => "attribute",
            Cause::Tokens => "tokens",
            Cause::Query => "query",
        }
    }
}

impl Filter {
    /// What rules out the records that `summary` is of, given that the verdict on them is never: the first of these that
    /// does so alone.
    pub fn cause(&self, summary: &dyn Summary) -> Cause {
        // The first one lets nothing be known at all.
        [Cause::Query, Cause::Time, Cause::Severity, Cause::Service, Cause::Attribute, Cause::Tokens]
            .into_iter()
            .find(|cause| self.verdict(&Alone { summary, cause: *cause }) == Verdict::Never)
            .unwrap_or(Cause::Query)
    }
}

/// A part of what is known.
struct Alone<'a> {
    summary: &'a dyn Summary,
    cause: Cause,
}

impl Summary for Alone<'_> {
    fn times(&self) -> TimeRange {
        if self.cause == Cause::Time { self.summary.times() } else { TimeRange::ALL }
    }

    fn severities(&self) -> SeveritySet {
        if self.cause == Cause::Severity { self.summary.severities() } else { SeveritySet::ALL }
    }

    fn may_have_service(&self, service: &str) -> bool {
        self.cause != Cause::Service || self.summary.may_have_service(service)
    }

    fn may_have_attribute(&self, name: &str) -> bool {
        self.cause != Cause::Attribute || self.summary.may_have_attribute(name)
    }

    fn may_have_tokens(&self, tokens: &[String]) -> bool {
        self.cause != Cause::Tokens || self.summary.may_have_tokens(tokens)
    }
}

#[cfg(test)]
mod tests {
    use sluice_model::{Severity, Timestamp};

    use super::*;
    use crate::query::parse;

    /// Times from 10 s to 20 s, WARN, the service `b`, the attribute `a`, the token `x`.
    struct Known;

    impl Summary for Known {
        fn times(&self) -> TimeRange {
            TimeRange { start: Timestamp::from_nanos(10_000_000_000), end: Timestamp::from_nanos(20_000_000_000) }
        }

        fn severities(&self) -> SeveritySet {
            SeveritySet::NONE.with(Severity::Warn)
        }

        fn may_have_service(&self, service: &str) -> bool {
            service == "b"
        }

        fn may_have_attribute(&self, name: &str) -> bool {
            name == "a"
        }

        fn may_have_tokens(&self, tokens: &[String]) -> bool {
            tokens.iter().all(|token| token == "x")
        }
    }

    #[test]
    fn the_first_thing_that_rules_all_out_alone_is_the_cause() {
        for (query, expected) in [
            ("timestamp>1970-01-01T00:01:00Z", Cause::Time),
            ("timestamp>1970-01-01T00:01:00Z y", Cause::Time),
            ("level=error", Cause::Severity),
            ("NOT level=warn", Cause::Severity),
            ("service=c", Cause::Service),
            ("x service=c", Cause::Service),
            ("c=5", Cause::Attribute),
            ("x y", Cause::Tokens),
            ("message=y", Cause::Tokens),
            ("c=5 OR d=5", Cause::Attribute),
            ("c=5 OR y", Cause::Query),
            ("level=error level=info", Cause::Query),
            ("NOT *", Cause::Query),
        ] {
            let filter = Filter::default().and(&parse(query).unwrap());
            assert_eq!(filter.verdict(&Known), Verdict::Never, "{query}");
            assert_eq!(filter.cause(&Known), expected, "{query}");
        }
    }
}
