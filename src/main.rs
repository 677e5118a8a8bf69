//! The `sluice` program.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use log::{error, warn};
use sluice::app::{App, BuildError, LockError, StopSignal};
use sluice::cli::{self, Errand, RequeueError, Start, Task};
use sluice::config::Settings;
use sluice::fsck;
use sluice::telemetry;

/// The configuration or command line is wrong (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;
/// Another process has the data folder (`EX_DATAERR`).
const EXIT_LOCKED: u8 = 65;

/// The data folder cannot be read (fsck(8)).
const EXIT_UNREADABLE: u8 = 8;
/// The server cannot be reached, or takes nothing now (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;
/// A file cannot be read or written (`EX_IOERR`).
const EXIT_IO: u8 = 74;

fn main() -> ExitCode {
    match cli::read() {
        Ok(Task::Errand(errand)) => run_errand(&errand),
        Ok(Task::Serve(start)) => serve(start),
        Ok(Task::ShowConfig(start)) => {
            print!("{}", start.settings);
            ExitCode::SUCCESS
        }
        Ok(Task::Health { url, start }) => match cli::health(url.as_deref(), &start.settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("sluice: {reason}");
                ExitCode::FAILURE
            }
        },
        Ok(Task::Fsck { repair, json, start }) => check(&start.settings.data_dir, repair, json),
        Ok(Task::Requeue { url, file, start }) => requeue(url.as_deref(), file.as_deref(), &start.settings),
        Err(error) => {
            eprintln!("sluice: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn run_errand(errand: &Errand) -> ExitCode {
    let Err(failure) = errand.run() else { return ExitCode::SUCCESS };
    if !failure.text().is_empty() {
        eprintln!("sluice: {}", failure.text());
    }
    ExitCode::from(failure.code())
}

fn check(folder: &Path, repair: bool, json: bool) -> ExitCode {
    let report = match fsck::fsck(folder, repair) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("sluice: {error}");
            return ExitCode::from(if matches!(error, LockError::Held { .. }) { EXIT_LOCKED } else { EXIT_UNREADABLE });
        }
    };
    let out = &mut std::io::stdout();
    let written = if json { writeln!(out, "{}", report.to_json()) } else { report.write_text(out) };
    match written {
        Ok(()) => ExitCode::from(report.exit_code()),
        Err(_) => ExitCode::from(EXIT_IO),
    }
}

fn requeue(url: Option<&str>, file: Option<&Path>, settings: &Settings) -> ExitCode {
    let (done, result) = cli::requeue(url, file, settings);
    println!("{} accepted, {} refused and kept", done.accepted, done.kept);
    let Err(error) = result else { return ExitCode::from(u8::from(done.kept > 0)) };
    eprintln!("sluice: {error}");
    ExitCode::from(match error {
        RequeueError::Url(_) => EXIT_USAGE,
        RequeueError::Held(_) => EXIT_LOCKED,
        RequeueError::Server(_) => EXIT_UNAVAILABLE,
        RequeueError::Io { .. } => EXIT_IO,
    })
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
