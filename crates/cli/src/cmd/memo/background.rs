//! Starts this same invocation once more, to run in the background.

use std::env;
use std::io;
use std::process::{Command, Stdio};

use crate::cmd::command::this_program;

/// The hidden command that an invocation in the background is.
pub const COMMAND: &str = "memo-worker";

/// Starts the invocation of this process again, detached: it has no input and no output, and Ctrl-C on the terminal
/// does not end it.
///
/// # Errors
/// What keeps the process from being started.
pub fn start() -> io::Result<()> {
    let mut again = Command::new(this_program());
    // The program's name comes first, then the command's, and their options.
    again.arg(COMMAND).args(env::args_os().skip(2));
    again.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut again, 0);
    // Nobody waits for it: it outlives this process.
    again.spawn().map(drop)
}
