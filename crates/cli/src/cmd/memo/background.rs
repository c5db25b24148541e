//! Starts this invocation again in the background.

use std::env;
use std::io;
use std::process::{Command, Stdio};

use crate::cmd::command::this_program;

/// The internal command for an invocation in the background.
pub const COMMAND: &str = "memo-worker";

/// Starts this invocation again as a detached process, without input and output, which Ctrl-C on the terminal does not
/// end.
///
/// # Errors
/// The process could not be started.
pub fn start() -> io::Result<()> {
    let mut again = Command::new(this_program());
    // The first two words are the program and the command `memo`.
    again.arg(COMMAND).args(env::args_os().skip(2));
    again.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut again, 0);
    // The process outlives this one, so it is not waited for.
    again.spawn().map(drop)
}
