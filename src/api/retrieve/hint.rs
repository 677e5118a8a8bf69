//! What is told beside an answer: fields that the query names and no record has.

use actix_web::HttpResponseBuilder;
use actix_web::http::header::HeaderName;

use crate::query::Query;
use crate::worker::Reader;

/// Says which fields of the query no record has.
const HINT: HeaderName = HeaderName::from_static("sluice-hint");

/// Names that senders use for what every record has, and what it is called in queries.
const USUAL: &[(&str, &[&str])] = &[
    ("timestamp", &["@timestamp", "time", "ts"]),
    ("level", &["lvl", "loglevel", "logLevel", "detected_level"]),
    ("service", &["serviceName", "service_name", "service.name", "app", "job"]),
    ("message", &["msg", "log"]),
];

/// Adds the header, if the first page is asked for and a field of the query is nowhere. That it cannot be found out is no
/// reason to refuse the answer.
pub(in crate::api) async fn tell_unknown(response: &mut HttpResponseBuilder, reader: &Reader, query: &Query) {
    let names: Vec<String> = query.filter.matching.columns().attributes.into_iter().collect();
    if names.is_empty() || query.after.is_some() {
        return;
    }
    let unknown = reader.unknown_attributes(names).await.unwrap_or_default();
    if !unknown.is_empty() {
        response.insert_header((HINT, hint(&unknown)));
    }
}

/// The value of [`HINT`].
fn hint(unknown: &[String]) -> String {
    let each = unknown.iter().map(|name| {
        let usual = USUAL.iter().find(|(_, names)| names.contains(&name.as_str()));
        let instead = usual.map_or_else(String::new, |(field, _)| format!(" (did you mean {field}?)"));
        format!("no record has the field \"{}\"{instead}", name.escape_default())
    });
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_fit_for_a_header() {
        let unknown = ["msg".to_owned(), "ü\n\"".to_owned()];
        let expected = r#"no record has the field "msg" (did you mean message?); no record has the field "\u{fc}\n\"""#;
        assert_eq!(hint(&unknown), expected);
    }
}
