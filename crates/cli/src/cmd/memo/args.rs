//! The command line of `kennel memo`, as clap reads it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use kennel_harness::size::parse_size;

use crate::time::parse_duration;

/// Run a command, or show the output of an earlier run.
///
/// Standard output, standard error and the exit status are remembered for --ttl, and shown to callers whose own --ttl
/// is not shorter than the age of the result. Standard output is then shown first, followed by standard error. When
/// several shells ask for the same command at the same time, one of them runs it; the others wait and show the same
/// result. If the one that runs it is killed, another takes over within a second.
///
/// Two commands are the same if they have the same words, the same --scope, and the same values for what --cwd, --env and
/// --modtime name. Standard input is passed to the command when it runs, but does not make it a different command; a
/// command in the background has no input.
///
/// The result of a command that fails is not remembered unless --cache-failures is given, and callers that waited for
/// it run it one after another, unless --retry-after is given. A remembered failure is shown only to callers with
/// --cache-failures; other callers run the command.
///
/// If the cache file cannot be used (no space, no permission, not a cache file), the command runs anyway, and a line on
/// standard error says why nothing was remembered; with --require-cache this is an error. Output that is too large for
/// the cache file is passed through, and standard error says so.
///
/// If the reader of a pipe closes it, the command keeps running as long as its output can be remembered. Output that
/// cannot be written for another reason, such as a full disk, is an error. SIGTERM and SIGHUP are passed on to the
/// command, and kennel ends when the command does.
///
/// The environment variable KENNEL_MEMO_RUNNING is set for the command, so that a script can memoize itself:
/// [ "$KENNEL_MEMO_RUNNING" ] || exec kennel memo -- "$0" "$@". A command that asks for its own result is an error.
///
/// The exit status is that of the command, or 128 plus the signal number if a signal ended it. It is 125 for failures
/// of kennel itself, 126 if the command cannot be run, and 127 if it is not found. "kennel invalidate FILE memo"
/// forgets all results.
///
/// Example: kennel memo --ttl 1h --stale 1m -- curl -s https://example.com
#[derive(Args)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub struct MemoArgs {
    /// How long to remember the result, with a unit: 90s, 5m, 2h or 1d. The default is the environment variable
    /// KENNEL_MEMO_TTL, else 1m.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) ttl: Option<Duration>,
    /// The age from which a result is stale: it is still shown, and the command runs again in the background. The
    /// default is the environment variable KENNEL_MEMO_STALE, else never.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) stale: Option<Duration>,
    /// If the command fails, show an older result instead, until this long after --ttl; a line on standard error says so.
    /// With --stale, results younger than --ttl are shown in that case anyway. Output of a failing command is then not
    /// shown, unless it is too large to be held back.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "cache_failures")]
    pub(super) stale_if_error: Option<Duration>,
    /// After the command failed, do not run it again for this long, in any process. Each further failure doubles the
    /// time, up to MOST, as in 1s,30s. Without MOST, the limit is thirty times FIRST. Meanwhile an older result is
    /// shown as with --stale-if-error, or the exit status is 125.
    #[arg(long, value_name = "FIRST[,MOST]", value_parser = parse_rests)]
    pub(super) retry_after: Option<(Duration, Duration)>,
    /// Keep results separate from those of other scopes. The default is the environment variable KENNEL_MEMO_SCOPE.
    #[arg(long, value_name = "NAME")]
    pub(super) scope: Option<OsString>,
    /// Keep a separate result for each working directory.
    #[arg(long)]
    pub(super) cwd: bool,
    /// Keep a separate result for each value of this environment variable. May be given several times.
    #[arg(long, value_name = "VAR")]
    pub(super) env: Vec<OsString>,
    /// Keep a separate result for each modification time of this file. May be given several times.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(super) modtime: Vec<PathBuf>,
    /// A tag of the result: "kennel invalidate FILE --tag" forgets all results that bear it. May be given up to 16 times.
    #[arg(long = "tag", value_name = "NAME")]
    pub(super) tags: Vec<OsString>,
    /// Run the command even if a result is remembered, and remember the new one.
    #[arg(long, conflicts_with = "warm")]
    pub(super) force: bool,
    /// Run the command in the background and show nothing, so that the next caller finds the result.
    #[arg(long)]
    pub(super) warm: bool,
    /// Also remember the results of commands that fail.
    #[arg(long)]
    pub(super) cache_failures: bool,
    /// How long to wait for another process that runs the same command before running it here as well. The default is
    /// to wait until the other has finished.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) wait: Option<Duration>,
    /// The cache file, created if it does not exist. The default is the environment variable KENNEL_MEMO_CACHE, else
    /// the first usable of kennel-memo.cache in the user's runtime directory and kennel-memo-UID.cache in /dev/shm and
    /// in the temporary directory.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) cache: Option<PathBuf>,
    /// How many bytes a new cache file holds, such as 16M. The default is 64M, or less where that would take more than
    /// half of the free space, but at least 4M.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(super) capacity: Option<u64>,
    /// Use a cache file that belongs to another user or that other users can write. Anyone who can write it decides
    /// what is shown.
    #[arg(long)]
    pub(super) trust: bool,
    /// Fail instead of running the command if the cache file cannot be used.
    #[arg(long)]
    pub(super) require_cache: bool,
    /// The command with its arguments.
    #[arg(required = true, last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub(super) command: Vec<OsString>,
}

/// Reads the first and the longest pause after failures, such as `1s,30s`.
pub(super) fn parse_rests(text: &str) -> Result<(Duration, Duration), String> {
    let (first, most) = match text.split_once(',') {
        Some((first, most)) => (parse_duration(first)?, Some(parse_duration(most)?)),
        None => (parse_duration(text)?, None),
    };
    let most = most.unwrap_or(first.saturating_mul(30));
    if first.is_zero() || most < first {
        return Err(format!("expected a time above 0, and then one that is not shorter, found \"{text}\""));
    }
    Ok((first, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_after_failures_are_read() {
        let (s, ms) = (Duration::from_secs, Duration::from_millis);
        assert_eq!(parse_rests("1s,30s"), Ok((s(1), s(30))));
        assert_eq!(parse_rests("200ms"), Ok((ms(200), s(6))));
        for wrong in ["", "1", "0s", "2s,1s", "1s,", "1s,2s,3s"] {
            assert!(parse_rests(wrong).is_err(), "{wrong}");
        }
    }
}
