//! The command line: subcommands, and a flag for every key of the configuration.

mod ask;
mod errand;
mod failure;
mod health;
mod import;
mod progress;
mod requeue;
mod server;
mod shell;
mod split;
mod terminal;

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::keys::KEYS;
use crate::config::{ConfigError, Layers, Settings, StoreTarget};
use crate::store::mongodb::{MongoConfigError, MongoStore};
use crate::telemetry::VERSION;

pub use errand::Errand;
pub use failure::Failure;
pub use health::health;
pub use requeue::{RequeueError, Requeued, requeue};

/// What the program is asked to do.
#[derive(Debug)]
pub enum Task {
    /// Something that needs no configuration of its own.
    Errand(Errand),
    /// Run the server.
    Serve(Start),
    /// Check the configuration and print the effective one.
    ShowConfig(Start),
    /// Ask a running server whether it is healthy.
    Health {
        /// The server's URL; by default, where the configuration says that it listens.
        url: Option<String>,
        /// The configuration, for that default.
        start: Start,
    },
    /// Look at every byte of the data folder.
    Fsck {
        /// Whether what is wrong is mended.
        repair: bool,
        /// Whether the report is JSON.
        json: bool,
        /// The configuration, for the folder.
        start: Start,
    },
    /// Offer dead letters to a running server again.
    Requeue {
        /// The server's URL; by default, where the configuration says that it listens.
        url: Option<String>,
        /// A file of dead letters; by default, all of the data folder.
        file: Option<PathBuf>,
        /// The configuration, for these defaults.
        start: Start,
    },
}

/// A configuration, and what was odd about it without being wrong.
#[derive(Debug)]
pub struct Start {
    /// The valid configuration.
    pub settings: Settings,
    /// `SLUICE_*` variables that are no key.
    pub unknown_variables: Vec<String>,
}

/// Reads the command line, the environment and the configuration file. Ends the process on `--help`, `--version` and a
/// command line that cannot be understood (exit 64).
///
/// # Errors
/// [`ConfigError`], if the configuration cannot be used.
pub fn read() -> Result<Task, ConfigError> {
    let read = command().try_get_matches().and_then(|matches| Ok((Errand::of(&matches)?, matches)));
    let (errand, matches) = read.unwrap_or_else(|error| {
        // A message that cannot be printed leaves nothing better to do.
        let _ = error.print();
        std::process::exit(if error.use_stderr() { 64 } else { 0 })
    });
    if let Some(errand) = errand {
        return Ok(Task::Errand(errand));
    }
    let (name, matches) = matches.subcommand().unwrap_or(("serve", &matches));
    let start = start(matches)?;
    Ok(match name {
        "config" => Task::ShowConfig(start),
        "health" => Task::Health { url: matches.get_one::<String>("url").cloned(), start },
        "fsck" => Task::Fsck { repair: matches.get_flag("repair"), json: matches.get_flag("json"), start },
        "requeue" => Task::Requeue {
            url: matches.get_one::<String>("url").cloned(),
            file: matches.get_one::<PathBuf>("file").cloned(),
            start,
        },
        _ => Task::Serve(start),
    })
}

/// The whole command line.
pub fn command() -> Command {
    let check = Arg::new("check").long("check").num_args(0).help("Check and print; what it does without this flag too");
    let url = Arg::new("url")
        .long("url")
        .value_name("URL")
        .env("SLUICE_URL")
        .help("The server's URL [default: from the configuration]");
    let command = Command::new("sluice")
        .version(VERSION)
        .about("A log aggregator that loses nothing it has accepted")
        .after_help("Every key has three forms: a flag, an environment variable and a line in the file. Flags win over the environment, that over the file.")
        .args(flags())
        .args_conflicts_with_subcommands(false)
        .subcommand(Command::new("serve").about("Runs the server (the default)").args(flags()));
    Errand::add_to(command)
        .subcommand(
            Command::new("config")
                .about("Checks the configuration and prints the effective one")
                .arg(check)
                .args(flags()),
        )
        .subcommand(Command::new("health").about("Asks a running server whether it is healthy").arg(url.clone()).args(flags()))
        .subcommand(
            Command::new("fsck")
                .about("Looks at every byte of the data folder, while no server runs on it")
                .after_help("Exit codes, a sum as of fsck(8): 0 sound, 1 something was mended, 2 records are lost, 4 something is left as it is, 8 something cannot be read. Others: 64 a bad command line, 65 a server runs on the folder.")
                .arg(Arg::new("repair").long("repair").num_args(0).action(ArgAction::SetTrue).help("Mend what is wrong; what may hold records goes to quarantine"))
                .arg(Arg::new("json").long("json").num_args(0).action(ArgAction::SetTrue).help("Report as JSON"))
                .args(flags()),
        )
        .subcommand(
            Command::new("requeue")
                .about("Offers dead letters to a running server again; what it refuses is kept")
                .after_help("Exit codes: 0 all are accepted, 1 some are refused and kept, 64 a bad command line, 65 another requeue is at work, 69 the server takes nothing now (run it again), 74 a file cannot be read or written.")
                .arg(url)
                .arg(
                    Arg::new("file")
                        .long("file")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("A file of dead letters [default: all in dead-letter/ of the data folder]"),
                )
                .args(flags()),
        )
}

/// The flags of all keys, and the one that names the file.
fn flags() -> Vec<Arg> {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env("SLUICE_CONFIG")
        .value_parser(value_parser!(PathBuf))
        .help("A configuration file in TOML");
    let keys = KEYS.iter().map(|key| {
        let heading = key.path.split_once('.').map_or("General".to_owned(), |(section, _)| format!("[{section}]"));
        Arg::new(key.path)
            .long(key.flag())
            .value_name("VALUE")
            .allow_hyphen_values(true)
            .help_heading(heading)
            .help(format!("{}: {} [{}] [default: {}]", sentence(key.help), key.allowed, key.variable(), key.default))
    });
    std::iter::once(file).chain(keys).collect()
}

/// The text with its first letter in upper case.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn start(matches: &ArgMatches) -> Result<Start, ConfigError> {
    let mut layers = Layers::default();
    if let Some(path) = matches.get_one::<PathBuf>("config") {
        layers.add_file(path)?;
    }
    let unknown_variables = layers.add_environment(variables())?;
    for key in KEYS {
        if let Some(value) = matches.get_one::<String>(key.path) {
            layers.add_flag(key, value.clone());
        }
    }
    let settings = Settings::resolve(&layers)?;
    if let StoreTarget::MongoDb(uri) = &settings.store {
        let refused = |error: MongoConfigError| {
            ConfigError::new("store", &settings.store.to_string(), &error.to_string().replace('\n', " "))
        };
        MongoStore::check(uri).map_err(refused)?;
    }
    Ok(Start { settings, unknown_variables })
}

/// The environment; a variable that is no Unicode can be no value of ours.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_key_has_a_flag_of_each_subcommand() {
        let matches = command().try_get_matches_from(["sluice", "serve", "--spool-durability", "os"]).unwrap();
        let (_, matches) = matches.subcommand().unwrap();
        assert_eq!(start(matches).unwrap().settings.spool.durability, crate::config::Durability::Os);
        assert!(command().try_get_matches_from(["sluice", "--spol-durability", "os"]).is_err());
    }
}
