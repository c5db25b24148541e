//! A program that the demo starts, listens to, and lets go on when all programs are ready.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::cmd::outcome::AnyError;

/// The demo's side of such a program. Dropping it ends the program.
pub struct Member {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Member {
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let says = child.stdout.take().map(BufReader::new).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, says })
    }

    /// The next line of its output.
    pub fn hear(&mut self) -> Result<String, AnyError> {
        let mut line = String::new();
        if self.says.read_line(&mut line)? == 0 {
            return Err(format!("a program of the demo ended early: {}", self.child.wait()?).into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Lets it go on: the end of its input is the signal.
    pub fn release(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Killing fails for a process that has ended already.
        let _ = self.kill();
    }
}
