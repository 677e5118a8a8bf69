//! `sluice fields`: which fields there are, and which values one of them has.

use std::io::Write;

use clap::Args;
use serde_json::json;
use sluice_client::{FieldSummary, Values};

use super::stats::{cell_of, left_out};
use super::{BoundsArgs, DisplayArgs, Notes, connect};
use crate::cli::failure::Failure;
use crate::cli::server::ServerArgs;
use crate::cli::terminal::{Bar, Cell, Column, Table};

/// `sluice fields`.
#[derive(Debug, Args)]
pub(in crate::cli) struct FieldsArgs {
    /// The field whose values are listed [default: the fields themselves are]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Only of records that match this query
    #[arg(
        short,
        long,
        value_name = "QUERY",
        default_value = "",
        hide_default_value = true,
        help_heading = "Selection"
    )]
    query: String,
    #[command(flatten)]
    bounds: BoundsArgs,
    /// How many values are listed
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Output")]
    top: usize,
    /// [default: pretty on a terminal, else json, an object a line]
    #[arg(long, value_name = "FORMAT", value_enum, help_heading = "Output")]
    format: Option<ListFormat>,
    #[command(flatten)]
    display: DisplayArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum ListFormat {
    /// Aligned columns, for people.
    Pretty,
    /// A JSON object a line.
    Json,
}

impl FieldsArgs {
    /// Lists fields, or values.
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        let query = self.bounds.to_query(&self.query, self.display.zone.zone())?;
        let (client, url) = connect(&self.server)?;
        let failure = |error| Failure::reading(&url, &self.query, error);
        let mut screen = self.display.screen(true, false);
        let default = if screen.is_terminal { ListFormat::Pretty } else { ListFormat::Json };
        let is_pretty = self.format.unwrap_or(default) == ListFormat::Pretty;
        let mut notes = Notes::default();
        let text = match &self.name {
            None => {
                let fields = client.fields(&query).map_err(failure)?;
                if is_pretty { fields_table(&fields).render(screen.look) } else { fields_json(&fields) }
            }
            Some(name) => {
                let values = client.values(&query, name, self.top).map_err(failure)?;
                notes.0.extend(values.others.and_then(|others| left_out(others, "value")));
                if is_pretty { values_table(&values).render(screen.look) } else { values_json(&values) }
            }
        };
        let shown = screen.write_all(text.as_bytes()).and_then(|()| screen.finish());
        shown.map_err(|error| Failure::output(&error))?;
        notes.tell();
        Ok(())
    }
}

fn column(name: &str, right: bool) -> Column {
    Column { name: name.to_owned(), right, merge: false }
}

fn fields_table(fields: &[FieldSummary]) -> Table {
    let row = |field: &FieldSummary| {
        let types: Vec<&str> = field.types.keys().map(String::as_str).collect();
        vec![Cell::new(&field.name), Cell::new(types.join(", ")), Cell::new(field.records.to_string())]
    };
    let columns = vec![column("field", false), column("types", false), column("records", true)];
    Table { columns, rows: fields.iter().map(row).collect(), bar: None }
}

fn values_table(values: &Values) -> Table {
    let rows = values.values.iter().map(|value| vec![cell_of(&value.value), Cell::new(value.count.to_string())]);
    let bar = Bar { before: 1, values: values.values.iter().map(|value| value.count as f64).collect(), series: None };
    Table { columns: vec![column("value", false), column("records", true)], rows: rows.collect(), bar: Some(bar) }
}

fn fields_json(fields: &[FieldSummary]) -> String {
    let line = |field: &FieldSummary| {
        format!("{}\n", json!({"name": field.name, "types": field.types, "records": field.records}))
    };
    fields.iter().map(line).collect()
}

fn values_json(values: &Values) -> String {
    let line = |value: &sluice_client::ValueCount| {
        format!("{{\"value\":{},\"count\":{}}}\n", value.value.as_json(), value.count)
    };
    values.values.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::{Look, Zone};

    const LOOK: Look = Look { color: false, unicode: true, width: 60, zone: Zone::UTC };

    #[test]
    fn fields_and_values_are_tables_and_lines() {
        let fields: Vec<FieldSummary> = serde_json::from_str(
            r#"[{"name":"message","types":{"string":91},"records":91},{"name":"http.status","types":{"integer":90,"string":1},"records":91}]"#,
        )
        .unwrap();
        insta::assert_snapshot!("fields", fields_table(&fields).render(LOOK));
        assert_eq!(
            fields_json(&fields[1..]),
            "{\"name\":\"http.status\",\"records\":91,\"types\":{\"integer\":90,\"string\":1}}\n"
        );
        let values: Values = serde_json::from_str(
            r#"{"values":[{"value":500,"count":12},{"value":null,"count":3},{"value":"a b","count":1}]}"#,
        )
        .unwrap();
        insta::assert_snapshot!("values", values_table(&values).render(LOOK));
        assert_eq!(values_json(&values).lines().next(), Some("{\"value\":500,\"count\":12}"));
    }
}
