//! The command line, ours and what the standard harness of tests would take.

use clap::Parser;

use crate::context::Store;

/// Attacks a running server and counts what it lost.
#[derive(Debug, Parser)]
#[command(name = "torture")]
pub struct Options {
    /// The long form: a thousand kills instead of twenty, and so on
    #[arg(long)]
    pub full: bool,

    /// The seed of all random numbers; a new one, if absent
    #[arg(long)]
    pub seed: Option<u64>,

    /// Rounds of each scenario, instead of its own number
    #[arg(long)]
    pub rounds: Option<u64>,

    /// Run this scenario; may repeat
    #[arg(long, value_name = "SCENARIO")]
    pub only: Vec<String>,

    /// Run on this store only
    #[arg(long)]
    pub store: Option<Store>,

    /// Keep data folders and logs, also where nothing is wrong
    #[arg(long)]
    pub keep: bool,

    /// List the scenarios
    #[arg(long)]
    pub list: bool,

    /// Run the scenarios whose names contain this
    pub filter: Vec<String>,

    /// Run the one whose name is exactly the filter
    #[arg(long, hide = true)]
    exact: bool,

    /// Do not run those whose names contain this
    #[arg(long, hide = true)]
    skip: Vec<String>,

    /// Of no meaning here
    #[arg(long, hide = true)]
    ignored: bool,

    #[command(flatten)]
    _harness: Harness,
}

/// What `cargo test` passes on to every harness, and is of no meaning here.
#[derive(Debug, clap::Args)]
struct Harness {
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    no_capture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    color: Option<String>,
}

impl Options {
    /// Whether a scenario was asked for.
    pub fn wants(&self, name: &str) -> bool {
        let matches = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        let only = self.only.is_empty() || self.only.iter().any(|wanted| wanted == name);
        let filtered = self.filter.is_empty() || self.filter.iter().any(matches);
        only && filtered && !self.ignored && !self.skip.iter().any(matches)
    }
}
