//! The counters: the only list of them, and their places in the file.
//!
//! Events under a stripe's lock are counted in the stripe's head: the operation has loaded those lines anyway. Events
//! without a lock are counted on the member's own lines, which no other process writes.

use super::epochs::CrashState;
use super::table::Store;
use crate::shm::layout::{COUNTERS, OWN_LINES, at};
use crate::shm::{Memory, Step};

/// Declares the counters, each of them once: its documentation, its field of [`Counters`], and its variant of the enum
/// of the line where it is counted. The order of an enum is the order of the words in the file.
macro_rules! counters {
    ($(
        $(#[$doc:meta])* $line:ident: $add:ident {
            $($(#[doc = $help:literal])+ $field:ident = $variant:ident,)+
        }
    )+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(usize)]
            pub(crate) enum $line {
                $($variant,)+
            }
        )+

        /// Counts of events.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct Counters {
            $($($(#[doc = $help])+ pub $field: u64,)+)+
        }

        impl Counters {
            /// What each counter counts: its documentation, in the order of [`iter`](Self::iter).
            pub(crate) const DOCUMENTATION: &[&str] = &[$($(concat!($($help),+),)+)+];

            /// Each counter with the name of its field.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$($((stringify!($field), self.$field),)+)+].into_iter()
            }

            // A damaged file can contain any numbers, so the sums wrap.
            $(
                pub(crate) fn $add(&mut self, line: &Line) {
                    $(self.$field = self.$field.wrapping_add(line[$line::$variant as usize]);)+
                }
            )+
        }
    };
}

counters! {
    /// Events that are counted on a member's lines, without a lock.
    MemberCount: add_member {
        /// Reads that found a value.
        hits = Hits,
        /// Reads that found no value.
        misses = Misses,
        /// Attempts that reads repeated because of a concurrent write.
        read_retries = ReadRetries,
        /// Reads that gave up because of concurrent writes. They count as misses, too.
        bounded_misses = BoundedMisses,
        /// Writes that had to wait for a lock.
        lock_waits = LockWaits,
        /// Writes that gave up waiting for a lock.
        busy = Busy,
        /// Callers that had to wait for another caller's creation or lock of a key.
        claim_waits = ClaimWaits,
        /// Creations and locks without a claim: all claims of the stripe were held, the caller's time for waiting was
        /// over, or the value that it waited for was not to be cached.
        unprotected = Unprotected,
        /// Created values that were not stored because the key was written, deleted or invalidated meanwhile.
        voided = Voided,
        /// Values that were created and returned but not stored, because the cache failed. See
        /// [`CreateOptions::or_uncached`](crate::CreateOptions::or_uncached). Where a process has no seat to count on,
        /// as with a read-only handle, only its own handles of the file include them.
        uncached = Uncached,
        /// Creations that failed: the creator returned an error or panicked. Creators that were cancelled or died are
        /// not counted here.
        failed = Failed,
        /// Stale values that were returned because a creation failed. See
        /// [`CreateOptions::stale_if_error`](crate::CreateOptions::stale_if_error).
        stale_on_error = StaleOnError,
        /// Calls that found a key at rest after failed creations, and got a stale value or an error. See
        /// [`CreateOptions::rest`](crate::CreateOptions::rest).
        rested = Rested,
    }

    /// Events that are counted in a stripe's head, under its lock.
    StripeCount: add_stripe {
        /// Values stored.
        sets = Sets,
        /// Items removed by `delete`.
        deletes = Deletes,
        /// Items evicted from the small rings: they were not read often enough while they were new.
        evictions_small = EvictionsSmall,
        /// Items evicted from the main rings.
        evictions_main = EvictionsMain,
        /// Items evicted because their bucket was full.
        evictions_index = EvictionsIndex,
        /// Expired items whose memory was reclaimed.
        expirations = Expirations,
        /// Keys that were stored again while their eviction was remembered.
        ghost_hits = GhostHits,
        /// Items that moved from a small ring to a main ring.
        promotions = Promotions,
        /// Operations that a killed process left unfinished and another process completed or undid.
        repairs = Repairs,
        /// Damaged records that were found and removed.
        dropped = Dropped,
        /// Claims of keys to create their values. See [`Cache::get_or_create`](crate::Cache::get_or_create).
        creations = Creations,
        /// Claims and locks of keys that were taken over from a dead process, or because of their maximum age.
        takeovers = Takeovers,
    }
}

impl Counters {
    /// All evicted items.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions_small.wrapping_add(self.evictions_main).wrapping_add(self.evictions_index)
    }
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

    /// The number of a stripe's records that belong to the cache's current epoch. Records that have expired, or whose
    /// namespace was invalidated, count until their memory is reclaimed.
    pub(crate) fn live(&self, stripe: u32) -> u64 {
        if self.distrust(stripe) == CrashState::Discard {
            return 0;
        }
        let epoch = self.stripe_word(stripe, at!(Stripe.live_epoch)).get();
        if epoch == self.epochs().hard() { self.stripe_word(stripe, at!(Stripe.live)).get() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table of counters in `docs/format.md`: index, names of the stripe's and the member's counter.
    fn documented() -> Vec<(usize, Vec<&'static str>)> {
        let (_, section) = include_str!("../../docs/format.md").split_once("\n## Counters\n").expect("the section");
        let (section, _) = section.split_once("\n## ").expect("a section after it");
        let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
        rows.map(|row| {
            let index = row.split('|').nth(1).and_then(|cell| cell.trim().parse().ok()).expect("an index");
            (index, row.split('`').skip(1).step_by(2).collect())
        })
        .collect()
    }

    /// The counters other than 0, with their names, for a line whose words hold 1, 2, 3 and so on.
    fn numbered(add: fn(&mut Counters, &Line)) -> Vec<(&'static str, u64)> {
        let mut counters = Counters::default();
        add(&mut counters, &std::array::from_fn(|i| i as u64 + 1));
        counters.iter().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn the_document_of_the_format_lists_every_counter() {
        let (stripe, member) = (numbered(Counters::add_stripe), numbered(Counters::add_member));
        assert_eq!(stripe.len() + member.len(), Counters::default().iter().count());
        let listed = documented();
        assert_eq!(listed.len(), stripe.len().max(member.len()));
        for (row, (index, names)) in listed.into_iter().enumerate() {
            let at = |counters: &[(&'static str, u64)]| counters.get(row).copied();
            let expected: Vec<_> = [at(&stripe), at(&member)].into_iter().flatten().collect();
            assert_eq!((index, names), (row, expected.iter().map(|(name, _)| *name).collect()));
            assert!(expected.iter().all(|(_, count)| *count == row as u64 + 1), "{expected:?}");
        }
    }
}
