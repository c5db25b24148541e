//! `kennel lock`: runs a command while holding the lock of a key.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use clap::{Args, ValueHint};
use kennel::{Cache, Error, KeyLock, Wait};

use super::command::{self, Failure, exit_code};
use super::outcome::CliResult;
use crate::args::{KeyArgs, WriteArgs};
use crate::platform::{Relay, Stream};
use crate::time::parse_duration;

/// Run a command while holding the lock of a key.
///
/// Commands that lock the same key run one after another, in all processes; there are no lock files to create or to
/// clean up. While a key is locked, neither "kennel memo" nor a program creates its value, but its value can be read
/// and written. The number of keys that can be locked at the same time is limited by the claims of the file: 64 in each
/// stripe, or the number given to "kennel create --claims".
///
/// The lock is held until the command has ended. SIGTERM and SIGHUP are passed on to the command, and kennel waits
/// until it ends: if it released the lock earlier, the next holder would run beside a command that is still ending.
/// Ctrl-C reaches the command from the terminal. If kennel itself is killed with SIGKILL, its lock is released within a
/// second, although the command still runs.
///
/// The exit status is that of the command, or 128 plus the signal number if a signal ended it. It is --conflict-status
/// if the key stayed locked until the time was up, 125 for other failures of kennel itself, 126 if the command cannot
/// be run, and 127 if it is not found.
///
/// Example: kennel lock my.cache nightly --wait 10s -- ./report.sh
#[derive(Args)]
pub struct LockArgs {
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// How long to wait for the lock; 0s does not wait. The default is to wait until it is free.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// The exit status if the key stayed locked until the time was up.
    #[arg(long, value_name = "N", default_value_t = 1)]
    conflict_status: u8,
    /// The command with its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

pub fn run(args: LockArgs) -> CliResult {
    command::leave(run_locked(args))
}

fn run_locked(args: LockArgs) -> Result<i32, Failure> {
    let cache = args.key.namespace.find_or_add(args.write.open()?)?;
    let key = args.key.bytes().map_err(Failure::own)?;
    let lock = lock(&cache, &key, args.wait, args.conflict_status)?;
    // From here on a signal ends this process only after the command has ended.
    let relay = Relay::with_ctrl_c().map_err(|error| Failure::own("cannot pass signals on").because(error))?;
    let (program, arguments) =
        args.command.split_first().ok_or_else(|| Failure::own("expected a command, found none"))?;
    let started = relay.start(Command::new(program).args(arguments), &[Stream::Input, Stream::Output, Stream::Error]);
    let ended = started.and_then(|mut child| relay.wait(&mut child));
    drop(lock);
    ended.map(exit_code).map_err(|error| Failure::to_start(&args.command, error))
}

fn lock(cache: &Cache, key: &[u8], wait: Option<Duration>, conflict: u8) -> Result<KeyLock, Failure> {
    match cache.lock(key, wait.map_or(Wait::Forever, Wait::For)) {
        Err(Error::TimedOut { .. }) if !cache.is_claimed(key) => no_claim_free(cache, key),
        Err(error @ Error::TimedOut { .. }) => {
            Err(Failure::own("the key is locked").because(error).with_status(conflict))
        }
        other => Ok(other?),
    }
}

/// Tries once more after a timeout although the key is not locked: either it was just released, or other keys hold all
/// claims of its stripe.
fn no_claim_free(cache: &Cache, key: &[u8]) -> Result<KeyLock, Failure> {
    cache.lock(key, Wait::No).map_err(|error| match error {
        Error::TimedOut { .. } => Failure::own(
            "expected a free claim for the key, found all claims of its stripe held by other keys; create a file with \
             more of them (\"kennel create --claims\")",
        ),
        error => error.into(),
    })
}
