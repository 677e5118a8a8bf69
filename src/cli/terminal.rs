//! What people see: records as lines, figures as tables and bars, a pager around them.
//!
//! Everything but [`screen`] is pure: text from values, given a [`Look`].

mod entry;
mod escape;
mod paint;
mod pretty;
mod screen;
mod table;
mod zone;

pub(super) use self::entry::Entry;
pub(super) use self::escape::{escape, is_unsafe};
pub(super) use self::pretty::Pretty;
pub(super) use self::screen::{ColorChoice, Screen, Wish};
pub(super) use self::table::{Bar, Cell, Column, Table};
pub(super) use self::zone::{Edge, Zone};

/// How things are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Whether colours may be used.
    pub color: bool,
    /// Whether more than ASCII can be drawn.
    pub unicode: bool,
    /// How many columns a line has.
    pub width: usize,
    /// In which zone times are shown.
    pub zone: Zone,
}
