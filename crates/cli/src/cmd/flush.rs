//! `kennel flush`: writes the file to disk.

use std::process::ExitCode;

use clap::Args;

use super::outcome::CliResult;
use crate::args::{LockWaitArgs, OptionalFileArgs};
use crate::output::with_spinner;

/// Write a cache to disk, so that it survives a crash of the machine.
///
/// The death of a process never loses values. This command protects against power failures, and only if the file is on
/// a disk and not in /dev/shm.
///
/// Example: kennel flush /var/cache/my.cache
#[derive(Args)]
pub struct FlushArgs {
    #[command(flatten)]
    file: OptionalFileArgs,
    #[command(flatten)]
    wait: LockWaitArgs,
}

pub fn run(args: &FlushArgs) -> CliResult {
    let path = args.file.path();
    let cache = args.wait.open(args.file.options(), &path)?;
    if with_spinner("Writing the file to disk", || cache.flush())? {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!(
        "{}: the file was written to disk, but other processes changed it at the same time, so this state would not \
         survive a crash; try again when fewer processes write",
        path.display()
    )
    .into())
}
