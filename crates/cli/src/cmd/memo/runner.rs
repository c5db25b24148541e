//! Runs a command: its output goes on at once and is recorded on the way.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use super::recorded::Recorded;
use crate::cmd::command::exit_code;

/// A command that ran.
pub struct Ran {
    pub status: i32,
    /// Bytes of both outputs together.
    pub output: u64,
    /// What it wrote; `None` if that was more than was to be recorded.
    pub recorded: Option<Recorded>,
}

/// Where the output of a command goes while it runs.
#[derive(Clone, Copy)]
pub enum Audience {
    /// To our own outputs.
    Caller,
    /// Nowhere: it runs in the background.
    Nobody,
}

/// Runs a command with our standard input; up to `most` bytes of output are recorded.
///
/// # Errors
/// What kept the command from being started, or a pipe from being read.
pub fn run(command: &[OsString], audience: Audience, most: u64) -> io::Result<Ran> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = std::thread::scope(|scope| {
        let errors = scope.spawn(|| pass_on(stderr, audience.stderr(), most));
        let stdout = pass_on(stdout, audience.stdout(), most);
        // The thread only copies bytes; there is nothing for it to panic on.
        (stdout, errors.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
    });
    let status = exit_code(child.wait()?);
    let (stdout, stderr) = (stdout?, stderr?);
    let output = stdout.length + stderr.length;
    let kept = stdout.kept.zip(stderr.kept).filter(|_| output <= most);
    let recorded = kept.map(|(stdout, stderr)| Recorded { status, stdout, stderr });
    Ok(Ran { status, output, recorded })
}

impl Audience {
    fn stdout(self) -> Box<dyn Write + Send> {
        match self {
            Self::Caller => Box::new(io::stdout()),
            Self::Nobody => Box::new(io::sink()),
        }
    }

    fn stderr(self) -> Box<dyn Write + Send> {
        match self {
            Self::Caller => Box::new(io::stderr()),
            Self::Nobody => Box::new(io::sink()),
        }
    }
}

/// What came out of one pipe.
struct Passed {
    length: u64,
    kept: Option<Vec<u8>>,
}

/// Copies a pipe to its end. When nobody takes the copy any more the rest is recorded all the same.
fn pass_on(from: Option<impl Read>, mut to: impl Write, most: u64) -> io::Result<Passed> {
    let mut passed = Passed { length: 0, kept: Some(Vec::new()) };
    let Some(mut from) = from else { return Ok(passed) };
    let mut buffer = [0; 64 * 1024];
    let mut heard = true;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(passed),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let bytes = &buffer[..read];
        heard = heard && to.write_all(bytes).and_then(|()| to.flush()).is_ok();
        passed.length += read as u64;
        if passed.length > most {
            passed.kept = None;
        }
        if let Some(kept) = &mut passed.kept {
            kept.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, and is gone.
    struct Reader(usize);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_is_recorded_though_the_reader_left() {
        let passed = pass_on(Some(&b"many words"[..]), Reader(4), 100).unwrap();
        assert_eq!((passed.length, passed.kept.as_deref()), (10, Some(&b"many words"[..])));
    }

    #[test]
    fn more_than_the_limit_is_passed_on_and_not_kept() {
        let mut to = Vec::new();
        let passed = pass_on(Some(&b"many words"[..]), &mut to, 9).unwrap();
        assert_eq!((passed.length, passed.kept, &to[..]), (10, None, &b"many words"[..]));
    }
}
