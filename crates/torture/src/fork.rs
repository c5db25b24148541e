//! Forking a worker that goes on with the handle it inherits.
#![allow(unsafe_code, reason = "there is no safe fork")]

/// Forks twice: `true` in the grandchild. Its parent ends at once, so that the killer, which adopts it, waits for it as
/// for any other worker. Only where orphans can be adopted.
pub fn fork_orphan() -> bool {
    if !cfg!(target_os = "linux") {
        return false;
    }
    // SAFETY: the C library's fork is called with none of its locks held by this thread. Other threads' locks stay held
    // in the child, which uses the cache, memory and the error stream; all of them are made for that.
    match unsafe { libc::fork() } {
        -1 => false,
        0 => {
            // SAFETY: as above.
            match unsafe { libc::fork() } {
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
