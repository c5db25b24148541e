//! A request of a trace, and the interface of the parsers.

use super::error::TraceError;
use super::key::Key;

/// The most requests that one line may stand for. Published traces stay far below this limit, which keeps a damaged
/// line from becoming an endless replay.
pub(super) const MAX_RUN: u64 = 1 << 24;

/// One request of a trace, without its operation: a replay treats every request as a read, followed by a write after a
/// miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub key: Key,
    /// The size of the object in bytes, if the trace gives it.
    pub size: Option<u32>,
}

/// A request in the notation of the trace.
#[derive(Clone, Copy)]
pub(super) struct Spelled<'a> {
    pub(super) key: KeyText<'a>,
    pub(super) size: Option<u32>,
}

/// A key in the notation of the trace.
#[derive(Clone, Copy)]
pub(super) enum KeyText<'a> {
    Number(u64),
    Text(&'a [u8]),
}

impl From<Spelled<'_>> for Request {
    fn from(spelled: Spelled<'_>) -> Self {
        let key = match spelled.key {
            KeyText::Number(number) => Key::from(number),
            KeyText::Text(text) => Key::from_text(text),
        };
        Self { key, size: spelled.size }
    }
}

/// A reader of one format.
pub(super) trait Parser {
    /// The next request, or nothing at the end of the stream.
    fn next_request(&mut self) -> Result<Option<Spelled<'_>>, TraceError>;
}
