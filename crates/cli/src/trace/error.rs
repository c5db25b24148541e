//! Errors in traces: the place, what was expected there, and what was found.

use std::borrow::Cow;
use std::env;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The length of the part of a bad line that an error quotes, in characters.
const EXCERPT_LEN: usize = 60;

/// A stream that is not a trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("{place}: cannot read on: {error}")]
    Read { place: Place, error: io::Error },

    #[error("{place}: expected {expected}, found {found}")]
    Malformed { place: Place, expected: Cow<'static, str>, found: String },
}

impl TraceError {
    /// An error that quotes what was found, shortened if it is long.
    pub(super) fn found(place: Place, expected: impl Into<Cow<'static, str>>, found: &[u8]) -> Self {
        Self::malformed(place, expected, excerpt(found))
    }

    /// An error that describes what was found.
    pub(super) fn malformed(place: Place, expected: impl Into<Cow<'static, str>>, found: impl Into<String>) -> Self {
        Self::Malformed { place, expected: expected.into(), found: found.into() }
    }
}

/// Inputs that are not a trace.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}: cannot be opened: {error}", path.display())]
    Open { path: PathBuf, error: io::Error },

    #[error("{}: cannot be read: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },

    #[error("{}: expected a file, a pipe or -, found a directory", path.display())]
    Directory { path: PathBuf },

    #[error("{}: expected at least one request, found none", path.display())]
    Empty { path: PathBuf },

    #[error("-: expected standard input once, found it twice")]
    StdinTwice,

    #[error(
        "{}: cannot write the contents of the pipe to a temporary file in {}: {error}",
        path.display(), folder.display()
    )]
    Spool { path: PathBuf, folder: PathBuf, error: io::Error },

    #[error(
        "--columns is for csv traces, and so is --no-header: expected commas in the first line of a trace, found none \
         (--format csv reads lines without commas as a table)"
    )]
    NoTable,

    #[error("{}: {error}", path.display())]
    Content { path: PathBuf, error: TraceError },
}

impl FileError {
    pub(super) fn spool(path: &Path, error: io::Error) -> Self {
        Self::Spool { path: path.to_owned(), folder: env::temp_dir(), error }
    }
}

/// A place in a stream. Lines are counted from 1, bytes from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Line(u64),
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(out, "line {number}"),
            Self::Byte(offset) => write!(out, "byte {offset}"),
        }
    }
}

/// `bytes` in quotes, with everything escaped that could affect a terminal.
fn excerpt(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    let (shown, is_whole) = shorten(bytes);
    format!("{shown:?}{}", if is_whole { "" } else { "..." })
}

/// `bytes` escaped in the same way, without quotes.
pub(super) fn plain_excerpt(bytes: &[u8]) -> String {
    let (shown, is_whole) = shorten(bytes);
    format!("{}{}", shown.escape_debug(), if is_whole { "" } else { "..." })
}

/// The beginning of `bytes` as text, and whether that is all of it.
fn shorten(bytes: &[u8]) -> (String, bool) {
    // A character takes at most four bytes, so this part contains everything that is shown.
    let head = &bytes[..bytes.len().min(4 * EXCERPT_LEN)];
    let text = String::from_utf8_lossy(head);
    let shown: String = text.chars().take(EXCERPT_LEN).collect();
    let is_whole = head.len() == bytes.len() && shown.len() == text.len();
    (shown, is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_quotes_escapes_and_shortens() {
        assert_eq!(excerpt(b""), "nothing");
        assert_eq!(excerpt(b"12x"), "\"12x\"");
        assert_eq!(excerpt(b"\x1b[2J\xff"), "\"\\u{1b}[2J\u{fffd}\"");
        assert_eq!(excerpt(&[b'a'; 60]), format!("\"{}\"", "a".repeat(60)));
        assert_eq!(excerpt(&[b'a'; 61]), format!("\"{}\"...", "a".repeat(60)));
        assert_eq!(excerpt("ä".repeat(200).as_bytes()), format!("\"{}\"...", "ä".repeat(60)));
    }

    #[test]
    fn a_plain_excerpt_has_no_quotes_around_it() {
        assert_eq!(plain_excerpt(b"user:7"), "user:7");
        assert_eq!(plain_excerpt(b"\x1b[2J"), "\\u{1b}[2J");
        assert_eq!(plain_excerpt(&[b'a'; 61]), format!("{}...", "a".repeat(60)));
    }

    #[test]
    fn errors_name_the_place() {
        let error = TraceError::found(Place::Line(3), "a number", b"x");
        assert_eq!(error.to_string(), "line 3: expected a number, found \"x\"");
        let error = TraceError::malformed(Place::Byte(48), "a record", "the end");
        assert_eq!(error.to_string(), "byte 48: expected a record, found the end");
        let error = TraceError::Read { place: Place::Line(1), error: io::Error::other("broken") };
        assert_eq!(error.to_string(), "line 1: cannot read on: broken");
    }
}
