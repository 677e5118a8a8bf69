//! The parameters of a request, from its query string or from a JSON object.

mod json;

use std::borrow::Cow;

use actix_web::web;

use crate::error::Problem;

/// How many parameters a query string may have.
const PAIRS_MAX: usize = 256;

/// The pairs of a request, decoded, in order; all names are known ones.
#[derive(Debug)]
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Takes a query string apart.
    ///
    /// # Errors
    /// A name that is in none of the lists `known`; the problem says the nearest one.
    pub fn parse(query: &str, known: &[&[&str]]) -> Result<Pairs, Problem> {
        let known = known.concat();
        let pairs = web::Query::<Vec<(String, String)>>::from_query(query)
            .map_err(|error| Problem::invalid_parameter(format!("the query string cannot be read: {error}")))?
            .into_inner();
        if pairs.len() > PAIRS_MAX {
            return Err(Problem::invalid_parameter(format!("more than {PAIRS_MAX} parameters")));
        }
        match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(Pairs(pairs)),
            Some((unknown, _)) => {
                let beside_q = pairs.iter().any(|(name, _)| name == "q");
                let mut detail = explain_unknown("parameter", unknown, &known);
                if beside_q {
                    detail.push_str("; if it is a part of q, write the `&` there as AND or %26");
                }
                Err(Problem::invalid_parameter(detail))
            }
        }
    }

    /// Takes a JSON object apart, whose members are parameters: texts, numbers, or lists of them for the names in
    /// `lists`, which may repeat.
    ///
    /// # Errors
    /// It is none; a name is in none of the lists `known` (the problem says the nearest one) or stands twice; a value is
    /// of another type.
    pub fn from_json(object: &[u8], known: &[&[&str]], lists: &[&str]) -> Result<Pairs, Problem> {
        json::pairs(object, &known.concat(), lists).map(Pairs)
    }

    /// The values given under any of `names`, which are aliases.
    pub fn all<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value.as_str())
    }

    /// The one value of `name`, if it is given.
    ///
    /// # Errors
    /// It is given more than once.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        self.one_of(&[name])
    }

    /// The one value given under any of `names`, which are aliases, if there is one.
    ///
    /// # Errors
    /// There are more.
    pub fn one_of(&self, names: &[&str]) -> Result<Option<&str>, Problem> {
        let mut given = self.0.iter().filter(|(name, _)| names.contains(&name.as_str()));
        match (given.next(), given.next()) {
            (Some((first, _)), Some((second, _))) if first != second => {
                Err(Problem::invalid_parameter(format!("{first} and {second} are one parameter: give one of them")))
            }
            (Some((name, _)), Some(_)) => Err(Problem::invalid_parameter(format!("{name} is given more than once"))),
            (first, _) => Ok(first.map(|(_, value)| value.as_str())),
        }
    }

    /// The number that `name` has, if it is given.
    ///
    /// # Errors
    /// It is given more than once, or is no number from 0 to `most`.
    pub fn count(&self, name: &str, most: usize) -> Result<Option<usize>, Problem> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        match text.parse::<usize>() {
            Ok(count) if count <= most => Ok(Some(count)),
            _ => Err(Problem::invalid_parameter(format!("{name}={}: use 0 to {most}", shown(text)))),
        }
    }

    /// What the value of `name` stands for, if it is given.
    ///
    /// # Errors
    /// It is given more than once, or is none of `choices`.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        match choices.iter().find(|(choice, _)| *choice == value) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let allowed: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
                let detail = format!("{name}={}: use {}", shown(value), allowed.join(" or "));
                Err(Problem::invalid_parameter(detail))
            }
        }
    }
}

/// A value as errors show it: not at any length.
pub(super) fn shown(value: &str) -> Cow<'_, str> {
    const SHOWN_CHARS_MAX: usize = 80;
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        None => Cow::Borrowed(value),
        Some((end, _)) => Cow::Owned(format!("{}…", value.get(..end).unwrap_or_default())),
    }
}

/// Says that a parameter or member is unknown, and which is meant, perhaps.
fn explain_unknown(what: &str, unknown: &str, known: &[&str]) -> String {
    let mut detail = format!("unknown {what} `{}`", shown(unknown));
    match nearest(unknown, known) {
        Some(name) => detail.push_str(&format!(": did you mean `{name}`?")),
        None if known.is_empty() => detail.push_str(": this path takes none"),
        None => detail.push_str(&format!(": known are {}", known.join(", "))),
    }
    detail
}

/// The known name that is most like `unknown`, if one is like it.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    const LIKENESS_MIN: f64 = 0.75;
    let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    let unknown = plain(shown(unknown).as_ref());
    let likeness = |name: &&str| strsim::jaro_winkler(&unknown, &plain(name));
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= LIKENESS_MIN).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["startTime", "start", "minLevel", "limit", "q", "order"];

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        for (query, expected) in [
            ("starttime=x", "did you mean `startTime`?"),
            ("start_time=x", "did you mean `startTime`?"),
            ("minlevle=x", "did you mean `minLevel`?"),
            ("limt=1", "did you mean `limit`?"),
            ("zzz=1", "known are startTime, start,"),
            ("q=a&b", "%26"),
            ("q=a&limits=1", "did you mean `limit`?"),
        ] {
            let problem = Pairs::parse(query, &[KNOWN]).expect_err(query).to_string();
            assert!(problem.contains(expected), "{query}: {problem}");
        }
        let alone = Pairs::parse("b", &[KNOWN]).unwrap_err().to_string();
        assert!(!alone.contains("%26"), "{alone}");
        assert!(Pairs::parse("a=1", &[]).unwrap_err().to_string().contains("takes none"));
    }
}
