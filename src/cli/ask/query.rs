//! `sluice query`: finds records and shows them.

use std::io::Write;

use clap::{Args, ValueEnum};
use sluice_client::{Form, Order, Query};

use super::pages::{Asked, PAGE_RECORDS_MAX, Pages};
use super::{DisplayArgs, Notes, SelectionArgs, connect, follow};
use crate::cli::failure::Failure;
use crate::cli::server::ServerArgs;
use crate::cli::terminal::{Pretty, Screen, escape, is_unsafe};

/// How many records a terminal gets unless told otherwise.
const TERMINAL_LIMIT: usize = 100;
/// How many bytes of records are held to turn their order around.
const TURNED_BYTES_MAX: usize = 256 << 20;

/// `sluice query`.
#[derive(Debug, Args)]
pub(in crate::cli) struct QueryArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Show at most this many; 0 is all [default: the newest 100 on a terminal, else all]
    #[arg(short = 'n', long, value_name = "N", help_heading = "Selection")]
    limit: Option<usize>,
    /// Newest first (desc) or oldest first (asc), of which --limit takes the first [default: the newest, shown oldest first]
    #[arg(long, value_name = "ORDER", value_enum, help_heading = "Selection")]
    order: Option<OrderChoice>,
    /// Show these fields only: timestamp, level, severity, service, message, id, or an attribute's name
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "Output")]
    fields: Vec<String>,
    /// [default: pretty on a terminal, else json, an object a line]
    #[arg(long, value_name = "FORMAT", value_enum, help_heading = "Output")]
    format: Option<QueryFormat>,
    /// Go on with what is accepted from now on
    #[arg(short, long, conflicts_with_all = ["since", "until", "order", "limit"], help_heading = "Selection")]
    follow: bool,
    /// With --follow, begin with this many of the newest
    #[arg(long, value_name = "N", default_value_t = 10, requires = "follow", help_heading = "Selection")]
    last: usize,
    #[command(flatten)]
    display: DisplayArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The form of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum QueryFormat {
    /// Aligned columns, for people.
    Pretty,
    /// A JSON object a line, for programs.
    Json,
    /// A table with a header (RFC 4180).
    Csv,
    /// A line of text a record, in universal time.
    Text,
}

/// The order of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum OrderChoice {
    /// Newest first.
    Desc,
    /// Oldest first.
    Asc,
}

impl From<OrderChoice> for Order {
    fn from(choice: OrderChoice) -> Order {
        match choice {
            OrderChoice::Desc => Order::Descending,
            OrderChoice::Asc => Order::Ascending,
        }
    }
}

/// What is asked of the server, and what is done with it.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    order: OrderChoice,
    limit: Option<usize>,
    /// Whether what comes newest first is shown oldest first.
    turned: bool,
}

impl Plan {
    fn new(order: Option<OrderChoice>, limit: Option<usize>, is_terminal: bool) -> Result<Plan, Failure> {
        let limit = limit.or(is_terminal.then_some(TERMINAL_LIMIT)).filter(|limit| *limit > 0);
        match (order, limit) {
            (Some(order), limit) => Ok(Plan { order, limit, turned: false }),
            (None, None) => Ok(Plan { order: OrderChoice::Asc, limit: None, turned: false }),
            (None, Some(limit)) if limit <= PAGE_RECORDS_MAX => {
                Ok(Plan { order: OrderChoice::Desc, limit: Some(limit), turned: true })
            }
            (None, Some(limit)) => Err(Failure::usage(format!(
                "--limit {limit}: above {PAGE_RECORDS_MAX} say which: --order desc for the newest, asc for the oldest"
            ))),
        }
    }
}

impl QueryArgs {
    /// Shows what is found.
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        let query = self.selection.to_query(self.display.zone.zone())?;
        let (client, url) = connect(&self.server)?;
        let implied_order = self.order.is_none();
        let screen = self.display.screen(!self.follow, implied_order);
        let format = self.format.unwrap_or(if screen.is_terminal { QueryFormat::Pretty } else { QueryFormat::Json });
        let text = self.selection.text();
        if self.follow {
            let writer = Writer::new(screen, format, &self.fields);
            return follow::run(&client, &url, &text, &query, self.last, writer);
        }
        let plan = Plan::new(self.order, self.limit, screen.is_terminal)?;
        let query = query.order(plan.order.into());
        let query = if self.fields.is_empty() { query } else { query.fields(&self.fields) };
        let form = match format {
            QueryFormat::Pretty | QueryFormat::Json => Form::Ndjson,
            QueryFormat::Csv => Form::Csv,
            QueryFormat::Text => Form::Text,
        };
        let asked = Asked { client: &client, url: &url, text: &text, form };
        self.show(asked, query, &plan, Writer::new(screen, format, &[]))
    }

    fn show(&self, asked: Asked<'_>, query: Query, plan: &Plan, mut writer: Writer) -> Result<(), Failure> {
        let mut notes = Notes::default();
        let mut pages = Pages::open(asked, query, plan.limit, &mut notes)?;
        if let Some(header) = pages.header() {
            writer.line(header)?;
        }
        let shown = if plan.turned { turned(&mut pages, &mut writer)? } else { in_turn(&mut pages, &mut writer)? };
        if pages.has_more() {
            let which = if plan.order == OrderChoice::Desc { "newest" } else { "oldest" };
            notes.add(format!("these are the {which} {shown}, there are more (--limit N, 0 for all)"));
        }
        writer.finish()?;
        notes.tell();
        Ok(())
    }
}

fn in_turn(pages: &mut Pages<'_>, writer: &mut Writer) -> Result<usize, Failure> {
    let mut shown = 0;
    while let Some(record) = pages.next()? {
        writer.line(record)?;
        shown += 1;
    }
    Ok(shown)
}

/// Shows the records in the opposite order, which takes all of them first.
fn turned(pages: &mut Pages<'_>, writer: &mut Writer) -> Result<usize, Failure> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(record) = pages.next()? {
        bytes += record.len();
        if bytes > TURNED_BYTES_MAX {
            return Err(Failure::usage("the records are too large to be turned around: use --order asc or desc"));
        }
        writer.make_room(record);
        records.push(record.to_vec());
    }
    records.iter().rev().try_for_each(|record| writer.line(record))?;
    Ok(records.len())
}

/// Writes records to the screen.
pub(super) struct Writer {
    screen: Screen,
    format: QueryFormat,
    pretty: Pretty,
    /// The fields to select here, where the server does not.
    fields: Vec<String>,
    text: String,
}

impl Writer {
    pub(super) fn new(screen: Screen, format: QueryFormat, fields: &[String]) -> Writer {
        Writer { pretty: Pretty::new(screen.look), screen, format, fields: fields.to_vec(), text: String::new() }
    }

    /// In which form it writes.
    pub(super) fn format(&self) -> QueryFormat {
        self.format
    }

    fn make_room(&mut self, record: &[u8]) {
        if self.format == QueryFormat::Pretty {
            self.pretty.make_room(record);
        }
    }

    /// Writes a record, or the header of a table.
    pub(super) fn line(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.text.clear();
        let selected = if self.fields.is_empty() { None } else { follow::select(record, &self.fields) };
        match (self.format, selected) {
            (QueryFormat::Pretty, Some(fields)) => self.pretty.write_fields(&fields, &mut self.text),
            (QueryFormat::Pretty, None) => {
                if let Err(error) = self.pretty.write(record, &mut self.text) {
                    return Err(Failure::unavailable(format!("the server sent what is no record: {error}")));
                }
            }
            (_, Some(fields)) => self.text = follow::to_json(&fields),
            (_, None) if !self.screen.is_terminal => {
                let end = self.line_end().as_bytes();
                let written = self.screen.write_all(record).and_then(|()| self.screen.write_all(end));
                return written.map_err(|error| Failure::output(&error));
            }
            (_, None) => self.text.push_str(&String::from_utf8_lossy(record)),
        }
        if self.format != QueryFormat::Pretty {
            if self.screen.is_terminal {
                self.text = harmless(&self.text, self.format);
            }
            self.text.push_str(self.line_end());
        }
        self.screen.write_all(self.text.as_bytes()).map_err(|error| Failure::output(&error))
    }

    /// Lines end as the server ends them.
    fn line_end(&self) -> &'static str {
        if self.format == QueryFormat::Csv { "\r\n" } else { "\n" }
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.screen.flush().map_err(|error| Failure::output(&error))
    }

    pub(super) fn finish(self) -> Result<(), Failure> {
        self.screen.finish().map_err(|error| Failure::output(&error))
    }
}

/// A record for a terminal. JSON stays JSON; a row of CSV keeps its line feeds, which stand in quotes.
fn harmless(text: &str, format: QueryFormat) -> String {
    match format {
        QueryFormat::Json if text.chars().any(is_unsafe) => {
            let spell = |letter: char| match letter {
                letter if is_unsafe(letter) => format!("\\u{:04x}", u32::from(letter)),
                letter => letter.to_string(),
            };
            text.chars().map(spell).collect()
        }
        QueryFormat::Json => text.to_owned(),
        _ => text.split('\n').map(|line| escape(line, false)).collect::<Vec<_>>().join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_the_newest_hundred_oldest_first() {
        let plan = |order, limit, terminal| Plan::new(order, limit, terminal).unwrap();
        let (asc, desc) = (OrderChoice::Asc, OrderChoice::Desc);
        assert_eq!(plan(None, None, true), Plan { order: desc, limit: Some(100), turned: true });
        assert_eq!(plan(None, None, false), Plan { order: asc, limit: None, turned: false });
        assert_eq!(plan(None, Some(5), false), Plan { order: desc, limit: Some(5), turned: true });
        assert_eq!(plan(None, Some(0), true), Plan { order: asc, limit: None, turned: false });
        assert_eq!(plan(Some(desc), Some(50_000), true), Plan { order: desc, limit: Some(50_000), turned: false });
        assert!(Plan::new(None, Some(10_001), false).is_err());
    }

    #[test]
    fn json_on_a_terminal_stays_json() {
        let line = "{\"message\":\"a\u{9b}31m\u{202e}\"}";
        let safe = harmless(line, QueryFormat::Json);
        assert_eq!(safe, r#"{"message":"a\u009b31m\u202e"}"#);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&safe).unwrap(),
            serde_json::from_str::<serde_json::Value>(line).unwrap()
        );
        assert_eq!(harmless("\"a\nb\u{7}\",1", QueryFormat::Csv), "\"a\nb\\u{7}\",1");
    }
}
