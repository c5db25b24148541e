//! Starts this same invocation once more, to run in the background.

use std::env;
use std::io;
use std::process::{Command, Stdio};

/// The hidden option of an invocation that runs in the background.
pub const OPTION: &str = "--in-background";

/// Starts the invocation of this process again, detached: it has no input and no output, and Ctrl-C on the terminal
/// does not end it.
///
/// # Errors
/// What keeps the process from being started.
pub fn start() -> io::Result<()> {
    let mut arguments = env::args_os().skip(1);
    let mut again = Command::new(env::current_exe()?);
    // The command's name comes first, its options follow.
    again.args(arguments.next()).arg(OPTION).args(arguments);
    again.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut again, 0);
    // Nobody waits for it: it outlives this process.
    again.spawn().map(drop)
}
