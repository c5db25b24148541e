//! Standard output, where a reader that closes its pipe is not an error, and messages on standard error.

use std::error::Error;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Map, Value, json};

use crate::hex;
use crate::message;
use crate::platform::{self, Stream};

/// Buffered standard output. Commands write to it with `?`, because `println!` panics when the reader closes its pipe.
pub fn stdout() -> BufWriter<impl Write> {
    BufWriter::new(Named(Outlet::Output))
}

/// Standard output or standard error, without a buffer of our own.
#[derive(Clone, Copy)]
pub enum Outlet {
    Output,
    Error,
}

/// The pause between two attempts to write to a slow reader.
const PAUSE: Duration = Duration::from_millis(1);

impl Outlet {
    fn stream(self) -> Stream {
        match self {
            Self::Output => Stream::Output,
            Self::Error => Stream::Error,
        }
    }

    pub fn name(self) -> &'static str {
        self.stream().name()
    }

    /// Repeats `work` while it would block. Another program with the same pipe or terminal may have made it
    /// non-blocking.
    fn patiently<T>(self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        if platform::is_closed(self.stream()) {
            return Err(io::Error::other("it is closed"));
        }
        loop {
            match work() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                other => return other,
            }
        }
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(|| match self {
            Self::Output => io::stdout().write(bytes),
            Self::Error => io::stderr().write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Output => self.patiently(|| io::stdout().flush()),
            Self::Error => Ok(()),
        }
    }
}

/// A stream whose errors contain its name, with a special error for a reader that closed its pipe.
struct Named(Outlet);

impl Named {
    fn error(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, ReaderLeft),
            // The caller of `write` tries again.
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, format!("cannot write to {}: {error}", self.0.name())),
        }
    }
}

impl Write for Named {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(|error| self.error(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(|error| self.error(error))
    }
}

/// The reader of standard output closed its pipe, as in `kennel keys FILE | head -1`.
#[derive(Debug)]
struct ReaderLeft;

impl fmt::Display for ReaderLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of standard output closed its pipe")
    }
}

impl Error for ReaderLeft {}

/// Whether a command ended only because the reader of standard output closed its pipe. Any other broken pipe is an
/// error.
pub fn is_reader_gone(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<ReaderLeft>())
}

/// Ignores a reader that closed its pipe, for commands whose exit status has another meaning.
pub fn unless_reader_gone(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Err(error) if is_reader_gone(&error) => Ok(()),
        other => other,
    }
}

/// Writes one line to standard output.
pub fn print_line(line: impl std::fmt::Display) -> io::Result<()> {
    let mut out = stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Writes help to standard output, in colour on a terminal.
pub fn print_styled(text: &clap::builder::StyledStr) -> io::Result<()> {
    let is_colourful = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut out = stdout();
    if is_colourful {
        write!(out, "{}", text.ansi())?
    } else {
        write!(out, "{text}")?
    }
    out.flush()
}

/// Writes a JSON document to standard output.
pub fn print_json(document: &Value) -> io::Result<()> {
    print_line(format_args!("{document:#}"))
}

/// Adds `bytes` to a JSON object: as text under `name` if they are UTF-8, else as hexadecimal under `name_hex`.
pub fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), json!(text)),
        Err(_) => object.insert(format!("{name}_hex"), json!(hex::encode(bytes))),
    };
}

/// Runs `work` and shows a spinner if standard error is a terminal.
pub fn with_spinner<T>(message: &'static str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(100));
    let result = work();
    spinner.finish_and_clear();
    result
}

/// Writes `kennel: MESSAGE` to standard error.
pub fn warn(message: &str) {
    // If standard error is closed as well, the message is lost.
    let _ = writeln!(io::stderr(), "kennel: {message}");
}

/// Writes `kennel: MESSAGE: CAUSE: CAUSE` to standard error.
pub fn report_error(error: &(dyn Error + 'static)) {
    warn(&message::with_causes(error));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reader_of_standard_output_may_leave() {
        let named = Named(Outlet::Output);
        assert!(is_reader_gone(&named.error(io::ErrorKind::BrokenPipe.into())));
        assert!(!is_reader_gone(&io::Error::from(io::ErrorKind::BrokenPipe)), "another pipe, to a worker say");
        let full = named.error(io::ErrorKind::StorageFull.into());
        assert!(!is_reader_gone(&full) && full.to_string().contains("cannot write to standard output"), "{full}");
    }

    #[test]
    fn bytes_that_are_no_text_become_hexadecimal() {
        let mut object = Map::new();
        insert_bytes(&mut object, "key", b"plain");
        insert_bytes(&mut object, "value", &[0xff, 0]);
        assert_eq!(Value::from(object), json!({ "key": "plain", "value_hex": "ff00" }));
    }
}
