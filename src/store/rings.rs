//! Moves the ends of a stripe's rings, with its lock held. [`Ends`](super::ends::Ends) holds private copies of them.

use super::slot::{Ring, Slot};
use super::stripe_guard::StripeGuard;
use crate::shm::atomics::{Ordering, fence};
use crate::shm::layout::at;
use crate::shm::memory::Word;
use crate::shm::{Memory, Step};

impl<'a, M: Memory> StripeGuard<'a, M> {
    #[inline]
    pub(super) fn tail(&self, ring: Ring) -> u64 {
        self.ends.tail(ring).get()
    }

    #[inline]
    pub(super) fn ring_head(&self, ring: Ring) -> u64 {
        self.ends.head(ring).get()
    }

    #[inline]
    fn ring_word(&self, ring: Ring, small: u64, main: u64) -> Word<'a> {
        self.word(if ring == Ring::Small { small } else { main })
    }

    /// Units between tail and head, which were checked when the stripe was entered.
    #[inline]
    pub(super) fn used(&self, ring: Ring) -> u64 {
        self.shape(ring).used(self.tail(ring), self.ring_head(ring)).unwrap_or(self.shape(ring).units)
    }

    /// Whether the slot's record lies between tail and head of its ring.
    #[inline]
    pub(super) fn is_held(&self, slot: Slot) -> bool {
        let ring = slot.ring();
        self.shape(ring).holds(self.tail(ring), self.ring_head(ring), slot.position())
    }

    /// [`is_held`](Self::is_held) for a caller that checks the slot's position against its ring when it loads the
    /// record.
    #[inline(always)]
    pub(super) fn is_between_ends(&self, slot: Slot) -> bool {
        let ([small_tail, small_head], [main_tail, main_head]) = self.ends.positions();
        let (tail, head) = if slot.ring() == Ring::Main { (main_tail, main_head) } else { (small_tail, small_head) };
        (tail..head).contains(&slot.position())
    }

    /// Moves the head to `position`: everything before it is now part of the ring, as complete records or pads.
    #[inline]
    pub(super) fn set_head(&self, ring: Ring, position: u64) {
        self.ends.head(ring).set(position);
        fence(Ordering::Release);
        self.ring_word(ring, at!(Stripe.small_head), at!(Stripe.main_head)).set(Step::Head, position);
    }

    /// Moves the tail to `position`: everything before it may be overwritten. The fence orders the new tail, and the
    /// unlinking of the slots that pointed there, before the first new byte.
    #[inline]
    pub(super) fn set_tail(&self, ring: Ring, position: u64) {
        self.ends.tail(ring).set(position);
        self.ring_word(ring, at!(Stripe.small_tail), at!(Stripe.main_tail)).set(Step::Tail, position);
        fence(Ordering::Release);
    }

    /// Whether the tail and head of each ring can belong together, and positions are not about to run out.
    #[inline(always)]
    pub(super) fn has_sane_rings(&self) -> bool {
        [Ring::Small, Ring::Main].into_iter().all(|ring| {
            let (tail, head) = (self.tail(ring), self.ring_head(ring));
            self.shape(ring).can_have(tail, head) && head < self.shape(ring).limit()
        })
    }

    /// Empties both rings, which start again at the given positions.
    pub(super) fn reset_rings(&self, small: u64, main: u64) {
        let ends = [
            (at!(Stripe.small_tail), small),
            (at!(Stripe.small_head), small),
            (at!(Stripe.main_tail), main),
            (at!(Stripe.main_head), main),
        ];
        for (end, position) in ends {
            self.word(end).set(Step::RingReset, position);
        }
        for (ring, position) in [(Ring::Small, small), (Ring::Main, main)] {
            self.ends.tail(ring).set(position);
            self.ends.head(ring).set(position);
        }
    }
}
