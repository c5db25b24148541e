//! Forking a worker that goes on with the handle it inherits.
#![allow(unsafe_code, reason = "there is no safe fork")]

/// How a worker forks.
#[derive(Clone, Copy)]
pub enum How {
    /// By the C library, which runs the handlers.
    Told,
    /// By a bare system call, of which no handler is told; only in a process of one thread.
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

/// Forks twice: `true` in the grandchild. Its parent ends at once, so that the killer, which adopts it, waits for it as
/// for any other worker. Only where orphans can be adopted.
pub fn fork_orphan(how: How) -> bool {
    // It is called with none of the C library's locks held by this thread. Other threads' locks stay held in the child,
    // which uses the cache, memory and the error stream; all of them are made for that.
    match fork(how) {
        -1 => false,
        0 => {
            match fork(how) {
                0 => true,
                // SAFETY: ends this process at once; nothing of the parent's is cleaned up.
                _ => unsafe { libc::_exit(0) },
            }
        }
        child => {
            let mut status = 0;
            // SAFETY: the child is this process's own and was not waited for; the status is a valid place.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            false
        }
    }
}
