//! `sluice stats` and `sluice count`: figures, as a table or as bars over time.

use std::io::{self, Write};

use clap::Args;
use sluice_client::{Form, Others, Stats, Table as Figures};
use sluice_model::{AttributeValue, Timestamp};

use super::{DisplayArgs, Notes, SelectionArgs, TableFormat, ZoneArgs, connect};
use crate::cli::failure::Failure;
use crate::cli::server::ServerArgs;
use crate::cli::terminal::{Bar, Cell, Column, Screen, Table, Zone};

/// `sluice count`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CountArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    zone: ZoneArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// `sluice stats`.
#[derive(Debug, Args)]
pub(in crate::cli) struct StatsArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// What to compute: count, count_distinct(f), sum(f), avg(f), min(f), max(f), p95(f); by comma
    #[arg(long, value_name = "LIST", default_value = "count", help_heading = "Figures")]
    agg: String,
    /// A row for each combination of these fields' values; by comma
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', help_heading = "Figures")]
    by: Vec<String>,
    /// A row for each step of time, such as 1h; with a bar of the first figure
    #[arg(long, visible_alias = "resolution", value_name = "PERIOD", help_heading = "Figures")]
    step: Option<String>,
    /// Steps without records are rows too (always so in a chart)
    #[arg(long, requires = "step", help_heading = "Figures")]
    fill: bool,
    /// Only the groups that are largest by the first figure
    #[arg(long, value_name = "N", help_heading = "Figures")]
    top: Option<usize>,
    /// [default: pretty on a terminal, else json, an object a line]
    #[arg(long, value_name = "FORMAT", value_enum, help_heading = "Output")]
    format: Option<TableFormat>,
    #[command(flatten)]
    display: DisplayArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl CountArgs {
    /// Shows how many records match.
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        let query = self.selection.to_query(self.zone.zone())?;
        let (client, url) = connect(&self.server)?;
        let count = client.count(&query);
        let count = count.map_err(|error| Failure::reading(&url, &self.selection.text(), error))?;
        writeln!(io::stdout(), "{count}").map_err(|error| Failure::output(&error))
    }
}

impl StatsArgs {
    /// Shows the figures.
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        let zone = self.display.zone.zone();
        let (query, text) = (self.selection.to_query(zone)?, self.selection.text());
        let (client, url) = connect(&self.server)?;
        let failure = |error| Failure::reading(&url, &text, error);
        let mut screen = self.display.screen(true, false);
        let form = match self.format {
            Some(TableFormat::Json) => Some(Form::Ndjson),
            Some(TableFormat::Csv) => Some(Form::Csv),
            Some(TableFormat::Pretty) => None,
            None => (!screen.is_terminal).then_some(Form::Ndjson),
        };
        let mut notes = Notes::default();
        let stats = self.stats(zone, form.is_none());
        match form {
            Some(form) => {
                let mut answer = client.stats_as(&query, &stats, form).map_err(failure)?;
                notes.of_answer(answer.incomplete(), answer.hint());
                relay(&mut answer, &mut screen, &url)?;
            }
            None => {
                let figures = client.stats(&query, &stats).map_err(failure)?;
                let table = table(&figures, self.by.len(), self.step.is_some(), zone);
                let shown = screen.write_all(table.render(screen.look).as_bytes());
                shown.map_err(|error| Failure::output(&error))?;
                notes.0.extend(figures.others.and_then(|others| left_out(others, "group")));
            }
        }
        screen.finish().map_err(|error| Failure::output(&error))?;
        notes.tell();
        Ok(())
    }

    fn stats(&self, zone: Zone, is_chart: bool) -> Stats {
        let mut stats = Stats::new().aggregates([&self.agg]);
        if !self.by.is_empty() {
            stats = stats.by(&self.by);
        }
        if let Some(step) = &self.step {
            stats = stats.step(step).time_zone(zone.name());
            if self.fill || is_chart {
                stats = stats.fill_zero();
            }
        }
        self.top.into_iter().fold(stats, Stats::top)
    }
}

/// What a limit has left out, as a remark.
pub(super) fn left_out(others: Others, noun: &str) -> Option<String> {
    let Others { groups, records } = others;
    let s = |count: u64| if count == 1 { "" } else { "s" };
    (groups > 0).then(|| format!("{groups} more {noun}{} with {records} record{} (--top)", s(groups), s(records)))
}

/// Hands an answer on as it comes.
fn relay(answer: &mut impl io::Read, screen: &mut Screen, url: &str) -> Result<(), Failure> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match answer.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::broke_off(url, &error)),
        };
        let written = screen.write_all(buffer.get(..count).unwrap_or_default());
        written.map_err(|error| Failure::output(&error))?;
    }
}

/// The figures as a table: times of the zone, as short as they can be; with steps, a bar for the first figure.
fn table(figures: &Figures, groups: usize, has_steps: bool, zone: Zone) -> Table {
    let first = groups + usize::from(has_steps);
    let columns = figures.columns.iter().enumerate().map(|(at, column)| Column {
        name: column.name.clone(),
        right: at >= first,
        merge: at == 0 && has_steps && groups > 0,
    });
    let time_of = |row: &[AttributeValue]| row.first().and_then(text)?.parse::<Timestamp>().ok();
    let times = figures.rows.iter().filter(|_| has_steps).filter_map(|row| time_of(row));
    let precision = times.map(|time| zone.precision(time)).max();
    let cell = |at: usize, value: &AttributeValue| match precision {
        Some(precision) if at == 0 => {
            let time = text(value).and_then(|text| text.parse::<Timestamp>().ok());
            time.map_or_else(Cell::absent, |time| Cell::new(zone.show_briefly(time, precision)))
        }
        _ => cell_of(value),
    };
    let rows = figures.rows.iter().map(|row| row.iter().enumerate().map(|(at, value)| cell(at, value)).collect());
    let value = |row: &Vec<AttributeValue>| row.get(first)?.as_json().parse::<f64>().ok();
    let values = figures.rows.iter().map(|row| value(row).unwrap_or(0.0)).collect();
    let bar = has_steps.then(|| Bar { before: first, values, series: (groups > 0).then_some(1) });
    Table { columns: columns.collect(), rows: rows.collect(), bar }
}

/// A value as it is shown: text without quotes, numbers with up to three decimals.
pub(super) fn cell_of(value: &AttributeValue) -> Cell {
    let json = value.as_json();
    if json == "null" {
        return Cell::absent();
    }
    if let Some(text) = text(value) {
        return Cell::new(text);
    }
    match json.parse::<f64>() {
        Ok(number) if json.contains(['.', 'e', 'E']) && number.is_finite() => Cell::new(rounded(number)),
        _ => Cell::new(json),
    }
}

fn rounded(number: f64) -> String {
    let text = format!("{number:.3}");
    // What is too small for that is shown as it is.
    if number != 0.0 && text.trim_matches(['-', '0', '.']).is_empty() {
        return number.to_string();
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn text(value: &AttributeValue) -> Option<String> {
    serde_json::from_str(value.as_json()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::Look;

    fn figures() -> Figures {
        serde_json::from_str(
            r#"{"columns":[{"name":"time","type":"timestamp"},{"name":"severity","type":"string"},
                {"name":"count","type":"number"},{"name":"avg(duration_ms)","type":"number"}],
              "rows":[["2024-10-08T06:00:00.000000000Z","WARN",40,12.34567],["2024-10-08T06:00:00.000000000Z","ERROR",3,null],
                ["2024-10-08T07:00:00.000000000Z","WARN",0,null],["2024-10-08T07:00:00.000000000Z","ERROR",20,1.0e-7]]}"#,
        )
        .unwrap()
    }

    #[test]
    fn steps_are_drawn_as_bars() {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let look = Look { color: false, unicode: true, width: 76, zone };
        insta::assert_snapshot!(table(&figures(), 1, true, zone).render(look));
    }

    #[test]
    fn numbers_are_rounded_where_they_are_long() {
        for (json, expected) in [
            ("12", "12"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("1.50", "1.5"),
            ("2.0", "2"),
            ("0.33333", "0.333"),
            ("0.0", "0"),
            ("1e-9", "0.000000001"),
            ("\"12\"", "12"),
            ("[1,\"a\"]", "[1,\"a\"]"),
            ("true", "true"),
        ] {
            assert_eq!(cell_of(&AttributeValue::from_json(json.to_owned()).unwrap()).text, expected);
        }
        assert_eq!(cell_of(&AttributeValue::from_json("null".to_owned()).unwrap()), Cell::absent());
    }

    #[test]
    fn what_is_left_out_is_told() {
        let told = left_out(Others { groups: 1, records: 17 }, "group");
        assert_eq!(told.as_deref(), Some("1 more group with 17 records (--top)"));
        assert_eq!(left_out(Others { groups: 0, records: 0 }, "group"), None);
    }
}
