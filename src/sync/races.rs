//! Tests for Miri of what one thread hands over to another. For some seeds, Miri lets a load that lacks an ordering
//! return an old value. It reports accesses without a happens-before edge between them as a data race.

use super::fork::PerProcess;
use super::locks::{LockError, LockFactory, LockPlace, LockRegions, LockStrategy};
use super::member::{MemberId, Seats};
use super::threads::SeatLines;
use crate::shm::layout::{COUNTERS, Geometry, Shape};
use crate::shm::memory::Heap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Adds one by a load and a store, as [`bump`](crate::shm::memory::Word::bump) does: enough for a word with one writer.
fn bump(word: &AtomicU64) {
    word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Two threads each add one, twice, while they hold region 0; returns the sum.
fn bumped_under(strategy: &LockStrategy) -> u64 {
    let locks = strategy.attach(&LockPlace::new(Path::new(""), 1), MemberId { seat: 0, generation: 1 }).unwrap();
    let shape = Shape { capacity: 2048, ..Shape::SMALL };
    // These locks have no words in the file.
    let (mem, geometry) = (Heap::of_parts(&[]), Geometry::new(shape).unwrap());
    let word = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2 {
                    let _held =
                        locks.lock(Seats { mem: &mem, geometry: &geometry }, 0, Duration::from_secs(600)).unwrap();
                    bump(&word);
                }
            });
        }
    });
    word.into_inner()
}

#[test]
fn core_a_region_of_one_process_hands_over_what_it_guards() {
    assert_eq!(bumped_under(&LockStrategy::Process), 4);
}

/// A lock that excludes other threads without ordering memory: by the contract, the engine provides the ordering.
struct Bare(AtomicBool);

impl LockFactory for Bare {
    fn name(&self) -> &str {
        "bare"
    }

    fn id(&self) -> u64 {
        1000
    }

    fn prepare(&self, _: &LockPlace) -> io::Result<()> {
        Ok(())
    }

    fn attach(&self, _: &LockPlace) -> io::Result<Box<dyn LockRegions>> {
        Ok(Box::new(Bare(AtomicBool::new(false))))
    }
}

impl LockRegions for Bare {
    fn lock(&self, _: u32, _: Duration) -> Result<(), LockError> {
        while self.0.swap(true, Ordering::Relaxed) {
            thread::yield_now();
        }
        Ok(())
    }

    fn unlock(&self, _: u32) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn core_a_guard_orders_what_a_bare_lock_does_not() {
    assert_eq!(bumped_under(&LockStrategy::Custom(Arc::new(Bare(AtomicBool::new(false))))), 4);
}

#[test]
fn core_what_a_process_installs_is_seen_whole() {
    // Initialization at the first use would order the threads and hide a race, so it happens here, before they start.
    assert_eq!(PerProcess::new().install(1), &1);
    let slot = PerProcess::new();
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(slot.install(vec![1, 2]).len(), 2));
        scope.spawn(|| assert!(slot.get().is_none_or(|value| value == &[1, 2])));
        assert_eq!(slot.install(vec![1, 2]), &[1, 2]);
    });
}

#[test]
fn core_a_counter_line_is_handed_from_thread_to_thread() {
    let lines: [AtomicU64; 16] = Default::default();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| bump(&lines[SeatLines::new(0, false).any().0 as usize / (COUNTERS * 8)]));
        }
    });
    assert_eq!(lines.into_iter().map(AtomicU64::into_inner).sum::<u64>(), 3);
}
