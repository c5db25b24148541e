//! Forks a worker that continues to use the inherited handle.
#![allow(unsafe_code, reason = "there is no safe fork")]

/// The way a worker forks.
#[derive(Clone, Copy)]
pub enum How {
    /// With the C library, which runs the fork handlers.
    Told,
    /// With a bare system call, which runs no fork handlers. This is allowed only in a process of one thread.
    Bare,
}

#[cfg(target_os = "linux")]
fn fork(how: How) -> libc::pid_t {
    match how {
        // SAFETY: see `fork_orphan`.
        How::Told => unsafe { libc::fork() },
        // SAFETY: the same; the child gets its own copy of memory, its parent's stack in it.
        How::Bare => unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t },
    }
}

#[cfg(not(target_os = "linux"))]
fn fork(_: How) -> libc::pid_t {
    -1
}

/// Forks twice. Returns `true` in the grandchild. The child ends immediately, so that the killer adopts the grandchild
/// and reaps it like any other worker. This works only where orphans can be adopted.
pub fn fork_orphan(how: How) -> bool {
    // This thread holds no lock of the C library. Locks of other threads stay held in the child, which uses only the
    // cache, memory and the error stream; all of them are made for that.
    match fork(how) {
        -1 => false,
        0 => {
            match fork(how) {
                0 => true,
                // SAFETY: ends this process immediately, without cleaning up what belongs to the parent.
                _ => unsafe { libc::_exit(0) },
            }
        }
        child => {
            let mut status = 0;
            // SAFETY: the child belongs to this process and was not reaped; the status is a valid place.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            false
        }
    }
}
