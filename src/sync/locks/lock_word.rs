//! The lock word of strategy `lease`: the holder of a lock region, and a mark that waiters may sleep.
//!
//! ```text
//! bit   63       62 .. 52          51 .. 32   31 .. 0
//!       waiters  thread, from 1    seat       generation of the seat
//! ```
//!
//! | word | means |
//! |---|---|
//! | 0 | free |
//! | a name | that thread holds the region, no thread sleeps |
//! | a name and *waiters* | that thread holds the region, and wakes one waiter when it unlocks |
//!
//! | from | to | by |
//! |---|---|---|
//! | 0 | a name | a thread that locks; it adds *waiters* if it has slept, since others may still sleep |
//! | a name | the same name and *waiters* | a thread that is about to sleep |
//! | a name, with *waiters* or not | 0 | the thread that it names |
//! | a name, with *waiters* or not | another name | a thread that has proved the named one dead, and keeps the proof |
//!
//! There are no other transitions. A name is never reused for another owner: a seat's generation is raised before the
//! seat is used, and a thread's number belongs to one living thread. So if a compare-exchange finds a dead owner's
//! exact word, that dead owner still holds the region (no ABA).
//!
//! *Sleeping.* A second word counts wake-ups. A waiter reads the count first, then reads the lock word and marks it,
//! then sleeps only if the count is unchanged. The unlocking thread sets the lock word to 0 and then, if it was marked,
//! raises the count and wakes one waiter. Either the mark is set in time, and the count is raised after the waiter read
//! it, so the waiter does not sleep or is woken; or setting the mark fails, because the lock word has changed.
//!
//! The protocol is generic over its environment ([`Host`]), so that the model checker runs this very code.

use crate::shm::Step;
use crate::shm::atomics::Ordering;
use crate::shm::memory::{Word, Words};

const SEAT_SHIFT: u32 = 32;
const THREAD_SHIFT: u32 = 52;
const WAITERS: u64 = 1 << 63;

/// The name of a region's holder: a thread of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name(u64);

impl Name {
    /// `seat` is below 2^20, a limit of the format; `thread` is below 2^11 - 1, a limit of the threads' numbers.
    #[inline]
    pub(crate) const fn new(seat: u32, generation: u32, thread: u32) -> Self {
        Self((thread as u64 + 1) << THREAD_SHIFT | (seat as u64) << SEAT_SHIFT | generation as u64)
    }

    pub(crate) fn seat(self) -> u32 {
        (self.0 >> SEAT_SHIFT) as u32 & ((1 << (THREAD_SHIFT - SEAT_SHIFT)) - 1)
    }

    pub(crate) fn generation(self) -> u32 {
        self.0 as u32
    }

    /// `None`: no thread ever wrote this name.
    pub(crate) fn thread(self) -> Option<u32> {
        ((self.0 >> THREAD_SHIFT) as u32).checked_sub(1)
    }
}

/// How many exchanges in a row a waiter may lose before it checks its limit and sleeps: a word that changes all the
/// time must not make it overrun the limit.
const MOST_LOST: u32 = 1000;

/// What the protocol needs from its environment, for one wait.
pub(crate) trait Host {
    /// Proof that an owner is dead: while this value lives, no thread can have the owner's name.
    type Proof;

    /// Spins for a moment; `false` when the waiter should sleep instead.
    fn spin(&mut self) -> bool;

    /// Called once per turn of the wait: whether to test the owner in this turn.
    fn is_test_due(&mut self) -> bool;

    /// Tries to prove that an owner is dead; `None` if it may live.
    fn prove_dead(&mut self, owner: Name) -> Option<Self::Proof>;

    /// Sleeps while the low half of `word` equals that of `seen`, until woken or for a moment. `false`: the limit has
    /// passed.
    fn sleep(&mut self, word: Word<'_>, seen: u64) -> bool;
}

/// The two words of a lock region: the lock word, and the count of wake-ups.
#[derive(Clone, Copy)]
pub(crate) struct LockWord<'a>(pub Words<'a, 2>);

impl<'a> LockWord<'a> {
    #[inline]
    fn lock(self) -> Word<'a> {
        self.0.at(0)
    }

    #[inline]
    fn sleep(self) -> Word<'a> {
        self.0.at(1)
    }

    /// Takes a free region.
    ///
    /// `Acquire` makes the previous holder's stores visible; its partner is the `Release` of [`unlock`](Self::unlock).
    /// `Release` is for the waiters' `Acquire` load in [`wait`](Self::wait): a waiter that reads a name sees its seat's
    /// generation.
    #[inline]
    pub(crate) fn try_lock(self, me: Name) -> bool {
        self.lock().compare_exchange(Step::LockWord, 0, me.0, Ordering::AcqRel).is_ok()
    }

    /// Takes a held region once it is unlocked or its owner is proved dead. `false`: the limit has passed.
    pub(crate) fn wait<H: Host>(self, me: Name, host: &mut H) -> bool {
        while host.spin() {
            if self.lock().get() == 0 && self.try_lock(me) {
                return true;
            }
        }
        let (mut mine, mut lost) = (me.0, 0);
        loop {
            // Must precede the load of the lock word. `Acquire`; its partner is the `Release` in `unlock_marked`: a
            // waiter that sees the count raised sees that the lock word was set to 0 before.
            let count = self.sleep().load(Ordering::Acquire);
            // Partner: the `Release` of the thread that stored its name here.
            let seen = self.lock().load(Ordering::Acquire);
            lost += 1;
            if seen == 0 {
                if self.exchange(0, mine) {
                    return true;
                }
                if lost < MOST_LOST {
                    continue;
                }
            }
            let is_test_due = host.is_test_due();
            if seen != 0
                && is_test_due
                && let Some(_kept) = host.prove_dead(Name(seen & !WAITERS))
            {
                // Threads that slept for the dead owner sleep for this one now, so the mark stays.
                if self.exchange(seen, mine | seen & WAITERS) {
                    return true;
                }
                if lost < MOST_LOST {
                    continue;
                }
            } else if seen != 0 && seen & WAITERS == 0 && !self.exchange(seen, seen | WAITERS) && lost < MOST_LOST {
                continue;
            }
            (mine, lost) = (me.0 | WAITERS, 0);
            if !host.sleep(self.sleep(), count) {
                return false;
            }
        }
    }

    /// Exchanges the lock word, with the orderings of [`try_lock`](Self::try_lock). Setting the mark does not hide the
    /// `Release` of the name's store: an exchange continues the release sequence of the store that it replaces.
    fn exchange(self, old: u64, new: u64) -> bool {
        self.lock().compare_exchange(Step::LockWord, old, new, Ordering::AcqRel).is_ok()
    }

    /// Unlocks a region that `me` holds; `wake` wakes one thread that sleeps on the word that is passed to it. For
    /// `Release` see [`try_lock`](Self::try_lock).
    #[inline]
    pub(crate) fn unlock(self, me: Name, wake: impl FnOnce(Word<'_>)) {
        if self.lock().compare_exchange(Step::LockWord, me.0, 0, Ordering::Release).is_err() {
            self.unlock_marked(me, wake);
        }
    }

    #[cold]
    fn unlock_marked(self, me: Name, wake: impl FnOnce(Word<'_>)) {
        // Anything but my own name with the mark is damage, which this thread must not overwrite.
        if self.lock().compare_exchange(Step::LockWord, me.0 | WAITERS, 0, Ordering::Release).is_ok() {
            // `Release`, for the load of the count in `wait`.
            self.sleep().announce(Step::SleepWord);
            wake(self.sleep());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_what_it_was_made_of() {
        for (seat, generation, thread) in [(0, 0, 0), (5, 6, 7), ((1 << 20) - 1, u32::MAX, (1 << 11) - 2)] {
            let name = Name::new(seat, generation, thread);
            assert_eq!((name.seat(), name.generation(), name.thread()), (seat, generation, Some(thread)));
            assert_eq!(name.0 & WAITERS, 0);
            assert_ne!(name.0, 0);
        }
        assert_eq!(Name(77 << SEAT_SHIFT | 3).thread(), None);
    }
}
