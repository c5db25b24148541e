//! How a child of the conformance suite forks. The suite cannot: that needs `unsafe`.
#![allow(unsafe_code, reason = "there is no safe fork")]

use std::io;

/// Forks: `true` in the child.
pub fn fork() -> io::Result<bool> {
    // SAFETY: a child of the suite has one thread, which holds none of the C library's locks here.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(child == 0),
    }
}
