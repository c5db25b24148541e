//! What processes did, as they log it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// An event as a process logs it: eight words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What the process did.
    pub kind: Kind,
    /// The number of its host.
    pub host: u64,
    /// The number of the key.
    pub key: u64,
    /// The value that was read or written; 0: none.
    pub value: u64,
    /// Microseconds of a clock that all processes share.
    pub began: u64,
    /// The same clock after the call; of no meaning for [`Kind::Begin`].
    pub ended: u64,
    /// Microseconds after which a written value ends; 0: never.
    pub ttl: u64,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Kind {
    /// A read that got an answer.
    Read = 1,
    /// A write that has begun.
    Begin = 2,
    /// The same, after the server acknowledged it.
    Acknowledged = 3,
    /// From `began` to `ended` the nodes of a cluster disagreed on which of them has the key, and the server's own
    /// answers were stale.
    Doubt = 4,
}

/// The key of an event that concerns all keys.
pub const ALL_KEYS: u64 = u64::MAX;
/// The host of an event that no host made.
pub const NO_HOST: u64 = u64::MAX;
/// A file of events, to which one process appends.
#[derive(Debug)]
pub struct Log(File);

impl Log {
    /// Opens the log at a path, or creates it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Writes an event at once, so that a kill loses none.
    ///
    /// # Errors
    /// Those of the system.
    pub fn add(&mut self, event: Event) -> io::Result<()> {
        let Event { kind, host, key, value, began, ended, ttl } = event;
        let words = [kind as u64, host, key, value, began, ended, ttl, 0].map(u64::to_le_bytes);
        self.0.write_all(words.as_flattened())
    }

    /// All events of the log at a path. An incomplete last event of a killed process is dropped.
    ///
    /// # Errors
    /// Those of the system.
    pub fn read(path: &Path) -> io::Result<Vec<Event>> {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes.chunks_exact(64).map(Self::event).collect())
    }

    fn event(bytes: &[u8]) -> Event {
        let word = |i: usize| bytes[i * 8..][..8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let kind = match word(0) {
            1 => Kind::Read,
            2 => Kind::Begin,
            3 => Kind::Acknowledged,
            _ => Kind::Doubt,
        };
        Event { kind, host: word(1), key: word(2), value: word(3), began: word(4), ended: word(5), ttl: word(6) }
    }
}
