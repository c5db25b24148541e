//! Owners of claims: how this process names itself in one, and whether the owner of another still lives.

use super::opened::{Joined, Opened, seat_error};
use super::place::lock_directory;
use crate::error::Result;
use crate::hash::Key;
use crate::store::claim::{Owner, Ticket};
use crate::store::record::mix;
use crate::sync::clock::monotonic_ms;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The owner of a claim is tested so often by one process, however many of its threads wait.
const TEST_EVERY: Duration = Duration::from_secs(1);
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
    fn test_due_in(&self, ticket: &Ticket, now_ms: u64) -> Option<Duration> {
        let (note, name) = Note::of(&self.tests, ticket.id());
        let due_ms = note.time_ms(name)? + TEST_EVERY.as_millis() as u64;
        (now_ms < due_ms).then(|| Duration::from_millis(due_ms - now_ms))
    }

    /// A test of a claim's owner begins now.
    fn note_test(&self, ticket: &Ticket, now_ms: u64) {
        let (note, name) = Note::of(&self.tests, ticket.id());
        note.set(name, now_ms);
    }
}

impl Opened {
    /// How this process names itself in claims.
    pub(crate) fn owner(&self, joined: &Joined, task: u64) -> Owner {
        let seat = joined.member.seat;
        let generation = self.seats().generation(seat).unwrap_or(0);
        Owner { member: Owner::member_of(seat, generation), task }
    }

    /// Notes a creation without the cache, for which this process has no seat.
    pub(crate) fn note_uncached(&self) {
        self.notes.uncached.fetch_add(1, Ordering::Relaxed);
    }

    /// Creations without the cache that no seat's counters know of.
    pub(crate) fn uncached_elsewhere(&self) -> u64 {
        self.notes.uncached.load(Ordering::Relaxed)
    }

    /// Whether somebody has claimed a key who is not known to be dead, and whose next test is not due: a look without a
    /// lock, which begins no test itself.
    pub(crate) fn is_in_hand(&self, key: &Key<'_>) -> bool {
        let Some((ticket, owner)) = self.store.claim_seen(key, monotonic_ms()) else { return false };
        let is_ours = || self.joined().is_some_and(|joined| self.owner(joined, 0).member == owner.member);
        !self.settings.locks.is_shared() || is_ours() || self.notes.test_due_in(&ticket, self.up_ms()).is_some()
    }

    /// Lets the key of a hash rest from now on.
    pub(crate) fn rest(&self, key_hash: u64, why: Rest) {
        let (note, name) = Note::of(&self.notes.rests, key_hash ^ why as u64);
        note.set(name, self.up_ms() + why.time().as_millis() as u64);
    }

    /// Whether it rests.
    pub(crate) fn rests(&self, key_hash: u64, why: Rest) -> bool {
        let (note, name) = Note::of(&self.notes.rests, key_hash ^ why as u64);
        note.time_ms(name).is_some_and(|until_ms| self.up_ms() < until_ms)
    }

    /// Tests whether the owner of a claim lives, at most once a second for each claim. Dead is whose seat has another
    /// generation, or whose lease can be taken; it stays so, whoever sits there later.
    pub(crate) fn test_owner(&self, me: Owner, ticket: &Ticket, owner: Owner) -> Result<Life> {
        if !self.settings.locks.is_shared() || owner.member == me.member {
            return Ok(Life::Alive(TEST_EVERY));
        }
        // Nobody ever sat there: the owner is damage.
        let never_was = !self.seats().was_used(owner.seat());
        if never_was || self.seats().generation(owner.seat()) != Some(owner.generation()) {
            return Ok(Life::Dead);
        }
        let now_ms = self.up_ms();
        if let Some(due) = self.notes.test_due_in(ticket, now_ms) {
            return Ok(Life::Alive(due));
        }
        self.notes.note_test(ticket, now_ms);
        let lease = self.seats().prove_dead(&lock_directory(&self.real, self.own_id()), owner.seat());
        let lease = lease.map_err(seat_error("test a member of", &self.real, self.geometry()))?;
        Ok(if lease.is_some() { Life::Dead } else { Life::Alive(TEST_EVERY) })
    }
}
