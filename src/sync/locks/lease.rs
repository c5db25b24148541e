//! Strategy `lease`: one word per lock region, in the cache file itself.
//!
//! [`lock_word`](super::lock_word) has the protocol. This module has its environment: the test whether an owner is
//! dead, the limit of a wait, and the sleep.

use super::contract::LockError;
use super::lock_word::{Host, LockWord, Name};
use crate::platform;
use crate::shm::Memory;
use crate::shm::memory::Word;
use crate::sync::lock_file::LockFile;
use crate::sync::member::{MemberId, Seats};
use crate::sync::threads::{self, ThreadNumber};
use crate::sync::wait::Waited;
use crossbeam::utils::Backoff;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time until a waiter first tests whether the owner lives, and the time between further tests. A test costs about 20
/// µs, and a dead member's lock must pass to a waiter within 100 ms.
const TESTS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

pub(crate) struct LeaseLocks {
    /// The directory of the lease files.
    directory: PathBuf,
    /// This process.
    member: MemberId,
}

/// A region that this thread holds, or is about to lock.
#[derive(Clone, Copy)]
pub(super) struct HeldWord<'a> {
    word: LockWord<'a>,
    name: Name,
}

impl LeaseLocks {
    pub(super) fn new(directory: PathBuf, member: MemberId) -> Self {
        Self { directory, member }
    }

    /// Locks a region; also returns how long it waited.
    #[inline]
    pub(super) fn lock<'a, M: Memory>(
        &self,
        seats: Seats<'a, M>,
        region: u32,
        limit: Duration,
    ) -> Result<(HeldWord<'a>, Waited), LockError> {
        let held = self.word(seats, region);
        if held.try_lock() {
            return Ok((held, Waited::NONE));
        }
        let waited = self.wait(seats, held, limit)?;
        Ok((held, waited))
    }

    /// A region's word, and the name of this thread, which does not hold the region yet.
    #[inline(always)]
    pub(super) fn word<'a, M: Memory>(&self, seats: Seats<'a, M>, region: u32) -> HeldWord<'a> {
        let name = Name::new(self.member.seat, self.member.generation, threads::number_of_thread());
        HeldWord { word: seats.lock_word(region), name }
    }

    #[cold]
    fn wait<M: Memory>(&self, seats: Seats<'_, M>, held: HeldWord<'_>, limit: Duration) -> Result<Waited, LockError> {
        let mut waiter = Waiter::new(self, seats, limit);
        match (held.word.wait(held.name, &mut waiter), waiter.no_answer) {
            (true, _) => Ok(Waited::since(waiter.start)),
            (false, Some(error)) => Err(LockError::Failed(error)),
            (false, None) => Err(LockError::Busy),
        }
    }
}

impl HeldWord<'_> {
    /// Locks the region if it is free.
    #[inline(always)]
    pub(super) fn try_lock(self) -> bool {
        self.word.try_lock(self.name)
    }

    #[inline]
    pub(super) fn unlock(self) {
        self.word.unlock(self.name, |word| platform::wake_one(word.low_half()));
    }
}

/// One wait of one thread.
struct Waiter<'a, M> {
    locks: &'a LeaseLocks,
    seats: Seats<'a, M>,
    backoff: Backoff,
    start: Instant,
    limit: Duration,
    /// The part of the limit that is left in the current turn.
    left: Duration,
    /// Time until the next test of the owner.
    test_in: Duration,
    next_test: Duration,
    /// Why the last test could not tell whether the owner lives. It may live and unlock, so the wait goes on.
    no_answer: Option<io::Error>,
}

impl<'a, M> Waiter<'a, M> {
    fn new(locks: &'a LeaseLocks, seats: Seats<'a, M>, limit: Duration) -> Self {
        let start = Instant::now();
        let backoff = Backoff::new();
        let (test_in, next_test) = (TESTS.0, TESTS.0);
        Self { locks, seats, backoff, start, limit, left: limit, test_in, next_test, no_answer: None }
    }
}

/// Proof that an owner is dead, and stays so while this value lives.
enum Proof {
    /// No owner ever had that name, or its seat has another generation now.
    Gone,
    /// The lease of its seat is taken.
    Member { _lease: LockFile },
    /// The owner was a thread of this process, whose number is taken.
    Thread { _number: ThreadNumber },
}

impl<M: Memory> Host for Waiter<'_, M> {
    type Proof = Proof;

    fn spin(&mut self) -> bool {
        let goes_on = !self.limit.is_zero() && !self.backoff.is_completed();
        if goes_on {
            self.backoff.snooze();
        }
        goes_on
    }

    fn is_test_due(&mut self) -> bool {
        let now = self.start.elapsed();
        self.left = self.limit.saturating_sub(now);
        // The last turn always tests, so that even a short wait can take over a dead owner's lock.
        let is_due = now >= self.next_test || self.left.is_zero();
        if is_due {
            self.next_test = now + TESTS.1;
        }
        self.test_in = self.next_test - now;
        is_due
    }

    fn prove_dead(&mut self, owner: Name) -> Option<Proof> {
        self.no_answer = None;
        let seat = owner.seat();
        let (Some(thread), Some(generation)) = (owner.thread(), self.seats.generation(seat)) else {
            return Some(Proof::Gone);
        };
        // The name was read with `Acquire`, so this is the generation in the name or a later one. A name with a seat
        // that was never used is damage; the seat's first member will have another generation.
        if generation != owner.generation() || !self.seats.was_used(seat) {
            return Some(Proof::Gone);
        }
        if seat == self.locks.member.seat {
            return prove_dead_here(thread);
        }
        match self.seats.prove_dead(&self.locks.directory, seat) {
            Ok(lease) => lease.map(|lease| Proof::Member { _lease: lease }),
            Err(error) => {
                self.no_answer = Some(error);
                None
            }
        }
    }

    fn sleep(&mut self, word: Word<'_>, seen: u64) -> bool {
        if self.left.is_zero() {
            return false;
        }
        let is_same = || word.get() as u32 == seen as u32;
        platform::sleep_on(word.low_half(), seen as u32, is_same, self.left.min(self.test_in));
        true
    }
}

/// Tries to prove that no living thread of this process has this number. This thread itself does not hold the region,
/// or it would not wait for it; another thread lives as long as its number is taken.
fn prove_dead_here(thread: u32) -> Option<Proof> {
    if thread == threads::number_of_thread() && thread != threads::SHARED {
        return Some(Proof::Gone);
    }
    ThreadNumber::try_take(thread).map(|number| Proof::Thread { _number: number })
}
