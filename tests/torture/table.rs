//! What is printed at the end: a row for each scenario and store.

use std::time::Duration;

use crate::context::Outcome;

/// How one scenario on one store ended.
pub struct Row {
    /// The scenario.
    pub scenario: &'static str,
    /// The store's name.
    pub store: &'static str,
    /// What was found.
    pub outcome: Outcome,
    /// Why it was skipped.
    pub skipped: Option<String>,
    /// The highest resident memory of its servers, in bytes.
    pub peak_rss: u64,
    /// How long it took.
    pub took: Duration,
}

const HEADER: [&str; 10] =
    ["scenario", "store", "rounds", "acknowledged", "found", "missing", "double", "altered", "peak RSS", "seconds"];

impl Row {
    /// Nothing was wrong.
    pub fn is_clean(&self) -> bool {
        self.outcome.verdict.is_clean()
    }

    fn cells(&self) -> Vec<String> {
        let verdict = &self.outcome.verdict;
        let mut cells = vec![self.scenario.to_owned(), self.store.to_owned()];
        if let Some(why) = &self.skipped {
            cells.push(format!("skipped: {why}"));
            return cells;
        }
        let counts = [
            self.outcome.rounds,
            verdict.acknowledged,
            verdict.found,
            verdict.missing,
            verdict.double,
            verdict.altered,
        ];
        cells.extend(counts.map(|count| count.to_string()));
        cells.push(format!("{} MiB", self.peak_rss >> 20));
        cells.push(format!("{:.1}", self.took.as_secs_f64()));
        if !self.is_clean() {
            cells.push("FAILED".to_owned());
        }
        cells
    }
}

/// The rows as an aligned table, in Markdown.
pub fn render(rows: &[Row]) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
    let width = |column: usize| {
        // The reason why a row was skipped does not make a column wide.
        let full = cells.iter().filter(|row| column < 2 || row.len() >= HEADER.len());
        full.map(|row| row[column].len()).chain([HEADER[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
    let header: Vec<String> = HEADER.map(str::to_owned).to_vec();
    let rule: Vec<String> = widths.iter().enumerate().map(|(at, width)| rule(at, *width)).collect();
    [header, rule].iter().chain(&cells).map(|row| line(row, &widths)).collect()
}

fn rule(column: usize, width: usize) -> String {
    if column < 2 { "-".repeat(width) } else { format!("{}:", "-".repeat(width - 1)) }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().enumerate().map(|(column, cell)| {
        let width = widths.get(column).copied().unwrap_or(0);
        if column < 2 || cell.starts_with("skipped") {
            format!(" {cell:<width$} |")
        } else {
            format!(" {cell:>width$} |")
        }
    });
    format!("|{}\n", padded.collect::<String>())
}
