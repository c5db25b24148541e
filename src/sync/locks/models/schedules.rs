//! Runs of threads and owners that are too long for loom.

use super::{GENERATION, LEASE, Tests, World, living, mortal, spawn};
use crate::shm::atomics::Ordering;
use crate::shm::atomics::checker::sync::Arc;
use crate::shm::atomics::checker::thread;
use crate::shm::schedules::check;
use crate::shm::{Memory, Step};
use shuttle::rand::{Rng, thread_rng};

/// Number of times each thread locks.
const ROUNDS: u32 = 12;

impl World {
    fn lock_and_add_in_rounds(&self, thread: u32, tests: Tests) {
        (0..ROUNDS).for_each(|_| self.lock_and_add(living(thread), tests));
    }

    /// One owner's life on the seat: it takes the lease, locks, and is killed, in half of the runs after unlocking.
    /// Returns whether the seat was free.
    fn live_and_die(&self) -> bool {
        let Some(_lease) = self.try_take(LEASE) else { return false };
        let generation = self.words.word(GENERATION);
        let me = mortal(generation.get() as u32 + 1);
        generation.store(Step::Seat, me.generation().into(), Ordering::Release);
        self.lock(me, Tests::Seat);
        self.add();
        if thread_rng().gen_bool(0.5) {
            self.unlock(me);
        }
        true
    }
}

/// A lost wake-up would show as a deadlock; two simultaneous holders would lose an addition.
#[test]
fn shuttle_threads_lock_and_sleep_again_and_again() {
    check(|| {
        let world = Arc::new(World::new());
        let work = |n| move |world: &World| world.lock_and_add_in_rounds(n, Tests::Nothing);
        let threads = [0, 1, 2, 3].map(|n| spawn(&world, work(n)));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(world.added(), u64::from(4 * ROUNDS));
    });
}

/// Owners take one seat in turn, lock and die; other threads take over their locks.
#[test]
fn shuttle_owners_come_and_die_again_and_again() {
    check(|| {
        let world = Arc::new(World::new());
        let mortals = [(); 2].map(|()| {
            let world = world.clone();
            thread::spawn(move || (0..ROUNDS).filter(|_| world.live_and_die()).count() as u64)
        });
        let work = |n| move |world: &World| world.lock_and_add_in_rounds(n, Tests::Seat);
        let threads = [1, 2].map(|n| spawn(&world, work(n)));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let lives: u64 = mortals.into_iter().map(|mortal| mortal.join().unwrap()).sum();
        world.lock(living(0), Tests::Seat);
        assert_eq!(world.added(), lives + u64::from(2 * ROUNDS));
    });
}
