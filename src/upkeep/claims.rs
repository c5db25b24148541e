//! Owners of claims: how this process names itself in one, and whether the owner of another still lives.

use super::opened::{Joined, Opened, seat_error};
use super::place::lock_directory;
use crate::error::Result;
use crate::store::claim::{Owner, Ticket};
use crate::store::record::mix;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The owner of a claim is tested so often by one process, however many of its threads wait.
const TEST_EVERY: Duration = Duration::from_secs(1);
/// Claims whose last test is remembered; of two in one place, both are tested more often.
const REMEMBERED: usize = 64;
/// Bits of a remembered test that hold its time, in milliseconds; those above name the claim.
const TIME_BITS: u32 = 40;

/// What this process alone knows of the claims and creations of a file.
pub(crate) struct Notes {
    /// When which claims' owners were last tested.
    tests: [AtomicU64; REMEMBERED],
    /// Creations without the cache while this process had no seat to count them on.
    uncached: AtomicU64,
}

impl Default for Notes {
    fn default() -> Self {
        Self { tests: [const { AtomicU64::new(0) }; REMEMBERED], uncached: AtomicU64::new(0) }
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
    /// Whether a test is due now; if it is, the next is not for a second.
    fn begin_test(&self, ticket: &Ticket, now_ms: u64) -> Result<(), Duration> {
        let mixed = mix(ticket.id());
        let place = &self.tests[mixed as usize % REMEMBERED];
        let name = mixed >> TIME_BITS << TIME_BITS;
        // 0 stands for no test.
        let now = now_ms + 1;
        let every = TEST_EVERY.as_millis() as u64;
        let last = place.load(Ordering::Relaxed);
        let due = (last ^ name) + every;
        if last != 0 && last >> TIME_BITS << TIME_BITS == name && now < due {
            return Err(Duration::from_millis(due - now));
        }
        // Lost to another thread: then two of them test, which does no harm.
        let _ = place.compare_exchange(last, name | now, Ordering::Relaxed, Ordering::Relaxed);
        Ok(())
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
        if let Err(due) = self.notes.begin_test(ticket, self.up_ms()) {
            return Ok(Life::Alive(due));
        }
        let lease = self.seats().prove_dead(&lock_directory(&self.real, self.own_id()), owner.seat());
        let lease = lease.map_err(seat_error("test a member of", &self.real, self.geometry()))?;
        Ok(if lease.is_some() { Life::Dead } else { Life::Alive(TEST_EVERY) })
    }
}
