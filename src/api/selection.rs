//! Which records a request is about: the parameters that all paths for reading have in common.

use sluice_model::{Severity, Timestamp};
use utoipa::IntoParams;
use xxhash_rust::xxh3::xxh3_128;

use super::params::{Pairs, shown};
use crate::error::Problem;
use crate::query::{Edge, Filter, SeveritySet, TimeRange, parse, parse_time};

const START: &[&str] = &["startTime", "start"];
const END: &[&str] = &["endTime", "end"];
const LEVEL: &[&str] = &["logLevel", "level"];

/// The names of the parameters, and their aliases.
pub(super) const PARAMETERS: &[&str] =
    &["startTime", "endTime", "logLevel", "minLevel", "service", "q", "start", "end", "level"];

/// The parameters, as they are described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes the query string, which is read pair by pair")]
pub(super) struct SelectionParams {
    /// The first moment: RFC 3339, a number of s, ms, µs or ns since 1970, `now`, or how long ago, such as `-15m`. Alias: `start`
    #[param(rename = "startTime", example = "2024-10-07T20:00:00Z")]
    start_time: Option<String>,
    /// The last moment, included; a date alone is that whole day. Alias: `end`
    #[param(rename = "endTime", example = "2024-10-08T08:00:00Z")]
    end_time: Option<String>,
    /// Records of this severity, by any of its names; several by comma or by repeating. Alias: `level`
    #[param(rename = "logLevel", explode = true, example = json!(["WARNING"]))]
    log_level: Option<Vec<String>>,
    /// Records of this severity or a graver one
    #[param(rename = "minLevel", example = "warn")]
    min_level: Option<String>,
    /// Records of this service; may repeat
    #[param(explode = true)]
    service: Option<Vec<String>>,
    /// A query: words, "quoted phrases", `pre*`, `fuzzy~` and `/expressions/` in the message; `field:word`, `field=value`, `!=`, `<`, `<=`, `>`, `>=`, `=~`, `!~`, `field:*` and `field in (a, b)`; AND, OR, NOT and brackets. What stands side by side must all hold. At most 16 KiB and 64 terms
    #[param(example = "level>=warn (timeout OR \"connection reset\") http.status>=500")]
    q: Option<String>,
}

/// The records of `range` that pass all other conditions.
///
/// # Errors
/// A parameter is wrong.
pub(super) fn filter(pairs: &Pairs, range: TimeRange) -> Result<Filter, Problem> {
    let filter = Filter {
        range,
        severities: severities(pairs)?,
        services: pairs.all(&["service"]).map(str::to_owned).collect(),
        ..Filter::default()
    };
    Ok(match pairs.one("q")? {
        Some(q) => filter.and(&parse(q).map_err(|error| Problem::invalid_parameter(format!("q: {error}")))?),
        None => filter,
    })
}

/// The times that the request is about; `now` is its own.
///
/// # Errors
/// A time is none, or they are in the wrong order.
pub(super) fn range(pairs: &Pairs, now: Timestamp) -> Result<TimeRange, Problem> {
    let moment = |names: &[&str], edge: Edge| match pairs.one_of(names)? {
        None => Ok(None),
        Some(text) => parse_time(text, now, edge).map(Some).map_err(|error| {
            let name = names.first().copied().unwrap_or_default();
            Problem::invalid_parameter(format!("{name}={}: {error}", shown(text)))
        }),
    };
    let start = moment(START, Edge::Start)?.unwrap_or(TimeRange::ALL.start);
    let end = moment(END, Edge::End)?.unwrap_or(TimeRange::ALL.end);
    if start > end {
        return Err(Problem::invalid_parameter(format!("startTime ({start}) is after endTime ({end})")));
    }
    Ok(TimeRange { start, end })
}

/// The severities that `logLevel` names, of those that `minLevel` leaves; more values of one are alternatives.
fn severities(pairs: &Pairs) -> Result<SeveritySet, Problem> {
    let read = |name: &str, value: &str| {
        // What is cut is no level either.
        shown(value.trim()).parse::<Severity>().map_err(|error| Problem::invalid_parameter(format!("{name}: {error}")))
    };
    let mut named = None;
    for value in pairs.all(LEVEL).flat_map(|list| list.split(',')) {
        named = Some(named.unwrap_or(SeveritySet::NONE).with(read("logLevel", value)?));
    }
    let mut lowest = None;
    for value in pairs.all(&["minLevel"]) {
        let severity = read("minLevel", value)?;
        lowest = Some(lowest.map_or(severity, |lowest| severity.min(lowest)));
    }
    Ok(named.unwrap_or(SeveritySet::ALL).and(lowest.map_or(SeveritySet::ALL, SeveritySet::at_least)))
}

/// The name under which a time is given, if one is.
pub(super) fn time_given(pairs: &Pairs) -> Option<&'static str> {
    [START, END].into_iter().flatten().copied().find(|name| pairs.all(&[name]).next().is_some())
}

/// A hash of the conditions as they were written, so that what is relative stays the same from page to page.
pub(super) fn hash(pairs: &Pairs) -> u128 {
    let mut text = Vec::new();
    for names in [START, END, LEVEL, &["minLevel"], &["service"], &["q"]] {
        let mut values: Vec<&str> = pairs.all(names).collect();
        values.sort_unstable();
        text.extend(values.len().to_be_bytes());
        for value in values {
            text.extend(value.len().to_be_bytes());
            text.extend(value.as_bytes());
        }
    }
    xxh3_128(&text)
}
