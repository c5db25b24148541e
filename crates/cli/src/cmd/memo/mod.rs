//! `kennel memo`: remembers what a command printed, and runs it once however many ask at the same time.

mod background;
mod identity;
mod nesting;
mod place;
mod plain;
mod recorded;
mod runner;
mod settings;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::CliResult;
use super::command;
use crate::size::parse_size;
use crate::time::parse_duration;
use runner::Audience;
use work::Work;

/// Run a command, or show what it printed when it was run before.
///
/// Standard output, standard error and exit status are remembered for --ttl, and shown if they are not older than
/// the --ttl of the one who asks. When they are shown standard output comes first, then standard error. However many
/// shells ask for the same command at the same time, one runs it: the others wait and show the same. When the one is
/// killed, another takes over within a second.
///
/// What is the same command: the same words, in the same --scope, and what --cwd, --env and --modtime add. Standard
/// input is passed to the command when it runs, and makes no difference for that; a run in the background has none.
///
/// A command that fails is not remembered, unless --cache-failures says so, and those who wait for it run it one after
/// another. A failure that is remembered is shown only to those who give --cache-failures, too; others run the command.
///
/// Where the cache file cannot be used (no room, no permission, not a cache file) the command runs all the same, and a line
/// on standard error says why nothing was remembered; with --require-cache that is an error. Output that is too large
/// for the cache file is passed through, and standard error says so.
///
/// A pipe whose reader leaves does not end the command as long as its output can be remembered. Any other output that cannot be
/// written, to a full disk say, is an error. SIGTERM and SIGHUP are passed on to the command, and this command ends when
/// that does.
///
/// The command finds the environment variable KENNEL_MEMO_RUNNING set, so that a script can memoize itself:
/// [ "$KENNEL_MEMO_RUNNING" ] || exec kennel memo -- "$0" "$@". A command that asks for its own result is an error.
///
/// The exit status is the command's, with 128 and the signal's number for one that a signal ended. Failures of this
/// command itself are 125, and 126 or 127 for a command that cannot be run or is not found. "kennel invalidate FILE memo"
/// forgets all.
///
/// Example: kennel memo --ttl 1h --stale 1m -- curl -s https://example.com
#[derive(Args)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub struct MemoArgs {
    /// How long what the command printed is remembered, with its unit: 90s, 5m, 2h or 1d. Without this it is what the
    /// environment variable KENNEL_MEMO_TTL says, else 1m.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// After so long it is shown all the same, and the command is run again in the background. Without this it is what
    /// KENNEL_MEMO_STALE says, else never.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    stale: Option<Duration>,
    /// Keeps what is remembered apart from what is remembered in other scopes. Without this it is what KENNEL_MEMO_SCOPE
    /// says.
    #[arg(long, value_name = "NAME")]
    scope: Option<OsString>,
    /// Tells runs in different working directories apart.
    #[arg(long)]
    cwd: bool,
    /// Tells runs with different values of this environment variable apart. May be given more than once.
    #[arg(long, value_name = "VAR")]
    env: Vec<OsString>,
    /// Tells runs before and after a change of this file apart. May be given more than once.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    modtime: Vec<PathBuf>,
    /// Run the command now, whatever is remembered, and remember that.
    #[arg(long, conflicts_with = "warm")]
    force: bool,
    /// Run the command in the background, so that the next one finds it done, and show nothing.
    #[arg(long)]
    warm: bool,
    /// Remember commands that fail, too.
    #[arg(long)]
    cache_failures: bool,
    /// How long to wait for another who runs the same command, before it is run here as well. Without this, as long as
    /// the other runs it.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// The cache file; it is made if it is not there. Without this it is what KENNEL_MEMO_CACHE says, else
    /// kennel-memo.cache in the runtime directory of the user, else kennel-memo-UID.cache in /dev/shm, else in the
    /// temporary directory: the first of them that can be used.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    cache: Option<PathBuf>,
    /// How many bytes a cache file holds that is made now, such as 16M. Without this 64M, or what leaves half of the space
    /// to others, but at least 4M.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    capacity: Option<u64>,
    /// Use a cache file that belongs to another user, or that other users can write. Whoever can write it decides what is
    /// shown.
    #[arg(long)]
    trust: bool,
    /// Fail instead of running the command where the cache file cannot be used.
    #[arg(long)]
    require_cache: bool,
    /// The command with its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

pub fn run(args: &MemoArgs) -> CliResult {
    command::leave(Work::of(args, Audience::Caller).and_then(|work| work.do_it()))
}

/// The same in the background, started by an invocation that shows a stale output or was to make one ahead.
pub fn run_in_background(args: &MemoArgs) -> CliResult {
    command::leave(Work::of(args, Audience::Nobody).and_then(|work| work.do_in_background()))
}
