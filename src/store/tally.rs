//! The counters, and where they lie.
//!
//! Events under a stripe's lock are counted in the stripe's head: the operation has loaded those lines anyway. Events
//! without a lock are counted on the member's own lines, which no other process writes.

use super::epochs::CrashState;
use super::table::Store;
use crate::shm::layout::{COUNTERS, OWN_LINES, at};
use crate::shm::{Memory, Step};

/// Events that are counted in a stripe's head, under its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum StripeCount {
    Sets,
    Deletes,
    EvictionsSmall,
    EvictionsMain,
    EvictionsIndex,
    Expirations,
    GhostHits,
    Promotions,
    Repairs,
    Dropped,
    Creations,
    Takeovers,
}

/// Events that are counted on a member's lines, without a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum MemberCount {
    Hits,
    Misses,
    ReadRetries,
    BoundedMisses,
    LockWaits,
    Busy,
    ClaimWaits,
    Unprotected,
    Voided,
    Uncached,
}

/// The counters of one line, or sums over several lines.
pub(crate) type Line = [u64; COUNTERS];

impl<M: Memory> Store<M> {
    /// Counts on a line of the member that only this thread writes.
    #[inline(always)]
    pub(crate) fn count(&self, line_at: u64, what: MemberCount, by: u64) {
        self.mem.words::<COUNTERS>(line_at).at(what as usize).bump(Step::Counter, by);
    }

    /// Counts on the line of the member that threads share.
    pub(crate) fn count_shared(&self, line_at: u64, what: MemberCount, by: u64) {
        self.mem.words::<COUNTERS>(line_at).at(what as usize).fetch_add(Step::Counter, by);
    }

    /// The counters of one stripe.
    pub(crate) fn stripe_counts(&self, stripe: u32) -> Line {
        std::array::from_fn(|i| self.stripe_word(stripe, at!(Stripe.counters) + i as u64 * 8).get())
    }

    /// The sums over all present and past members: a seat's next member continues its counters.
    pub(crate) fn member_counts(&self) -> Line {
        let seats = self.mem.word(at!(seats_used)).get().min(self.geometry.shape.seats.into()) as u32;
        let mut sum = [0u64; COUNTERS];
        for seat in 0..seats {
            for line in 0..=OWN_LINES {
                let line_at = self.geometry.seat(seat) + at!(Seat.lines) + (line * COUNTERS * 8) as u64;
                for (i, total) in sum.iter_mut().enumerate() {
                    *total = total.wrapping_add(self.mem.word(line_at + i as u64 * 8).get());
                }
            }
        }
        sum
    }

    /// The number of a stripe's records of the cache's current epoch. Records that have expired, or whose namespace was
    /// invalidated, count until their memory is reclaimed.
    pub(crate) fn live(&self, stripe: u32) -> u64 {
        if self.distrust(stripe) == CrashState::Discard {
            return 0;
        }
        let epoch = self.stripe_word(stripe, at!(Stripe.live_epoch)).get();
        if epoch == self.epochs().hard() { self.stripe_word(stripe, at!(Stripe.live)).get() } else { 0 }
    }
}
