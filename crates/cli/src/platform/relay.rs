//! Signals that ask this process to end while it runs another command.
//!
//! They are passed on to the command, and this process waits for its end. Otherwise the command would continue without
//! the lock of its key, or beside a second run of itself.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use super::startup::is_closed;
use super::stream::Stream;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// Passes signals on to one child.
///
/// The signals are blocked, not handled: a handler would replace the disposition "ignored", which `nohup` or a shell
/// may have set and which the child must inherit.
pub struct Relay {
    signals: SigSet,
    /// The signals that were blocked before.
    blocked: SigSet,
    /// The child, until its process id may belong to another process.
    child: Arc<Mutex<Option<Pid>>>,
}

impl Relay {
    /// Keeps `SIGTERM` and `SIGHUP` from ending this process. It must be called while there are no other threads.
    pub fn new() -> io::Result<Self> {
        Self::of([Signal::SIGTERM, Signal::SIGHUP])
    }

    /// Like [`new`](Self::new), and also keeps Ctrl-C from ending this process. Ctrl-C is not passed on, because the
    /// terminal sends it to the child as well.
    pub fn with_ctrl_c() -> io::Result<Self> {
        Self::of([Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT])
    }

    fn of(signals: impl IntoIterator<Item = Signal>) -> io::Result<Self> {
        let signals: SigSet = signals.into_iter().collect();
        let blocked = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Self { signals, blocked, child: Arc::default() })
    }

    /// Starts a child that inherits the given standard streams, and passes signals on to it from then on. If no thread
    /// can be started for that, signals end this process as before.
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
            // Restoring our own mask cannot fail.
            let _ = self.blocked.thread_set_mask();
        }
        Ok(started)
    }

    /// Waits for the child to end.
    pub fn wait(self, child: &mut Child) -> io::Result<ExitStatus> {
        // The child stays a zombie, so that no other process gets its id while a signal is on its way.
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(error) = waitid(WaitId::Pid(rustix::process::Pid::from_child(child)), ended) {
            if error != rustix::io::Errno::INTR {
                break; // The next call reports the error.
            }
        }
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = None;
        child.wait()
    }
}

/// Replaces this process by a command. It returns only if that fails.
pub fn run_in_place(command: &mut Command) -> io::Result<ExitStatus> {
    leave_closed(command, &[Stream::Input, Stream::Output, Stream::Error]);
    Err(command.exec())
}

/// Closes in the command those standard streams that were closed when this process started.
#[expect(unsafe_code, reason = "between fork and exec nobody owns the standard streams")]
fn leave_closed(command: &mut Command, inherited: &[Stream]) {
    for stream in inherited.iter().copied().filter(|&stream| is_closed(stream)) {
        let close = move || {
            // SAFETY: it is the `/dev/null` that the runtime opened, and nothing uses it between fork and exec.
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
            // Fails if the child ended a moment ago.
            let _ = kill(pid, signal);
        }
    }
}
