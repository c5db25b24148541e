//! Forking, for tests of inherited state.
#![cfg(unix)]
#![allow(unsafe_code, reason = "there is no safe fork; children here do only what the tests are about")]

use super::children::PATIENCE;
use std::io;
use std::time::Duration;

/// Forks: `true` in the child. The child has one thread, and locks of other threads stay held in it; of all shared
/// things it uses only the cache, memory and the standard streams, all of which are made for that.
pub fn fork_plain() -> io::Result<bool> {
    // SAFETY: this thread holds no lock of the C library; see above for the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(true),
        _ => Ok(false),
    }
}

/// Makes every fork call a function first.
#[cfg(target_os = "linux")]
pub fn before_forks(handler: extern "C" fn()) {
    // SAFETY: the handler is a function of this program.
    assert_eq!(unsafe { libc::pthread_atfork(Some(handler), None, None) }, 0);
}

/// Closes every descriptor above 2, like daemons that want to start clean, whatever they belong to.
#[cfg(target_os = "linux")]
pub fn close_all_above_two() {
    // SAFETY: this closes descriptors that other code of this process owns. That is the purpose; a child that does this
    // ends without dropping any of them.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) }, 0);
}

/// Makes the kernel end this process at any system call from here on, except reading and writing; returns only if that
/// is not possible.
#[cfg(target_os = "linux")]
pub fn forbid_system_calls() {
    // SAFETY: a system call that takes numbers.
    unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
}

/// Ends the only thread of a process, by the one call that is still allowed.
#[cfg(target_os = "linux")]
pub fn end_well() -> ! {
    // SAFETY: it does not return, and nothing of this process is used afterwards.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

/// A forked child; dropping this kills and reaps it.
pub struct Forked(libc::pid_t);

impl Forked {
    /// Forks a child that does `work` and then ends without any cleanup. Its exit status tells whether `work` finished.
    pub fn start(work: impl FnOnce()) -> Self {
        Self::start_within(PATIENCE, work)
    }

    /// Like [`start`](Self::start), for a child that may run for longer than usual.
    pub fn start_within(limit: Duration, work: impl FnOnce()) -> Self {
        // SAFETY: as in `fork_plain`.
        Self::of(unsafe { libc::fork() }, limit, work)
    }

    /// Like [`start`](Self::start), but by a bare system call, as in `_Fork`: no fork handler runs. Use it only while
    /// no other thread is in the middle of an operation, since that would stay half done in the child.
    #[cfg(target_os = "linux")]
    pub fn start_raw(work: impl FnOnce()) -> Self {
        // SAFETY: as in `fork_plain`; the child has its own copy of memory, and its parent's stack in it.
        let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        Self::of(pid as libc::pid_t, PATIENCE, work)
    }

    fn of(pid: libc::pid_t, limit: Duration, work: impl FnOnce()) -> Self {
        assert!(pid >= 0, "{}", io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: this only requests a signal that ends this process if it hangs.
            unsafe { libc::alarm(limit.as_secs() as libc::c_uint) };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_ok();
            // SAFETY: this ends the process immediately; no handler of the parent's harness runs.
            unsafe { libc::_exit(if done { 0 } else { 101 }) }
        }
        Self(pid)
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_raw(self.0).unwrap()
    }

    /// Waits for the child, and checks that it has done its work.
    #[track_caller]
    pub fn join(mut self) {
        let status = self.wait();
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "a forked child failed: {status:#x}");
    }

    /// Waits for the child's end. Returns the signal that ended it, if there was one.
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

    /// Does `work`; a child that unwinds out of it ends here, successfully.
    pub fn end_if_unwound(work: impl FnOnce()) {
        let parent = std::process::id();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        if std::process::id() != parent {
            // SAFETY: this ends the process immediately; no handler of the parent's harness runs.
            unsafe { libc::_exit(i32::from(done.is_ok())) }
        }
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    }

    fn wait(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: the pid is that of a child that has not been reaped, and the status is a valid place.
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
