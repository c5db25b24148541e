//! A child of the suite, as the suite has it.

use super::{LONG, MARK, NO_FORK, SLACK, Trouble, fail};
use crate::platform::{self, Pause};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

/// A child at work; it is killed when the check that started it is left.
pub(super) struct Worker {
    child: Child,
    /// What it says; a thread reads it, so that a child that hangs does not hang the suite.
    lines: Receiver<String>,
}

impl Worker {
    /// Starts it.
    pub(super) fn start(mut command: Command) -> Result<Self, Trouble> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let Some(stdout) = child.stdout.take() else { return Err(fail("a child without an output")) };
        let (heard, lines) = mpsc::channel();
        thread::spawn(move || {
            // When the check is over nobody listens any more.
            let said = BufReader::new(stdout).lines().map_while(Result::ok);
            let _ = said.into_iter().try_for_each(|line| heard.send(line));
        });
        Ok(Self { child, lines })
    }

    /// What the child says next.
    fn hear(&mut self) -> Result<String, Trouble> {
        loop {
            let line = self.lines.recv_timeout(LONG + SLACK).map_err(|error| match error {
                RecvTimeoutError::Timeout => fail("a child hangs"),
                RecvTimeoutError::Disconnected => {
                    fail("a child ended before it was done: did its command come to `conformance::child`?")
                }
            })?;
            // A harness may have begun the line.
            if let Some(at) = line.find(MARK) {
                return Ok(line[at + MARK.len()..].to_owned());
            }
        }
    }

    pub(super) fn expect(&mut self, expected: &str) -> Result<(), Trouble> {
        let heard = self.hear()?;
        if heard == expected {
            Ok(())
        } else {
            Err(fail(format!("a child should say {expected:?}, and said {heard:?}")))
        }
    }

    pub(super) fn expect_forked(&mut self) -> Result<(), Trouble> {
        let heard = self.hear()?;
        match heard.as_str() {
            "forked" => Ok(()),
            NO_FORK => Err(Trouble::Skip("the children of this suite were given no way to fork")),
            _ => Err(fail(format!("a child should fork, and said {heard:?}"))),
        }
    }

    pub(super) fn tell(&mut self, what: &str) -> Result<(), Trouble> {
        let Some(stdin) = &mut self.child.stdin else { return Err(fail("a child without an input")) };
        Ok(writeln!(stdin, "{what}")?)
    }

    pub(super) fn kill(&mut self) -> Result<(), Trouble> {
        // `wait` closes the child's input, which a forked child of it may still want to read.
        let stdin = self.child.stdin.take();
        self.child.kill()?;
        self.child.wait()?;
        self.child.stdin = stdin;
        Ok(())
    }

    pub(super) fn pause(&self, what: Pause) -> Result<(), Trouble> {
        match platform::stop_process(self.child.id(), what) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                Err(Trouble::Skip("processes cannot be stopped here"))
            }
            other => Ok(other?),
        }
    }

    /// Closes the input, and hears all until nobody is left to say anything.
    pub(super) fn drain(&mut self) -> Result<(), Trouble> {
        drop(self.child.stdin.take());
        loop {
            match self.lines.recv_timeout(LONG + SLACK) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => return Err(fail("a child does not end")),
            }
        }
    }

    /// Waits for the child to end well.
    pub(super) fn finish(mut self) -> Result<(), Trouble> {
        self.drain()?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(fail(format!("a child ended with {status}"))) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
