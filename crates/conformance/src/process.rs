//! Operations on processes that only some systems have: stopping another one, and forking.

#[cfg(unix)]
pub(crate) use unix::{fork, resume, stop};
#[cfg(not(unix))]
pub(crate) use unsupported::{fork, resume, stop};

#[cfg(unix)]
mod unix {
    #![allow(unsafe_code, reason = "there is no safe fork")]

    use rustix::process::{Pid, Signal, kill_process};
    use std::io;

    /// Stops a process until [`resume`].
    pub(crate) fn stop(pid: u32) -> io::Result<()> {
        send(pid, Signal::STOP)
    }

    /// Resumes a stopped process.
    pub(crate) fn resume(pid: u32) -> io::Result<()> {
        send(pid, Signal::CONT)
    }

    fn send(pid: u32, signal: Signal) -> io::Result<()> {
        let pid = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process(pid, signal)?)
    }

    /// Forks this process: `true` in the child, which has this thread only.
    pub(crate) fn fork() -> io::Result<bool> {
        // SAFETY: this thread holds no lock of the C library. Locks of other threads stay held in the child, which uses
        // only the cache, memory and the standard streams; all of these are made for that.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            child => Ok(child == 0),
        }
    }
}

#[cfg(not(unix))]
mod unsupported {
    use std::io;

    /// On this system only a debugger can stop a process.
    pub(crate) fn stop(_pid: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// On this system no process can have been stopped.
    pub(crate) fn resume(_pid: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// On this system processes cannot fork.
    pub(crate) fn fork() -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
