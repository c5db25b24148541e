//! Runs a command, passes its output on immediately, and records it.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};

use super::held::Held;
use super::recorded::Recorded;
use crate::cmd::command::{Failure, exit_code};
use crate::output::Outlet;
use crate::platform::{Relay, Stream};

/// A command that has ended.
pub struct Ran {
    status: i32,
    /// How many bytes of both outputs together were read.
    pub output: u64,
    /// The recorded result; `None` if the output exceeded the limit.
    pub recorded: Option<Recorded>,
    /// The command failed, and nothing of its output was shown.
    pub is_withheld: bool,
    /// The output that could not be written, and the error.
    unwritten: Option<(Outlet, io::Error)>,
}

impl Ran {
    pub fn status(&self) -> i32 {
        self.status
    }

    /// Whether the exit status is 0.
    pub fn is_success(&self) -> bool {
        self.status == 0
    }

    /// The exit status of the command, in the form that shells use.
    ///
    /// # Errors
    /// Part of the output was lost, so that the status alone would mislead the caller.
    pub fn end(self) -> Result<i32, Failure> {
        match self.unwritten {
            Some((outlet, error)) => Err(Failure::to_write(outlet, error)),
            None => Ok(self.status),
        }
    }
}

/// The destination of a command's output while it runs.
#[derive(Clone, Copy)]
pub enum Audience {
    /// Our own standard output and standard error.
    Caller,
    /// Our own outputs, after the command has succeeded. The output of a command that fails is withheld, unless it is
    /// too large.
    CallerIfGood,
    /// None: the command runs in the background.
    Nobody,
}

/// Where one output goes.
enum Sink {
    Outlet(Outlet),
    Held(Held),
    Nothing,
}

impl Sink {
    /// Whether the whole output is held back.
    fn is_held(&self) -> bool {
        matches!(self, Self::Held(held) if held.is_whole())
    }

    fn release(&mut self) -> Option<io::Error> {
        let Self::Held(held) = self else { return None };
        held.release().err().filter(is_loss)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Outlet(outlet) => outlet.write(bytes),
            Self::Held(held) => held.write(bytes),
            Self::Nothing => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Outlet(outlet) => outlet.flush(),
            Self::Held(held) => held.flush(),
            Self::Nothing => Ok(()),
        }
    }
}

/// Whether an error of writing lost output. A reader that closed its pipe has what it wanted.
fn is_loss(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::BrokenPipe
}

/// A running command.
pub struct Running {
    child: Child,
    relay: Relay,
}

/// Starts a command with our standard input and with pipes for its outputs.
///
/// # Errors
/// The command could not be started.
pub fn start(command: &mut Command) -> io::Result<Running> {
    let relay = Relay::new()?;
    let child = relay.start(command.stdout(Stdio::piped()).stderr(Stdio::piped()), &[Stream::Input])?;
    Ok(Running { child, relay })
}

impl Running {
    /// Passes the outputs on until the command ends, and records up to `most` bytes of them.
    ///
    /// # Errors
    /// A pipe could not be read, or the process could not be waited for.
    pub fn finish(mut self, audience: Audience, most: u64) -> io::Result<Ran> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (mut out, mut err) = (audience.sink(Outlet::Output, most), audience.sink(Outlet::Error, most));
        let (stdout, stderr) = std::thread::scope(|scope| {
            let errors = scope.spawn(|| pass_on(stderr, &mut err, most));
            let stdout = pass_on(stdout, &mut out, most);
            // The thread only copies bytes and cannot panic.
            (stdout, errors.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
        });
        let status = exit_code(self.relay.wait(&mut self.child)?);
        let (mut stdout, mut stderr) = (stdout?, stderr?);
        let output = stdout.length + stderr.length;
        // Output that is too large to be recorded is shown in any case.
        let is_withheld = status != 0 && output <= most && out.is_held() && err.is_held();
        if !is_withheld {
            stdout.unwritten = stdout.unwritten.or(out.release());
            stderr.unwritten = stderr.unwritten.or(err.release());
        }
        let kept = stdout.kept.zip(stderr.kept).filter(|_| output <= most);
        let recorded = kept.map(|(stdout, stderr)| Recorded { status, stdout, stderr });
        let of = |outlet| move |error| (outlet, error);
        let unwritten = stdout.unwritten.map(of(Outlet::Output)).or(stderr.unwritten.map(of(Outlet::Error)));
        Ok(Ran { status, output, recorded, is_withheld, unwritten })
    }
}

impl Audience {
    fn sink(self, outlet: Outlet, most: u64) -> Sink {
        match self {
            Self::Caller => Sink::Outlet(outlet),
            Self::CallerIfGood => Sink::Held(Held::new(outlet, usize::try_from(most).unwrap_or(usize::MAX))),
            Self::Nobody => Sink::Nothing,
        }
    }
}

/// What was read from one pipe.
struct Passed {
    length: u64,
    kept: Option<Vec<u8>>,
    unwritten: Option<io::Error>,
}

/// Copies a pipe to its end. If the copy can no longer be written, the rest is still recorded. When it is neither
/// written nor recorded, the pipe is closed, so that the command gets the same error as without this program.
fn pass_on(from: Option<impl Read>, mut to: impl Write, most: u64) -> io::Result<Passed> {
    let mut passed = Passed { length: 0, kept: Some(Vec::new()), unwritten: None };
    let Some(mut from) = from else { return Ok(passed) };
    let mut buffer = [0; 64 * 1024];
    let mut is_taken = true;
    while is_taken || passed.kept.is_some() {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let bytes = &buffer[..read];
        if is_taken && let Err(error) = to.write_all(bytes).and_then(|()| to.flush()) {
            is_taken = false;
            passed.unwritten = Some(error).filter(is_loss);
        }
        passed.length += read as u64;
        if passed.length > most {
            passed.kept = None;
        }
        if let Some(kept) = &mut passed.kept {
            kept.extend_from_slice(bytes);
        }
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts a number of bytes, and then fails.
    struct Taker(usize, io::ErrorKind);

    impl Write for Taker {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(self.1.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_is_recorded_though_the_reader_left() {
        let passed = pass_on(Some(&b"many words"[..]), Taker(4, io::ErrorKind::BrokenPipe), 100).unwrap();
        assert_eq!((passed.length, passed.kept.as_deref()), (10, Some(&b"many words"[..])));
        assert!(passed.unwritten.is_none());
    }

    #[test]
    fn a_full_disk_is_no_reader_that_left() {
        let passed = pass_on(Some(&b"many words"[..]), Taker(4, io::ErrorKind::StorageFull), 100).unwrap();
        assert_eq!((passed.length, passed.kept.as_deref()), (10, Some(&b"many words"[..])));
        assert_eq!(passed.unwritten.unwrap().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_nobody_takes_and_nobody_keeps_ends_the_command() {
        let passed = pass_on(Some(io::repeat(b'y')), Taker(4, io::ErrorKind::BrokenPipe), 1_000_000).unwrap();
        assert!(passed.kept.is_none() && passed.length < 2_000_000, "{}", passed.length);
    }

    #[test]
    fn more_than_the_limit_is_passed_on_and_not_kept() {
        let mut to = Vec::new();
        let passed = pass_on(Some(&b"many words"[..]), &mut to, 9).unwrap();
        assert_eq!((passed.length, passed.kept, &to[..]), (10, None, &b"many words"[..]));
    }
}
