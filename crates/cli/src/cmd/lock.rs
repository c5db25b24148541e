//! `kennel lock`: runs a command while holding the lock of a key.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use clap::{Args, ValueHint};
use kennel::{Cache, Error, KeyLock, Wait};

use super::CliResult;
use super::command::{self, Failure, exit_code};
use crate::args::{KeyArgs, WriteArgs};
use crate::platform::{Relay, Stream};
use crate::time::parse_duration;

/// Run a command while holding the lock of a key.
///
/// Commands that lock the same key run one after another, whatever process starts them; there are no lock files to make or to
/// clean up. A key that is locked is not created by "kennel memo" or a program meanwhile. Reading and writing the key's
/// value goes on. As many keys can be locked at the same time as the file has claims: 64 in each of its stripes, or what
/// "kennel create --claims" said.
///
/// The lock is held until the command has ended. SIGTERM and SIGHUP are passed on to the command, and this command waits for
/// its end: if the lock were free at once, the next holder would run beside a command that is still being ended. Ctrl-C
/// is left to the command, which gets it from the terminal. Only SIGKILL frees the lock, within a second, while the
/// command runs on without protection.
///
/// The exit status is the command's, with 128 and the signal's number for one that a signal ended. It is that of
/// --conflict-status when somebody else held the key's lock until the time was up, 125 for other failures of this command
/// itself, and 126 or 127 for a command that cannot be run or is not found.
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
    /// The exit status when somebody else held the key's lock until the time was up.
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
    // From here on a signal ends this process only after the command.
    let relay = Relay::with_ctrl_c().map_err(|error| Failure::own("cannot pass signals on").because(error))?;
    let (program, arguments) = args.command.split_first().ok_or_else(|| Failure::own("no command"))?;
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

/// It was not this key that somebody held: either it was let go right now, or other keys hold all claims of its stripe.
fn no_claim_free(cache: &Cache, key: &[u8]) -> Result<KeyLock, Failure> {
    cache.lock(key, Wait::No).map_err(|error| match error {
        Error::TimedOut { .. } => Failure::own(
            "nobody has locked this key, but so many others are locked that its part of the file takes no more; make a file \
             that takes more of them (\"kennel create --claims\")",
        ),
        error => error.into(),
    })
}
