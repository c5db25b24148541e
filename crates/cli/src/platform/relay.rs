//! Signals that ask a command which runs another to end.
//!
//! They are passed on to the other, and this process lives until that one has ended. If it died first, the command
//! would go on without the lock of its key, or beside a second run of itself.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Stream, is_closed};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// Passes signals on to one child.
///
/// The signals are blocked, not handled: a handler would take the place of "ignored", which `nohup` or a shell may have
/// said, and the child would not inherit that.
pub struct Relay {
    signals: SigSet,
    /// What was blocked before.
    blocked: SigSet,
    /// The child, until its process id may belong to another process.
    child: Arc<Mutex<Option<Pid>>>,
}

impl Relay {
    /// From here on `SIGTERM` and `SIGHUP` do not end this process. To be called while there are no other threads.
    pub fn new() -> io::Result<Self> {
        Self::of([Signal::SIGTERM, Signal::SIGHUP])
    }

    /// The same for Ctrl-C, which is not passed on: the terminal sends it to the child as well.
    pub fn with_ctrl_c() -> io::Result<Self> {
        Self::of([Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT])
    }

    fn of(signals: impl IntoIterator<Item = Signal>) -> io::Result<Self> {
        let signals: SigSet = signals.into_iter().collect();
        let blocked = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Self { signals, blocked, child: Arc::default() })
    }

    /// Starts a child that inherits these standard streams, and passes signals on to it from then on. Where no thread can be had for that, signals end this
    /// process as they did before.
    #[expect(unsafe_code, reason = "what a child blocks is set between fork and exec")]
    pub fn start(&self, command: &mut Command, inherited: &[Stream]) -> io::Result<Child> {
        leave_closed(command, inherited);
        let blocked = self.blocked;
        // SAFETY: the closure makes one system call, which may be made between fork and exec, and allocates nothing.
        unsafe { command.pre_exec(move || Ok(blocked.thread_set_mask()?)) };
        let started = command.spawn()?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(Pid::from_raw(started.id() as i32));
        let (signals, child) = (self.signals, Arc::clone(&self.child));
        let relay = std::thread::Builder::new().name("relay".into()).spawn(move || pass_on(&signals, &child));
        if relay.is_err() {
            // It cannot fail for a mask that was ours.
            let _ = self.blocked.thread_set_mask();
        }
        Ok(started)
    }

    /// Waits for the child's end.
    pub fn wait(self, child: &mut Child) -> io::Result<ExitStatus> {
        // It stays a zombie here, so that its process id is not given to another while a signal is on its way.
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(error) = waitid(WaitId::Pid(rustix::process::Pid::from_child(child)), ended) {
            if error != rustix::io::Errno::INTR {
                break; // It cannot be waited for: the next call says why.
            }
        }
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = None;
        child.wait()
    }
}

/// Runs a command in place of this process, so that it is as if there were none: it returns only what kept it from that.
pub fn run_in_place(command: &mut Command) -> io::Result<ExitStatus> {
    leave_closed(command, &[Stream::Input, Stream::Output, Stream::Error]);
    Err(command.exec())
}

/// A command finds closed which of its standard streams were closed when this process was started.
#[expect(unsafe_code, reason = "between fork and exec nobody owns the standard streams")]
fn leave_closed(command: &mut Command, inherited: &[Stream]) {
    for stream in inherited.iter().copied().filter(|&stream| is_closed(stream)) {
        let close = move || {
            // SAFETY: it is the `/dev/null` that the runtime opened, and nobody uses it between fork and exec.
            drop(unsafe { OwnedFd::from_raw_fd(stream as RawFd) });
            Ok(())
        };
        // SAFETY: the closure makes one system call, which may be made between fork and exec, and allocates nothing.
        unsafe { command.pre_exec(close) };
    }
}

/// Waits for signals until the process ends.
fn pass_on(signals: &SigSet, child: &Mutex<Option<Pid>>) {
    while let Ok(signal) = signals.wait() {
        let child = child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = child.filter(|_| signal != Signal::SIGINT) {
            // It may have ended a moment ago.
            let _ = kill(pid, signal);
        }
    }
}
