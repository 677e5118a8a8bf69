//! A record as it came, member by member and in their order: whole, or only the fields that were asked for.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sluice_model::Severity;

/// A JSON object whose members keep their order and their exact values.
#[derive(Debug)]
pub(in crate::cli) struct Entry<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Entry<'a> {
    /// Reads an object.
    pub(in crate::cli) fn parse(line: &'a [u8]) -> Result<Entry<'a>, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// The members, in order.
    pub(in crate::cli) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// A member's value.
    pub(in crate::cli) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// A member that is text.
    pub(in crate::cli) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(text)
    }

    /// The attributes of a whole record.
    pub(in crate::cli) fn attributes(&self) -> Option<Entry<'a>> {
        serde_json::from_str(self.get("attributes")?.get()).ok()
    }

    /// Only the fields of these names, in their order, as the server selects them: fixed fields, attributes by their
    /// dotted names or as `attributes.NAME`. Those that the record lacks are left out.
    pub(in crate::cli) fn select(&self, fields: &[String]) -> Vec<(String, String)> {
        let attributes = self.attributes();
        let find = |name: &str| {
            let attribute = |name: &str| attributes.as_ref()?.get(name);
            let value = match name {
                "severity" => return severity_of(self).map(|severity| format!("\"{}\"", severity.name())),
                "level_text" => self.get("level"),
                "id" | "timestamp" | "level" | "service" | "message" | "attributes" => self.get(name),
                _ => attribute(name).or_else(|| attribute(name.strip_prefix("attributes.")?)),
            };
            value.map(|value| value.get().to_owned())
        };
        fields.iter().filter_map(|name| Some((name.clone(), find(name)?))).collect()
    }
}

/// The severity of a whole record.
fn severity_of(entry: &Entry<'_>) -> Option<Severity> {
    Severity::from_name(&entry.text("level")?)
}

/// The text of a value that is text.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    // Most texts have no escapes.
    match json.strip_prefix('"')?.strip_suffix('"') {
        Some(inner) if !inner.contains('\\') => Some(Cow::Borrowed(inner)),
        _ => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Entry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Entry<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Entry { members })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A member's name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = br#"{"id":"1","timestamp":"t","level":"WARNING","service":"s","message":"a\nb","attributes":{"n":1.0,"service":"other","a\"b":null}}"#;

    #[test]
    fn members_keep_order_and_exact_values() {
        let entry = Entry::parse(LINE).unwrap();
        assert_eq!(entry.members().next().unwrap().0, "id");
        assert_eq!(entry.text("message").unwrap(), "a\nb");
        let attributes = entry.attributes().unwrap();
        let members: Vec<_> = attributes.members().map(|(name, value)| (name.to_owned(), value.get())).collect();
        assert_eq!(
            members,
            [("n".to_owned(), "1.0"), ("service".to_owned(), "\"other\""), ("a\"b".to_owned(), "null")]
        );
        assert!(Entry::parse(b"[1]").is_err());
    }

    #[test]
    fn fields_are_selected_as_the_server_does() {
        let fields = ["n", "severity", "attributes.service", "service", "absent"].map(str::to_owned);
        let selected = Entry::parse(LINE).unwrap().select(&fields);
        let expected =
            [("n", "1.0"), ("severity", "\"WARN\""), ("attributes.service", "\"other\""), ("service", "\"s\"")];
        assert_eq!(selected, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
