//! Runs a command: its output goes on at once and is recorded on the way.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};

use super::recorded::Recorded;
use crate::cmd::command::{Failure, exit_code};
use crate::output::Outlet;
use crate::platform::{Relay, Stream};

/// A command that ran.
pub struct Ran {
    status: i32,
    /// Bytes of both outputs together that were read.
    pub output: u64,
    /// What it wrote; `None` if that was more than was to be recorded.
    pub recorded: Option<Recorded>,
    /// Where its output could not be written, and why.
    unwritten: Option<(Outlet, io::Error)>,
}

impl Ran {
    /// Its exit status, as a shell gives it.
    pub fn is_success(&self) -> bool {
        self.status == 0
    }

    /// How the run ends for the caller.
    ///
    /// # Errors
    /// Part of the output is lost, so that not even the status of a command that failed tells the whole.
    pub fn end(self) -> Result<i32, Failure> {
        match self.unwritten {
            Some((outlet, error)) => Err(Failure::to_write(outlet, error)),
            None => Ok(self.status),
        }
    }
}

/// Where the output of a command goes while it runs.
#[derive(Clone, Copy)]
pub enum Audience {
    /// To our own outputs.
    Caller,
    /// Nowhere: it runs in the background.
    Nobody,
}

/// A command that was started.
pub struct Running {
    child: Child,
    relay: Relay,
}

/// Starts a command with our standard input and outputs that are recorded.
///
/// # Errors
/// What kept the command from being started.
pub fn start(command: &mut Command) -> io::Result<Running> {
    let relay = Relay::new()?;
    let child = relay.start(command.stdout(Stdio::piped()).stderr(Stdio::piped()), &[Stream::Input])?;
    Ok(Running { child, relay })
}

impl Running {
    /// Passes its outputs on until it ends; up to `most` bytes of them are recorded.
    ///
    /// # Errors
    /// What kept a pipe from being read.
    pub fn finish(mut self, audience: Audience, most: u64) -> io::Result<Ran> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (stdout, stderr) = std::thread::scope(|scope| {
            let errors = scope.spawn(|| pass_on(stderr, audience.take(Outlet::Error), most));
            let stdout = pass_on(stdout, audience.take(Outlet::Output), most);
            // The thread only copies bytes; there is nothing for it to panic on.
            (stdout, errors.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
        });
        let status = exit_code(self.relay.wait(&mut self.child)?);
        let (stdout, stderr) = (stdout?, stderr?);
        let output = stdout.length + stderr.length;
        let kept = stdout.kept.zip(stderr.kept).filter(|_| output <= most);
        let recorded = kept.map(|(stdout, stderr)| Recorded { status, stdout, stderr });
        let of = |outlet| move |error| (outlet, error);
        let unwritten = stdout.unwritten.map(of(Outlet::Output)).or(stderr.unwritten.map(of(Outlet::Error)));
        Ok(Ran { status, output, recorded, unwritten })
    }
}

impl Audience {
    fn take(self, outlet: Outlet) -> Box<dyn Write + Send> {
        match self {
            Self::Caller => Box::new(outlet),
            Self::Nobody => Box::new(io::sink()),
        }
    }
}

/// What came out of one pipe.
struct Passed {
    length: u64,
    kept: Option<Vec<u8>>,
    unwritten: Option<io::Error>,
}

/// Copies a pipe to its end. When the copy is not taken any more the rest is recorded all the same; once it is neither
/// taken nor recorded the pipe is closed, so that the command learns of it as it would without us.
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
            // A reader that left has what it wanted. A full disk has not.
            passed.unwritten = Some(error).filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
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

    /// Takes so many bytes, and then fails.
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
