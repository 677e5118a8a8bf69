//! How far a long command is, told on standard error if a person looks there.

use std::time::Duration;

use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);

/// The progress through a file of a known size.
pub(super) fn through(name: &str, bytes: u64) -> ProgressBar {
    styled(ProgressBar::new(bytes), "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}", name)
}

/// The progress of something whose end is not known.
pub(super) fn bytes() -> ProgressBar {
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}", "");
    bar.enable_steady_tick(TICK);
    bar
}

/// A size as people read it.
pub(super) fn size(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// The bar draws to standard error, and nothing where that is no terminal.
fn styled(bar: ProgressBar, template: &str, prefix: &str) -> ProgressBar {
    // A template that cannot be read leaves the usual one.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_prefix(prefix.to_owned())
}
