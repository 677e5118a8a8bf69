//! The load generator's command.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use producer::flags::Flags;
use producer::progress::Progress;
use producer::source::Source;
use producer::stop::Stop;
use producer::verify::{PATIENCE, verify};
use producer::{print, send};

/// The command line is wrong (EX_USAGE).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => {
            // Where even this cannot be printed, the exit code has to do.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match run(&flags) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("producer: {error}");
            ExitCode::from(USAGE)
        }
    }
}

/// Makes the records and prints or sends them; true if all went well.
fn run(flags: &Flags) -> Result<bool, Box<dyn std::error::Error>> {
    let run = flags.verify.then(|| format!("{:016x}", rand::random::<u64>()));
    let plan = flags.plan(run.clone())?;
    let client = flags.client()?;
    let stop = Stop::after(flags.duration);
    stop.at_signals()?;
    let (count, paced) = (plan.count, plan.pace.rate.is_some());
    let source = Source::new(plan)?;
    if flags.stdout {
        return Ok(said(print::print(source, flags.format, paced, &stop, &mut io::stdout().lock())).is_some());
    }
    let progress = Progress::new(count);
    let outcome = send::run(&client, source, flags.clients, &stop, &progress, flags.verify);
    println!("{outcome}");
    let Some(run) = run else { return Ok(outcome.is_good()) };
    let reader = flags.client_builder().retry_for(PATIENCE).build()?;
    let report =
        said(verify(&reader, &run, &outcome, PATIENCE, |waiting| progress.say(&format!("verifying: {waiting}"))));
    report.iter().for_each(|report| println!("{report}"));
    Ok(outcome.is_good() && report.is_some_and(|report| report.is_good()))
}

/// Tells of an error that is no mistake in the command line.
fn said<T, E: std::fmt::Display>(result: Result<T, E>) -> Option<T> {
    result.map_err(|error| eprintln!("producer: {error}")).ok()
}
