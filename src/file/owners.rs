//! Owners of claims: the name that this process puts in a claim, and the test whether another claim's owner lives.

use super::attached::{AttachedFile, Membership};
use super::notes::{Life, Rest, TEST_EVERY};
use super::place::lock_directory;
use crate::error::{Error, Result};
use crate::hash::Key;
use crate::store::claim::{ClaimId, Owner};
use crate::sync::clock::monotonic_ms;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl AttachedFile {
    /// The name of this process in claims.
    pub(crate) fn owner(&self, joined: &Membership, task: u64) -> Owner {
        let seat = joined.member.seat;
        let generation = self.seats().generation(seat).unwrap_or(0);
        Owner { member: Owner::member_of(seat, generation), task }
    }

    /// Counts a creation without the cache in a process that has no seat.
    pub(crate) fn note_uncached(&self) {
        self.notes.uncached.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of creations without the cache that no seat's counters include.
    pub(crate) fn uncached_elsewhere(&self) -> u64 {
        self.notes.uncached.load(Ordering::Relaxed)
    }

    /// Whether a key is claimed by an owner that is not known to be dead, and whose next test is not due. This takes no
    /// lock and starts no test.
    pub(crate) fn is_in_hand(&self, key: &Key<'_>) -> bool {
        if !self.store.has_claims(key) {
            return false;
        }
        let now_ms = monotonic_ms();
        let Some((claim_id, owner)) = self.store.claim_seen(key, now_ms) else { return false };
        let is_ours = || self.joined().is_some_and(|joined| self.owner(joined, 0).member == owner.member);
        !self.settings.locks.is_shared() || is_ours() || self.notes.test_due_in(&claim_id, now_ms).is_some()
    }

    /// How long nobody may create the value of a key, after creations that failed. This takes no lock.
    pub(crate) fn rest_left(&self, key: &Key<'_>) -> Option<Duration> {
        if !self.store.has_claims(key) {
            return None;
        }
        self.store.rest_seen(key, monotonic_ms()).map(Duration::from_millis)
    }

    /// Starts a rest for the key of a hash: this process leaves its stale value alone for a time.
    pub(crate) fn rest(&self, key_hash: u64, why: Rest) {
        self.notes.rest(key_hash, why, monotonic_ms());
    }

    /// Whether the key of a hash rests.
    pub(crate) fn rests(&self, key_hash: u64, why: Rest) -> bool {
        self.notes.rests(key_hash, why, monotonic_ms)
    }

    /// Tests whether the owner of a claim lives, at most once a second for each claim. An owner is dead if its seat has
    /// another generation, or if its lease can be taken. It stays dead, even if another process takes the seat later.
    pub(crate) fn test_owner(&self, me: Owner, claim_id: &ClaimId, owner: Owner) -> Result<Life> {
        if !self.settings.locks.is_shared() || owner.member == me.member {
            return Ok(Life::Alive(TEST_EVERY));
        }
        // The seat never had a member: the claim is damaged.
        let never_was = !self.seats().was_used(owner.seat());
        if never_was || self.seats().generation(owner.seat()) != Some(owner.generation()) {
            return Ok(Life::Dead);
        }
        let now_ms = monotonic_ms();
        if let Some(due) = self.notes.test_due_in(claim_id, now_ms) {
            return Ok(Life::Alive(due));
        }
        self.notes.note_test(claim_id, now_ms);
        let lease = self.seats().prove_dead(&lock_directory(&self.real, self.own_id()), owner.seat());
        let lease = lease.map_err(Error::locks("test a member of", &self.real))?;
        Ok(if lease.is_some() { Life::Dead } else { Life::Alive(TEST_EVERY) })
    }
}
