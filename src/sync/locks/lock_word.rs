//! The word of strategy `lease`: who holds a lock region, and whether anybody sleeps for it.
//!
//! ```text
//! bit   63       62 .. 52          51 .. 32   31 .. 0
//!       waiters  thread, from 1    seat       generation of the seat
//! ```
//!
//! | word | means |
//! |---|---|
//! | 0 | free |
//! | a name | its thread holds the region, nobody sleeps |
//! | a name and *waiters* | its thread holds it, and whoever unlocks wakes one |
//!
//! | from | to | by |
//! |---|---|---|
//! | 0 | a name | a thread that locks; with *waiters* if it has slept, since others may still sleep |
//! | a name | the same and *waiters* | a thread that is about to sleep |
//! | a name, with *waiters* or not | 0 | the thread that it names |
//! | a name, with *waiters* or not | another name | a thread that has proved the named one dead, and keeps the proof |
//!
//! There are no other edges. A name is never used again for another owner: a seat's generation is raised before the
//! seat is used, and a thread's number is one living thread's. So a compare-exchange that finds a dead one's exact
//! word finds it still held by the dead one.
//!
//! *Sleeping.* A second word counts wake-ups. A waiter reads it first, then looks at the lock word and marks it, then
//! sleeps only if the count is still what it read. Who unlocks empties the lock word, and then, if it was marked,
//! raises the count and wakes one. Either the mark came in time, and the count is raised after it was read, or it
//! fails, because the word is another by then.
//!
//! Generic over what surrounds it ([`Host`]), so that the model checker runs this very code.

use crate::shm::Step;
use crate::shm::atomics::Ordering;
use crate::shm::memory::Word;

const SEAT_SHIFT: u32 = 32;
const THREAD_SHIFT: u32 = 52;
const WAITERS: u64 = 1 << 63;

/// Who holds a region: a thread of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name(u64);

impl Name {
    /// `seat` is below 2^20 and `thread` below 2^11 - 1, as the format and the numbers of threads have it.
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

    /// `None`: no thread ever wrote this.
    pub(crate) fn thread(self) -> Option<u32> {
        ((self.0 >> THREAD_SHIFT) as u32).checked_sub(1)
    }
}

/// Exchanges that a waiter loses to others, one after the other, before it looks at its time and sleeps: a word that changes
/// all the time must not keep it beyond that.
const MOST_LOST: u32 = 1000;

/// What the protocol needs of the world around it, for one wait.
pub(crate) trait Host {
    /// Keeps an owner dead: while it lives nobody can be what the name says.
    type Proof;

    /// Spends a moment; `false` when it is time to sleep instead.
    fn spin(&mut self) -> bool;

    /// Called once a turn: whether the owner is to be tested in this one.
    fn is_test_due(&mut self) -> bool;

    /// A proof that an owner is dead; `None` if it may live.
    fn prove_dead(&mut self, owner: Name) -> Option<Self::Proof>;

    /// Sleeps while the low half of `word` is that of `seen`, until a wake-up or a moment has passed. `false`: the time
    /// to wait is over.
    fn sleep(&mut self, word: Word<'_>, seen: u64) -> bool;
}

/// The two words of a lock region.
#[derive(Clone, Copy)]
pub(crate) struct LockWord<'a> {
    pub lock: Word<'a>,
    pub sleep: Word<'a>,
}

impl LockWord<'_> {
    /// Takes a free region.
    ///
    /// `Acquire` sees what the holder before stored; its partner is the `Release` of [`unlock`](Self::unlock). `Release`
    /// is for the waiters' `Acquire` load in [`wait`](Self::wait): who reads a name sees its seat's generation.
    #[inline]
    pub(crate) fn try_lock(self, me: Name) -> bool {
        self.lock.compare_exchange(Step::LockWord, 0, me.0, Ordering::AcqRel).is_ok()
    }

    /// Takes a region that somebody holds: when it is given back, or when its owner is proved dead. `false`: the time
    /// to wait is over.
    pub(crate) fn wait<H: Host>(self, me: Name, host: &mut H) -> bool {
        while host.spin() {
            if self.lock.get() == 0 && self.try_lock(me) {
                return true;
            }
        }
        let (mut mine, mut lost) = (me.0, 0);
        loop {
            // Before the look at the lock word. `Acquire`, its partner is the `Release` in `unlock_marked`: who sees
            // the count raised sees the lock word that was emptied before.
            let count = self.sleep.load(Ordering::Acquire);
            // Partner: the `Release` of whoever put a name here.
            let seen = self.lock.load(Ordering::Acquire);
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
                // Whoever sleeps for the dead one sleeps for me now.
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
            if !host.sleep(self.sleep, count) {
                return false;
            }
        }
    }

    /// Orders as in [`try_lock`](Self::try_lock); a mark must not hide the name's `Release` behind it, and does not:
    /// an exchange goes on with the release sequence of the store that it replaces.
    fn exchange(self, old: u64, new: u64) -> bool {
        self.lock.compare_exchange(Step::LockWord, old, new, Ordering::AcqRel).is_ok()
    }

    /// Gives back what `me` holds; `wake` wakes one who sleeps on the word it gets. `Release`: see
    /// [`try_lock`](Self::try_lock).
    #[inline]
    pub(crate) fn unlock(self, me: Name, wake: impl FnOnce(Word<'_>)) {
        if self.lock.compare_exchange(Step::LockWord, me.0, 0, Ordering::Release).is_err() {
            self.unlock_marked(me, wake);
        }
    }

    #[cold]
    fn unlock_marked(self, me: Name, wake: impl FnOnce(Word<'_>)) {
        // Anything but my own name with the mark is damage, and not mine to give back.
        if self.lock.compare_exchange(Step::LockWord, me.0 | WAITERS, 0, Ordering::Release).is_ok() {
            // `Release` for the load of the count in `wait`.
            self.sleep.announce(Step::SleepWord);
            wake(self.sleep);
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
