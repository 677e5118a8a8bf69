//! Figures as an aligned table, with a bar in each row where there is a column to draw.

use std::fmt::Write;

use sluice_model::Severity;
use unicode_width::UnicodeWidthStr;

use super::Look;
use super::escape::escape;
use super::paint::Style;

/// A bar is never narrower than this, however narrow the terminal is.
const BAR_WIDTH_MIN: usize = 10;
/// Nor wider than this: longer bars tell nothing more.
const BAR_WIDTH_MAX: usize = 80;
/// The spaces between two columns.
const GAP: usize = 2;

/// The eighths of a block, from the left.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A table.
#[derive(Debug, Default)]
pub(in crate::cli) struct Table {
    /// The columns, from left to right.
    pub columns: Vec<Column>,
    /// The rows, with a cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// The bars, if there are any.
    pub bar: Option<Bar>,
}

/// A column.
#[derive(Debug)]
pub(in crate::cli) struct Column {
    /// Its heading.
    pub name: String,
    /// Whether its cells stand at its right edge, as numbers do.
    pub right: bool,
    /// Whether a cell that equals the one above is left empty.
    pub merge: bool,
}

/// What stands in a row and column.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) struct Cell {
    /// The text, as it came.
    pub text: String,
    /// Whether there is no value.
    pub absent: bool,
}

/// A bar for each row.
#[derive(Debug)]
pub(in crate::cli) struct Bar {
    /// Before which column it is drawn.
    pub before: usize,
    /// How long it is, in each row; what is not above zero has none.
    pub values: Vec<f64>,
    /// Which series each row belongs to: the column, and its first cell decides the colour.
    pub series: Option<usize>,
}

impl Cell {
    /// A cell with a text.
    pub(in crate::cli) fn new(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), absent: false }
    }

    /// A cell without a value.
    pub(in crate::cli) fn absent() -> Cell {
        Cell { text: "-".to_owned(), absent: true }
    }
}

impl Table {
    /// The table as text: a line of headings, then the rows.
    pub(in crate::cli) fn render(&self, look: Look) -> String {
        let heads: Vec<String> = self.columns.iter().map(|column| escape(&column.name, false).into_owned()).collect();
        let rows: Vec<Vec<(String, bool)>> = self.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
        let mut widths: Vec<usize> = heads.iter().map(|head| head.width()).collect();
        for row in &rows {
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.width());
            }
        }
        let bars = self.bar.as_ref().map(|bar| Bars::new(bar, &widths, look));
        let mut out = String::new();
        let headings: Vec<(&str, Style)> = heads.iter().map(|head| (head.as_str(), Style::BOLD)).collect();
        self.line(&headings, &widths, bars.as_ref().map(|bars| (bars, String::new())), look, &mut out);
        let mut above: Option<&Vec<(String, bool)>> = None;
        let mut series = Series::default();
        for (index, row) in rows.iter().enumerate() {
            let same = |at: usize| above.is_some_and(|above| above.get(at) == row.get(at));
            let merged = |at: usize| self.columns.get(at).is_some_and(|column| column.merge) && same(at);
            let cells: Vec<(&str, Style)> = row
                .iter()
                .enumerate()
                .map(|(at, (text, absent))| match (merged(at), *absent) {
                    (true, _) => ("", Style::PLAIN),
                    (false, true) => (text.as_str(), Style::DIM),
                    (false, false) => (text.as_str(), Style::PLAIN),
                })
                .collect();
            let bar = bars.as_ref().map(|bars| {
                let name = bars.bar.series.and_then(|column| row.get(column)).map_or("", |(text, _)| text);
                let style = series.style(name);
                (bars, style.paint(&bars.draw(index), look.color && bars.bar.series.is_some()).to_string())
            });
            self.line(&cells, &widths, bar, look, &mut out);
            above = Some(row);
        }
        out
    }

    fn line(
        &self,
        cells: &[(&str, Style)],
        widths: &[usize],
        bar: Option<(&Bars<'_>, String)>,
        look: Look,
        out: &mut String,
    ) {
        let start = out.len();
        for (at, ((text, style), (column, width))) in cells.iter().zip(self.columns.iter().zip(widths)).enumerate() {
            if let Some((bars, drawn)) = bar.as_ref().filter(|(bars, _)| bars.bar.before == at) {
                // Colours have no width, so what is missing is counted on the bar's blocks alone.
                let blocks = drawn.chars().filter(|letter| is_block(*letter)).count();
                let _ = write!(out, "{drawn}{:missing$}", "", missing = bars.width.saturating_sub(blocks) + GAP);
            }
            let missing = width.saturating_sub(text.width());
            let (before, after) = if column.right { (missing, 0) } else { (0, missing) };
            let _ = write!(out, "{:before$}{}{:after$}{:GAP$}", "", style.paint(text, look.color), "", "");
        }
        out.truncate(start + out.get(start..).unwrap_or_default().trim_end().len());
        out.push('\n');
    }
}

/// The bars of a table, given their room.
struct Bars<'a> {
    bar: &'a Bar,
    width: usize,
    highest: f64,
    unicode: bool,
}

impl Bars<'_> {
    fn new<'a>(bar: &'a Bar, widths: &[usize], look: Look) -> Bars<'a> {
        let taken: usize = widths.iter().map(|width| width + GAP).sum();
        let width = look.width.saturating_sub(taken + GAP).clamp(BAR_WIDTH_MIN, BAR_WIDTH_MAX);
        let highest = bar.values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
        Bars { bar, width, highest, unicode: look.unicode }
    }

    fn draw(&self, row: usize) -> String {
        let value = self.bar.values.get(row).copied().unwrap_or(0.0);
        if !value.is_finite() || value <= 0.0 || self.highest <= 0.0 {
            return String::new();
        }
        // What is above zero can always be seen.
        let eighths = ((value / self.highest * self.width as f64 * 8.0).round() as usize).max(1);
        if !self.unicode {
            return "#".repeat(eighths.div_ceil(8));
        }
        format!("{}{}", "█".repeat(eighths / 8), EIGHTHS.get(eighths % 8).copied().unwrap_or_default())
    }
}

/// The colours of series, in the order in which they come.
#[derive(Default)]
struct Series {
    names: Vec<String>,
}

impl Series {
    fn style(&mut self, name: &str) -> Style {
        if let Some(severity) = Severity::from_name(name).filter(|severity| severity.name() == name) {
            return Style::of(severity);
        }
        let known = self.names.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        Style::of_series(index)
    }
}

fn shown(cell: &Cell) -> (String, bool) {
    (escape(&cell.text, false).into_owned(), cell.absent)
}

fn is_block(letter: char) -> bool {
    matches!(letter, '\u{2588}'..='\u{258f}' | '#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::Zone;

    fn table() -> Table {
        let column = |name: &str, right, merge| Column { name: name.to_owned(), right, merge };
        let row = |time: &str, service: &str, count: &str| {
            let service = if service.is_empty() { Cell::absent() } else { Cell::new(service) };
            vec![Cell::new(time), service, Cell::new(count)]
        };
        Table {
            columns: vec![column("time", false, true), column("service", false, false), column("count", true, false)],
            rows: vec![
                row("2024-10-08 07:00", "shop", "800"),
                row("2024-10-08 07:00", "漢字\u{1b}[2J", "37"),
                row("2024-10-08 08:00", "shop", "1"),
                row("2024-10-08 08:00", "", "0"),
            ],
            bar: Some(Bar { before: 2, values: vec![800.0, 37.0, 1.0, 0.0], series: Some(1) }),
        }
    }

    fn look(color: bool, unicode: bool, width: usize) -> Look {
        Look { color, unicode, width, zone: Zone::UTC }
    }

    #[test]
    fn a_bar_for_each_row_fills_the_width() {
        let text = table().render(look(false, true, 70));
        insta::assert_snapshot!(text);
        assert!(text.lines().all(|line| line.width() <= 70));
    }

    #[test]
    fn bars_of_ascii_and_a_narrow_terminal() {
        insta::assert_snapshot!(table().render(look(false, false, 10)));
    }

    #[test]
    fn series_have_colours() {
        insta::assert_snapshot!(table().render(look(true, true, 60)).replace('\x1b', "␛"));
    }

    #[test]
    fn a_table_without_bars_or_rows() {
        let bare = Table { bar: None, ..table() };
        insta::assert_snapshot!(bare.render(look(false, true, 80)));
        let empty = Table { rows: Vec::new(), bar: None, ..table() };
        assert_eq!(empty.render(look(false, true, 80)), "time  service  count\n");
    }
}
