//! Colours.

use std::fmt;

use sluice_model::Severity;

/// How a piece of text looks: a terminal's SGR parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style(&'static str);

impl Style {
    /// As everything.
    pub(super) const PLAIN: Style = Style("");
    /// Less important.
    pub(super) const DIM: Style = Style("2");
    /// A heading.
    pub(super) const BOLD: Style = Style("1");

    /// The colours that tell series apart.
    const SERIES: [Style; 6] = [Style("36"), Style("33"), Style("35"), Style("32"), Style("34"), Style("31")];

    /// The style of a severity.
    pub(super) fn of(severity: Severity) -> Style {
        match severity {
            Severity::Trace => Style::DIM,
            Severity::Debug => Style("34"),
            Severity::Info => Style("32"),
            Severity::Warn => Style("33"),
            Severity::Error => Style("31"),
            Severity::Fatal => Style("1;97;41"),
        }
    }

    /// The style of a series, by its place among them.
    pub(super) fn of_series(index: usize) -> Style {
        Self::SERIES.get(index % Self::SERIES.len()).copied().unwrap_or(Style::PLAIN)
    }

    /// The text in this style, if colours are wanted.
    pub(super) fn paint(self, text: &str, color: bool) -> Painted<'_> {
        Painted { style: if color && !text.is_empty() { self } else { Style::PLAIN }, text }
    }
}

/// A text in a style.
pub(super) struct Painted<'t> {
    style: Style,
    text: &'t str,
}

impl fmt::Display for Painted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.style {
            Style::PLAIN => self.text.fmt(f),
            Style(parameters) => write!(f, "\x1b[{parameters}m{}\x1b[0m", self.text),
        }
    }
}
