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
    /// Those of both that were answered although nothing was proved, by what had been fetched at most `max_staleness`
    /// before.
    brief_hits,
    /// Values and absences that were fetched and stored.
    fills,
    /// Fetched values that were not stored because the key was changed or invalidated meanwhile.
    voided,
    /// Keys that were left out for a second because they change too often.
    hot_keys,
    /// Reads that went to the far tier and stored nothing, for any reason.
    bypasses,
    /// Those of them for which nothing was proved.
    untrusted,
    /// Reads and writes of keys outside the prefixes.
    outside,
    /// Values that were not stored because they are larger than `near_max_value` or than the file allows.
    too_large,
    /// Writes to the far tier.
    writes,
    /// Rights to create a value that this process got, and creations without one, after a wait in vain.
    creations,
    /// Created values that were not stored because the lease had ended before.
    lost_leases,
    /// Deletions from the near tier that failed; the whole near tier was invalidated instead.
    escalations,
    /// Deletions for which that failed, too, and all proofs were taken back.
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

/// Threads that count on words of their own; further ones share.
const LANES: usize = 8;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The lane of this thread, from 1; 0 before it counts for the first time.
    static LANE: Cell<usize> = const { Cell::new(0) };
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
        let lane = match LANE.get() {
            0 => first_lane(),
            lane => lane,
        };
        self.0[lane % LANES].0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets the value of a counter to which nothing is added.
    pub(crate) fn set(&self, n: u64) {
        self.0[0].0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|lane| lane.0.load(Ordering::Relaxed)).sum()
    }
}

#[cold]
fn first_lane() -> usize {
    let lane = THREADS.fetch_add(1, Ordering::Relaxed) % LANES + 1;
    LANE.set(lane);
    lane
}
