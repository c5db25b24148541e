//! `kennel destroy`: removes a cache file.

use std::process::ExitCode;

use clap::Args;

use super::outcome::CliResult;
use crate::args::FileArgs;

/// Remove a cache file and its lock directory.
///
/// Processes that have the file open then get only misses, and their writes fail, until the file is created again.
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
