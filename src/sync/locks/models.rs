//! The lock word under the model checkers: locking, sleeping, taking over, and reuse of seats and thread numbers.
//!
//! loom runs the code of [`lock_word`](super::lock_word) through every interleaving up to a bound of preemptions, and
//! through every value that a load may return; shuttle runs longer histories, at random. The environment is a world
//! without time: a sleeper is woken or sleeps for ever, which loom reports as a deadlock. Leases and numbers of threads
//! are flags, taken and given back.

use super::lock_word::{Host, LockWord, Name};
use crate::shm::atomics::checker::sync::{Arc, Condvar, Mutex};
use crate::shm::atomics::checker::thread;
use crate::shm::memory::{Heap, Word};
use crate::shm::{Memory, Step};

#[cfg(all(test, shuttle))]
mod schedules;

/// Offsets of the words of this world.
const LOCK: u64 = 0;
const SLEEP: u64 = 8;
/// The data that the lock guards: a number to which each holder adds 1, by a load and a separate store.
const GUARDED: u64 = 16;
/// Generation of the seat whose owners come and go.
const GENERATION: u64 = 24;

/// The seat whose owners die.
const SEAT: u32 = 1;

struct World {
    words: Heap,
    futex: (Mutex<()>, Condvar),
    /// Flags that one thread at a time can take: the seat's lease, and a thread's number.
    taken: Mutex<[bool; 2]>,
}

const LEASE: usize = 0;
const NUMBER: usize = 1;

/// A lease or number that is held until this is dropped.
struct Taken<'a>(&'a World, usize);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.taken.lock().unwrap()[self.1] = false;
    }
}

impl World {
    fn new() -> Self {
        let futex = (Mutex::new(()), Condvar::new());
        Self { words: Heap::of_parts(&[(0, 32)]), futex, taken: Mutex::new([false; 2]) }
    }

    fn lock_word(&self) -> LockWord<'_> {
        LockWord(self.words.words(LOCK))
    }

    fn try_take(&self, what: usize) -> Option<Taken<'_>> {
        let mut taken = self.taken.lock().unwrap();
        if std::mem::replace(&mut taken[what], true) { None } else { Some(Taken(self, what)) }
    }

    fn wake(&self) {
        let _awake = self.futex.0.lock().unwrap();
        self.futex.1.notify_one();
    }

    fn lock(&self, me: Name, tests: Tests) {
        if !self.lock_word().try_lock(me) {
            self.lock_word().wait(me, &mut Waiter { world: self, tests, me });
        }
    }

    /// The work under the lock: two simultaneous holders would lose an addition.
    fn add(&self) {
        let word = self.words.word(GUARDED);
        word.set(Step::Live, word.get() + 1);
    }

    fn unlock(&self, me: Name) {
        self.lock_word().unlock(me, |_| self.wake());
    }

    fn lock_and_add(&self, me: Name, tests: Tests) {
        self.lock(me, tests);
        self.add();
        self.unlock(me);
    }

    fn added(&self) -> u64 {
        self.words.word(GUARDED).get()
    }
}

/// What a waiter tests about owners, if anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tests {
    /// No test: owners live, and waiters sleep until they are woken.
    Nothing,
    /// Whether the seat's owner is dead; a sleeper wakes by itself and tests again.
    Seat,
    /// Whether a thread of this process, named in the word, does not exist.
    Number,
}

struct Waiter<'a> {
    world: &'a World,
    tests: Tests,
    me: Name,
}

impl<'a> Host for Waiter<'a> {
    type Proof = Option<Taken<'a>>;

    fn spin(&mut self) -> bool {
        false
    }

    fn is_test_due(&mut self) -> bool {
        self.tests != Tests::Nothing
    }

    /// The test of strategy `lease`, with flags in place of files.
    fn prove_dead(&mut self, owner: Name) -> Option<Self::Proof> {
        if self.tests == Tests::Number {
            if owner == self.me {
                return Some(None);
            }
            return if owner == THREAD { self.world.try_take(NUMBER).map(Some) } else { None };
        }
        if owner.seat() != SEAT {
            return None;
        }
        if self.world.words.word(GENERATION).get() as u32 != owner.generation() {
            return Some(None);
        }
        self.world.try_take(LEASE).map(Some)
    }

    fn sleep(&mut self, word: Word<'_>, seen: u64) -> bool {
        if self.tests != Tests::Nothing {
            thread::yield_now();
            return true;
        }
        let asleep = self.world.futex.0.lock().unwrap();
        if word.get() == seen {
            drop(self.world.futex.1.wait(asleep).unwrap());
        }
        true
    }
}

/// A thread of a process that never dies.
fn living(thread: u32) -> Name {
    Name::new(2, 1, thread)
}

/// The owner on the seat whose owners die.
fn mortal(generation: u32) -> Name {
    Name::new(SEAT, generation, 0)
}

/// The name of a thread that may or may not exist.
const THREAD: Name = Name::new(2, 1, 7);

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut checker = loom::model::Builder::new();
    checker.preemption_bound = Some(4);
    checker.max_branches = 100_000;
    checker.check(model);
}

fn spawn(world: &Arc<World>, work: impl FnOnce(&World) + Send + 'static) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || work(&world))
}

/// Fails if the lock's `Acquire` or the unlock's `Release` is removed, or if unlocking wakes no waiter.
#[test]
fn loom_a_lock_word_excludes_and_hands_on_what_was_stored() {
    check(|| {
        let world = Arc::new(World::new());
        let other = spawn(&world, |world| {
            world.lock_and_add(living(1), Tests::Nothing);
            world.lock_and_add(living(1), Tests::Nothing);
        });
        world.lock_and_add(living(0), Tests::Nothing);
        world.lock_and_add(living(0), Tests::Nothing);
        other.join().unwrap();
        world.lock(living(0), Tests::Nothing);
        assert_eq!(world.added(), 4);
    });
}

/// Fails if a waiter reads the count after it marked the word, if it sleeps without a mark, if the count is not raised,
/// or if a thread that has slept takes the word without a mark.
#[test]
fn loom_no_wake_up_is_lost() {
    check(|| {
        let world = Arc::new(World::new());
        world.lock(living(0), Tests::Nothing);
        let waiters = [1, 2].map(|n| spawn(&world, move |world| world.lock_and_add(living(n), Tests::Nothing)));
        world.unlock(living(0));
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        world.lock(living(0), Tests::Nothing);
        assert_eq!(world.added(), 2);
    });
}

/// A world in which a seat's owner was killed while it held the lock.
fn with_a_dead_owner() -> Arc<World> {
    let world = Arc::new(World::new());
    world.words.word(GENERATION).set(Step::Seat, 1);
    assert!(world.lock_word().try_lock(mortal(1)));
    world
}

/// Fails if a thread takes over with a plain store of its name instead of a compare-exchange.
#[test]
fn loom_a_dead_owners_lock_is_taken_over_by_one() {
    check(|| {
        let world = with_a_dead_owner();
        let takers = [1, 2].map(|n| spawn(&world, move |world| world.lock_and_add(living(n), Tests::Seat)));
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        world.lock(living(0), Tests::Nothing);
        assert_eq!(world.added(), 2);
    });
}

/// A thread that sleeps for a dead owner, and does not test it, is woken by the thread that took over. Fails if the
/// latter drops the mark.
#[test]
fn loom_who_sleeps_for_a_dead_owner_is_woken_by_its_successor() {
    check(|| {
        let world = with_a_dead_owner();
        let sleeper = spawn(&world, |world| world.lock_and_add(living(1), Tests::Nothing));
        world.lock_and_add(living(0), Tests::Seat);
        sleeper.join().unwrap();
        world.lock(living(0), Tests::Nothing);
        assert_eq!(world.added(), 2);
    });
}

/// While a waiter tests the dead owner, a new member takes its seat, locks, and is killed with the lock held. Fails, by
/// an endless wait, if the new member does not raise the generation. It would pass if a waiter did not keep the lease:
/// generations are never reused, and that is enough.
#[test]
fn loom_a_seat_may_be_taken_again_while_its_owner_is_tested() {
    check(|| {
        let world = with_a_dead_owner();
        let waiter = spawn(&world, |world| world.lock_and_add(living(1), Tests::Seat));
        let mut adds = 1;
        if let Some(lease) = world.try_take(LEASE) {
            world.words.word(GENERATION).store(Step::Seat, 2, crate::shm::atomics::Ordering::Release);
            world.lock(mortal(2), Tests::Seat);
            world.add();
            adds += 1;
            // The new member is killed.
            drop(lease);
        }
        waiter.join().unwrap();
        world.lock(living(0), Tests::Seat);
        assert_eq!(world.added(), adds);
    });
}

/// Damage left a word with this process's name and a thread's number. A waiter takes it over while a thread of that
/// very number starts, locks, and holds the lock. Fails if the waiter does not keep the number taken.
#[test]
fn loom_a_thread_may_get_the_number_in_a_damaged_word() {
    check(|| {
        let world = Arc::new(World::new());
        assert!(world.lock_word().try_lock(THREAD));
        let waiter = spawn(&world, |world| world.lock_and_add(living(1), Tests::Number));
        let number = world.try_take(NUMBER);
        let me = if number.is_some() { THREAD } else { living(0) };
        world.lock_and_add(me, Tests::Number);
        drop(number);
        waiter.join().unwrap();
        world.lock(living(0), Tests::Nothing);
        assert_eq!(world.added(), 2);
    });
}
