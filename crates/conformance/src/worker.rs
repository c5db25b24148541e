//! A child process of the suite, as the suite controls it.

use crate::child::{MARK, NO_FORK};
use crate::limits::{LONG, SLACK};
use crate::process;
use crate::trouble::{Trouble, fail};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

/// A running child; dropping it kills the child.
pub(crate) struct Worker {
    child: Child,
    /// The child's lines. A thread reads them, so that a child that hangs does not hang the suite.
    lines: Receiver<String>,
}

impl Worker {
    /// Starts a child.
    pub(crate) fn start(mut command: Command) -> Result<Self, Trouble> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let Some(stdout) = child.stdout.take() else { return Err(fail("a child has no standard output")) };
        let (heard, lines) = mpsc::channel();
        thread::spawn(move || {
            // Sending fails when the check is over, because then no receiver is left.
            let said = BufReader::new(stdout).lines().map_while(Result::ok);
            let _ = said.into_iter().try_for_each(|line| heard.send(line));
        });
        Ok(Self { child, lines })
    }

    /// The child's next line.
    fn hear(&mut self) -> Result<String, Trouble> {
        loop {
            let line = self.lines.recv_timeout(LONG + SLACK).map_err(|error| match error {
                RecvTimeoutError::Timeout => fail("a child hangs"),
                RecvTimeoutError::Disconnected => {
                    fail("a child ended before it was done: did its command call `kennel_conformance::child`?")
                }
            })?;
            // The test harness may have printed the beginning of the line.
            if let Some(at) = line.find(MARK) {
                return Ok(line[at + MARK.len()..].to_owned());
            }
        }
    }

    pub(crate) fn expect(&mut self, expected: &str) -> Result<(), Trouble> {
        let heard = self.hear()?;
        if heard == expected {
            Ok(())
        } else {
            Err(fail(format!("expected a child to print {expected:?}, found {heard:?}")))
        }
    }

    pub(crate) fn expect_forked(&mut self) -> Result<(), Trouble> {
        let heard = self.hear()?;
        match heard.as_str() {
            "forked" => Ok(()),
            NO_FORK => Err(Trouble::Skip("processes cannot fork here")),
            _ => Err(fail(format!("expected a child to fork, found {heard:?}"))),
        }
    }

    pub(crate) fn tell(&mut self, what: &str) -> Result<(), Trouble> {
        let Some(stdin) = &mut self.child.stdin else { return Err(fail("a child has no standard input")) };
        Ok(writeln!(stdin, "{what}")?)
    }

    pub(crate) fn kill(&mut self) -> Result<(), Trouble> {
        // `wait` closes the child's input, which a forked process of the child may still want to read.
        let stdin = self.child.stdin.take();
        self.child.kill()?;
        self.child.wait()?;
        self.child.stdin = stdin;
        Ok(())
    }

    /// Stops the child until [`resume`](Self::resume).
    pub(crate) fn stop(&self) -> Result<(), Trouble> {
        process::stop(self.child.id()).map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => Trouble::Skip("processes cannot be stopped here"),
            _ => error.into(),
        })
    }

    pub(crate) fn resume(&self) -> Result<(), Trouble> {
        Ok(process::resume(self.child.id())?)
    }

    /// Closes the child's input, and reads lines until no process is left that could write any.
    pub(crate) fn drain(&mut self) -> Result<(), Trouble> {
        drop(self.child.stdin.take());
        loop {
            match self.lines.recv_timeout(LONG + SLACK) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => return Err(fail("a child does not end")),
            }
        }
    }

    /// Waits until the child ends, and checks that it succeeded.
    pub(crate) fn finish(mut self) -> Result<(), Trouble> {
        self.drain()?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(fail(format!("a child ended with {status}"))) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The child may already have ended, so errors are ignored.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
