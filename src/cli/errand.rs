//! The commands that need no configuration of their own: they speak to a running server, or to nobody.

use clap::{ArgMatches, Command, FromArgMatches, Subcommand};

use super::ask::{CountArgs, ExportArgs, FieldsArgs, QueryArgs, StatsArgs};
use super::failure::{self, Failure};
use super::import::{self, ImportArgs};
use super::shell::{CompletionsArgs, ManArgs};

/// One of these commands, with its arguments.
#[derive(Debug)]
pub struct Errand(Kind);

#[derive(Debug, Subcommand)]
enum Kind {
    /// Finds records and shows them
    #[command(after_help = format!("{QUERY_HELP}\n\n{}", failure::EXIT_CODES), after_long_help = format!("{QUERY_HELP}\n\n{}", failure::EXIT_CODES))]
    Query(Box<QueryArgs>),
    /// Counts records
    #[command(after_help = failure::EXIT_CODES)]
    Count(CountArgs),
    /// Computes figures, as a table or as bars over time
    #[command(after_help = format!("{STATS_HELP}\n\n{}", failure::EXIT_CODES))]
    Stats(Box<StatsArgs>),
    /// Lists the fields that records have, or the values of one
    #[command(after_help = failure::EXIT_CODES)]
    Fields(FieldsArgs),
    /// Sends files of logs; a run that was cut short goes on where it was
    #[command(after_help = format!("{IMPORT_HELP}\n\n{}", import::EXIT_CODES))]
    Import(ImportArgs),
    /// Writes everything that matches to a file or a pipe
    #[command(after_help = failure::EXIT_CODES)]
    Export(ExportArgs),
    /// Prints a script with which a shell completes the command line
    Completions(CompletionsArgs),
    /// Prints the manual page
    Man(ManArgs),
}

const QUERY_HELP: &str =
    "On a terminal: the newest 100, oldest first, through $PAGER. Elsewhere: all, oldest first, as JSON lines.
Colours honour NO_COLOR and CLICOLOR_FORCE. Words behind -- may begin with a dash.

  sluice query 'severity>=warn timeout' --since 15m
  sluice query --service shop --follow
  sluice query --since yesterday --format csv --fields timestamp,level,http.status > logs.csv";

const STATS_HELP: &str = "  sluice stats --by service,severity --since 24h
  sluice stats 'level>=warn' --step 1h --since today
  sluice stats --agg 'count,p95(duration_ms)' --by http.path --top 10";

const IMPORT_HELP: &str =
    "A file is known by its device, inode and bytes, with the server and the options. What a file has grown by since is
sent, the rest is not. The state is in $XDG_STATE_HOME/sluice/import. Standard input cannot be gone on with.
Text: the message is the line. A date and time at its beginning and a level behind it are understood.
CSV: the header names the fields; an empty cell is none; numbers, true and false are such.";

impl Errand {
    /// Adds the commands.
    pub(super) fn add_to(command: Command) -> Command {
        Kind::augment_subcommands(command)
    }

    /// Reads the command, if it is one of these.
    pub(super) fn of(matches: &ArgMatches) -> Result<Option<Errand>, clap::Error> {
        let is_one = matches.subcommand_name().is_some_and(Kind::has_subcommand);
        is_one.then(|| Kind::from_arg_matches(matches).map(Errand)).transpose()
    }

    /// Does it.
    ///
    /// # Errors
    /// [`Failure`], with what to tell and the exit code.
    pub fn run(&self) -> Result<(), Failure> {
        match &self.0 {
            Kind::Query(args) => args.run(),
            Kind::Count(args) => args.run(),
            Kind::Stats(args) => args.run(),
            Kind::Fields(args) => args.run(),
            Kind::Import(args) => args.run(),
            Kind::Export(args) => args.run(),
            Kind::Completions(args) => args.run(),
            Kind::Man(args) => args.run(),
        }
    }
}
