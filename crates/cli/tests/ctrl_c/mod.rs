//! Commands that Ctrl-C ends, however the tests were started.

use std::process::Command;

/// Lets Ctrl-C end a command: a background shell starts everything with that ignored, and so tests, and what they
/// start.
#[expect(unsafe_code, reason = "how a child treats signals is set between fork and exec")]
pub fn heeding_ctrl_c(command: &mut Command) -> &mut Command {
    let heed = || {
        // SAFETY: it may be called between fork and exec, and no handler of ours is replaced: there is none.
        match unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) } {
            libc::SIG_ERR => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: `heed` does nothing else.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, heed) }
}
