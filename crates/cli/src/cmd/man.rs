//! `kennel man`: writes the manual pages.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_mangen::Man;

use super::CliResult;
use crate::{Cli, output};

/// Write the manual page to standard output, or one page for each command to a directory.
///
/// Examples: kennel man | man -l -; kennel man --dir /usr/local/share/man/man1
#[derive(Args)]
pub struct ManArgs {
    /// The directory to write kennel.1, kennel-get.1 and so on to. It must exist.
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub fn run(args: &ManArgs) -> CliResult {
    match &args.dir {
        Some(dir) => write_pages(dir)?,
        None => print_page()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write_pages(dir: &Path) -> Result<(), String> {
    clap_mangen::generate_to(Cli::command(), dir)
        .map_err(|error| format!("cannot write manual pages to {}: {error}", dir.display()))
}

fn print_page() -> std::io::Result<()> {
    let mut out = output::stdout();
    Man::new(Cli::command()).render(&mut out)?;
    out.flush()
}
