//! Memory that reads allocate: none, except for the returned value.
#![allow(unsafe_code, reason = "an allocator that counts what it is asked for")]

mod common;

use common::Place;
use kennel::Options;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Number of allocations by this thread.
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: memory comes from the system's allocator and goes back there; the count allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is about to end has no counter any more.
        let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
        // SAFETY: the caller promises of the layout what the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: it was allocated above, with this layout, as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

/// The number of allocations by a piece of work.
fn asked_by(work: impl FnOnce()) -> u64 {
    let before = ASKED.get();
    work();
    ASKED.get() - before
}

/// Small, around the length from which copies use vectors, too large to overwrite in place, and large.
const LENGTHS: [usize; 6] = [0, 8, 250, 600, 5_000, 100_000];
const ROUNDS: u64 = 100;

#[test]
fn a_read_asks_for_no_memory_but_that_of_the_value_it_returns() {
    let place = Place::new();
    let cache = Options::new().capacity(16 << 20).create(place.path()).unwrap();
    let mut buf = vec![0; 100_000];
    for len in LENGTHS {
        let key = format!("of {len} bytes");
        cache.set(&key, vec![7; len]).unwrap();
        let reads = || {
            for _ in 0..ROUNDS {
                assert_eq!(cache.get_into(&key, &mut buf).unwrap(), Some(len));
                assert!(cache.contains(&key));
                assert!(!cache.contains("absent") && cache.get("absent").is_none());
                assert_eq!(cache.get_into("absent", &mut [0; 8]).unwrap(), None);
            }
        };
        assert_eq!(asked_by(reads), 0, "{len} bytes");
        let values =
            asked_by(|| (0..ROUNDS).for_each(|_| assert_eq!(cache.get(&key).map(|value| value.len()), Some(len))));
        // An empty value needs no memory.
        assert_eq!(values, if len == 0 { 0 } else { ROUNDS }, "{len} bytes");
    }
    // Allocations are counted at all.
    assert_eq!(asked_by(|| drop(std::hint::black_box(Box::new(7)))), 1);
}
