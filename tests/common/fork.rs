//! Forking, for the tests of what a forked child inherits.
#![cfg(unix)]
#![allow(unsafe_code, reason = "there is no safe fork; children here do only what the tests are about")]

use super::children::PATIENCE;
use std::io;
use std::time::Duration;

/// Forks: `true` in the child. The child has one thread, and whatever other threads held stays held in it; of
/// the things that threads share it uses the cache, memory and the standard streams, all of which are made for
/// that.
pub fn fork_plain() -> io::Result<bool> {
    // SAFETY: the C library's fork is called without any of its locks held; see above for what the child does.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(true),
        _ => Ok(false),
    }
}

/// Has every fork call a function before it.
#[cfg(target_os = "linux")]
pub fn before_forks(handler: extern "C" fn()) {
    // SAFETY: the handler is a function of this program.
    assert_eq!(unsafe { libc::pthread_atfork(Some(handler), None, None) }, 0);
}

/// Closes every descriptor above 2, as daemons do that want to start clean. Whoever owns one of them is not asked.
#[cfg(target_os = "linux")]
pub fn close_all_above_two() {
    // SAFETY: it closes what others in this process own. That is the point; a child that does this ends without
    // dropping any of them.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) }, 0);
}

/// Ends this process at any system call from here on but reading and writing; returns only if it cannot be had.
#[cfg(target_os = "linux")]
pub fn forbid_system_calls() {
    // SAFETY: a system call that takes numbers.
    unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
}

/// Ends this thread of a process without any other thread, by the one call that is still allowed.
#[cfg(target_os = "linux")]
pub fn end_well() -> ! {
    // SAFETY: it does not return, and nothing of this process is used afterwards.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

/// A forked child; it is killed and waited for when this is dropped.
pub struct Forked(libc::pid_t);

impl Forked {
    /// Forks a child that does `work` and then ends without any cleaning up. Its exit status says whether `work`
    /// came to its end.
    pub fn start(work: impl FnOnce()) -> Self {
        Self::start_within(PATIENCE, work)
    }

    /// The same for a child that may be there for longer than others.
    pub fn start_within(limit: Duration, work: impl FnOnce()) -> Self {
        // SAFETY: as in `fork_plain`.
        Self::of(unsafe { libc::fork() }, limit, work)
    }

    /// The same by a bare system call, as `_Fork` does: no handler hears of it. To be used where no other thread is at
    /// anything, since what it was at stays half done in the child.
    #[cfg(target_os = "linux")]
    pub fn start_raw(work: impl FnOnce()) -> Self {
        // SAFETY: as in `fork_plain`; the child has its own copy of memory, and its parent's stack in it.
        let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        Self::of(pid as libc::pid_t, PATIENCE, work)
    }

    fn of(pid: libc::pid_t, limit: Duration, work: impl FnOnce()) -> Self {
        assert!(pid >= 0, "{}", io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: it only asks for a signal that ends this process, should it hang.
            unsafe { libc::alarm(limit.as_secs() as libc::c_uint) };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_ok();
            // SAFETY: it ends the process at once; no handler of the parent's harness runs.
            unsafe { libc::_exit(if done { 0 } else { 101 }) }
        }
        Self(pid)
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_raw(self.0).unwrap()
    }

    /// Waits for the child, which must have done its work.
    #[track_caller]
    pub fn join(mut self) {
        let status = self.wait();
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "a forked child failed: {status:#x}");
    }

    /// Waits for the child's end; the signal that ended it, if one did.
    pub fn signal_at_end(mut self) -> Option<i32> {
        let status = self.wait();
        libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
    }

    /// Forks a child that unwinds from here to [`end_if_unwound`](Self::end_if_unwound): `None` in the child.
    pub fn unwinding() -> Option<Self> {
        // SAFETY: as in `fork_plain`.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "{}", io::Error::last_os_error());
        (pid > 0).then_some(Self(pid))
    }

    /// Does `work`; in a child that unwound out of it the process ends here, well.
    pub fn end_if_unwound(work: impl FnOnce()) {
        let parent = std::process::id();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        if std::process::id() != parent {
            // SAFETY: it ends the process at once; no handler of the parent's harness runs.
            unsafe { libc::_exit(i32::from(done.is_ok())) }
        }
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    }

    fn wait(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: the pid is of a child that was not waited for yet, the status is a valid place.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!(waited, self.0, "{}", io::Error::last_os_error());
        self.0 = 0;
        status
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if self.0 > 0 {
            let _ = rustix::process::kill_process(self.pid(), rustix::process::Signal::KILL);
            self.wait();
        }
    }
}
