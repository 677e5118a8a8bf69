//! What the shell and `man` know of the commands, made of the same definitions as the command line.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::Shell;
use clap_mangen::Man;

use super::failure::Failure;

/// `sluice completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// `sluice man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for each command into this folder [default: the program's page to standard output]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl CompletionsArgs {
    /// Writes the script to standard output.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "sluice", &mut script);
        io::stdout().write_all(&script).map_err(|error| Failure::output(&error))
    }
}

impl ManArgs {
    /// Writes the page, or all of them.
    pub(super) fn run(&self) -> Result<(), Failure> {
        match &self.dir {
            Some(folder) => pages(folder).map_err(|error| Failure::file(folder, &error)),
            None => {
                let mut page = Vec::new();
                let rendered = Man::new(super::command()).render(&mut page);
                rendered.and_then(|()| io::stdout().write_all(&page)).map_err(|error| Failure::output(&error))
            }
        }
    }
}

fn pages(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(super::command(), folder)
}
