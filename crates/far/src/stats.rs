//! What a process did with the near tier, in numbers.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of this process since it opened the far tier, or was forked.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub $name: Count,)*
        }

        impl Stats {
            /// Each counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Counters by their names.
            pub(crate) fn by_name(value: impl Fn(&'static str) -> u64) -> Self {
                Self { $($name: value(stringify!($name)),)* }
            }
        }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Reads that the near tier answered with a value.
    hits,
    /// Reads that the near tier answered with a remembered absence.
    absent_hits,
    /// Hits of both kinds that were answered although nothing was proved, from what had been fetched at most
    /// `max_staleness` before.
    brief_hits,
    /// Values and absences that were fetched and stored.
    fills,
    /// Fetched values that were not stored because the key was changed or invalidated meanwhile.
    voided,
    /// Keys that were left out for a second because they change too often.
    hot_keys,
    /// Reads that went to the far tier and stored nothing, for any reason.
    bypasses,
    /// Reads that found nothing proved.
    untrusted,
    /// Reads of keys outside the prefixes.
    outside,
    /// Values that were not stored because they are larger than `near_max_value` or than the file allows.
    too_large,
    /// Writes to the far tier.
    writes,
    /// Rights to create a value that this process got, and creations without that right after a wait that timed out.
    creations,
    /// Created values that were not stored because the lease had ended before.
    lost_leases,
    /// Deletions from the near tier that failed; the whole near tier was invalidated instead.
    escalations,
    /// Times at which all proofs were taken back, or brief values rested: because an invalidation failed, or because a
    /// namespace got another master.
    revocations,
    /// Deletions for which nothing could be done: the near file is gone or cannot be used.
    unshielded,
    /// Connections of this process's tracker on which tracking was on.
    tracked,
    /// Invalidation messages that its tracker received.
    pushes,
    /// Keys in those messages.
    pushed_keys,
    /// Hard invalidations of the near tier by its tracker.
    flushes,
    /// Proofs that its tracker raised.
    proofs,
    /// Microseconds that the last ping of its tracker took.
    round_trip_us,
}

/// Lanes of a counter. The first is shared; each of the others belongs to one thread at a time.
const LANES: usize = 8;

/// A bit for each lane that is taken; the first always is.
static TAKEN: AtomicUsize = AtomicUsize::new(1);

thread_local! {
    /// The lane of this thread; 0 before it counts for the first time, and if all others are taken.
    static LANE: Cell<usize> = const { Cell::new(0) };
    /// Gives the lane back when the thread ends.
    static OWN: Own = Own::take();
}

struct Own(usize);

impl Own {
    fn take() -> Self {
        let free = |taken: usize| (taken != (1 << LANES) - 1).then(|| taken | (taken + 1));
        match TAKEN.fetch_update(Ordering::Acquire, Ordering::Relaxed, free) {
            Ok(taken) => Self(taken.trailing_ones() as usize),
            Err(_) => Self(0),
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // What this thread counts from now on, while it ends, is counted on the shared lane.
        LANE.set(0);
        if self.0 != 0 {
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

/// A counter that threads share without waiting for each other's cache lines.
#[derive(Debug, Default)]
pub(crate) struct Count([Lane; LANES]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Lane(AtomicU64);

impl Count {
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        match LANE.get() {
            0 => self.add_first(n),
            // No other thread stores to this lane, so nothing is lost between the load and the store.
            lane => {
                let word = &self.0[lane % LANES].0;
                word.store(word.load(Ordering::Relaxed) + n, Ordering::Relaxed);
            }
        }
    }

    /// Adds for a thread without a lane of its own, which takes one if it can.
    #[cold]
    #[inline(never)]
    fn add_first(&self, n: u64) {
        LANE.set(OWN.try_with(|own| own.0).unwrap_or(0));
        self.0[0].0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets the value of a counter to which nothing is added.
    pub(crate) fn set(&self, n: u64) {
        self.0[0].0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|lane| lane.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn more_threads_than_lanes_lose_no_count_and_give_their_lanes_back() {
        let count = Count::default();
        for _ in 0..3 {
            thread::scope(|scope| {
                for _ in 0..3 * LANES {
                    scope.spawn(|| (0..1000).for_each(|_| count.add(1)));
                }
            });
        }
        assert_eq!(count.get(), 9 * LANES as u64 * 1000);
        count.add(1);
        assert_eq!(count.get(), 9 * LANES as u64 * 1000 + 1);
    }
}
