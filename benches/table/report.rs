//! The table, as Markdown.

use std::fmt;

use crate::samples::Samples;

/// What a figure is a multiple of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// CPU seconds of `zstd -1`.
    Z,
    /// Its wall seconds.
    W,
    /// The bytes of its output.
    S,
    Ms,
    Mb,
    Seconds,
    PerSecond,
    /// Another figure of this run.
    Times,
}

impl fmt::Display for Unit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Unit::Z => " Z",
            Unit::W => " W",
            Unit::S => " S",
            Unit::Ms => " ms",
            Unit::Mb => " MB",
            Unit::Seconds => " s",
            Unit::PerSecond => "/s",
            Unit::Times => " ×",
        })
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    bound: f64,
    at_most: bool,
    pub unit: Unit,
}

impl Goal {
    /// So much or less.
    pub const fn at_most(bound: f64, unit: Unit) -> Goal {
        Goal { bound, at_most: true, unit }
    }

    /// So much or more.
    pub const fn at_least(bound: f64, unit: Unit) -> Goal {
        Goal { bound, at_most: false, unit }
    }

    fn is_met(&self, value: f64) -> bool {
        if self.at_most { value <= self.bound } else { value >= self.bound }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.at_most { "≤" } else { "≥" };
        write!(out, "{sign} {}{}", shown(self.bound), self.unit)
    }
}

/// A line of the table.
#[derive(Debug)]
pub struct Row {
    work: String,
    goal: Goal,
    /// In the goal's unit, or why there is none.
    outcome: Result<Samples, String>,
    /// The same in a unit that needs no yardstick.
    plain: String,
}

/// The table as far as it is measured.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
    wrong: Vec<String>,
}

impl Report {
    /// Adds what was measured, in the goal's unit; `plain` says the median in another.
    pub fn row(&mut self, work: impl Into<String>, goal: Goal, samples: Samples, plain: impl Into<String>) {
        let row = Row { work: work.into(), goal, outcome: Ok(samples), plain: plain.into() };
        eprintln!("  {row}");
        self.rows.push(row);
    }

    /// Adds what could not be measured.
    pub fn missing(&mut self, work: impl Into<String>, goal: Goal, why: impl Into<String>) {
        self.rows.push(Row { work: work.into(), goal, outcome: Err(why.into()), plain: String::new() });
    }

    /// Adds a remark below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Notes that something is wrong, which no speed makes good.
    pub fn wrong(&mut self, what: impl fmt::Display) {
        let what = what.to_string();
        eprintln!("  WRONG: {what}");
        if !self.wrong.contains(&what) {
            self.wrong.push(what);
        }
    }

    /// Whether nothing was wrong.
    pub fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { work, goal, outcome, plain } = self;
        match outcome {
            Ok(samples) => {
                let (unit, median) = (goal.unit, samples.median());
                let verdict = if goal.is_met(median) { "✓" } else { "✗" };
                let (min, max) = (shown(samples.min()), shown(samples.max()));
                let runs = samples.len();
                write!(
                    out,
                    "| {work} | {goal} | **{}{unit}** | {min} – {max} | {runs} | {plain} | {verdict} |",
                    shown(median)
                )
            }
            Err(why) => write!(out, "| {work} | {goal} | {why} | | | | |"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "| work | goal | median | min – max | runs | that is | |")?;
        writeln!(out, "|---|---|---|---|---:|---|---|")?;
        self.rows.iter().try_for_each(|row| writeln!(out, "{row}"))?;
        writeln!(out)?;
        self.notes.iter().try_for_each(|note| writeln!(out, "- {note}"))?;
        self.wrong.iter().try_for_each(|wrong| writeln!(out, "- **Wrong:** {wrong}"))
    }
}

/// A figure with three digits that count.
pub fn shown(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.995 => 2,
        size if size >= 0.0995 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    grouped(text)
}

/// With commas between thousands.
fn grouped(text: &str) -> String {
    let (whole, rest) = text.split_once('.').map_or((text, String::new()), |(whole, rest)| (whole, format!(".{rest}")));
    let length = whole.len();
    let digits = whole.chars().enumerate();
    let comma = |at: usize| at > 0 && (length - at).is_multiple_of(3);
    let whole: String = digits.flat_map(|(at, digit)| comma(at).then_some(',').into_iter().chain([digit])).collect();
    whole + &rest
}
