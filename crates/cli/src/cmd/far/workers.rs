//! The processes of `check` and `demo`: this program, under an internal command. Each gets its task in the first line of
//! its standard input, and ends when that input ends.

use std::io::{self, BufRead as _, Write as _};
use std::process::{Child, Command, Stdio};

use kennel_harness::interrupt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cmd::command::this_program;
use crate::cmd::outcome::AnyError;

/// A worker's process. Dropping it kills the process.
pub struct Worker {
    child: Child,
}

impl Worker {
    pub fn start(command: &str, task: &impl Serialize) -> Result<Self, AnyError> {
        let mut command =
            Command::new(this_program()).arg(command).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let line = serde_json::to_string(task)?;
        let given = command.stdin.as_mut().map_or(Ok(()), |input| writeln!(input, "{line}"));
        // A worker that ended at once says why on its standard error.
        drop(given);
        Ok(Self { child: command })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        // Killing fails for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets the worker end by itself, at the end of its input.
    pub fn end(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }

    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    /// Fails if the process has ended by itself; its standard error has the reason.
    pub fn is_alive(&mut self) -> Result<(), AnyError> {
        match self.child.try_wait()? {
            Some(status) if !interrupt::is_asked() => {
                Err(format!("a worker that was not killed ended: {status}").into())
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The task of this worker. From now on the process ends with its parent.
pub fn task<T: DeserializeOwned>() -> Result<T, AnyError> {
    let task = read_task()?;
    interrupt::end_with_input()?;
    Ok(task)
}

/// The task of a worker that watches its standard input by itself.
pub fn read_task<T: DeserializeOwned>() -> Result<T, AnyError> {
    // Ctrl-C reaches every process of the terminal. The parent ends the run.
    interrupt::watch()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
