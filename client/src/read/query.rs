//! What to look for.

use std::fmt::Write;

use sluice_model::{Severity, Timestamp};

/// What to look for; everything, newest first, unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct Query {
    parameters: Vec<(&'static str, String)>,
}

/// In which order matches come: by timestamp, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Newest first, the server's default.
    Descending,
    /// Oldest first.
    Ascending,
}

impl Query {
    /// Looks for everything.
    pub fn new() -> Query {
        Query::default()
    }

    /// Only records at or after `time`.
    pub fn start_time(self, time: Timestamp) -> Query {
        self.with("startTime", time.to_string())
    }

    /// Only records at or before `time`.
    pub fn end_time(self, time: Timestamp) -> Query {
        self.with("endTime", time.to_string())
    }

    /// Only records of this severity; given again, of any of them.
    pub fn severity(self, severity: Severity) -> Query {
        self.with("logLevel", severity.name().to_owned())
    }

    /// Only records of this severity or a graver one.
    pub fn min_severity(self, severity: Severity) -> Query {
        self.with("minLevel", severity.name().to_owned())
    }

    /// Only records of this service; given again, of any of them.
    pub fn service(self, service: &str) -> Query {
        self.with("service", service.to_owned())
    }

    /// Only records that match this query text.
    pub fn text(self, q: &str) -> Query {
        self.with("q", q.to_owned())
    }

    /// In this order.
    pub fn order(self, order: Order) -> Query {
        let order = match order {
            Order::Descending => "desc",
            Order::Ascending => "asc",
        };
        self.with("order", order.to_owned())
    }

    /// At most so many: on a page, or of a stream as a whole.
    pub fn limit(self, limit: usize) -> Query {
        self.with("limit", limit.to_string())
    }

    /// Only these fields of each record, in this order; a fixed field, an attribute's dotted name, or `attributes.NAME`.
    /// What comes is then no whole record any more: see [`crate::Client::retrieve`].
    pub fn fields<S: AsRef<str>>(self, names: impl IntoIterator<Item = S>) -> Query {
        let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
        self.with("fields", names.join(","))
    }

    pub(crate) fn with(mut self, name: &'static str, value: String) -> Query {
        self.parameters.push((name, value));
        self
    }

    /// The URL's part behind the server's name: `path` with all that is asked.
    pub(crate) fn to_path(&self, path: &str) -> String {
        let mut path = path.to_owned();
        for (index, (name, value)) in self.parameters.iter().enumerate() {
            path.push(if index == 0 { '?' } else { '&' });
            path.push_str(name);
            path.push('=');
            push_encoded(&mut path, value);
        }
        path
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub(crate) fn push_encoded(path: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_path_with_everything_encoded() {
        assert_eq!(Query::new().to_path("/logs/count"), "/logs/count");
        let query = Query::new()
            .start_time(Timestamp::from_nanos(0))
            .severity(Severity::Warn)
            .severity(Severity::Error)
            .text("a&b \"é\"")
            .order(Order::Ascending)
            .limit(5)
            .fields(["id", "user.id"]);
        assert_eq!(
            query.to_path("/logs/retrieve"),
            "/logs/retrieve?startTime=1970-01-01T00%3A00%3A00.000000000Z&logLevel=WARN&logLevel=ERROR\
             &q=a%26b%20%22%C3%A9%22&order=asc&limit=5&fields=id%2Cuser.id"
        );
    }
}
