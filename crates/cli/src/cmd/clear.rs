//! `kennel clear`: removes everything.

use std::process::ExitCode;

use clap::Args;

use super::outcome::CliResult;
use crate::args::WriteArgs;

/// Remove every key of a cache, and keep the file.
///
/// Processes that have the file open can continue to use it, and find it empty.
///
/// Example: kennel clear my.cache
#[derive(Args)]
pub struct ClearArgs {
    #[command(flatten)]
    write: WriteArgs,
}

pub fn run(args: &ClearArgs) -> CliResult {
    args.write.open()?.clear()?;
    Ok(ExitCode::SUCCESS)
}
