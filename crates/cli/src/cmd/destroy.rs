//! `kennel destroy`: removes a cache file.

use std::process::ExitCode;

use clap::Args;

use super::CliResult;
use crate::args::FileArgs;

/// Remove a cache file and its lock directory.
///
/// Processes that have the file open read only misses from then on, and their writes fail, until somebody
/// creates it again.
///
/// Example: kennel destroy my.cache
#[derive(Args)]
pub struct DestroyArgs {
    #[command(flatten)]
    file: FileArgs,
}

pub fn run(args: &DestroyArgs) -> CliResult {
    args.file.options().destroy(&args.file.file)?;
    Ok(ExitCode::SUCCESS)
}
