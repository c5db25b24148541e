//! `kennel completions`: writes a completion script.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::CliResult;
use crate::{Cli, output};

/// Write a script to standard output that completes this command line in a shell.
///
/// Example: kennel completions bash > /etc/bash_completion.d/kennel
#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell to write the script for.
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> CliResult {
    let mut script = Vec::new();
    // The generator panics where it cannot write; memory always takes it.
    clap_complete::generate(args.shell, &mut Cli::command(), "kennel", &mut script);
    let mut out = output::stdout();
    out.write_all(&script)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
