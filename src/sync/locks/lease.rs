//! Strategy `lease`: a word per lock region, in the file itself.
//!
//! The protocol is in [`lock_word`](super::lock_word); here is what it stands on: how a dead owner is told from a
//! living one, how long is waited, and how.

use super::contract::LockError;
use super::lock_word::{Host, LockWord, Name};
use crate::platform;
use crate::shm::Memory;
use crate::shm::memory::Word;
use crate::sync::lock_file::LockFile;
use crate::sync::member::{Owner, SeatError, Seats};
use crate::sync::threads::{self, Number};
use crossbeam::utils::Backoff;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// When a waiter looks for the first time whether the owner lives, and how often from then on. A test costs some
/// 20 µs, and the lock of a dead member is to be given on within 100 ms.
const TESTS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

pub(crate) struct LeaseLocks {
    /// Where the leases are.
    directory: PathBuf,
    /// This process.
    member: Owner,
}

/// A region that this thread holds.
#[derive(Clone, Copy)]
pub(super) struct Held<'a> {
    word: LockWord<'a>,
    name: Name,
}

impl LeaseLocks {
    pub(super) fn new(directory: PathBuf, member: Owner) -> Self {
        Self { directory, member }
    }

    /// Also returns whether it had to wait.
    #[inline]
    pub(super) fn lock<'a, M: Memory>(
        &self,
        seats: Seats<'a, M>,
        region: u32,
        limit: Duration,
    ) -> Result<(Held<'a>, bool), LockError> {
        let name = Name::new(self.member.seat, self.member.generation, threads::number_of_thread());
        let held = Held { word: seats.lock_word(region), name };
        if held.word.try_lock(name) {
            return Ok((held, false));
        }
        self.wait(seats, held, limit)?;
        Ok((held, true))
    }

    #[cold]
    fn wait<M: Memory>(&self, seats: Seats<'_, M>, held: Held<'_>, limit: Duration) -> Result<(), LockError> {
        let mut waiter = Waiter::new(self, seats, limit);
        match (held.word.wait(held.name, &mut waiter), waiter.no_answer) {
            (true, _) => Ok(()),
            (false, Some(error)) => Err(LockError::Failed(error)),
            (false, None) => Err(LockError::Busy),
        }
    }
}

impl Held<'_> {
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
    /// Of the limit, at the turn that runs.
    left: Duration,
    /// Until the owner is tested again.
    test_in: Duration,
    next_test: Duration,
    /// Why the last test could not say whether the owner lives. It may live and unlock, so the wait goes on.
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

/// What keeps an owner dead.
enum Proof {
    /// There never was one of that name, or its seat has had another generation since.
    Gone,
    /// Its lease.
    Member { _lease: LockFile },
    /// The number of the thread of this process that it was.
    Thread { _number: Number },
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
        // The last turn tests in any case: a short wait takes a dead one's lock, too.
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
        // The name was read with `Acquire`, so this is the generation it was made of, or a later one. A name of a seat
        // that was never used is damage; whoever will sit there has another generation.
        if generation != owner.generation() || !self.seats.was_used(seat) {
            return Some(Proof::Gone);
        }
        if seat == self.locks.member.seat {
            return prove_dead_here(thread);
        }
        let (proof, no_answer) = match self.seats.prove_dead(&self.locks.directory, seat) {
            Ok(lease) => (lease.map(|lease| Proof::Member { _lease: lease }), None),
            Err(SeatError::Lost(detail)) => (None, Some(io::Error::new(io::ErrorKind::NotFound, detail))),
            Err(SeatError::Io(error)) => (None, Some(error)),
            Err(SeatError::Full) => (None, None),
        };
        self.no_answer = no_answer;
        proof
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

/// Whether a name of this very process is that of no thread which could hold anything. This thread holds nothing, or
/// it would not ask; another one lives as long as its number is taken.
fn prove_dead_here(thread: u32) -> Option<Proof> {
    if thread == threads::number_of_thread() && thread != threads::SHARED {
        return Some(Proof::Gone);
    }
    Number::try_take(thread).map(|number| Proof::Thread { _number: number })
}
