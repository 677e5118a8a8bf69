//! The `sluice` program.

use std::process::ExitCode;

use log::{error, warn};
use sluice::app::{App, BuildError, StopSignal};
use sluice::cli::{self, Start, Task};
use sluice::config::Settings;
use sluice::telemetry;

/// The configuration or command line is wrong (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;
/// Another process has the data folder (`EX_DATAERR`).
const EXIT_LOCKED: u8 = 65;

fn main() -> ExitCode {
    match cli::read() {
        Ok(Task::Serve(start)) => serve(start),
        Ok(Task::ShowConfig(start)) => {
            print!("{}", start.settings);
            ExitCode::SUCCESS
        }
        Ok(Task::Health { url, start }) => match cli::health(url, &start.settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("sluice: {reason}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("sluice: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn serve(start: Start) -> ExitCode {
    telemetry::init_logging(start.settings.log_format);
    if !start.unknown_variables.is_empty() {
        warn!("unknown environment variables are ignored: {}", start.unknown_variables.join(", "));
    }
    match run(&start.settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure}");
            match failure.downcast_ref() {
                Some(BuildError::Lock(_)) => ExitCode::from(EXIT_LOCKED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    let stop = StopSignal::from_signals()?;
    actix::System::new().block_on(async {
        let app = App::build(settings)?;
        Ok(app.run(settings, stop).await?)
    })
}
