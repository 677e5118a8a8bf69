//! The commands that ask a running server: `query`, `count`, `stats`, `fields` and `export`.

mod export;
mod fields;
mod follow;
mod pages;
mod query;
mod stats;

use clap::{Args, ValueEnum};
use sluice_client::{Client, Query};
use sluice_model::{Severity, Timestamp};

use super::failure::Failure;
use super::server::ServerArgs;
use super::terminal::{ColorChoice, Edge, Screen, Wish, Zone, escape};

pub(super) use self::export::ExportArgs;
pub(super) use self::fields::FieldsArgs;
pub(super) use self::query::QueryArgs;
pub(super) use self::stats::{CountArgs, StatsArgs};

/// Which records a command is about.
#[derive(Debug, Args)]
pub(super) struct SelectionArgs {
    /// What to look for, such as 'severity>=warn timeout'; several are joined by a space [default: everything]
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
    #[command(flatten)]
    bounds: BoundsArgs,
}

/// What bounds the records, beside a query.
#[derive(Debug, Args)]
pub(super) struct BoundsArgs {
    /// From this time on: how long ago (15m, 2h30m, 7d), today, yesterday, 09:30, '2024-10-08 07:00', RFC 3339, or a number since 1970
    #[arg(long, visible_alias = "start", value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    since: Option<String>,
    /// Up to this time, included; a date is that whole day
    #[arg(long, visible_alias = "end", value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    until: Option<String>,
    /// Records of this severity, by any of its names; may repeat
    #[arg(long, value_name = "LEVEL", value_delimiter = ',', value_parser = severity, help_heading = "Selection")]
    level: Vec<Severity>,
    /// Records of this severity or a graver one
    #[arg(long, value_name = "LEVEL", value_parser = severity, help_heading = "Selection")]
    min_level: Option<Severity>,
    /// Records of this service; may repeat
    #[arg(long, value_name = "NAME", help_heading = "Selection")]
    service: Vec<String>,
}

/// In which zone times are read and shown.
#[derive(Debug, Args)]
pub(super) struct ZoneArgs {
    /// Times are universal time
    #[arg(long, conflicts_with = "tz", help_heading = "Output")]
    utc: bool,
    /// Times are those of this zone, such as Europe/Berlin [default: this machine's]
    #[arg(long, value_name = "ZONE", value_parser = zone, help_heading = "Output")]
    tz: Option<Zone>,
}

/// How things are shown.
#[derive(Debug, Args)]
pub(super) struct DisplayArgs {
    #[command(flatten)]
    zone: ZoneArgs,
    /// When colours are used
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, help_heading = "Output")]
    color: ColorChoice,
    /// Write to the terminal as it comes, without $PAGER
    #[arg(long, help_heading = "Output")]
    no_pager: bool,
}

/// The form of a table or list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TableFormat {
    /// Aligned columns, for people.
    Pretty,
    /// A JSON object a line.
    Json,
    /// A table with a header (RFC 4180).
    Csv,
}

impl ZoneArgs {
    pub(super) fn zone(&self) -> Zone {
        if self.utc { Zone::UTC } else { self.tz.unwrap_or_else(Zone::local) }
    }
}

impl DisplayArgs {
    fn screen(&self, pager: bool, at_end: bool) -> Screen {
        Screen::open(Wish { color: self.color, zone: self.zone.zone(), pager: pager && !self.no_pager, at_end })
    }
}

impl SelectionArgs {
    fn text(&self) -> String {
        self.query.join(" ")
    }

    fn to_query(&self, zone: Zone) -> Result<Query, Failure> {
        self.bounds.to_query(&self.text(), zone)
    }
}

impl BoundsArgs {
    /// The selection as a query. Relative times are fixed here, so that they are the same for all requests of a command.
    fn to_query(&self, text: &str, zone: Zone) -> Result<Query, Failure> {
        let now = Timestamp::now();
        let moment = |name: &str, text: &Option<String>, edge| match text {
            Some(text) => {
                let read = zone.moment(text, now, edge);
                read.map(Some).map_err(|error| Failure::usage(format!("--{name} {}: {error}", escape(text, false))))
            }
            None => Ok(None),
        };
        let (start, end) = (moment("since", &self.since, Edge::Start)?, moment("until", &self.until, Edge::End)?);
        let mut query = Query::new();
        query = start.into_iter().fold(query, Query::start_time);
        query = end.into_iter().fold(query, Query::end_time);
        query = self.level.iter().copied().fold(query, Query::severity);
        query = self.min_level.into_iter().fold(query, Query::min_severity);
        query = self.service.iter().fold(query, |query, service| query.service(service));
        Ok(if text.trim().is_empty() { query } else { query.text(text) })
    }
}

/// A server to ask: what fails is told at once, since somebody waits.
fn connect(server: &ServerArgs) -> Result<(Client, String), Failure> {
    server.client(|builder| builder.retries(0))
}

/// Remarks of the server, to be told once all is shown.
#[derive(Debug, Default)]
struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    fn of_answer(&mut self, incomplete: Option<&str>, hint: Option<&str>) {
        if let Some(incomplete) = incomplete {
            self.add(format!("some accepted records cannot be seen yet ({})", escape(incomplete, false)));
        }
        if let Some(hint) = hint {
            self.add(escape(hint, false));
        }
    }

    fn tell(&self) {
        self.0.iter().for_each(|note| eprintln!("sluice: {note}"));
    }
}

fn severity(name: &str) -> Result<Severity, String> {
    name.trim().parse::<Severity>().map_err(|error| error.to_string())
}

fn zone(name: &str) -> Result<Zone, String> {
    name.parse::<Zone>().map_err(|error| error.to_string())
}
