//! `kennel lock`: runs a command while holding the lock of a key.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use kennel::{Error, Wait};

use super::CliResult;
use super::command::{self, Failure, exit_code};
use crate::args::{KeyArgs, WriteArgs};
use crate::time::parse_duration;

/// Run a command while holding the lock of a key.
///
/// Any number of keys can be locked in one cache file; there are no lock files to make or to clean up. Commands that
/// lock the same key run one after another, whatever process starts them, and a key that is locked is not created by
/// "kennel memo" or a program meanwhile. Reading and writing the key's value goes on.
///
/// When this command is killed the lock is free within a second, and the command that it started runs on without
/// protection. Ctrl-C is left to that command: the lock is held until it ends.
///
/// The exit status is the command's, with 128 and the signal's number for one that a signal ended. It is that of
/// --conflict-status when the lock was not to be had in time, 125 for other failures of this command itself, and 126 or
/// 127 for a command that cannot be run or is not found.
///
/// Example: kennel lock my.cache nightly --wait 10s -- ./report.sh
#[derive(Args)]
pub struct LockArgs {
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// How long to wait for the lock: 0s not at all. Without this, until it is free.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// The exit status when the lock was not to be had in time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    conflict_status: u8,
    /// The command with its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub fn run(args: LockArgs) -> CliResult {
    command::leave(run_locked(args))
}

fn run_locked(args: LockArgs) -> Result<i32, Failure> {
    let cache = args.write.open()?;
    let key = args.key.bytes().map_err(Failure::own)?;
    let lock = cache.lock(&key, args.wait.map_or(Wait::Forever, Wait::For)).map_err(|error| match error {
        Error::TimedOut { .. } => Failure::own("the key is locked").because(error).with_status(args.conflict_status),
        error => error.into(),
    })?;
    // From here on Ctrl-C is the command's alone. A handler, unlike an ignored signal, is not passed on to it.
    ctrlc::set_handler(|| {}).map_err(|error| Failure::own("cannot leave Ctrl-C to the command").because(error))?;
    let (program, arguments) = args.command.split_first().ok_or_else(|| Failure::own("no command"))?;
    let ended = Command::new(program).args(arguments).status();
    drop(lock);
    ended.map(exit_code).map_err(|error| Failure::to_start(&args.command, error))
}
