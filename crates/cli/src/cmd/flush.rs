//! `kennel flush`: writes the file out to disk.

use std::process::ExitCode;

use clap::Args;

use super::CliResult;
use crate::args::{LockWaitArgs, OptionalFileArgs};
use crate::output::with_spinner;

/// Write a cache out to disk, so that it survives a crash of the machine.
///
/// A process that dies loses nothing in any case; this is for power cuts, and means something only
/// for a file on a disk, not for one in /dev/shm.
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
    if with_spinner("Writing the file out", || cache.flush())? {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!(
        "{}: the file was written out, but others changed it meanwhile, so that it is no durable \
         point; try again when fewer processes write",
        path.display()
    )
    .into())
}
