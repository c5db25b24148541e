//! Signals that ask the process to end: Ctrl-C, and on Unix `SIGTERM` and `SIGHUP`.
//!
//! The cache files lie in memory and would outlive the process, and worker processes use them. So a process that is
//! asked to end first ends its workers and removes its files. However a parent ends, its workers end with it, because
//! their standard input is then closed.

use std::io::{self, Read as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a waiting thread checks [`is_asked`].
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

static ASKED: AtomicBool = AtomicBool::new(false);

/// After this call, such a signal does not end this process; [`is_asked`] reports it. A signal that is already ignored,
/// as under `nohup`, stays ignored.
///
/// # Errors
/// Errors of the operating system.
pub fn watch() -> io::Result<()> {
    static WATCHED: OnceLock<Result<(), String>> = OnceLock::new();
    WATCHED.get_or_init(|| handle().map_err(|error| error.to_string())).clone().map_err(io::Error::other)
}

/// Whether this process was asked to end.
#[must_use]
pub fn is_asked() -> bool {
    // Relaxed: the flag publishes no other memory.
    ASKED.load(Ordering::Relaxed)
}

/// Ends this process when its standard input ends. This is for a worker whose parent holds the other end of the input:
/// even if the parent is killed with `SIGKILL`, the worker does not outlive it.
///
/// # Errors
/// The thread that watches the input cannot be started.
pub fn end_with_input() -> io::Result<()> {
    let wait = || {
        let mut input = io::stdin().lock();
        while matches!(input.read(&mut [0; 64]), Ok(1..)) {}
        std::process::exit(1)
    };
    std::thread::Builder::new().name("parent".into()).spawn(wait).map(drop)
}

#[cfg(unix)]
fn handle() -> io::Result<()> {
    use nix::sys::signal::Signal;
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().try_for_each(handle_unless_ignored)
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "a handler of signals is set")]
fn handle_unless_ignored(signal: nix::sys::signal::Signal) -> io::Result<()> {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
    let ours = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: `note` stores one atomic and does nothing else, which a handler may do at any moment.
    let before = unsafe { sigaction(signal, &ours) }?;
    if matches!(before.handler(), SigHandler::SigIgn) {
        // SAFETY: as above; this restores the handler that was there.
        unsafe { sigaction(signal, &before) }?;
    }
    Ok(())
}

#[cfg(unix)]
extern "C" fn note(_: std::ffi::c_int) {
    ASKED.store(true, Ordering::Relaxed);
}

#[cfg(not(unix))]
fn handle() -> io::Result<()> {
    ctrlc::set_handler(|| ASKED.store(true, Ordering::Relaxed)).map_err(io::Error::other)
}
