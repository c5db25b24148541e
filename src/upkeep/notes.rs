//! What one process remembers of the claims and creations of a file, to spare itself questions.

use crate::store::claim::Ticket;
use crate::store::record::mix;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The owner of a claim is tested so often by one process, however many of its threads wait.
pub(super) const TEST_EVERY: Duration = Duration::from_secs(1);
/// Claims whose last test is remembered, and keys that rest; of two in one place the later one is remembered.
const REMEMBERED: usize = 64;
/// Bits of a note that hold its time, in milliseconds; those above name the claim or the key.
const TIME_BITS: u32 = 40;

/// Why this process leaves a key alone for a time that has a stale value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// A refresh in the background failed: no other begins at once.
    Failed,
    /// The stripe's lock was held by somebody: who does not wait for it need not try at each hit.
    Busy,
}

impl Rest {
    fn time(self) -> Duration {
        match self {
            Rest::Failed => Duration::from_secs(1),
            Rest::Busy => Duration::from_millis(10),
        }
    }
}

/// What this process alone knows of the claims and creations of a file.
pub(crate) struct Notes {
    /// When which claims' owners were last tested.
    tests: [Note; REMEMBERED],
    /// Until when which keys rest.
    rests: [Note; REMEMBERED],
    /// Creations without the cache while this process had no seat to count them on.
    uncached: AtomicU64,
}

impl Default for Notes {
    fn default() -> Self {
        let none = || [const { Note(AtomicU64::new(0)) }; REMEMBERED];
        Self { tests: none(), rests: none(), uncached: AtomicU64::new(0) }
    }
}

/// A time that is remembered of a claim or a key, which its upper bits name.
struct Note(AtomicU64);

impl Note {
    /// The place among `notes` of what is named by `name`, and its name there.
    fn of(notes: &[Note; REMEMBERED], name: u64) -> (&Note, u64) {
        let mixed = mix(name);
        (&notes[mixed as usize % REMEMBERED], mixed >> TIME_BITS << TIME_BITS)
    }

    /// The time that is remembered of `name`. One millisecond is added to what is stored: 0 stands for no note.
    fn time_ms(&self, name: u64) -> Option<u64> {
        let word = self.0.load(Ordering::Relaxed);
        (word != 0 && word >> TIME_BITS << TIME_BITS == name).then(|| (word ^ name) - 1)
    }

    /// Remembers another time. Two threads that do so at once do no harm, whichever is remembered.
    fn set(&self, name: u64, time_ms: u64) {
        self.0.store(name | (time_ms + 1), Ordering::Relaxed);
    }
}

/// What a test of an owner said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Dead,
    /// Alive, or tested a short time ago; the next test is due then.
    Alive(Duration),
}

impl Notes {
    /// In how long the next test of a claim's owner is due, if it is not due now.
    pub(super) fn test_due_in(&self, ticket: &Ticket, now_ms: u64) -> Option<Duration> {
        let (note, name) = Note::of(&self.tests, ticket.id());
        let due_ms = note.time_ms(name)? + TEST_EVERY.as_millis() as u64;
        (now_ms < due_ms).then(|| Duration::from_millis(due_ms - now_ms))
    }

    /// A test of a claim's owner begins now.
    pub(super) fn note_test(&self, ticket: &Ticket, now_ms: u64) {
        let (note, name) = Note::of(&self.tests, ticket.id());
        note.set(name, now_ms);
    }

    /// Notes that the key of a hash rests from now on.
    pub(super) fn rest(&self, key_hash: u64, why: Rest, now_ms: u64) {
        let (note, name) = Note::of(&self.rests, key_hash ^ why as u64);
        note.set(name, now_ms + why.time().as_millis() as u64);
    }

    /// Whether it rests.
    pub(super) fn rests(&self, key_hash: u64, why: Rest, now_ms: impl FnOnce() -> u64) -> bool {
        let (note, name) = Note::of(&self.rests, key_hash ^ why as u64);
        note.time_ms(name).is_some_and(|until_ms| now_ms() < until_ms)
    }

    pub(super) fn note_uncached(&self) {
        self.uncached.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn uncached(&self) -> u64 {
        self.uncached.load(Ordering::Relaxed)
    }
}
