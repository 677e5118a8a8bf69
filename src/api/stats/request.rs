//! What a request for stats asks for, read from its query string.

use sluice_model::Timestamp;

use crate::api::params::{Pairs, shown};
use crate::api::selection;
use crate::error::Problem;
use crate::query::{Filter, TimeRange};
use crate::stats::{
    Aggregate, Aggregation, BUCKETS_MAX, Fill, GroupField, Named, ParseError, ROWS_MAX, Step, StepError,
    parse_aggregates, parse_fields,
};

/// The names of the parameters beside those of a selection.
const PARAMETERS: &[&str] = &["agg", "by", "step", "resolution", "tz", "fill", "top"];

/// The column of a bucket's start.
const TIME: &str = "time";

/// What one request asks for.
#[derive(Debug)]
pub(super) struct Request {
    pub filter: Filter,
    pub aggregation: Aggregation,
}

impl Request {
    /// Reads the query string of a request that arrives at `now`.
    ///
    /// # Errors
    /// A parameter is wrong.
    pub fn parse(query: &str, now: Timestamp) -> Result<Request, Problem> {
        let pairs = Pairs::parse(query, &[selection::PARAMETERS, PARAMETERS])?;
        let range = selection::range(&pairs, now)?;
        let filter = selection::filter(&pairs, range)?;
        let aggregates = match pairs.one("agg")? {
            Some(text) => parse_aggregates(text).map_err(|error| refuse("agg", text, &error))?,
            None => Aggregation::count().aggregates,
        };
        let by = match pairs.one("by")? {
            Some(text) => parse_fields(text).map_err(|error| refuse("by", text, &error))?,
            None => Vec::new(),
        };
        let step = step(&pairs)?;
        check_names(step.is_some(), &by, &aggregates)?;
        let fill = pairs.choice("fill", &[("zero", ())])?.map(|()| fill(filter.range));
        if step.is_none() && (fill.is_some() || pairs.one("tz")?.is_some()) {
            let name = if fill.is_some() { "fill" } else { "tz" };
            return Err(Problem::invalid_parameter(format!("{name}: it is of use only with a step, such as step=1h")));
        }
        if let (Some(step), Some(Fill { start: Some(start), end: Some(end) })) = (&step, fill)
            && step.buckets_between(start, end) > BUCKETS_MAX as u64
        {
            return Err(Problem::from(crate::worker::ReadError::Limit(crate::stats::LimitError::Buckets)));
        }
        let top = top(&pairs, &by)?;
        Ok(Request { filter, aggregation: Aggregation { aggregates, by, step, fill, top } })
    }
}

fn refuse(name: &str, text: &str, error: &ParseError) -> Problem {
    Problem::invalid_parameter(format!("{name}={}: {error}", shown(text)))
}

fn step(pairs: &Pairs) -> Result<Option<Step>, Problem> {
    let Some(text) = pairs.one_of(&["step", "resolution"])? else { return Ok(None) };
    let zone = pairs.one("tz")?;
    Step::parse(text, zone).map(Some).map_err(|error| {
        let (name, value) = match error {
            StepError::Period => ("step", text),
            StepError::Zone { .. } => ("tz", zone.unwrap_or_default()),
        };
        Problem::invalid_parameter(format!("{name}={}: {error}", shown(value)))
    })
}

fn fill(range: TimeRange) -> Fill {
    let bounded = |time: Timestamp, open: Timestamp| (time != open).then(|| time.as_nanos());
    Fill { start: bounded(range.start, TimeRange::ALL.start), end: bounded(range.end, TimeRange::ALL.end) }
}

fn top(pairs: &Pairs, by: &[Named<GroupField>]) -> Result<Option<usize>, Problem> {
    let Some(text) = pairs.one("top")? else { return Ok(None) };
    if by.is_empty() {
        return Err(Problem::invalid_parameter("top: it is of use only with groups, such as by=service"));
    }
    number("top", text).map(Some)
}

/// A number of groups.
///
/// # Errors
/// It is none, or not in the range.
pub(in crate::api) fn number(name: &str, text: &str) -> Result<usize, Problem> {
    match text.parse::<usize>() {
        Ok(number) if (1..=ROWS_MAX).contains(&number) => Ok(number),
        _ => Err(Problem::invalid_parameter(format!("{name}={}: use 1 to {ROWS_MAX}", shown(text)))),
    }
}

/// Each column has a name of its own.
fn check_names(has_step: bool, by: &[Named<GroupField>], aggregates: &[Named<Aggregate>]) -> Result<(), Problem> {
    let is_taken = |name: &str| (has_step && name == TIME) || aggregates.iter().any(|other| other.name == name);
    match by.iter().find(|by| is_taken(&by.name)) {
        None => Ok(()),
        Some(by) => {
            let name = shown(&by.name);
            Err(Problem::invalid_parameter(format!(
                "by: there is another column `{name}`: write attributes.{name} for the attribute"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Request, Problem> {
        Request::parse(query, "2024-10-08T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_question_is_read() {
        assert_eq!(read("").unwrap().aggregation, Aggregation::count());
        let asked = read(
            "agg=count,p95(duration_ms)&by=service,level&resolution=1h&tz=Europe/Berlin&fill=zero&top=3&start=-1d",
        )
        .unwrap()
        .aggregation;
        assert_eq!(asked.aggregates.len(), 2);
        assert_eq!(asked.by[1].meaning, GroupField::Severity);
        assert_eq!(asked.step, Some(Step::parse("1h", Some("Europe/Berlin")).unwrap()));
        let start: Timestamp = "2024-10-07T12:00:00Z".parse().unwrap();
        assert_eq!(asked.fill, Some(Fill { start: Some(start.as_nanos()), end: None }));
        assert_eq!(asked.top, Some(3));
        assert!(read("step=1h&by=attributes.time").is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, expected) in [
            ("agg=count,avgg(x)", "agg=count,avgg(x): column 7: unknown aggregate `avgg`: did you mean avg?"),
            ("by=a,,b", "by=a,,b: column 3"),
            ("step=1y", "step=1y: use a whole number with s, m, h, d or w"),
            ("step=1h&resolution=1m", "one parameter"),
            ("step=1d&tz=Europe/Belrin", "tz=Europe/Belrin: unknown time zone: did you mean Europe/Berlin?"),
            ("tz=UTC", "tz: it is of use only with a step"),
            ("fill=zero", "fill: it is of use only with a step"),
            ("fill=null&step=1h", "fill=null: use zero"),
            ("top=3", "top: it is of use only with groups"),
            ("top=0&by=service", "use 1 to 100000"),
            ("by=time&step=1h", "write attributes.time"),
            ("by=count", "write attributes.count"),
            ("aggs=count", "did you mean `agg`?"),
            ("limit=5", "unknown parameter `limit`"),
            ("q=a+OR", "q: column 5"),
            ("step=1s&fill=zero&start=2024-01-01&end=2024-02-01", "more than 11000 buckets"),
        ] {
            let problem = read(query).expect_err(query).to_string();
            assert!(problem.contains(expected), "{query}: {problem}");
        }
    }
}
